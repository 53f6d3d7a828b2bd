//! Metrics on a meter of OpenTelemetry, and traces across peers.
//!
//! ```
//! use std::sync::Arc;
//!
//! use opentelemetry::global;
//! use pointsub_metrics::opentelemetry::{OpenTelemetryRecorder, TracePropagator, observe_stats};
//! use pointsub_swarm::{Node, NodeError, Runtime};
//!
//! async fn node<R: Runtime + Default>() -> Result<Node<R>, NodeError> {
//!     let meter = global::meter("pointsub");
//!     let node = Node::<R>::builder()
//!         .recorder(Arc::new(OpenTelemetryRecorder::new(&meter)))
//!         .propagator(Arc::new(TracePropagator::global()))
//!         .build()
//!         .await?;
//!     observe_stats(&meter, &node.client(), &node.server());
//!     Ok(node)
//! }
//! ```

mod propagator;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};
use pointsub_swarm::telemetry::{
    AttemptEnd, CallEnd, ConnectionLabels, HandlerEnd, Recorder, RpcMethod, SYSTEM, Side,
    Transferred,
};
use pointsub_swarm::{Client, Server};

pub use self::propagator::TracePropagator;
use crate::instrument::{
    ATTEMPT, ATTEMPT_RECEIVED, ATTEMPT_SENT, ATTEMPT_STARTED, ATTEMPTS, CALL_REFUSED, CALLS,
    CLIENT_CALL, CONNECTIONS, CONNECTIONS_OPENED, IO, Instrument, MESSAGES, SERVER_CALL,
    SERVER_RECEIVED, SERVER_SENT, SIZES, Unit, attribute,
};
use crate::readings::{Kind, READINGS, Reading, Snapshot, Values};
use crate::table::{KeyRef, Table};

/// Counts and measures on the instruments of a meter. It costs what these cost, which look up their
/// attributes for each value.
#[derive(Debug)]
pub struct OpenTelemetryRecorder {
    calls: Histogram<f64>,
    messages: Counter<u64>,
    begun: Counter<u64>,
    attempts: Histogram<f64>,
    attempts_sent: Histogram<u64>,
    attempts_received: Histogram<u64>,
    handled: Histogram<f64>,
    handled_sent: Histogram<u64>,
    handled_received: Histogram<u64>,
    refused: Counter<u64>,
    io: Counter<u64>,
    connections: UpDownCounter<i64>,
    connections_opened: Counter<u64>,
    /// For each method and outcome.
    attributes: Table<Vec<KeyValue>>,
    /// For each protocol, at each end, in each direction.
    directions: Table<[[KeyValue; 3]; 2]>,
}

fn ucum(unit: Unit) -> &'static str {
    match unit {
        Unit::One => "1",
        Unit::Bytes => "By",
        Unit::Seconds => "s",
    }
}

fn durations(meter: &Meter, of: &Instrument, nanos: &[u64]) -> Histogram<f64> {
    let bounds = nanos.iter().map(|nanos| *nanos as f64 / 1e9).collect();
    let histogram = meter.f64_histogram(of.name).with_description(of.help);
    histogram.with_unit(ucum(of.unit)).with_boundaries(bounds).build()
}

fn sizes(meter: &Meter, of: &Instrument) -> Histogram<u64> {
    let bounds = SIZES.iter().map(|bytes| *bytes as f64).collect();
    let histogram = meter.u64_histogram(of.name).with_description(of.help);
    histogram.with_unit(ucum(of.unit)).with_boundaries(bounds).build()
}

fn counter(meter: &Meter, of: &Instrument) -> Counter<u64> {
    let counter = meter.u64_counter(of.name).with_description(of.help);
    counter.with_unit(ucum(of.unit)).build()
}

impl OpenTelemetryRecorder {
    /// A recorder with the instruments of this meter.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        let connections = meter.i64_up_down_counter(CONNECTIONS.name);
        let connections = connections.with_description(CONNECTIONS.help);
        Self {
            calls: durations(meter, &CLIENT_CALL, CALLS),
            messages: counter(meter, &MESSAGES),
            begun: counter(meter, &ATTEMPT_STARTED),
            attempts: durations(meter, &ATTEMPT, ATTEMPTS),
            attempts_sent: sizes(meter, &ATTEMPT_SENT),
            attempts_received: sizes(meter, &ATTEMPT_RECEIVED),
            handled: durations(meter, &SERVER_CALL, CALLS),
            handled_sent: sizes(meter, &SERVER_SENT),
            handled_received: sizes(meter, &SERVER_RECEIVED),
            refused: counter(meter, &CALL_REFUSED),
            io: counter(meter, &IO),
            connections: connections.with_unit(ucum(CONNECTIONS.unit)).build(),
            connections_opened: counter(meter, &CONNECTIONS_OPENED),
            attributes: Table::default(),
            directions: Table::default(),
        }
    }

    fn with(&self, key: KeyRef<'_>, then: impl FnOnce(&[KeyValue])) {
        self.attributes.with(key, |method| attributes(method, key), |known| then(known));
    }
}

