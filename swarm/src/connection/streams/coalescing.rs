//! Delays the writes of a stream, so that they leave together with those of others.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;

use pointsub_core::Format;
use pointsub_core::connection::coalesces;

use super::signals::Signals;

/// One stream's part in the write coalescing of its connection, and in what the peer owes.
pub(crate) struct Coalescing {
    signals: Arc<Signals>,
    /// Requests under way on this stream, as far as the connection knows.
    in_flight: usize,
    /// The peer owes an answer on this stream.
    due: bool,
}

impl Coalescing {
    pub(super) fn new(signals: Arc<Signals>) -> Self {
        Self { signals, in_flight: 0, due: false }
    }

    /// Whether a stream driver waits for one round of the task before it takes its commands, as
    /// [`coalesces`] decides. `in_flight` is how many requests it has under way.
    ///
    /// A driver that waits is polled again, with the waker of `cx`, when all tasks that can run now
    /// have run.
    pub(crate) fn defers(&mut self, format: Format, in_flight: usize, cx: &Context<'_>) -> bool {
        let signals = &self.signals;
        if in_flight != self.in_flight {
            signals.in_flight.fetch_add(in_flight.wrapping_sub(self.in_flight), Ordering::Relaxed);
            self.in_flight = in_flight;
        }
        let on_connection = signals.in_flight.load(Ordering::Relaxed);
        if !coalesces(format, on_connection, signals.resuming.load(Ordering::Relaxed)) {
            return false;
        }
        signals.deferred.lock().push(cx.waker().clone());
        signals.wake_task();
        true
    }

    /// Notes whether the peer owes an answer on this stream.
    pub(crate) fn note_due(&mut self, due: bool) {
        match (std::mem::replace(&mut self.due, due), due) {
            (false, true) => _ = self.signals.due.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.signals.due.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
    }
}

impl Drop for Coalescing {
    fn drop(&mut self) {
        self.note_due(false);
        self.signals.in_flight.fetch_sub(self.in_flight, Ordering::Relaxed);
    }
}

impl fmt::Debug for Coalescing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalescing").finish_non_exhaustive()
    }
}
