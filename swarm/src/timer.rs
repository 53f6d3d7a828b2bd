//! A timer that is set rarely although its deadline changes often.

use std::task::Context;

use futures::FutureExt;
use pointsub_core::Timestamp;

use crate::clock::{Clock, Sleep};

/// Wakes the task at a deadline, or earlier: it is not moved when the deadline moves to later,
/// because deadlines of requests mostly do, and most requests end long before theirs.
#[derive(Debug)]
pub(crate) struct Timer {
    clock: Clock,
    sleep: Option<Sleep>,
    set_for: Option<Timestamp>,
    /// The system wakes, and not the runtime.
    of_the_system: bool,
}

impl Timer {
    /// For a task of the runtime.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, sleep: None, set_for: None, of_the_system: false }
    }

    /// For any task. It looks at the runtime's clock when as much time of the system has passed.
    pub(crate) fn of_the_system(clock: Clock) -> Self {
        Self { of_the_system: true, ..Self::new(clock) }
    }

    /// Whether `due` has passed; arranges a wake-up if it has not.
    pub(crate) fn poll_due(&mut self, due: Option<Timestamp>, cx: &mut Context<'_>) -> bool {
        let Some(due) = due else { return false };
        if due <= self.clock.now() {
            return true;
        }
        if self.set_for.is_none_or(|set_for| due < set_for) {
            self.set(due);
        }
        while let Some(sleep) = &mut self.sleep
            && sleep.poll_unpin(cx).is_ready()
        {
            if due <= self.clock.now() {
                self.set_for = None;
                self.sleep = None;
                return true;
            }
            self.set(due);
        }
        false
    }

    fn set(&mut self, due: Timestamp) {
        self.sleep = Some(match self.of_the_system {
            true => Sleep::of_the_system(self.clock.until(due)),
            false => self.clock.sleep_until(due),
        });
        self.set_for = Some(due);
    }
}
