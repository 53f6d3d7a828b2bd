//! One call as its table knows it.

use alloc::boxed::Box;
use core::time::Duration;

use super::incoming::Incoming;
use super::outgoing::Outgoing;
use crate::error::{Delivery, Status};
use crate::time::{Timestamp, earliest};
use crate::wire::call::Acceptance;
use crate::wire::compress::Payload;
use crate::wire::{CallRequest, Credit, Metadata};

/// No idle timeout is shorter.
pub(super) const MIN_IDLE: Duration = Duration::from_millis(1);

/// Where a call is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client has asked, and no handler has accepted.
    Opening,
    /// A handler has it.
    Open,
    /// At a client: nobody waits for it, and the server has not confirmed. At a server: its handler
    /// was told to stop and has not. `answered` says whether the client was told.
    Stopped { answered: bool },
    /// At a server: its handler has ended, and the answer waits behind messages.
    Answered,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) phase: Phase,
    pub(super) out: Outgoing,
    pub(super) inc: Incoming,
    pub(super) todo: Todo,
    /// At a server: what the client's messages may take, once the call is accepted.
    pub(super) window: Credit,
    /// At a server: how far that may grow.
    pub(super) grows_to: Credit,
    /// At a server: the client sends no messages.
    pub(super) silent: bool,
    /// It is in the queue of calls with frames that go before messages, or with messages.
    pub(super) in_control: bool,
    pub(super) in_ready: bool,
    pub(super) deadline: Option<Timestamp>,
    /// After so long without a move it ends.
    pub(super) idle: Option<Duration>,
    /// When something moved last.
    pub(super) moved: Timestamp,
    /// Until when a client waits for the server's word.
    pub(super) answer_due: Option<Timestamp>,
    /// When it is looked at next, at the latest.
    pub(super) timer: Option<Timestamp>,
    /// Bytes that are counted for it.
    pub(super) held: Held,
    /// At a server: bytes of the request, which its handler may keep.
    pub(super) kept: usize,
}

/// Bytes that are counted for calls.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Of messages that have come or may come.
    pub(super) incoming: usize,
    /// Of messages that wait to be written.
    pub(super) outgoing: usize,
    /// Those of both that wait for the peer, to send the rest of a message or to take one.
    pub(super) stalled: usize,
}

impl Held {
    pub(super) fn replace(&mut self, before: Self, after: Self) {
        self.incoming = self.incoming - before.incoming + after.incoming;
        self.outgoing = self.outgoing - before.outgoing + after.outgoing;
        self.stalled = self.stalled - before.stalled + after.stalled;
    }
}

/// Frames of a call that go before messages.
#[derive(Debug, Default)]
pub(super) struct Todo {
    pub(super) request: Option<Box<CallRequest>>,
    pub(super) accept: Option<Box<Acceptance>>,
    pub(super) grant: Credit,
    pub(super) cancel: bool,
    /// Goes behind the messages that wait.
    pub(super) answer: Option<Box<Answer>>,
}

/// What ends a call at its server.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) outcome: Result<Payload, Status>,
    pub(super) delivery: Delivery,
    pub(super) metadata: Metadata,
}

impl Call {
    pub(super) fn new(id: u64, window: Credit, now: Timestamp) -> Self {
        Self {
            id,
            phase: Phase::Opening,
            out: Outgoing::default(),
            inc: Incoming::new(window),
            todo: Todo::default(),
            window: Credit::NONE,
            grows_to: Credit::NONE,
            silent: false,
            in_control: false,
            in_ready: false,
            deadline: None,
            idle: None,
            moved: now,
            answer_due: None,
            timer: None,
            held: Held::default(),
            kept: 0,
        }
    }

    /// Whether somebody works on it here or waits for it.
    pub(super) const fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Opening | Phase::Open)
    }

    /// Whether there is a frame that goes before messages.
    pub(super) fn has_control(&self) -> bool {
        let todo = &self.todo;
        todo.request.is_some()
            || todo.accept.is_some()
            || todo.cancel
            || todo.grant != Credit::NONE
            || self.out.is_empty() && (todo.answer.is_some() || self.out.is_finishing())
    }

    /// What is to be counted for it.
    pub(super) fn holds(&self) -> Held {
        let (incoming, outgoing) = (self.inc.reserved(), self.out.waiting());
        let arriving = if self.inc.is_arriving() { incoming } else { 0 };
        Held { incoming: incoming + self.kept, outgoing, stalled: outgoing + arriving }
    }

    /// Whether it waits for nothing but its peer.
    pub(super) fn waits_for_peer(&self) -> bool {
        let lacks_credit = self.out.is_short() || self.out.is_exhausted();
        !self.inc.has_untaken() && (self.inc.is_open() || lacks_credit)
    }

    pub(super) fn idle_due(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Open | Phase::Answered => self.idle.map(|idle| self.moved + idle),
            Phase::Opening | Phase::Stopped { .. } => None,
        }
    }

    /// When it has to be looked at.
    pub(super) fn due(&self) -> Option<Timestamp> {
        earliest(earliest(self.deadline, self.answer_due), self.idle_due())
    }
}
