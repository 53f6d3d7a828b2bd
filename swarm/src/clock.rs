//! The one place that reads a clock.

use std::time::{Duration, Instant};

use pointsub_core::Timestamp;

/// Turns the machine's clock into the core's timestamps: the epoch is the clock's creation.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Clock {
    epoch: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { epoch: Instant::now() }
    }

    pub(crate) fn now(self) -> Timestamp {
        Timestamp::ZERO + self.epoch.elapsed()
    }

    /// The instant that a timestamp of this clock stands for.
    pub(crate) fn instant(self, when: Timestamp) -> Instant {
        self.epoch + when.since(Timestamp::ZERO)
    }

    /// How long it is until `due`, as timers want it: never too short.
    pub(crate) fn until(self, due: Timestamp) -> Duration {
        due.since(self.now())
    }
}
