//! Whether bodies are compressed on a connection: only where that takes less time than it saves.

use super::throughput::Throughput;
use crate::time::Timestamp;
use crate::wire::compress::Gain;

const KIB: usize = 1024;
/// While the rate of a connection is not known, bodies below this size are sent as they are.
const LARGE: usize = 8 * KIB;
/// Those that have so many bytes in all; on a connection whose rate cannot be known, others follow.
const GUESSED: usize = 512 * KIB;
/// A link that carries so many bytes a second is fast, whatever compression would save. What is measured
/// has in it the time until the peer's threads run, and so does not tell 60 MB/s from ten times that.
const FAST: u64 = 40_000_000;
/// So many bytes are sent as they are to see whether a link has become fast,
const TRIAL: usize = 256 * KIB;
/// after so many times as many were compressed, so that a trial costs a slow link three percent at most.
const TRIAL_TIMES: usize = 32;

/// Decides for one connection which bodies are compressed. Compression pays where the link is slower than
/// [`Gain::break_even`], and than 320 Mbit/s. What a connection does lasts until its rate is a quarter away
/// from that, so that it does not change its mind all the time.
///
/// Until the rate is known, large bodies are compressed: in vain on a fast link, which costs some 10 ms for
/// each MiB, while to send a MiB as it is costs a second more at 8 Mbit/s. What is compressed says less
/// of a link than what is not, as there are fewer bytes to time. Therefore every now and then some
/// bodies are sent as they are.
///
/// ```
/// use core::time::Duration;
/// use pointsub_core::connection::CompressionChoice;
/// use pointsub_core::{Timestamp, wire::compress::Gain};
///
/// let (gain, sent) = (Gain::default(), 128 * 1024);
/// for (milliseconds, compresses) in [(1, false), (100, true)] {
///     let mut choice = CompressionChoice::default();
///     assert!(choice.compresses(64 * 1024, &gain), "nothing is known");
///     choice.wrote(1, true, sent, Timestamp::ZERO);
///     choice.credited(1, 128 * 1024, Timestamp::ZERO + Duration::from_millis(milliseconds));
///     assert_eq!(choice.compresses(64 * 1024, &gain), compresses);
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct CompressionChoice {
    throughput: Throughput,
    /// What was decided last.
    is_on: bool,
    /// Bytes of small bodies that were sent as they are while the rate was not known.
    guessed: usize,
    /// Bytes that were sent compressed since the last trial.
    compressed: usize,
    /// Bytes of the trial that are left.
    trial: usize,
}

impl CompressionChoice {
    /// Whether to compress a body of so many bytes, of which so much is known.
    pub fn compresses(&mut self, len: usize, gain: &Gain) -> bool {
        let Some(rate) = self.throughput.rate() else { return self.guess(len) };
        let even = gain.break_even().min(FAST);
        let bound = if self.is_on { even + even / 4 } else { even - even / 5 };
        self.is_on = rate < bound;
        self.is_on && !self.tries(len)
    }

    fn guess(&mut self, len: usize) -> bool {
        self.is_on = len >= LARGE || self.guessed >= GUESSED;
        if !self.is_on {
            self.guessed += len;
        }
        self.is_on
    }

    /// Whether a body is part of a trial.
    fn tries(&mut self, len: usize) -> bool {
        if self.trial == 0 {
            if self.compressed / TRIAL_TIMES < len.max(TRIAL) {
                return false;
            }
            (self.compressed, self.trial) = (0, TRIAL);
        }
        self.trial = self.trial.saturating_sub(len);
        true
    }

    /// A body was compressed, to so many bytes.
    pub fn compressed(&mut self, len: usize) {
        self.compressed = self.compressed.saturating_add(len);
    }

    /// [`Throughput::wrote`].
    pub fn wrote(&mut self, stream: u32, first: bool, bytes: usize, now: Timestamp) {
        self.throughput.wrote(stream, first, bytes, now);
    }

    /// [`Throughput::credited`].
    pub fn credited(&mut self, stream: u32, bytes: u32, now: Timestamp) {
        self.throughput.credited(stream, bytes, now);
    }

    /// Bytes a second that the connection carries, once that is known.
    #[must_use]
    pub fn rate(&self) -> Option<u64> {
        self.throughput.rate()
    }
}
