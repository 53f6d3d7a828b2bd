//! Calls that this end opens.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::call::{Call, MIN_IDLE, Phase, Todo};
use super::event::{CallEnd, CallError, CallEvent, CallKey};
use super::table::{CallLimits, Calls, Role};
use crate::error::{Cause, Delivery, Status, StatusCode};
use crate::time::Timestamp;
use crate::wire::call::{self, MAX_ARGUMENT};
use crate::wire::compress::Payload;
use crate::wire::{
    CallRequest, CallViolation, Credit, Frame, FrameError, MAX_CURSOR, Metadata, outcome,
};

/// A call that is to be opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallOpening {
    /// What the server is told. Its credit is the window for the server's messages: so much of them
    /// lies here, or is on its way, at a time.
    pub request: CallRequest,
    /// How far that window may grow, where the application takes messages faster than it lets them come.
    pub grows_to: Credit,
    /// When the caller stops waiting for the end.
    pub deadline: Option<Timestamp>,
    /// How long the caller waits where nothing moves, though this end does not keep it from moving.
    pub idle: Option<Duration>,
}

impl Calls {
    /// The table of a stream that this end has opened.
    #[must_use]
    pub fn client(limits: CallLimits, now: Timestamp) -> Self {
        Self::new(Role::Client, limits, now)
    }

    /// Opens a call under an id that is greater than those of all requests before. It is accepted
    /// with [`CallEvent::Accepted`], and its messages wait for that.
    ///
    /// # Errors
    /// [`CallError`], and nothing is sent.
    pub fn open(
        &mut self,
        key: CallKey,
        opening: CallOpening,
        now: Timestamp,
    ) -> Result<(), CallError> {
        self.advance_clock(now);
        let CallOpening { mut request, grows_to, deadline, idle } = opening;
        let argument = request.argument.wire_len().max(request.argument.len());
        let cursor = request.resume.as_ref().map_or(0, |cursor| cursor.len());
        for (len, limit) in [(argument, MAX_ARGUMENT), (cursor, MAX_CURSOR)] {
            if len > limit {
                return Err(CallError::TooLarge { len, limit });
            }
        }
        let limit = self.limits.max_calls;
        if self.calls.len() >= limit {
            return Err(CallError::TooManyCalls { limit });
        }
        if self.draining || key.0 <= self.last_id {
            return Err(CallError::Over);
        }
        let mut call = Call::new(key.0, self.window(request.credit), self.now);
        request.credit = call.inc.window().size();
        call.inc.grow_to(grows_to);
        request.timeout = deadline.map(|deadline| outcome::millis(deadline.since(self.now)));
        if request.silent {
            call.out.end();
        }
        call.todo.request = Some(Box::new(request));
        (call.deadline, call.idle) = (deadline, idle.map(|idle| idle.max(MIN_IDLE)));
        self.insert(call);
        self.schedule(key.0);
        Ok(())
    }

    /// Nobody waits for the call any more: no event names it from here on.
    pub fn cancel(&mut self, key: CallKey, now: Timestamp) {
        self.advance_clock(now);
        if self.role == Role::Client && self.live(key).is_ok() {
            self.forget_events(key.0);
            self.abandon(key.0);
        }
    }

    /// Tells the server that nobody waits.
    pub(super) fn abandon(&mut self, id: u64) {
        let Some(call) = self.get_mut(id) else { return };
        if call.todo.request.is_some() {
            // It was never sent.
            drop(self.remove(id));
            return;
        }
        call.phase = Phase::Stopped { answered: false };
        call.out.clear();
        call.out.end();
        call.inc.ignore();
        call.todo = Todo { cancel: true, ..Todo::default() };
        (call.deadline, call.answer_due) = (None, None);
        self.schedule(id);
        self.account(id);
    }

    /// The call is over for this end, and the server is told.
    pub(super) fn give_up(&mut self, id: u64, cause: Cause) {
        let Some(call) = self.get(id) else { return };
        let delivery = call.delivery();
        self.push_end(id, Err((cause, delivery)), Metadata::new());
        self.abandon(id);
    }

