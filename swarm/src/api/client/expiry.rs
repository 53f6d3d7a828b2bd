//! Deadlines of callers, kept apart from the swarm.
//!
//! The dispatcher keeps deadlines too, and knows more when one passes. But its time passes only where
//! the swarm is polled: a caller that does so itself, in between, or whose runtime is blocked, would
//! wait for as long as that takes. So a caller with a deadline is also woken from here, a little later.
//!
//! All callers of a client share one timer, which is the system's: it goes off while the runtime is
//! blocked, and on the task of whoever waits. One for each would wake the thread of the timers twice for
//! each request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use pointsub_core::Timestamp;

use crate::clock::Clock;
use crate::timer::Timer;

/// How much later than the client's own timers a caller looks at its deadline. It matters only where
/// the swarm is not polled.
const MARGIN: Duration = Duration::from_millis(50);

/// The deadlines of a client's callers.
#[derive(Debug)]
pub(crate) struct Deadlines {
    clock: Clock,
    state: Mutex<State>,
    /// The timer has gone off since somebody looked.
    fired: AtomicBool,
    alarm: Waker,
}

#[derive(Debug)]
struct State {
    timer: Timer,
    callers: BTreeMap<(Timestamp, u64), Waker>,
    /// How many callers there were so far, which tells apart those of the same deadline.
    count: u64,
}

/// What the timer wakes.
struct Alarm(Weak<Deadlines>);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        if let Some(deadlines) = self.0.upgrade() {
            deadlines.fired.store(true, Ordering::SeqCst);
            deadlines.look();
        }
    }
}

impl Deadlines {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| Self {
            state: Mutex::new(State {
                timer: Timer::of_the_system(clock.clone()),
                callers: BTreeMap::new(),
                count: 0,
            }),
            clock,
            fired: AtomicBool::new(false),
            alarm: Waker::from(Arc::new(Alarm(this.clone()))),
        })
    }

    /// Wakes those whose deadline has passed, and sets the timer for the next one.
    fn look(&self) {
        loop {
            // The timer may go off while it is set. Whoever has the lock looks again afterwards.
            let Some(mut state) = self.state.try_lock() else { return };
            self.fired.store(false, Ordering::SeqCst);
            let later = state.callers.split_off(&(self.clock.now(), u64::MAX));
            let due = std::mem::replace(&mut state.callers, later);
            let next = state.callers.keys().next().map(|(due, _)| *due);
            let passed = state.timer.poll_due(next, &mut Context::from_waker(&self.alarm));
            drop(state);
            due.into_values().for_each(Waker::wake);
            if !passed && !self.fired.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Adds a caller, or remembers how to wake it now. Returns its number.
    fn watch(&self, due: Timestamp, number: Option<u64>, waker: &Waker) -> u64 {
        let mut state = self.state.lock();
        let number = number.unwrap_or_else(|| {
            state.count += 1;
            state.count
        });
        let known = state.callers.insert((due, number), waker.clone());
        let is_next = state.callers.keys().next() == Some(&(due, number));
        drop(state);
        // Without the lock, because with a waker goes what its task holds.
        drop(known);
        if is_next || self.fired.load(Ordering::SeqCst) {
            self.look();
        }
        number
    }

    fn forget(&self, due: Timestamp, number: u64) {
        let known = self.state.lock().callers.remove(&(due, number));
        drop(known);
        if self.fired.load(Ordering::SeqCst) {
            self.look();
        }
    }
}

/// A caller's deadline.
#[derive(Debug)]
pub(super) struct Expiry {
    deadlines: Arc<Deadlines>,
    due: Timestamp,
    number: Option<u64>,
}

impl Expiry {
    pub(super) fn new(deadlines: &Arc<Deadlines>, deadline: Timestamp) -> Self {
        Self { deadlines: deadlines.clone(), due: deadline + MARGIN, number: None }
    }

    /// Whether the deadline has passed, and the dispatcher had its chance; arranges a wake-up if not.
    pub(super) fn poll_passed(&mut self, cx: &Context<'_>) -> bool {
        if self.due <= self.deadlines.clock.now() {
            return true;
        }
        self.number = Some(self.deadlines.watch(self.due, self.number, cx.waker()));
        false
    }
}

impl Drop for Expiry {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.deadlines.forget(self.due, number);
        }
    }
}
