//! The instruments: names, units and what they say.

/// What an instrument counts or measures in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things.
    One,
    Bytes,
    Seconds,
}

/// A number of things, or of bytes, by name.
#[derive(Debug)]
pub(crate) struct Instrument {
    /// As OpenTelemetry has it. Prometheus has `_` for each dot.
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) help: &'static str,
}

const fn instrument(name: &'static str, unit: Unit, help: &'static str) -> Instrument {
    Instrument { name, unit, help }
}

pub(crate) const CLIENT_CALL: Instrument = instrument(
    "rpc.client.call.duration",
    Unit::Seconds,
    "Measures the duration of an outgoing Remote Procedure Call (RPC)",
);
pub(crate) const SERVER_CALL: Instrument = instrument(
    "rpc.server.call.duration",
    Unit::Seconds,
    "Measures the duration of an incoming Remote Procedure Call (RPC)",
);
pub(crate) const ATTEMPT_STARTED: Instrument =
    instrument("pointsub.client.attempt.started", Unit::One, "Attempts of calls that were begun");
pub(crate) const ATTEMPT: Instrument = instrument(
    "pointsub.client.attempt.duration",
    Unit::Seconds,
    "How long attempts of calls took, from when a stream had them",
);
pub(crate) const ATTEMPT_SENT: Instrument = instrument(
    "pointsub.client.attempt.sent_total_compressed_message_size",
    Unit::Bytes,
    "Bytes of requests' bodies as they travelled, by attempt",
);
pub(crate) const ATTEMPT_RECEIVED: Instrument = instrument(
    "pointsub.client.attempt.rcvd_total_compressed_message_size",
    Unit::Bytes,
    "Bytes of answers' bodies as they travelled, by attempt",
);
pub(crate) const SERVER_SENT: Instrument = instrument(
    "pointsub.server.call.sent_total_compressed_message_size",
    Unit::Bytes,
    "Bytes of answers' bodies and of messages as they travelled, by call",
);
pub(crate) const SERVER_RECEIVED: Instrument = instrument(
    "pointsub.server.call.rcvd_total_compressed_message_size",
    Unit::Bytes,
    "Bytes of requests' bodies and of messages as they travelled, by call",
);
pub(crate) const CALL_REFUSED: Instrument = instrument(
    "pointsub.server.call.refused",
    Unit::One,
    "Requests that were refused before a handler saw them",
);
pub(crate) const MESSAGES: Instrument = instrument(
    "pointsub.client.call.messages",
    Unit::Bytes,
    "Bytes of the messages of calls that have messages",
);
pub(crate) const IO: Instrument = instrument(
    "pointsub.io",
    Unit::Bytes,
    "Bytes of streams for requests, with frames and before encryption",
);
pub(crate) const CONNECTIONS: Instrument =
    instrument("pointsub.connections", Unit::One, "Connections that are open");
pub(crate) const CONNECTIONS_OPENED: Instrument =
    instrument("pointsub.connections.opened", Unit::One, "Connections that were opened");

/// The names of attributes.
pub(crate) mod attribute {
    pub(crate) const SYSTEM: &str = "rpc.system.name";
    pub(crate) const METHOD: &str = "rpc.method";
    pub(crate) const STATUS: &str = "rpc.status_code";
    pub(crate) const ERROR: &str = "error.type";
    pub(crate) const SIDE: &str = "pointsub.side";
    pub(crate) const DIRECTION: &str = "pointsub.direction";
    pub(crate) const PATH: &str = "pointsub.path";
    pub(crate) const TRANSPORT: &str = "network.transport";
    pub(crate) const REASON: &str = "pointsub.reason";
    pub(crate) const STATE: &str = "pointsub.state";
}

/// The buckets of calls, in nanoseconds, as OpenTelemetry's conventions have them.
pub(crate) const CALLS: &[u64] = &[
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// The buckets of attempts, in nanoseconds: finer, since an attempt in one data centre takes less than a
/// millisecond.
pub(crate) const ATTEMPTS: &[u64] = &[
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// The buckets of sizes, in bytes.
pub(crate) const SIZES: &[u64] = &[
    0,
    256,
    1 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
    16 << 20,
    64 << 20,
];
