//! What the dispatcher wants of a stream.

use super::stream::ClientStream;
use crate::id::RequestId;
use crate::time::Timestamp;
use crate::wire::compress::Body;

/// What the [`Dispatcher`](crate::endpoint::Dispatcher) wants of a [`ClientStream`], in a message that
/// may wait in the stream's mailbox. Commands for one stream are to arrive in the order in which they
/// were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamCommand {
    /// Send a request: [`ClientStream::start`].
    Start {
        /// Which request.
        request: RequestId,
        /// Its body.
        body: Body,
        /// When its caller stops waiting.
        deadline: Option<Timestamp>,
    },
    /// Cancel a request: [`ClientStream::cancel`].
    Cancel {
        /// Which request.
        request: RequestId,
    },
    /// Close the stream: [`ClientStream::finish`].
    Close,
    /// There is a better connection: [`ClientStream::retire`].
    Retire,
}

impl StreamCommand {
    /// Whether this is what starts a request. While it waits, nothing of the request was sent.
    #[must_use]
    pub fn starts(&self, wanted: RequestId) -> bool {
        matches!(self, Self::Start { request, .. } if *request == wanted)
    }
}

impl ClientStream {
    /// Carries out what the dispatcher wants.
    #[inline]
    pub fn carry_out(&mut self, command: StreamCommand, now: Timestamp) {
        match command {
            StreamCommand::Start { request, body, deadline } => {
                self.start(request, body, deadline, now);
            }
            StreamCommand::Cancel { request } => self.cancel(request, now),
            StreamCommand::Close => self.finish(now),
            StreamCommand::Retire => self.retire(now),
        }
    }
}
