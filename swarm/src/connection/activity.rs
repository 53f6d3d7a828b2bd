//! What the muxer of a connection sees pass: signs of life, and how fast the peer takes what is written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pointsub_core::Timestamp;
use pointsub_core::connection::CompressionChoice;
use pointsub_core::wire::compress::Gain;

use crate::clock::Clock;

/// What passes on one connection. The muxer notes it. The handler reads the signs of life, and whoever has
/// a body asks whether to compress it.
#[derive(Debug)]
pub(crate) struct Activity {
    clock: Clock,
    /// Microseconds since the clock's beginning.
    heard: AtomicU64,
    written: AtomicU64,
    compression: Mutex<CompressionChoice>,
}

impl Activity {
    pub(crate) fn new(clock: Clock) -> Self {
        let activity = Self {
            clock,
            heard: AtomicU64::new(0),
            written: AtomicU64::new(0),
            compression: Mutex::default(),
        };
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

    /// A frame with bytes of a stream begins to be written. Whether it is the stream's `first`.
    pub(crate) fn note_frame(&self, stream: u32, first: bool, bytes: usize) {
        self.compression.lock().wrote(stream, first, bytes, self.clock.now());
    }

    /// The peer has given credit for a stream.
    pub(crate) fn note_credit(&self, stream: u32, bytes: u32) {
        self.compression.lock().credited(stream, bytes, self.clock.now());
    }

    /// Whether to compress a body of so many bytes.
    pub(crate) fn compresses(&self, len: usize, gain: &Gain) -> bool {
        self.compression.lock().compresses(len, gain)
    }

    /// Bytes a second that the peer takes, once that is known.
    #[cfg(test)]
    pub(crate) fn rate(&self) -> Option<u64> {
        self.compression.lock().rate()
    }

    /// A body was compressed, to so many bytes.
    pub(crate) fn note_compressed(&self, len: usize) {
        self.compression.lock().compressed(len);
    }
}
