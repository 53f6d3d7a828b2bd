//! Time in calls.

use super::call::Phase;
use super::event::CallStop;
use super::table::{Calls, Role};
use crate::error::{Cause, StatusCode};
use crate::time::Timestamp;

/// A server that does not confirm the end of a call that was cancelled: its stream cannot be used
/// any further.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Unconfirmed;

/// What is due in a call.
enum Due {
    Deadline,
    /// The server's word.
    Answer,
    Idle,
    Nothing,
}

impl Calls {
    /// When [`handle_timeout`](Self::handle_timeout) must be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// [`Unconfirmed`], at a client.
    pub fn handle_timeout(&mut self, now: Timestamp) -> Result<(), Unconfirmed> {
        self.advance_clock(now);
        while let Some(&(due, id)) = self.timers.first().filter(|(due, _)| *due <= self.now) {
            self.timers.remove(&(due, id));
            if let Some(call) = self.get_mut(id) {
                call.timer = None;
            }
            self.expire(id)?;
            self.arm(id);
        }
        Ok(())
    }

    fn expire(&mut self, id: u64) -> Result<(), Unconfirmed> {
        match (self.due(id), self.role) {
            (Due::Nothing, _) => {}
            (Due::Deadline, Role::Client) => self.give_up(id, Cause::Deadline),
            (Due::Deadline, Role::Server) => {
                self.stop(id, StatusCode::DeadlineExceeded, CallStop::Deadline);
            }
            (Due::Answer, _) => {
                if self.get(id).is_some_and(|call| call.phase != Phase::Opening) {
                    return Err(Unconfirmed);
                }
                self.give_up(id, Cause::TimedOut(self.limits.answer_within));
            }
            (Due::Idle, role) => {
                let idle = self.get(id).and_then(|call| call.idle).unwrap_or_default();
                match role {
                    Role::Client => self.give_up(id, Cause::TimedOut(idle)),
                    Role::Server => {
                        self.stop(id, StatusCode::DeadlineExceeded, CallStop::Idle(idle));
                    }
                }
            }
        }
        Ok(())
    }

    fn due(&mut self, id: u64) -> Due {
        let now = self.now;
        let is_due = |due: Option<Timestamp>| due.is_some_and(|due| due <= now);
        let Some(call) = self.get_mut(id) else { return Due::Nothing };
        if is_due(call.deadline) {
            return Due::Deadline;
        }
        if is_due(call.answer_due) {
            return Due::Answer;
        }
        if is_due(call.idle_due()) {
            if call.waits_for_peer() {
                return Due::Idle;
            }
            // The application keeps it waiting.
            call.moved = now;
        }
        Due::Nothing
    }

    /// Sees to it that a call is looked at in time. A look that comes too early is left as it is:
    /// what has to be looked at moves with every message.
    pub(super) fn arm(&mut self, id: u64) {
        let Some(call) = self.get_mut(id) else { return };
        let Some(due) = call.due() else { return };
        let before = call.timer;
        if before.is_some_and(|before| before <= due) {
            return;
        }
        call.timer = Some(due);
        if let Some(before) = before {
            self.timers.remove(&(before, id));
        }
        self.timers.insert((due, id));
    }
}
