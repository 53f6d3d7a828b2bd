//! The signs of life of a connection: when a byte last arrived, and how many were written since.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pointsub_core::Timestamp;

use crate::clock::Clock;

/// The signs of life of one connection. The muxer notes them, and the handler reads them.
#[derive(Debug)]
pub(crate) struct Activity {
    clock: Clock,
    /// Microseconds since the clock's beginning.
    heard: AtomicU64,
    written: AtomicU64,
}

impl Activity {
    pub(crate) fn new(clock: Clock) -> Self {
        let activity = Self { clock, heard: AtomicU64::new(0), written: AtomicU64::new(0) };
        activity.note_heard();
        activity
    }

    /// Bytes have arrived, or the peer has taken bytes that had to wait.
    pub(crate) fn note_heard(&self) {
        let micros = self.clock.now().since(Timestamp::ZERO).as_micros();
        self.heard.store(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.written.store(0, Ordering::Relaxed);
    }

    pub(crate) fn note_written(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// When there was last a sign of life.
    pub(crate) fn heard(&self) -> Timestamp {
        Timestamp::ZERO + Duration::from_micros(self.heard.load(Ordering::Relaxed))
    }

    /// Bytes written since then.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}
