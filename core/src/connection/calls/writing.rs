//! Frames of calls on their way out.

use super::call::{Answer, Phase};
use super::event::CallKey;
use super::table::{Calls, Role};
use crate::wire::call;
use crate::wire::{Credit, Kind, Outbox, outcome};

/// How many bytes of small messages a call writes before it is the next one's turn.
const TURN: usize = 4 * 1024;
/// What the header of a message counts for in a turn.
const HEADER: usize = 16;

impl Calls {
    /// Whether there is anything to write.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.control.is_empty() || !self.ready.is_empty()
    }

    /// Adds frames to an outbox out of which the next write is about to be taken: all that end and
    /// regulate calls, and then messages of some `bytes` at least, if there are as many. Each call
    /// that has messages has its turn, so that small ones do not wait for long ones.
    pub fn fill(&mut self, outbox: &mut Outbox, bytes: usize) {
        while let Some(id) = self.control.pop_front() {
            self.write_control(id, outbox);
        }
        let mut written = 0;
        while written < bytes {
            let Some(id) = self.ready.pop_front() else { break };
            written += self.write_turn(id, outbox);
        }
    }

    /// Writes messages of one call, until others have a turn.
    fn write_turn(&mut self, id: u64, outbox: &mut Outbox) -> usize {
        let now = self.now;
        let Some(call) = self.get_mut(id) else { return 0 };
        call.in_ready = false;
        call.moved = now;
        let mut written = 0;
        while written < TURN {
            let Some(bytes) = call.out.write(CallKey(id), outbox) else { break };
            written += HEADER + bytes;
        }
        let usable = call.out.release();
        if usable != Credit::NONE && call.is_live() {
            self.push_credit(id, usable);
        }
        self.account(id);
        let Some(call) = self.get(id) else { return written };
        if call.out.is_empty() && call.has_control() {
            self.write_control(id, outbox);
        } else {
            self.schedule(id);
        }
        written
    }

    fn write_control(&mut self, id: u64, outbox: &mut Outbox) {
        let (role, now) = (self.role, self.now);
        let answer_within = self.limits.answer_within;
        let Some(call) = self.get_mut(id) else { return };
        call.in_control = false;
        if let Some(request) = call.todo.request.take() {
            call::request(outbox, id, *request);
            call.answer_due = call.deadline.is_none().then_some(now + answer_within);
        }
        if let Some(acceptance) = call.todo.accept.take() {
            call::accept(outbox, id, &acceptance);
        }
        let grant = core::mem::take(&mut call.todo.grant);
        if grant != Credit::NONE {
            call::credit(outbox, id, grant);
        }
        if core::mem::take(&mut call.todo.cancel) {
            call::bare(outbox, Kind::Cancel, id);
            call.answer_due = Some(now + answer_within);
        }
        let accepted = call.phase != Phase::Opening || role == Role::Server;
        if accepted && call.out.take_end() {
            call::bare(outbox, Kind::Finish, id);
        }
        if call.out.is_empty()
            && let Some(answer) = call.todo.answer.take()
        {
            write_answer(outbox, id, *answer);
            match call.phase {
                Phase::Stopped { .. } => call.phase = Phase::Stopped { answered: true },
                _ => drop(self.remove(id)),
            }
        }
        self.arm(id);
    }
}

fn write_answer(outbox: &mut Outbox, id: u64, answer: Answer) {
    let Answer { outcome, delivery, metadata } = answer;
    match outcome {
        Ok(result) => call::result(outbox, id, result, &metadata),
        Err(status) => outcome::encode_with(outbox, id, &status, delivery, None, &metadata),
    }
}
