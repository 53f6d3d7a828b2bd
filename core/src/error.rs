//! What can go wrong, and what the caller may do about it.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::id::ProtocolNameError;
use crate::network::candidates::Sources;
use crate::wire::compress::InflateError;
use crate::wire::{FrameError, MetadataError};

/// Whether the handler at the other end may have seen a failed request. Ordered: of several tries,
/// the greatest counts.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Delivery {
    /// Surely not: sending it again cannot execute it twice.
    NotProcessed,
    /// Perhaps: send it again only if executing it twice is harmless.
    Unknown,
    /// Surely: a handler ran. The failure is what it answered, or its answer cannot be used.
    Processed,
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotProcessed => "not processed",
            Self::Unknown => "perhaps processed",
            Self::Processed => "processed",
        })
    }
}

/// How far a request had come when it failed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Checked and refused before anything was done for it.
    Send,
    /// Waiting for a server to be found.
    Discover,
    /// Waiting for a connection, a stream, or room on one.
    Connect,
    /// On its way out.
    Write,
    /// Written; waiting for the answer.
    Wait,
    /// Answered: the outcome is the other end's, or the answer cannot be read.
    Answer,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send => "before sending",
            Self::Discover => "while looking for a server",
            Self::Connect => "while connecting",
            Self::Write => "while writing",
            Self::Wait => "while waiting for the answer",
            Self::Answer => "in the answer",
        })
    }
}

/// The one outcome of a request that did not succeed.
///
/// Its text has all of it, the [`cause`](Self::cause) included. The cause is therefore not the
/// [`source`](core::error::Error::source) as well, and nobody who prints a chain of errors prints it
/// twice.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("request failed {phase} ({delivery}): {cause}")]
#[non_exhaustive]
pub struct RequestError {
    /// What happened.
    pub cause: Cause,
    /// How far the request had come.
    pub phase: Phase,
    /// Whether a handler may have seen it.
    pub delivery: Delivery,
    /// On how many streams it was tried.
    pub attempts: u32,
}

impl RequestError {
    /// A failure before or outside any attempt.
    #[must_use]
    pub const fn new(cause: Cause, phase: Phase, delivery: Delivery) -> Self {
        Self { cause, phase, delivery, attempts: 0 }
    }

    /// The status that the other end answered with, if it answered.
    #[must_use]
    pub const fn status(&self) -> Option<&Status> {
        match &self.cause {
            Cause::Remote(status) => Some(status),
            _ => None,
        }
    }

    /// Whether time ran out: the caller's own, or one of the client's limits.
    ///
    /// ```
    /// use pointsub_core::{Cause, Delivery, Phase, RequestError};
    ///
    /// let error = RequestError::new(Cause::Deadline, Phase::Wait, Delivery::Unknown);
    /// assert!(error.is_timeout() && !error.is_connect() && !error.is_busy());
    /// ```
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        match &self.cause {
            Cause::Deadline | Cause::TimedOut(_) => true,
            Cause::Remote(status) => matches!(status.code, StatusCode::DeadlineExceeded),
            _ => false,
        }
    }

    /// Whether the request failed before a connection or a stream was there for it. Nothing of it was
    /// sent then.
    #[must_use]
    pub const fn is_connect(&self) -> bool {
        matches!(self.phase, Phase::Discover | Phase::Connect)
            || matches!(self.cause, Cause::Unreachable(_) | Cause::NoAddress)
    }

    /// Whether a limit was reached, at the server or of this client: there may be room later.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        match &self.cause {
            Cause::Remote(status) => matches!(status.code, StatusCode::Busy),
            Cause::Refused(error) => {
                matches!(error, SendError::Overloaded { .. } | SendError::TooManyStreams { .. })
            }
            _ => false,
        }
    }
}

