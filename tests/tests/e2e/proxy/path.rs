//! How fast bytes pass in one direction, and how long they take.

use std::time::{Duration, Instant};

/// So much of the time in which nothing was sent can be made up for: the thread wakes late.
const CREDIT: Duration = Duration::from_millis(5);
/// The largest piece that is carried at once.
const LARGEST: usize = 64 * 1024;

/// What one direction is like. The default is immediate and unlimited.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Path {
    /// Every byte arrives so much later.
    pub(crate) delay: Duration,
    /// So many bytes pass in a second.
    pub(crate) rate: Option<u64>,
}

/// A path in use.
#[derive(Debug)]
pub(super) struct Link {
    path: Path,
    /// When the last piece has left.
    free_at: Instant,
}

impl Link {
    pub(super) fn new(path: Path, now: Instant) -> Self {
        Self { path, free_at: now }
    }

    /// When the next piece may enter.
    pub(super) const fn free_at(&self) -> Instant {
        self.free_at
    }

    /// How large a piece may be: what passes in 10 ms, so that several connections alternate.
    pub(super) fn piece(&self) -> usize {
        let hundredth = self.path.rate.map(|rate| usize::try_from(rate / 100).unwrap_or(LARGEST));
        hundredth.map_or(LARGEST, |bytes| bytes.clamp(256, LARGEST / 4))
    }

    /// Lets a piece in. Returns when it arrives.
    pub(super) fn enter(&mut self, bytes: usize, now: Instant) -> Instant {
        let begins = self.free_at.max(now.checked_sub(CREDIT).unwrap_or(now));
        let takes = self.path.rate.map(|rate| Duration::from_secs_f64(bytes as f64 / rate as f64));
        self.free_at = begins + takes.unwrap_or_default();
        self.free_at.max(now) + self.path.delay
    }
}
