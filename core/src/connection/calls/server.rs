//! Calls that the peer opens.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::call::{Answer, Call, MIN_IDLE, Phase, Todo};
use super::event::{CallError, CallEvent, CallKey, CallStop};
use super::incoming::Incoming;
use super::table::{CallLimits, Calls, Role};
use crate::error::{Delivery, Status, StatusCode};
use crate::time::Timestamp;
use crate::wire::call::{self, Acceptance, MAX_ARGUMENT, MAX_CREDIT};
use crate::wire::compress::Payload;
use crate::wire::{CallRequest, CallViolation, Credit, Frame, FrameError, Metadata};

/// A call for which there is a handler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallStart {
    /// What the client's messages may take here at a time, once the call is accepted.
    pub window: Credit,
    /// How far that may grow, where the handler takes messages faster than it lets them come.
    pub grows_to: Credit,
    /// What the server may send at once, and whether the client sends messages: as the request says.
    pub credit: Credit,
    /// The client sends no messages.
    pub silent: bool,
    /// When the client stops waiting.
    pub deadline: Option<Timestamp>,
    /// How long a call is kept in which nothing moves, though this end does not keep it from moving.
    pub idle: Option<Duration>,
    /// Bytes of the request, which the handler may keep: they count until the call ends.
    pub kept: usize,
}

impl Calls {
    /// The table of a stream that the peer has opened.
    #[must_use]
    pub fn server(limits: CallLimits, now: Timestamp) -> Self {
        Self::new(Role::Server, limits, now)
    }

    /// Reads a request that opens a call: what is asked for, or the status with which it is refused,
    /// unprocessed.
    ///
    /// # Errors
    /// [`FrameError`] if the frame breaks the format.
    pub fn read(&self, frame: Frame) -> Result<Result<CallRequest, Status>, FrameError> {
        let opening = call::parse_request(frame)?;
        let credit = opening.request.credit;
        if credit.bytes > MAX_CREDIT || credit.messages > MAX_CREDIT {
            return Err(FrameError::Call(CallViolation::TooMuchCredit));
        }
        let argument = &opening.request.argument;
        let len = argument.wire_len().max(argument.len());
        let limit = self.limits.max_calls;
        let refused = |code: StatusCode, message: &str| Ok(Err(Status::new(code, message)));
        if opening.unknown {
            refused(StatusCode::Unimplemented, "")
        } else if opening.malformed {
            refused(StatusCode::BadRequest, "a method or a cursor that is none")
        } else if len > MAX_ARGUMENT {
            let message =
                alloc::format!("the argument has {len} bytes, the limit is {MAX_ARGUMENT}");
            refused(StatusCode::TooLarge, &message)
        } else if argument.check(MAX_ARGUMENT).is_err() {
            refused(StatusCode::BadRequest, "the argument shrinks too much")
        } else if self.calls.len() >= limit {
            let message = alloc::format!("{limit} calls are open on the stream already");
            refused(StatusCode::Busy, &message)
        } else {
            Ok(Ok(opening.request))
        }
    }

    /// The client has used this id, for a call or for something else.
    pub fn saw(&mut self, id: u64) {
        self.last_id = self.last_id.max(id);
    }

    /// A handler begins to work on the call under that id.
    ///
    /// # Errors
    /// [`CallError::Over`] if the id is in use, or there is more credit than there can be.
    pub fn begin(
        &mut self,
        key: CallKey,
        start: CallStart,
        now: Timestamp,
    ) -> Result<(), CallError> {
        self.advance_clock(now);
        if self.get(key.0).is_some() {
            return Err(CallError::Over);
        }
        let CallStart { window, grows_to, credit, silent, deadline, idle, kept } = start;
        let mut call = Call::new(key.0, Credit::NONE, self.now);
        call.out.credit(credit).map_err(|_| CallError::Over)?;
        (call.deadline, call.idle) = (deadline, idle.map(|idle| idle.max(MIN_IDLE)));
        (call.window, call.grows_to, call.kept) = (window, grows_to, kept);
        if silent {
            call.window = Credit::NONE;
            call.silent = true;
        }
        self.insert(call);
        Ok(())
    }

    /// The handler has the call, and says so with metadata and the load in thousandths.
    ///
    /// # Errors
    /// [`CallError::Over`] if nobody waits for it any more, or it was accepted before.
    pub fn accept(
        &mut self,
        key: CallKey,
        metadata: Metadata,
        load: Option<u16>,
        now: Timestamp,
    ) -> Result<(), CallError> {
        self.advance_clock(now);
        let window = self.live(key)?.window;
        let (window, now) = (self.window(window), self.now);
        let call = self.live(key)?;
        if call.phase != Phase::Opening {
            return Err(CallError::Over);
        }
        call.phase = Phase::Open;
        call.moved = now;
        call.inc = Incoming::new(window);
        call.inc.grow_to(call.grows_to);
        if call.silent {
            // It cannot have been finished before.
            let _first = call.inc.finish();
        }
        let credit = call.inc.window().size();
        call.todo.accept = Some(Box::new(Acceptance { metadata, credit, load }));
        self.account(key.0);
        self.schedule(key.0);
        self.arm(key.0);
        Ok(())
    }

