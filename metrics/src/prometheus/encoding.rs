//! What a registry reads.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pointsub_swarm::telemetry::SYSTEM;
use pointsub_swarm::{Client, Server};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit as PrometheusUnit;

use super::histogram::Histogram;
use super::{Both, PrometheusRecorder};
use crate::instrument::{
    ATTEMPT, ATTEMPT_RECEIVED, ATTEMPT_SENT, ATTEMPT_STARTED, CALL_REFUSED, CLIENT_CALL,
    CONNECTIONS, CONNECTIONS_OPENED, IO, Instrument, MESSAGES, SERVER_CALL, SERVER_RECEIVED,
    SERVER_SENT, Unit, attribute,
};
use crate::readings::{Kind, READINGS, Snapshot, Values};
use crate::table::{KeyRef, Table};

const NANOS: f64 = 1e9;

type Labels = Vec<(String, String)>;

/// What a recorder has recorded.
#[derive(Debug)]
pub(super) struct Recorded(pub(super) Arc<PrometheusRecorder>);

/// What a client and a server say of themselves.
#[derive(Debug)]
pub(super) struct Stats {
    pub(super) client: Client,
    pub(super) server: Server,
}

/// A name as Prometheus takes it.
fn name(name: &str) -> String {
    name.replace('.', "_")
}

fn unit(unit: Unit) -> Option<PrometheusUnit> {
    match unit {
        Unit::One => None,
        Unit::Bytes => Some(PrometheusUnit::Bytes),
        Unit::Seconds => Some(PrometheusUnit::Seconds),
    }
}

fn label(key: &str, value: &str) -> (String, String) {
    (name(key), value.to_owned())
}

/// The labels of a method with an outcome.
fn labels(method: &str, key: KeyRef<'_>) -> Labels {
    let always = [label(attribute::SYSTEM, SYSTEM), label(attribute::METHOD, method)];
    let status = key.status.map(|status| label(attribute::STATUS, status));
    let error = key.error.map(|error| label(attribute::ERROR, error));
    always.into_iter().chain(status).chain(error).collect()
}

/// Writes the values of one instrument.
fn family(
    encoder: &mut DescriptorEncoder<'_>,
    instrument: &Instrument,
    kind: MetricType,
    values: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    let (name, unit) = (name(instrument.name), unit(instrument.unit));
    values(&mut encoder.encode_descriptor(&name, instrument.help, unit.as_ref(), kind)?)
}