/// The attributes of a method with an outcome.
fn attributes(method: &str, key: KeyRef<'_>) -> Vec<KeyValue> {
    let always = [
        KeyValue::new(attribute::SYSTEM, SYSTEM),
        KeyValue::new(attribute::METHOD, method.to_owned()),
    ];
    let status = key.status.map(|status| KeyValue::new(attribute::STATUS, status));
    let error = key.error.map(|error| KeyValue::new(attribute::ERROR, error));
    always.into_iter().chain(status).chain(error).collect()
}

fn of_connection(connection: ConnectionLabels) -> [KeyValue; 3] {
    [
        KeyValue::new(attribute::PATH, connection.path()),
        KeyValue::new(attribute::TRANSPORT, connection.transport()),
        KeyValue::new(attribute::DIRECTION, if connection.dialled { "out" } else { "in" }),
    ]
}

impl Recorder for OpenTelemetryRecorder {
    fn call_ended(&self, call: &CallEnd<'_>) {
        self.with(KeyRef::new(call.method, call.outcome), |attributes| {
            self.calls.record(call.duration.as_secs_f64(), attributes);
            let Some(bytes) = call.messages else { return };
            for (direction, bytes) in [("sent", bytes.sent), ("received", bytes.received)] {
                let mut attributes = attributes.to_vec();
                attributes.push(KeyValue::new(attribute::DIRECTION, direction));
                self.messages.add(bytes, &attributes);
            }
        });
    }

    fn attempts_started(&self, method: RpcMethod<'_>, count: u64) {
        self.with(KeyRef::of(method, None), |attributes| self.begun.add(count, attributes));
    }

    fn attempt_ended(&self, attempt: &AttemptEnd<'_>) {
        self.with(KeyRef::new(attempt.method, attempt.outcome), |attributes| {
            self.attempts.record(attempt.duration.as_secs_f64(), attributes);
            self.attempts_sent.record(attempt.sent, attributes);
            self.attempts_received.record(attempt.received, attributes);
        });
    }

    fn handler_ended(&self, handled: &HandlerEnd<'_>) {
        self.with(KeyRef::new(handled.method, handled.outcome), |attributes| {
            self.handled.record(handled.duration.as_secs_f64(), attributes);
            self.handled_sent.record(handled.sent, attributes);
            self.handled_received.record(handled.received, attributes);
        });
    }

    fn refused(&self, protocol: &str, status: &'static str, count: u64) {
        let key = KeyRef::of(RpcMethod::new(protocol, None), Some(status));
        self.with(key, |attributes| self.refused.add(count, attributes));
    }

    fn transferred(&self, bytes: &Transferred<'_>) {
        let side = match bytes.side {
            Side::Client => "client",
            Side::Server => "server",
        };
        let make = |protocol: &str| {
            ["sent", "received"].map(|direction| {
                [
                    KeyValue::new(attribute::METHOD, protocol.to_owned()),
                    KeyValue::new(attribute::SIDE, side),
                    KeyValue::new(attribute::DIRECTION, direction),
                ]
            })
        };
        let key = KeyRef::of(RpcMethod::new(bytes.protocol, None), Some(side));
        self.directions.with(key, make, |[sent, received]| {
            self.io.add(bytes.sent, sent);
            self.io.add(bytes.received, received);
        });
    }

    fn connection_opened(&self, connection: ConnectionLabels) {
        let attributes = of_connection(connection);
        self.connections.add(1, &attributes);
        self.connections_opened.add(1, &attributes);
    }

    fn connection_closed(&self, connection: ConnectionLabels) {
        self.connections.add(-1, &of_connection(connection));
    }
}

/// Has a meter ask a client and a server what they have counted, and how they stand, whenever it is
/// collected. They are kept for as long as the meter's provider is there.
pub fn observe_stats(meter: &Meter, client: &Client, server: &Server) {
    for reading in READINGS {
        let (client, server) = (client.clone(), server.clone());
        let values = move || read(reading, &Snapshot::take(&client, &server));
        let (name, help, unit) = (reading.name, reading.help, ucum(reading.unit));
        match reading.kind {
            Kind::Counter => {
                let counter = meter.u64_observable_counter(name).with_description(help);
                let callback = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<u64>| {
                    values()
                        .into_iter()
                        .for_each(|(value, of)| observer.observe(value, of.as_slice()));
                };
                let _registered = counter.with_unit(unit).with_callback(callback).build();
            }
            Kind::Gauge => {
                let gauge = meter.u64_observable_gauge(name).with_description(help);
                let callback = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<u64>| {
                    values()
                        .into_iter()
                        .for_each(|(value, of)| observer.observe(value, of.as_slice()));
                };
                let _registered = gauge.with_unit(unit).with_callback(callback).build();
            }
        }
    }
}

/// The values of an instrument, each with its attribute.
fn read(reading: &Reading, snapshot: &Snapshot) -> Vec<(u64, Option<KeyValue>)> {
    match reading.values {
        Values::One(read) => vec![(read(snapshot), None)],
        Values::By(attribute, values) => {
            let value = |(of, read): &(&'static str, crate::readings::Read)| {
                (read(snapshot), Some(KeyValue::new(attribute, *of)))
            };
            values.iter().map(value).collect()
        }
    }
}