    pub(super) fn push_end(
        &mut self,
        id: u64,
        outcome: Result<Payload, (Cause, Delivery)>,
        metadata: Metadata,
    ) {
        self.push(id, CallEvent::Ended(CallEnd { outcome, metadata }));
    }

    pub(super) fn on_accept(&mut self, frame: &Frame) -> Result<(), FrameError> {
        let (id, now) = (frame.header.id, self.now);
        let acceptance = call::parse_accept(frame)?;
        let call = self.get_mut(id).filter(|call| call.todo.request.is_none());
        let call = call.ok_or(FrameError::Call(CallViolation::NotOpen))?;
        match call.phase {
            Phase::Opening => {}
            // Its cancellation has crossed.
            Phase::Stopped { .. } => return Ok(()),
            _ => return Err(FrameError::Call(CallViolation::Acceptance)),
        }
        let usable = call.out.credit(acceptance.credit).map_err(FrameError::Call)?;
        call.phase = Phase::Open;
        call.answer_due = None;
        call.moved = now;
        self.schedule(id);
        self.arm(id);
        let call::Acceptance { metadata, load, .. } = acceptance;
        self.push(id, CallEvent::Accepted { metadata, load });
        self.push(id, CallEvent::Credit(usable));
        Ok(())
    }

    pub(super) fn on_response(&mut self, frame: Frame) -> Result<(), FrameError> {
        let id = frame.header.id;
        let limit = self.limits.max_message;
        let call = self.get_mut(id).filter(|call| call.todo.request.is_none());
        let call = call.ok_or(FrameError::Call(CallViolation::NotOpen))?;
        let metadata = Metadata::read(&frame.head);
        let (answer, _) = outcome::parse(frame)?;
        call.inc.end(answer.is_ok()).map_err(FrameError::Call)?;
        let was_open = call.is_live();
        let outcome = match answer {
            Ok(result) if result.wire_len() > MAX_ARGUMENT => {
                return Err(FrameError::Call(CallViolation::Result));
            }
            Ok(result) => match result.check(limit) {
                Ok(()) => Ok(result.split().0),
                Err(error) => Err((error.into(), Delivery::Processed)),
            },
            // Whoever has accepted a call has seen it.
            Err((status, _)) if call.phase == Phase::Open => {
                Err((Cause::Remote(status), Delivery::Processed))
            }
            Err((status, delivery)) => Err((Cause::Remote(status), delivery)),
        };
        if was_open {
            self.push_end(id, outcome, metadata);
        }
        drop(self.remove(id));
        Ok(())
    }

    /// The server takes nothing beyond `last`: those calls were surely not processed. The others are
    /// told, and go on.
    pub fn drain(&mut self, last: u64, now: Timestamp) {
        self.advance_clock(now);
        let beyond = self.calls.iter().filter(|(_, call)| call.id > last);
        let beyond: Vec<(u64, bool)> = beyond.map(|(_, call)| (call.id, call.is_live())).collect();
        for (id, live) in beyond {
            if live {
                let cause = Cause::Remote(Status::new(StatusCode::Draining, ""));
                self.push_end(id, Err((cause, Delivery::NotProcessed)), Metadata::new());
            }
            drop(self.remove(id));
        }
        self.announce_drain();
    }

    /// There is a better way to the peer: no further calls are opened here, and those that are open
    /// are told.
    pub fn retire(&mut self, now: Timestamp) {
        self.advance_clock(now);
        self.announce_drain();
    }

    /// The stream is gone: every call on it has ended.
    pub fn lose(&mut self, cause: &Cause) {
        let ids: Vec<u64> = self.calls.iter().map(|(_, call)| call.id).collect();
        for id in ids {
            let Some(call) = self.remove(id) else { continue };
            if call.is_live() {
                self.push_end(id, Err((cause.clone(), call.delivery())), Metadata::new());
            }
        }
    }
}

impl Call {
    /// Whether a handler has seen the call, as far as this end knows.
    fn delivery(&self) -> Delivery {
        match self.phase {
            Phase::Opening if self.todo.request.is_some() => Delivery::NotProcessed,
            Phase::Opening => Delivery::Unknown,
            _ => Delivery::Processed,
        }
    }
}
