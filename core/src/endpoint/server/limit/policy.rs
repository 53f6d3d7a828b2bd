//! The rules by which a limit moves.

use super::{Limit, WHOLE, queue_delay};
use crate::config::{ConfigError, check};

/// The rule by which a [`Limit`] moves.
///
/// Parameters are in thousandths, unless they count requests. Their defaults are
/// [`QUEUE_DELAY`](Self::QUEUE_DELAY), [`LOAD_FACTOR`](Self::LOAD_FACTOR), [`AIMD`](Self::AIMD) and
/// [`GRADIENT`](Self::GRADIENT).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitPolicy {
    /// The limit never moves.
    Fixed,
    /// As many as are worked on, and a short queue: the limit follows from the delay that more
    /// requests at work cause.
    ///
    /// With `base`, the latency without a queue, `mean`, that of a window, and `peak`, the most requests
    /// at work in it, so many of those waited, by Little's law (the estimate of TCP Vegas):
    ///
    /// ```text
    /// served  = peak × base / mean
    /// waiting = peak − served
    /// allowed = max(queue, 2 × √peak, served × 20 ms / base)
    /// limit   = served + max(queue, 2 × √served, served × 20 ms / base)  if waiting > allowed
    ///         = limit × 3 / 2              if waiting < allowed / 2 and the limit was reached
    ///         = limit + allowed − waiting  else, if the limit was reached
    /// ```
    ///
    /// So as many may wait in any case as are served within 20 ms, which is CoDel's way to bound a queue:
    /// by time. While the limit is not reached and no more wait than half of `max(queue, 2 × √peak)`, the
    /// limit rises by a sixteenth, up to where it began.
    ///
    /// `base` follows the windows' means while few wait and the limit is not reached. While the limit is
    /// reached, `base` is looked for, as BBR looks for the round-trip time: for one window the limit is
    /// three quarters. If requests are no faster then, nobody had waited, and `base` is what they take.
    /// If they are faster, some had waited, and `base` is three quarters of what they take, or what it
    /// was if that is less. So the rule works for servers that begin in overload, and for handlers
    /// that wait for something else and not for each other.
    ///
    /// A window is a tenth of [`limit_window`](crate::ServerConfig::with_limit_window). It is longer until
    /// 40 requests have ended in it, or 10 if it is longer than `limit_window`. It is also longer until as
    /// many have ended as were at work, by a fifth of `limit_window` at most.
    QueueDelay {
        /// The least number of requests that may wait behind those that are worked on. Default 8;
        /// 1 to 1000.
        queue: u32,
    },
    /// The rule of the Go original: less when full, more when empty.
    ///
    /// A window's load is the largest number of requests at work in it, divided by the limit. Load
    /// above `max_load` makes the limit 9/10 of what it was, load below half of `max_load` makes
    /// it 11/10, rounded down as in Go but by at least 1. One request that began, ended or was
    /// refused makes a window count.
    ///
    /// The peak and not the mean, because refusals happen at peaks: a limit that was nearly
    /// reached must not pass for idle because the rest of the second was quiet.
    LoadFactor {
        /// The load above which the limit shrinks. Default 800; 1 to 1000.
        max_load: u32,
    },
    /// Up slowly, down at once: additive increase, multiplicative decrease. After `AIMDLimit` of
    /// Netflix concurrency-limits.
    ///
    /// A window in which a request was [dropped](super::SampleOutcome::Dropped) multiplies the limit by
    /// `backoff`, rounded down. Any other adds 1, if at least half of the limit was in use.
    Aimd {
        /// What is left of the limit after a drop. Default 900; 500 to 999.
        backoff: u32,
    },
    /// Down when latency rises. After `Gradient2Limit` of Netflix concurrency-limits.
    ///
    /// With `short`, a window's mean latency, and `long`, the exponential moving average of
    /// 600 of those:
    ///
    /// ```text
    /// gradient = clamp(tolerance × long / short, 1/2, 1)
    /// limit    = limit × (1 - smoothing) + (limit × gradient + √limit) × smoothing
    /// ```
    ///
    /// if at least half of the limit was in use. √limit, rounded down, is the queue that is
    /// allowed to stand (as in Envoy; Netflix's default is 4), and what makes the limit grow
    /// while latency is steady. After the end of a long overload, `long` loses 1/20 per window
    /// for as long as it is more than twice `short`. A drop is a latency like any other here.
    Gradient {
        /// How far latency may rise before the limit falls. Default 1500, that is 1.5 times;
        /// 1000 to 10 000.
        tolerance: u32,
        /// How much of each window's result is taken over. Default 200; 1 to 1000.
        smoothing: u32,
    },
}

impl LimitPolicy {
    /// The queue delay with a queue of 8.
    pub const QUEUE_DELAY: Self = Self::QueueDelay { queue: 8 };
    /// The rule of the Go original with its documented numbers.
    pub const LOAD_FACTOR: Self = Self::LoadFactor { max_load: 800 };
    /// AIMD with Netflix's default.
    pub const AIMD: Self = Self::Aimd { backoff: 900 };
    /// Gradient with Netflix's defaults.
    pub const GRADIENT: Self = Self::Gradient { tolerance: 1500, smoothing: 200 };

    /// The samples that make a window count: one reading of the load says what it says, but a few
    /// latencies say little (10 is Netflix's number).
    pub(super) const fn min_samples(self) -> u32 {
        match self {
            Self::Fixed | Self::LoadFactor { .. } => 1,
            Self::Aimd { .. } | Self::Gradient { .. } => 10,
            Self::QueueDelay { .. } => queue_delay::MIN_SAMPLES,
        }
    }

    /// The least limit.
    pub(crate) const fn min(self) -> usize {
        match self {
            Self::QueueDelay { .. } => queue_delay::MIN,
            _ => Limit::MIN,
        }
    }

    pub(crate) fn validate(self) -> Result<(), ConfigError> {
        match self {
            Self::Fixed => Ok(()),
            Self::QueueDelay { queue } => check("queue", queue, 1, 1000),
            Self::LoadFactor { max_load } => check("max_load", max_load, 1, WHOLE),
            Self::Aimd { backoff } => check("backoff", backoff, 500, 999),
            Self::Gradient { tolerance, smoothing } => {
                check("tolerance", tolerance, 1000, 10_000)?;
                check("smoothing", smoothing, 1, WHOLE)
            }
        }
    }
}

/// The default is the queue delay. The rule of the Go original looks at occupancy alone: after a time
/// of peace it lets in what takes the server minutes (`tests/FLEET.md`).
impl Default for LimitPolicy {
    fn default() -> Self {
        Self::QUEUE_DELAY
    }
}
