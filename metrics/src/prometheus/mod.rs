//! Metrics in a registry of [`prometheus_client`], which may be that of `libp2p-metrics` too.
//!
//! ```
//! use pointsub_metrics::prometheus::{PrometheusRecorder, encode, register_stats};
//! use pointsub_swarm::{Node, Runtime};
//! use prometheus_client::registry::Registry;
//!
//! async fn node<R: Runtime + Default>() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut registry = Registry::default();
//!     let recorder = PrometheusRecorder::register(&mut registry);
//!     let node = Node::<R>::builder().recorder(recorder).build().await?;
//!     register_stats(&mut registry, &node.client(), &node.server());
//!     // Whenever somebody asks.
//!     let _text = encode(&registry)?;
//!     Ok(())
//! }
//! ```

mod encoding;
mod histogram;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use pointsub_swarm::telemetry::{
    AttemptEnd, CallEnd, ConnectionLabels, HandlerEnd, Recorder, RpcMethod, Side, Transferred,
};
use pointsub_swarm::{Client, Server};
use prometheus_client::registry::Registry;

use self::histogram::{Histogram, nanos};
use crate::instrument::{ATTEMPTS, CALLS, SIZES};
use crate::table::{KeyRef, Table};

/// The content type of [`encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counts and measures for a [`Registry`]. It takes no lock for longer than to look up a name, and what it
/// adds are atomic numbers.
#[derive(Debug, Default)]
pub struct PrometheusRecorder {
    calls: Table<CallSeries>,
    begun: Table<AtomicU64>,
    attempts: Table<SizedSeries>,
    handled: Table<SizedSeries>,
    refused: Table<AtomicU64>,
    transferred: Table<Both>,
    connections: [Connections; 12],
}

#[derive(Debug)]
struct CallSeries {
    duration: Histogram,
    messages: Both,
}

/// Of attempts, and of handlers.
#[derive(Debug)]
struct SizedSeries {
    duration: Histogram,
    sent: Histogram,
    received: Histogram,
}

/// Bytes in both directions.
#[derive(Debug, Default)]
struct Both {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Both {
    fn add(&self, sent: u64, received: u64) {
        self.sent.fetch_add(sent, Ordering::Relaxed);
        self.received.fetch_add(received, Ordering::Relaxed);
    }
}

/// Connections with the same labels.
#[derive(Debug, Default)]
struct Connections {
    open: AtomicI64,
    opened: AtomicU64,
}

impl SizedSeries {
    fn new(durations: &'static [u64]) -> Self {
        Self {
            duration: Histogram::new(durations),
            sent: Histogram::new(SIZES),
            received: Histogram::new(SIZES),
        }
    }
}

impl PrometheusRecorder {
    /// A recorder whose metrics are in this registry.
    pub fn register(registry: &mut Registry) -> Arc<Self> {
        let recorder = Arc::<Self>::default();
        registry.register_collector(Box::new(encoding::Recorded(recorder.clone())));
        recorder
    }

    fn of(&self, labels: ConnectionLabels) -> &Connections {
        &self.connections[encoding::index(labels.path(), labels.transport(), labels.dialled)]
    }
}

/// Adds what a client and a server have counted, and how they stand, to a registry. They are asked
/// whenever it is encoded, and kept until the registry is dropped.
pub fn register_stats(registry: &mut Registry, client: &Client, server: &Server) {
    let stats = encoding::Stats { client: client.clone(), server: server.clone() };
    registry.register_collector(Box::new(stats));
}

/// The metrics of a registry in the text format of OpenMetrics, which Prometheus reads.
///
/// # Errors
/// None, as far as its collectors are those of this crate.
pub fn encode(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    Ok(text)
}

impl Recorder for PrometheusRecorder {
    fn call_ended(&self, call: &CallEnd<'_>) {
        let make =
            |_: &str| CallSeries { duration: Histogram::new(CALLS), messages: Both::default() };
        self.calls.with(KeyRef::new(call.method, call.outcome), make, |series| {
            series.duration.observe(nanos(call.duration));
            if let Some(bytes) = call.messages {
                series.messages.add(bytes.sent, bytes.received);
            }
        });
    }

    fn attempts_started(&self, method: RpcMethod<'_>, count: u64) {
        self.begun.with(
            KeyRef::of(method, None),
            |_| AtomicU64::new(0),
            |begun| {
                begun.fetch_add(count, Ordering::Relaxed);
            },
        );
    }

    fn attempt_ended(&self, attempt: &AttemptEnd<'_>) {
        let key = KeyRef::new(attempt.method, attempt.outcome);
        self.attempts.with(
            key,
            |_| SizedSeries::new(ATTEMPTS),
            |series| {
                series.duration.observe(nanos(attempt.duration));
                series.sent.observe(attempt.sent);
                series.received.observe(attempt.received);
            },
        );
    }

    fn handler_ended(&self, handled: &HandlerEnd<'_>) {
        let key = KeyRef::new(handled.method, handled.outcome);
        self.handled.with(
            key,
            |_| SizedSeries::new(CALLS),
            |series| {
                series.duration.observe(nanos(handled.duration));
                series.sent.observe(handled.sent);
                series.received.observe(handled.received);
            },
        );
    }

    fn refused(&self, protocol: &str, status: &'static str, count: u64) {
        let key = KeyRef::of(RpcMethod::new(protocol, None), Some(status));
        self.refused.with(
            key,
            |_| AtomicU64::new(0),
            |refused| {
                refused.fetch_add(count, Ordering::Relaxed);
            },
        );
    }

    fn transferred(&self, bytes: &Transferred<'_>) {
        let side = match bytes.side {
            Side::Client => "client",
            Side::Server => "server",
        };
        let key = KeyRef::of(RpcMethod::new(bytes.protocol, None), Some(side));
        self.transferred.with(
            key,
            |_| Both::default(),
            |both| both.add(bytes.sent, bytes.received),
        );
    }

    fn connection_opened(&self, connection: ConnectionLabels) {
        let connections = self.of(connection);
        connections.open.fetch_add(1, Ordering::Relaxed);
        connections.opened.fetch_add(1, Ordering::Relaxed);
    }

    fn connection_closed(&self, connection: ConnectionLabels) {
        self.of(connection).open.fetch_sub(1, Ordering::Relaxed);
    }
}