fn counter(metrics: &mut MetricEncoder<'_>, labels: &Labels, value: u64) -> fmt::Result {
    metrics.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn histograms<T>(
    encoder: &mut DescriptorEncoder<'_>,
    instrument: &Instrument,
    table: &Table<T>,
    of: impl Fn(&T) -> &Histogram,
) -> fmt::Result {
    let unit = if instrument.unit == Unit::Seconds { NANOS } else { 1.0 };
    family(encoder, instrument, MetricType::Histogram, |metrics| {
        table.try_each(|method, key, value| {
            of(value).encode(metrics.encode_family(&labels(method, key))?, unit)
        })
    })
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    instrument: &Instrument,
    table: &Table<AtomicU64>,
) -> fmt::Result {
    family(encoder, instrument, MetricType::Counter, |metrics| {
        table.try_each(|method, key, value| {
            counter(metrics, &labels(method, key), value.load(Ordering::Relaxed))
        })
    })
}

/// Bytes in both directions, each with these labels beside it.
fn both(metrics: &mut MetricEncoder<'_>, labels: &Labels, bytes: &Both) -> fmt::Result {
    for (direction, bytes) in [("sent", &bytes.sent), ("received", &bytes.received)] {
        let mut labels = labels.clone();
        labels.push(label(attribute::DIRECTION, direction));
        counter(metrics, &labels, bytes.load(Ordering::Relaxed))?;
    }
    Ok(())
}

const PATHS: [&str; 2] = ["direct", "relayed"];
const TRANSPORTS: [&str; 3] = ["tcp", "quic", "other"];

/// Where connections with these labels are counted.
pub(super) fn index(path: &str, transport: &str, dialled: bool) -> usize {
    let at = |names: &[&str], name| names.iter().position(|one| *one == name).unwrap_or_default();
    (at(&PATHS, path) * TRANSPORTS.len() + at(&TRANSPORTS, transport)) * 2 + usize::from(dialled)
}

fn connection_labels() -> impl Iterator<Item = (Labels, usize)> {
    let all = PATHS.into_iter().flat_map(|path| TRANSPORTS.map(|transport| (path, transport)));
    all.flat_map(|(path, transport)| {
        [(false, "in"), (true, "out")].map(|(dialled, direction)| {
            let labels = vec![
                label(attribute::PATH, path),
                label(attribute::TRANSPORT, transport),
                label(attribute::DIRECTION, direction),
            ];
            (labels, index(path, transport, dialled))
        })
    })
}

impl Collector for Recorded {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (recorder, encoder) = (&*self.0, &mut encoder);
        histograms(encoder, &CLIENT_CALL, &recorder.calls, |series| &series.duration)?;
        counters(encoder, &ATTEMPT_STARTED, &recorder.begun)?;
        histograms(encoder, &ATTEMPT, &recorder.attempts, |series| &series.duration)?;
        histograms(encoder, &ATTEMPT_SENT, &recorder.attempts, |series| &series.sent)?;
        histograms(encoder, &ATTEMPT_RECEIVED, &recorder.attempts, |series| &series.received)?;
        histograms(encoder, &SERVER_CALL, &recorder.handled, |series| &series.duration)?;
        histograms(encoder, &SERVER_SENT, &recorder.handled, |series| &series.sent)?;
        histograms(encoder, &SERVER_RECEIVED, &recorder.handled, |series| &series.received)?;
        counters(encoder, &CALL_REFUSED, &recorder.refused)?;
        family(encoder, &MESSAGES, MetricType::Counter, |metrics| {
            recorder.calls.try_each(|method, key, series| {
                both(metrics, &labels(method, key), &series.messages)
            })
        })?;
        family(encoder, &IO, MetricType::Counter, |metrics| {
            recorder.transferred.try_each(|protocol, key, bytes| {
                let side = label(attribute::SIDE, key.status.unwrap_or_default());
                both(metrics, &vec![label(attribute::METHOD, protocol), side], bytes)
            })
        })?;
        family(encoder, &CONNECTIONS, MetricType::Gauge, |metrics| {
            connection_labels().try_for_each(|(labels, at)| {
                let open = recorder.connections[at].open.load(Ordering::Relaxed);
                metrics.encode_family(&labels)?.encode_gauge(&open)
            })
        })?;
        family(encoder, &CONNECTIONS_OPENED, MetricType::Counter, |metrics| {
            connection_labels().try_for_each(|(labels, at)| {
                let opened = recorder.connections[at].opened.load(Ordering::Relaxed);
                counter(metrics, &labels, opened)
            })
        })
    }
}

impl Collector for Stats {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = Snapshot::take(&self.client, &self.server);
        for reading in READINGS {
            let (name, unit) = (name(reading.name), unit(reading.unit));
            let kind = match reading.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let mut metrics =
                encoder.encode_descriptor(&name, reading.help, unit.as_ref(), kind)?;
            match reading.values {
                Values::One(read) => value(&mut metrics, reading.kind, read(&snapshot))?,
                Values::By(attribute, values) => {
                    for (of, read) in values {
                        let labels: Labels = vec![label(attribute, of)];
                        let mut metric = metrics.encode_family(&labels)?;
                        value(&mut metric, reading.kind, read(&snapshot))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn value(metric: &mut MetricEncoder<'_>, kind: Kind, value: u64) -> fmt::Result {
    match kind {
        Kind::Counter => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
        Kind::Gauge => metric.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX)),
    }
}
