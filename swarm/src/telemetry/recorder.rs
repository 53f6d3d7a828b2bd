//! What is counted and measured: the trait, and what it is told.

use std::fmt;
use std::time::Duration;

use crate::{Path, TransportKind};

/// Told of calls, attempts, bytes and connections as they end: [`NodeBuilder::recorder`] and
/// [`Behaviour::with_recorder`].
///
/// `pointsub-metrics` has recorders for Prometheus and OpenTelemetry. Each method is called where
/// something has ended, on the task where it did, and never while anything is locked. It holds up the
/// request that it is told of, and others on the same connection: it should count, and not wait. What is
/// to be read at a moment, such as how many requests are at work, is in
/// [`ClientStats`](crate::ClientStats) and [`ServerStats`](crate::ServerStats).
///
/// The names that it gets are few: protocols are those that the application serves or calls, methods those
/// that it calls or that a handler [knows](crate::Handler::knows_method), and texts are from fixed lists.
/// Peers are not named.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use pointsub_swarm::telemetry::{CallEnd, Recorder};
///
/// #[derive(Default)]
/// struct Failures(AtomicU64);
///
/// impl Recorder for Failures {
///     fn call_ended(&self, call: &CallEnd<'_>) {
///         self.0.fetch_add(u64::from(call.outcome.error.is_some()), Ordering::Relaxed);
///     }
/// }
/// ```
///
/// [`NodeBuilder::recorder`]: crate::NodeBuilder::recorder
/// [`Behaviour::with_recorder`]: crate::Behaviour::with_recorder
#[allow(unused_variables, reason = "the names are part of the documentation")]
pub trait Recorder: Send + Sync + 'static {
    /// A call of the application has ended, with all that was tried for it.
    fn call_ended(&self, call: &CallEnd<'_>) {}

    /// So many attempts of calls have begun.
    fn attempts_started(&self, method: RpcMethod<'_>, count: u64) {}

    /// An attempt has ended.
    fn attempt_ended(&self, attempt: &AttemptEnd<'_>) {}

    /// A handler has ended, or was stopped.
    fn handler_ended(&self, handled: &HandlerEnd<'_>) {}

    /// Requests were refused before a handler saw them. `status` is what callers are told, in the words of
    /// [`Outcome::status`].
    fn refused(&self, protocol: &str, status: &'static str, count: u64) {}

    /// Bytes of a protocol have travelled: with frames, before encryption.
    fn transferred(&self, bytes: &Transferred<'_>) {}

    /// There is a connection.
    fn connection_opened(&self, connection: ConnectionLabels) {}

    /// A connection has ended.
    fn connection_closed(&self, connection: ConnectionLabels) {}
}

/// What is called: a protocol, and perhaps a method of it. It prints as OpenTelemetry's `rpc.method`:
/// `/chat/1` with the method `say` is `chat/1/say`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct RpcMethod<'a> {
    /// The protocol's name.
    pub protocol: &'a str,
    /// The method. At a server, `None` too if a peer names one that the handler does not know.
    pub method: Option<&'a str>,
}

impl<'a> RpcMethod<'a> {
    /// What a recorder says instead of names of which there are too many, as OpenTelemetry has it.
    pub const OTHER: &'static str = "_OTHER";

    /// A method of a protocol, or the protocol itself.
    #[must_use]
    pub const fn new(protocol: &'a str, method: Option<&'a str>) -> Self {
        Self { protocol, method }
    }
}

impl fmt::Display for RpcMethod<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.protocol.trim_start_matches('/'))?;
        self.method.map_or(Ok(()), |method| write!(f, "/{method}"))
    }
}

/// How something ended, in few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Outcome {
    /// What the server has answered: `ok`, or the name of its [`StatusCode`](crate::StatusCode), such as
    /// `busy`. `None` without an answer.
    pub status: Option<&'static str>,
    /// OpenTelemetry's `error.type`: `None` after a success, the status if that is a failure, and otherwise
    /// the [`Cause`](crate::Cause), such as `connect_timeout`.
    pub error: Option<&'static str>,
}

/// A call of the application that has ended.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CallEnd<'a> {
    /// What was called.
    pub method: RpcMethod<'a>,
    /// How long it took, with all attempts and pauses; that of a call with messages until its end.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// Bytes of the messages of a call that has messages; `None` of requests.
    pub messages: Option<MessageBytes>,
}

/// Bytes of the messages of a call, without frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MessageBytes {
    /// From this end.
    pub sent: u64,
    /// From the other end.
    pub received: u64,
}

/// An attempt of a call that has ended: a request on a stream. A call has several if it is tried again,
/// goes on to another server, or is hedged. One that comes to no stream has none. The attempt of a call
/// with messages ends when a handler has accepted it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct AttemptEnd<'a> {
    /// What was called.
    pub method: RpcMethod<'a>,
    /// How long it took, from when the stream had it.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// Bytes of the body, as they travel: compressed if they are.
    pub sent: u64,
    /// Bytes of the answer's body, as they travelled.
    pub received: u64,
}

/// A handler that has ended.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct HandlerEnd<'a> {
    /// What was called.
    pub method: RpcMethod<'a>,
    /// How long it was at work.
    pub duration: Duration,
    /// How it ended: as `cancelled` if it was stopped, because nobody waited any more.
    pub outcome: Outcome,
    /// Bytes of the answer's body and of messages, as they travel.
    pub sent: u64,
    /// Bytes of the request's body and of messages, as they travelled.
    pub received: u64,
}

/// Who has opened a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// This node.
    Client,
    /// The peer.
    Server,
}

/// Bytes that have travelled on a stream.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Transferred<'a> {
    /// The protocol's name.
    pub protocol: &'a str,
    /// At which end of the stream this is.
    pub side: Side,
    /// How many were sent.
    pub sent: u64,
    /// How many were received.
    pub received: u64,
}

/// What is told of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ConnectionLabels {
    /// What it goes through.
    pub path: Path,
    /// What carries it.
    pub transport: TransportKind,
    /// Whether this node has dialled it.
    pub dialled: bool,
}

impl ConnectionLabels {
    pub(crate) const fn new(path: Path, transport: TransportKind, dialled: bool) -> Self {
        Self { path, transport, dialled }
    }

    /// `direct` or `relayed`.
    #[must_use]
    pub const fn path(&self) -> &'static str {
        match self.path {
            Path::Direct => "direct",
            Path::Relayed => "relayed",
        }
    }

    /// `tcp`, `quic` or `other`.
    #[must_use]
    pub const fn transport(&self) -> &'static str {
        match self.transport {
            TransportKind::Tcp => "tcp",
            TransportKind::Quic => "quic",
            TransportKind::Other => "other",
        }
    }
}
