//! What a table of calls says, and what is said to it.

use core::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::error::{Cause, Delivery, StatusCode};
use crate::wire::call::MAX_CURSOR;
use crate::wire::compress::Payload;
use crate::wire::{Credit, Metadata};

/// Names a call on its stream: the id of the request that opened it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey(pub u64);

/// One message of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallMessage {
    /// Its bytes, perhaps compressed.
    pub payload: Payload,
    /// What the call can be opened with again to go on behind this message.
    pub cursor: Option<Bytes>,
}

impl CallMessage {
    /// What the message takes of the credit.
    #[must_use]
    pub fn cost(&self) -> Credit {
        Credit::new(self.payload.wire_len() as u32, 1)
    }

    /// Whether it can be sent to a peer that takes no longer ones than `limit`.
    pub(super) fn check(&self, limit: usize) -> Result<(), CallError> {
        let len = self.payload.wire_len().max(self.payload.len());
        let cursor = self.cursor.as_ref().map_or(0, Bytes::len);
        for (len, limit) in [(len, limit), (cursor, MAX_CURSOR)] {
            if len > limit {
                return Err(CallError::TooLarge { len, limit });
            }
        }
        Ok(())
    }
}

impl From<Bytes> for CallMessage {
    fn from(bytes: Bytes) -> Self {
        Self { payload: Payload::new(bytes, None), cursor: None }
    }
}

/// What happens in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEvent {
    /// At a client: a handler has the call.
    Accepted {
        /// What the handler says before its messages.
        metadata: Metadata,
        /// The server's load in thousandths of its limit, if it told.
        load: Option<u16>,
    },
    /// A message has come. When the application has taken it, say so with `taken`.
    Message(CallMessage),
    /// The peer grants so much more.
    Credit(Credit),
    /// The peer sends no more messages.
    Finished,
    /// The server is shutting down, or its stream: the call goes on for a while, and can be opened
    /// elsewhere meanwhile.
    Draining,
    /// At a client: no handler has it under this key. What became of the request that was to open it is
    /// said by a report. The last event of the call.
    Unopened,
    /// At a client: the call is over. The last event of the call.
    Ended(CallEnd),
    /// At a server: the handler is to stop, and then to `respond` with anything. The last event of the
    /// call.
    Stopped(CallStop),
}

/// How a call ended, at its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallEnd {
    /// The result, or why there is none and whether a handler saw the call.
    pub outcome: Result<Payload, (Cause, Delivery)>,
    /// What the server says beside it.
    pub metadata: Metadata,
}

/// Why a handler is to stop.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum CallStop {
    /// The client has cancelled.
    Cancelled,
    /// The client's time is over.
    Deadline,
    /// Nothing has moved for so long.
    Idle(Duration),
    /// A message of the client was refused, with this status.
    Refused(StatusCode),
    /// The stream is gone.
    Lost,
}

/// Why something cannot be done in a call.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The call is over.
    #[error("the call is over")]
    Over,
    /// The end of messages was said already.
    #[error("the call was told that no more messages come")]
    Finished,
    /// The peer has not granted enough. Wait for [`CallEvent::Credit`].
    #[error("the peer takes no more messages at the moment")]
    NoCredit,
    /// The message, argument, result or cursor is too long.
    #[error("{len} bytes, the limit is {limit}")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// As many calls as the stream can have.
    #[error("{limit} calls are open on the stream already")]
    TooManyCalls {
        /// The limit.
        limit: usize,
    },
}
