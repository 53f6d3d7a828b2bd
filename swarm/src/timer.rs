//! A timer that is set rarely although its deadline changes often.

use std::pin::Pin;
use std::task::Context;

use futures::FutureExt;
use futures_timer::Delay;
use pointsub_core::Timestamp;

use crate::clock::Clock;

/// Wakes the task at a deadline, or earlier: it is not moved when the deadline moves to later,
/// because deadlines of requests mostly do, and most requests end long before theirs.
#[derive(Debug)]
pub(crate) struct Timer {
    clock: Clock,
    delay: Option<Delay>,
    set_for: Option<Timestamp>,
}

impl Timer {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, delay: None, set_for: None }
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
        while let Some(delay) = &mut self.delay
            && Pin::new(delay).poll_unpin(cx).is_ready()
        {
            if due <= self.clock.now() {
                self.set_for = None;
                self.delay = None;
                return true;
            }
            self.set(due);
        }
        false
    }

    fn set(&mut self, due: Timestamp) {
        let wait = self.clock.until(due);
        match &mut self.delay {
            Some(delay) => delay.reset(wait),
            None => self.delay = Some(Delay::new(wait)),
        }
        self.set_for = Some(due);
    }
}
