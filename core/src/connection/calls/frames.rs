//! Frames of calls as they come.

use super::call::Phase;
use super::event::{CallEvent, CallStop};
use super::incoming::Fault;
use super::table::{Calls, Role};
use crate::error::{Cause, StatusCode};
use crate::time::Timestamp;
use crate::wire::call::{self, MIN_PART};
use crate::wire::{CallViolation, Credit, Frame, FrameError, Kind};

/// What it costs to cancel a call that a handler works on, in points.
const CANCELLED: u32 = 10;

/// What a frame without an effect costs: a point, and one for each KiB.
fn price(frame: &Frame) -> u32 {
    1 + u32::try_from((frame.head.len() + frame.body.len()) / 1024).unwrap_or(u32::MAX)
}

impl Calls {
    /// Takes in a frame of a call: any kind but those that are about the whole stream, and but the
    /// request that opens a call, which is [read](Self::read) elsewhere.
    ///
    /// # Errors
    /// [`FrameError`] if the peer broke the rules: the stream cannot be used any further.
    pub fn handle(&mut self, frame: Frame, now: Timestamp) -> Result<(), FrameError> {
        self.advance_clock(now);
        match (self.role, frame.header.kind) {
            (_, Some(Kind::Data)) => self.on_data(frame),
            (_, Some(Kind::Credit)) => self.on_credit(&frame),
            (_, Some(Kind::Finish)) => self.on_finish(&frame),
            (Role::Client, Some(Kind::Accept)) => self.on_accept(&frame),
            (Role::Client, Some(Kind::Response)) => self.on_response(frame),
            (Role::Server, Some(Kind::Cancel)) => {
                let effective = self.on_cancel(frame.header.id);
                self.charge(if effective { CANCELLED } else { price(&frame) });
                Ok(())
            }
            _ => Err(FrameError::Unexpected("a frame of a call from the wrong side")),
        }
    }

    fn charge(&mut self, points: u32) {
        self.offences = self.offences.saturating_add(points);
    }

    /// Whether the call of a frame is here. One that has ended at a server may have crossed its end.
    fn is_known(&mut self, frame: &Frame) -> Result<bool, FrameError> {
        let id = frame.header.id;
        match self.get(id) {
            Some(call) if call.todo.request.is_none() => Ok(true),
            None if self.role == Role::Server && id <= self.last_id && id > 0 => {
                self.charge(price(frame));
                Ok(false)
            }
            _ => Err(FrameError::Call(CallViolation::NotOpen)),
        }
    }

    /// Whether the peer may send anything in the call but its acceptance or end.
    fn is_accepted(&self, id: u64) -> bool {
        self.get(id).is_none_or(|call| call.phase != Phase::Opening)
    }

    fn on_data(&mut self, frame: Frame) -> Result<(), FrameError> {
        if !self.is_known(&frame)? {
            return Ok(());
        }
        let (id, now) = (frame.header.id, self.now);
        if !self.is_accepted(id) {
            return Err(FrameError::Call(CallViolation::Acceptance));
        }
        let mut part = call::parse_data(frame)?;
        if self.role == Role::Server {
            // A client has no state that a call could go on from.
            part.first.cursor = None;
        }
        let room = self.room(id);
        let Some((call, copies)) = self.get_with_copies(id) else { return Ok(()) };
        call.moved = now;
        let parts = call.inc.is_in_parts() || part.more;
        match call.inc.take(part, room, |message| copies.copy(id, message)) {
            Ok(message) => {
                // One that comes whole moves from what may come to what has come: nothing is due.
                if parts {
                    self.regulate(id);
                }
                if let Some(message) = message {
                    self.push(id, CallEvent::Message(message));
                }
                Ok(())
            }
            Err(Fault::Violation(violation)) => Err(FrameError::Call(violation)),
            Err(Fault::Refused(code)) => {
                self.refuse(id, code);
                Ok(())
            }
        }
    }

    /// A message was too long, or there was no memory for it.
    fn refuse(&mut self, id: u64, code: StatusCode) {
        match self.role {
            Role::Server => self.stop(id, code, CallStop::Refused(code)),
            Role::Client => {
                let limit = self.limits.max_message as u64;
                let error = match code {
                    StatusCode::Busy => FrameError::NoRoom { id, request: false, announced: limit },
                    _ => FrameError::TooLarge { id, request: false, announced: limit + 1, limit },
                };
                self.give_up(id, Cause::Violation(error));
            }
        }
    }

    fn on_credit(&mut self, frame: &Frame) -> Result<(), FrameError> {
        if !self.is_known(frame)? {
            return Ok(());
        }
        let (id, now) = (frame.header.id, self.now);
        let credit = call::parse_credit(frame)?;
        if credit.messages == 0 && (credit.bytes as usize) < MIN_PART {
            self.charge(price(frame));
        }
        if !self.is_accepted(id) {
            return Err(FrameError::Call(CallViolation::Acceptance));
        }
        let Some(call) = self.get_mut(id) else { return Ok(()) };
        call.moved = now;
        let usable = call.out.credit(credit).map_err(FrameError::Call)?;
        if call.is_live() && usable != Credit::NONE {
            self.push_credit(id, usable);
        }
        self.schedule(id);
        Ok(())
    }

    fn on_finish(&mut self, frame: &Frame) -> Result<(), FrameError> {
        if !self.is_known(frame)? {
            return Ok(());
        }
        let (id, now) = (frame.header.id, self.now);
        if !self.is_accepted(id) {
            return Err(FrameError::Call(CallViolation::Acceptance));
        }
        let Some(call) = self.get_mut(id) else { return Ok(()) };
        call.moved = now;
        call.inc.finish().map_err(FrameError::Call)?;
        if call.is_live() {
            self.push(id, CallEvent::Finished);
        }
        self.account(id);
        Ok(())
    }
}