impl From<SendError> for RequestError {
    fn from(error: SendError) -> Self {
        Self::new(Cause::Refused(error), Phase::Send, Delivery::NotProcessed)
    }
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Cause {
    /// It was never accepted.
    #[error("{0}")]
    Refused(SendError),
    /// The caller's own deadline passed.
    #[error("the caller's deadline passed")]
    Deadline,
    /// A configured time limit of the phase passed without progress, or with too little:
    /// `connect_timeout`, `write_timeout` or `read_timeout`.
    #[error("no progress within the limit of {0:?}")]
    TimedOut(Duration),
    /// No connection to the peer. Check that it runs, and that an address of it is known.
    #[error("peer unreachable: {0}")]
    Unreachable(Arc<str>),
    /// There is no connection to the peer, and no address of it is known. Trying again would not
    /// change that: connect to an address of the peer, or add one.
    #[error("no address of the peer is known: call Node::connect or add_address first")]
    NoAddress,
    /// The application has named no server of the protocol, and none was found in time. Connect to a
    /// server, name one with `add_server_node`, or have the node look in more places
    /// (`NodeBuilder::discover`).
    #[error(
        "no server was found, asked: {asked}; connect to one, add it with add_server_node, or have \
         the node look in more places with NodeBuilder::discover"
    )]
    NoServerFound {
        /// Where it was looked.
        asked: Sources,
    },
    /// The peer does not speak the protocol, in neither format.
    #[error("the peer does not support the protocol")]
    Unsupported,
    /// The stream or its connection broke.
    #[error("stream lost: {0}")]
    Lost(Arc<str>),
    /// The stream broke with its connection, which went through a relay. Relays end connections at
    /// limits of bytes and time, 128 KiB and 2 min by the usual defaults: send less, ask for larger
    /// limits, or wait for a direct connection. Trying again begins another connection.
    #[error("stream over a relay lost, at the relay's limits perhaps: {0}")]
    RelayLost(Arc<str>),
    /// The other end closed the stream instead of answering. A plain peer does so when its
    /// handler failed.
    #[error("the peer closed the stream without an answer")]
    RemoteClosed,
    /// A plain peer closed the stream in the middle of a large request, as it does with one that is
    /// larger than it accepts: the format has no word for that. The Go library accepts 8 MiB unless
    /// told otherwise. Trying again would not change that: send less at a time.
    #[error(
        "the peer closed the stream in the middle of the request: {len} bytes may be more than it \
         accepts"
    )]
    CutShort {
        /// The request's length.
        len: usize,
    },
    /// The other end broke the rules of the format.
    #[error("protocol violation: {0}")]
    Violation(FrameError),
    /// The other end answered with a failure.
    #[error("answered: {0}")]
    Remote(Status),
    /// The answer's body is broken.
    #[error("{0}")]
    Body(InflateError),
    /// The caller cancelled it.
    #[error("cancelled")]
    Cancelled,
    /// The client was closed while the request was under way.
    #[error("the client was closed")]
    Closed,
}

// By hand: what is printed with the cause must not be its source as well.
impl From<SendError> for Cause {
    fn from(error: SendError) -> Self {
        Self::Refused(error)
    }
}

impl From<FrameError> for Cause {
    fn from(error: FrameError) -> Self {
        Self::Violation(error)
    }
}

impl From<InflateError> for Cause {
    fn from(error: InflateError) -> Self {
        Self::Body(error)
    }
}

/// Why a request was not accepted. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// A peer cannot send requests to itself.
    #[error("a peer cannot send to itself; call the handler directly")]
    SelfRequest,
    /// The body is larger than the client's `max_block_size` or what the peer accepts.
    #[error("the request has {len} bytes, the limit is {limit}")]
    TooLarge {
        /// The body's length.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// The protocol name is not usable.
    #[error(transparent)]
    Protocol(#[from] ProtocolNameError),
    /// Metadata or a method that cannot travel.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// `max_pending` requests wait for a stream already. Wait for some to end.
    #[error("{limit} requests are waiting for streams already")]
    Overloaded {
        /// The configured limit.
        limit: usize,
    },
    /// As many streams as `max_streams_per_peer` or `max_total_streams` allows are in use. Close some.
    #[error("{limit} streams are in use already")]
    TooManyStreams {
        /// The configured limit.
        limit: usize,
    },
    /// No server node is known for the protocol, or every one is excluded or resting. Add nodes
    /// with `add_server_node`.
    #[error("no server node is available")]
    NoNodes,
    /// The client is closing or closed.
    #[error("the client is closed")]
    Closed,
}

/// The kind of failure that a server answers with: `WIRE.md` section 2.4.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StatusCode {
    /// The handler returned an error of its own; the number is the application's.
    Application(u32),
    /// Nothing is registered under the protocol any more.
    NotFound,
    /// The server is at its limit; see [`Status::retry_after`].
    Busy,
    /// The request is larger than the server accepts.
    TooLarge,
    /// The caller's remaining time passed at the server.
    DeadlineExceeded,
    /// Stopped because the client cancelled.
    Cancelled,
    /// The handler panicked or vanished.
    Internal,
    /// The server is shutting down.
    Draining,
    /// The request uses something that the server does not implement.
    Unimplemented,
    /// The request's body is broken, or is not what the handler expects.
    BadRequest,
    /// The response is larger than the client accepts.
    ResponseTooLarge,
    /// The handler wants to know who asks, and the request does not say so.
    Unauthenticated,
    /// The handler does not do this for whoever asks.
    PermissionDenied,
    /// The handler has nothing under what the request names. [`NotFound`](Self::NotFound) is said of
    /// protocols.
    NoSuchResource,
    /// A code that this version does not know.
    Unknown(u8),
}

