//! The command queue of one stream of the server, and what is put into it.

use std::task::Context;

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use pointsub_core::connection::CallId;
use pointsub_core::{Body, Status};

/// What waits for one stream's driver.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    commands: Mutex<Vec<Command>>,
    driver: AtomicWaker,
}

impl Mailbox {
    pub(crate) fn push(&self, command: Command) {
        self.commands.lock().push(command);
        self.driver.wake();
    }

    pub(crate) fn take(&self, into: &mut Vec<Command>, cx: &Context<'_>) {
        self.driver.register(cx.waker());
        std::mem::swap(&mut *self.commands.lock(), into);
    }
}

/// What becomes of a request.
pub(crate) type Answer = Result<Body, Failure>;

/// Why a request has no response.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Its handler, or what runs it, says so.
    Status(Status),
    /// No handler saw it: its body was to inflate to so many bytes, and did not.
    Malformed { len: usize, status: Status },
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

#[derive(Debug)]
pub(crate) enum Command {
    /// A handler has ended.
    Respond {
        call: CallId,
        answer: Answer,
    },
    /// A handler was stopped.
    Abandoned {
        call: CallId,
    },
    /// The server does not wait any longer for calls.
    EndCalls,
    Drain {
        /// The server stops, and is to know that the peer has got everything.
        stop: bool,
    },
    Reset,
}
