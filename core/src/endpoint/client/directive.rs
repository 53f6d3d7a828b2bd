//! What the dispatcher wants done, what the application is told, and what is counted.

use alloc::boxed::Box;

use super::answer::{ClosestAnswer, ClosestFailure};
use super::question::Question;
use super::state::keys::DialId;
use super::state::pool::stream::Offer;
use crate::connection::StreamCommand;
use crate::error::RequestError;
use crate::id::{ClosestId, PeerId, ProtocolName, RequestId, StreamId};
use crate::wire::compress::Payload;

/// What the [`Dispatcher`](crate::endpoint::Dispatcher) wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directive {
    /// Connect if need be, open a stream, negotiate; then report
    /// [`Dispatcher::opened`](crate::endpoint::Dispatcher::opened) or [`Dispatcher::open_failed`](crate::endpoint::Dispatcher::open_failed).
    Open {
        /// The name the stream will have.
        stream: StreamId,
        /// To whom.
        peer: PeerId,
        /// For which protocol.
        protocol: ProtocolName,
        /// In which formats.
        offer: Offer,
    },
    /// Nobody waits for this open any more. A later outcome is ignored.
    Abandon {
        /// The stream.
        stream: StreamId,
    },
    /// Have a stream do this: [`ClientStream::carry_out`](crate::connection::ClientStream::carry_out).
    Command {
        /// Which stream.
        stream: StreamId,
        /// What.
        command: StreamCommand,
    },
    /// Connect if need be and open a raw stream; then report
    /// [`Dispatcher::dialed`](crate::endpoint::Dispatcher::dialed) or
    /// [`Dispatcher::dial_failed`](crate::endpoint::Dispatcher::dial_failed).
    Dial {
        /// The name the stream will have.
        dial: DialId,
        /// To whom.
        peer: PeerId,
        /// For which protocol.
        protocol: ProtocolName,
    },
    /// Nobody waits for this raw stream any more. A later outcome is ignored.
    AbandonDial {
        /// The stream.
        dial: DialId,
    },
    /// Reset a raw stream: the client closes.
    HangUp {
        /// The stream.
        dial: DialId,
    },
    /// Ask a rule of the user's, without any lock, and tell
    /// [`Dispatcher::decided`](crate::endpoint::Dispatcher::decided) what it says.
    Ask(Box<Question>),
    /// Tell the application.
    Event(ClientEvent),
}

/// What a client tells the application.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A request was answered.
    Response {
        /// The request.
        request: RequestId,
        /// The answer, perhaps compressed.
        payload: Payload,
    },
    /// A request failed.
    Failed {
        /// The request.
        request: RequestId,
        /// How, and whether it may have been processed.
        error: RequestError,
    },
    /// A call to the closest node has come to its end.
    Closest {
        /// The call.
        call: ClosestId,
        /// The answer and who gave it, or the last failure; either way what was tried.
        outcome: Result<ClosestAnswer, ClosestFailure>,
    },
    /// A raw stream is open.
    Dialed {
        /// The stream.
        dial: DialId,
    },
    /// A raw stream could not be opened.
    DialFailed {
        /// The stream.
        dial: DialId,
        /// Why.
        error: RequestError,
    },
    /// After `drain`: no request and no stream is left.
    Drained,
}

/// Counters of a client since it began. At every instant
/// `started == ok + failed + cancelled + in_flight`. Each node that a call to the closest node
/// asks gets a request of its own, and those are counted.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ClientStats {
    /// Requests accepted.
    pub started: u64,
    /// Requests answered with a response.
    pub ok: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that the caller cancelled.
    pub cancelled: u64,
    /// Requests without an outcome yet.
    pub in_flight: u64,
    /// Of those, requests that wait for a stream.
    pub waiting: u64,
    /// Streams for requests, open or being opened.
    pub streams: u64,
    /// Of those, streams without a request.
    pub idle_streams: u64,
    /// Raw streams open or being opened.
    pub raw_streams: u64,
    /// Peers with a stream of either kind, or a request.
    pub peers: u64,
    /// Pairs of a peer and a protocol with a stream for requests, or a request.
    pub routes: u64,
    /// Streams asked for since the beginning.
    pub opens: u64,
    /// Times a request was put on a stream.
    pub placed: u64,
    /// Of those, times that the stream had carried another before.
    pub reused: u64,
    /// Times a request, or a call to the closest node, was tried again after a failure.
    pub retries: u64,
    /// Times a call to the closest node went on to the next node after a failure.
    pub failovers: u64,
    /// Times a call to the closest node asked one more node without waiting for a failure.
    pub hedges: u64,
}

impl ClientStats {
    /// The share of requests that found a pooled stream, from 0 to 1: `reused / placed`. 0 before
    /// the first.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        self.reused as f64 / self.placed.max(1) as f64
    }
}