impl StatusCode {
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Self::Application(_) => 1,
            Self::NotFound => 2,
            Self::Busy => 3,
            Self::TooLarge => 4,
            Self::DeadlineExceeded => 5,
            Self::Cancelled => 6,
            Self::Internal => 7,
            Self::Draining => 8,
            Self::Unimplemented => 9,
            Self::BadRequest => 10,
            Self::ResponseTooLarge => 11,
            Self::Unauthenticated => 12,
            Self::PermissionDenied => 13,
            Self::NoSuchResource => 14,
            Self::Unknown(code) => code,
        }
    }

    pub(crate) const fn from_byte(byte: u8, app_code: u32) -> Self {
        match byte {
            1 => Self::Application(app_code),
            2 => Self::NotFound,
            3 => Self::Busy,
            4 => Self::TooLarge,
            5 => Self::DeadlineExceeded,
            6 => Self::Cancelled,
            7 => Self::Internal,
            8 => Self::Draining,
            9 => Self::Unimplemented,
            10 => Self::BadRequest,
            11 => Self::ResponseTooLarge,
            12 => Self::Unauthenticated,
            13 => Self::PermissionDenied,
            14 => Self::NoSuchResource,
            code => Self::Unknown(code),
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application(code) => write!(f, "application error {code}"),
            Self::NotFound => f.write_str("protocol not registered"),
            Self::Busy => f.write_str("busy"),
            Self::TooLarge => f.write_str("request too large"),
            Self::DeadlineExceeded => f.write_str("deadline exceeded"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Internal => f.write_str("internal error"),
            Self::Draining => f.write_str("shutting down"),
            Self::Unimplemented => f.write_str("not implemented"),
            Self::BadRequest => f.write_str("bad request"),
            Self::ResponseTooLarge => f.write_str("response too large"),
            Self::Unauthenticated => f.write_str("unauthenticated"),
            Self::PermissionDenied => f.write_str("permission denied"),
            Self::NoSuchResource => f.write_str("not found"),
            Self::Unknown(code) => write!(f, "unknown status {code}"),
        }
    }
}

/// A failure as a server answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// What kind of failure.
    pub code: StatusCode,
    /// For people; at most 1024 bytes travel.
    pub message: String,
    /// For programs, in a form the application defines; empty if there is none.
    pub detail: Bytes,
    /// How long to wait before asking again, if the server says.
    pub retry_after: Option<Duration>,
}

impl Status {
    /// A status without detail.
    pub fn new(code: StatusCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: Bytes::new(), retry_after: None }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if let Some(after) = self.retry_after {
            write!(f, " (retry after {after:?})")?;
        }
        Ok(())
    }
}

/// Why a stream could not be opened or did not last, as whoever does the I/O reports it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// No connection to the peer could be made.
    #[error("peer unreachable: {0}")]
    Unreachable(Arc<str>),
    /// There is no connection to the peer, and no address of it is known to dial.
    #[error("no address of the peer is known")]
    NoAddress,
    /// The peer supports none of the formats that were offered.
    #[error("the peer does not support the protocol")]
    Unsupported,
    /// The stream or its connection broke.
    #[error("stream lost: {0}")]
    Lost(Arc<str>),
    /// The connection ended before the peer took the stream: nothing that was written on the
    /// stream can have come to a handler. Of a stream on which the peer has said anything, it
    /// means no more than [`Lost`](Self::Lost).
    #[error("the connection was closed by the peer before it took the stream: {0}")]
    NotAccepted(Arc<str>),
    /// The stream broke, or its connection, which went through a relay.
    #[error("stream over a relay lost: {0}")]
    RelayLost(Arc<str>),
    /// The peer broke the stream off: it is there, and does not want this stream any more.
    #[error("the peer reset the stream")]
    Reset,
}

impl From<StreamError> for Cause {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Unreachable(why) => Self::Unreachable(why),
            StreamError::NoAddress => Self::NoAddress,
            StreamError::Unsupported => Self::Unsupported,
            StreamError::Lost(why) | StreamError::NotAccepted(why) => Self::Lost(why),
            StreamError::RelayLost(why) => Self::RelayLost(why),
            StreamError::Reset => Self::RemoteClosed,
        }
    }
}