    /// Whether the call waits for its [acceptance](Self::accept).
    #[must_use]
    pub fn is_opening(&self, key: CallKey) -> bool {
        self.get(key.0).is_some_and(|call| call.phase == Phase::Opening)
    }

    /// Whoever sends, or wants to receive, has the call.
    pub(super) fn ensure_accepted(&mut self, key: CallKey) {
        if self.role == Role::Server && self.is_opening(key) {
            // It is live, or nothing would have been sent.
            let _accepted = self.accept(key, Metadata::new(), None, self.now);
        }
    }

    /// The handler has ended, with a result or a failure. The client hears of it behind the messages
    /// that were sent. A result longer than 64 KiB is a failure. If the handler was told to stop, the
    /// client knows already, or hears that it was cancelled.
    pub fn respond(
        &mut self,
        key: CallKey,
        outcome: Result<Payload, Status>,
        metadata: Metadata,
        now: Timestamp,
    ) {
        self.advance_clock(now);
        let Some(call) = self.get_mut(key.0) else { return };
        match call.phase {
            Phase::Answered => return,
            Phase::Stopped { answered: true } => return drop(self.remove(key.0)),
            // It is written before it is removed.
            Phase::Stopped { answered: false } => {
                call.phase = Phase::Answered;
                if call.todo.answer.is_none() {
                    call.todo.answer = Some(Box::new(failure(StatusCode::Cancelled)));
                }
                return self.schedule(key.0);
            }
            Phase::Opening | Phase::Open => {}
        }
        let outcome = match outcome {
            Ok(result) if result.wire_len().max(result.len()) > MAX_ARGUMENT => {
                let message =
                    alloc::format!("the result has {} bytes, send it as a message", result.len());
                Err(Status::new(StatusCode::ResponseTooLarge, message))
            }
            outcome => outcome,
        };
        if outcome.is_err() {
            call.out.drop_unpaid();
        }
        call.out.end();
        call.inc.ignore();
        call.phase = Phase::Answered;
        call.todo.grant = Credit::NONE;
        let answer = Answer { outcome, delivery: Delivery::Unknown, metadata };
        call.todo.answer = Some(Box::new(answer));
        self.forget_events(key.0);
        self.account(key.0);
        self.schedule(key.0);
        self.arm(key.0);
    }

    /// The client has cancelled. Whether that had an effect.
    pub(super) fn on_cancel(&mut self, id: u64) -> bool {
        let Some(call) = self.get_mut(id) else { return false };
        match call.phase {
            Phase::Opening | Phase::Open => {
                call.stop();
                self.push_stop(id, CallStop::Cancelled);
            }
            // What waits for credit is not wanted any more.
            Phase::Answered => self.answer_now(id, StatusCode::Cancelled),
            Phase::Stopped { .. } => return false,
        }
        true
    }

    /// Ends a call from here, and tells its client at once.
    pub(super) fn stop(&mut self, id: u64, code: StatusCode, why: CallStop) {
        let Some(call) = self.get_mut(id) else { return };
        let live = call.is_live();
        if live {
            call.stop();
        }
        self.answer_now(id, code);
        if live {
            self.push_stop(id, why);
        }
    }

    fn push_stop(&mut self, id: u64, why: CallStop) {
        self.account(id);
        self.push(id, CallEvent::Stopped(why));
    }

    /// What waits is dropped, and the client is told why.
    fn answer_now(&mut self, id: u64, code: StatusCode) {
        let Some(call) = self.get_mut(id) else { return };
        call.out.clear();
        (call.deadline, call.idle) = (None, None);
        call.todo.answer = Some(Box::new(failure(code)));
        self.account(id);
        self.schedule(id);
    }

    /// The server takes no further calls on the stream. The handlers are told, and go on.
    pub fn drain_handlers(&mut self, now: Timestamp) {
        self.advance_clock(now);
        self.announce_drain();
    }

    /// Ends all calls that are left: the server has waited for long enough.
    pub fn stop_all(&mut self, now: Timestamp) {
        self.advance_clock(now);
        let ids: Vec<u64> = self.calls.iter().map(|(_, call)| call.id).collect();
        for id in ids {
            self.stop(id, StatusCode::Draining, CallStop::Refused(StatusCode::Draining));
        }
    }

    /// The stream is gone: handlers are to stop, and then to [respond](Self::respond).
    pub fn lose_handlers(&mut self) {
        let ids: Vec<u64> = self.calls.iter().map(|(_, call)| call.id).collect();
        for id in ids {
            let Some(call) = self.get_mut(id) else { continue };
            match call.phase {
                Phase::Answered => drop(self.remove(id)),
                Phase::Stopped { .. } => call.phase = Phase::Stopped { answered: true },
                Phase::Opening | Phase::Open => {
                    call.stop();
                    call.phase = Phase::Stopped { answered: true };
                    self.push_stop(id, CallStop::Lost);
                }
            }
        }
    }
}

fn failure(code: StatusCode) -> Answer {
    let outcome = Err(Status::new(code, ""));
    Answer { outcome, delivery: Delivery::Unknown, metadata: Metadata::new() }
}

impl Call {
    /// Its handler is told to stop: nothing moves any more.
    fn stop(&mut self) {
        self.phase = Phase::Stopped { answered: false };
        self.out.clear();
        self.out.end();
        self.inc.ignore();
        self.todo = Todo::default();
        self.deadline = None;
    }
}
