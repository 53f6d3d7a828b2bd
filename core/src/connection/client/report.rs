//! What a stream tells the dispatcher.

use crate::error::RequestError;
use crate::id::RequestId;
use crate::wire::outcome::Answer;

/// What a [`ClientStream`](crate::connection::ClientStream) tells the [`Dispatcher`](crate::endpoint::Dispatcher).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The answer to a request came; its slot on the stream is free.
    Answered {
        /// The request.
        request: RequestId,
        /// What the server answered.
        answer: Answer,
        /// The server's load in thousandths of its limit, if it told.
        load: Option<u16>,
    },
    /// A handler has the call that was opened as this request. Its slot on the stream stays taken
    /// until the call has ended: [`Report::Vacated`].
    Accepted {
        /// The request.
        request: RequestId,
        /// The server's load in thousandths of its limit, if it told.
        load: Option<u16>,
    },
    /// A request failed on this stream.
    Failed {
        /// The request.
        request: RequestId,
        /// Why.
        error: RequestError,
        /// What became of its slot on the stream.
        slot: Slot,
    },
    /// The server stopped working on a cancelled request, or a call has ended; its slot is free.
    Vacated,
    /// The server said how many requests it takes at a time.
    Limit(usize),
    /// The server takes no further requests on the stream.
    Draining,
    /// The stream takes no further requests, since there is a better way to the peer.
    Retired,
    /// The stream is gone. The last report; every request on it was reported before.
    Closed,
}

/// What became of the slot that a failed request had on its stream.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Free for another request.
    Free,
    /// Taken until the server says that it has stopped: [`Report::Vacated`].
    Taken,
    /// Gone with the stream: [`Report::Closed`] follows.
    Gone,
}
