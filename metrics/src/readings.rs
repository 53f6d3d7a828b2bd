//! What is read from the client and the server when somebody looks.

use pointsub_swarm::{Client, ClientStats, NodeCounts, Server, ServerStats};

use crate::instrument::{Unit, attribute};

/// What there is to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Snapshot {
    client: ClientStats,
    nodes: NodeCounts,
    server: ServerStats,
}

impl Snapshot {
    pub(crate) fn take(client: &Client, server: &Server) -> Self {
        Self { client: client.stats(), nodes: client.server_node_counts(), server: server.stats() }
    }
}

/// A number that only grows, or one that goes up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
}

/// How one value of an instrument is read.
pub(crate) type Read = fn(&Snapshot) -> u64;

/// An instrument that is read.
pub(crate) struct Reading {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) unit: Unit,
    pub(crate) help: &'static str,
    pub(crate) values: Values,
}

/// Its values.
pub(crate) enum Values {
    One(Read),
    /// One for each value of an attribute.
    By(&'static str, &'static [(&'static str, Read)]),
}

const fn counter(name: &'static str, help: &'static str, read: Read) -> Reading {
    Reading { name, kind: Kind::Counter, unit: Unit::One, help, values: Values::One(read) }
}

const fn gauge(name: &'static str, help: &'static str, read: Read) -> Reading {
    Reading { name, kind: Kind::Gauge, unit: Unit::One, help, values: Values::One(read) }
}

const fn by(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    attribute: &'static str,
    values: &'static [(&'static str, Read)],
) -> Reading {
    Reading { name, kind, unit: Unit::One, help, values: Values::By(attribute, values) }
}

/// All of them.
pub(crate) const READINGS: &[Reading] = &[
    gauge("pointsub.client.calls.in_flight", "Requests without an outcome", |s| s.client.in_flight),
    gauge("pointsub.client.calls.waiting", "Requests that wait for a stream", |s| s.client.waiting),
    counter("pointsub.client.retries", "Times that something was tried again", |s| {
        s.client.retries
    }),
    counter("pointsub.client.failovers", "Times that a call went on to the next server", |s| {
        s.client.failovers
    }),
    counter("pointsub.client.hedges", "Times that a further server was asked meanwhile", |s| {
        s.client.hedges
    }),
    by(
        "pointsub.client.pool.streams",
        Kind::Gauge,
        "Streams for requests that are open or being opened",
        attribute::STATE,
        &[
            ("busy", |s| s.client.streams.saturating_sub(s.client.idle_streams)),
            ("idle", |s| s.client.idle_streams),
        ],
    ),
    gauge("pointsub.client.pool.raw_streams", "Raw streams that are open or being opened", |s| {
        s.client.raw_streams
    }),
    counter("pointsub.client.pool.opened", "Streams for requests that were asked for", |s| {
        s.client.opens
    }),
    counter("pointsub.client.pool.reused", "Requests on a stream that had carried another", |s| {
        s.client.reused
    }),
    by(
        "pointsub.client.nodes",
        Kind::Gauge,
        "Servers to choose from",
        attribute::STATE,
        &[
            ("usable", |s| s.nodes.usable),
            ("resting", |s| s.nodes.resting),
            ("probation", |s| s.nodes.on_probation),
        ],
    ),
    counter("pointsub.server.call.started", "Requests that were handed to a handler", |s| {
        s.server.started
    }),
    gauge("pointsub.server.concurrency.limit", "Requests that may be at work", |s| s.server.limit),
    gauge("pointsub.server.concurrency.at_work", "Requests that are at work", |s| {
        s.server.in_flight
    }),
    Reading {
        name: "pointsub.server.memory.held",
        kind: Kind::Gauge,
        unit: Unit::Bytes,
        help: "Bytes of requests and answers that are held",
        values: Values::One(|s| s.server.memory),
    },
    gauge("pointsub.server.calls.open", "Calls with messages that are open", |s| s.server.calls),
    gauge("pointsub.server.streams.open", "Streams of peers that are open", |s| s.server.streams),
    gauge("pointsub.server.raw_streams.open", "Raw streams of peers that are open", |s| {
        s.server.raw_streams
    }),
    gauge("pointsub.server.peers", "Peers with a stream that is open", |s| s.server.peers),
    by(
        "pointsub.server.refused",
        Kind::Counter,
        "Requests, streams and connections that were refused",
        attribute::REASON,
        &[
            ("limit", |s| s.server.no_place),
            ("memory", |s| s.server.no_memory),
            ("rate", |s| s.server.rate_limited),
            ("streams", |s| s.server.no_stream),
            ("kept_out", |s| s.server.kept_out),
            ("denied", |s| s.server.denied),
        ],
    ),
    by(
        "pointsub.server.streams.broken",
        Kind::Counter,
        "Streams of peers that were reset",
        attribute::REASON,
        &[
            ("violation", |s| s.server.violations),
            ("first_byte_timeout", |s| s.server.first_byte_timeouts),
            ("message_timeout", |s| s.server.message_timeouts),
            ("write_timeout", |s| s.server.write_timeouts),
            ("other_format", |s| s.server.other_format),
            ("stalled", |s| s.server.stalled),
        ],
    ),
];
