//! How many requests may run at a time, when that number is to find itself.
//!
//! A machine without clock, randomness and floating point: shares are thousandths, and what needs
//! fractions counts in 65 536ths. Time that runs backwards counts as standing still.

mod policy;
mod queue_delay;

use core::time::Duration;

pub use self::policy::LimitPolicy;
use self::queue_delay::{QueueDelay, Seen};
use crate::config::{ConfigError, ServerConfig, check};
use crate::connection::Samples;
use crate::time::Timestamp;

/// The whole of which policies' parameters are shares.
const WHOLE: u32 = 1000;
/// Fractional bits of the limit and of the long-term latency.
const FRACTION: u32 = 16;
/// The number one with [`FRACTION`] bits.
const ONE: u64 = 1 << FRACTION;
/// Windows of which the long-term latency is the plain mean before it becomes a moving one.
const WARM_UP: u32 = 10;

/// What a request that ended tells about the server.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// From admission to the handler's end.
    pub latency: Duration,
    /// How it ended.
    pub outcome: SampleOutcome,
}

/// How a request ended, as far as a limit cares.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SampleOutcome {
    /// With an answer, or with a failure that the handler chose.
    Answered,
    /// For want of time or strength: its deadline passed, or its handler panicked.
    Dropped,
    /// Because the caller no longer wanted it. Says nothing about the server: neither a drop nor
    /// a latency.
    Cancelled,
}

/// How many requests may run at a time: a number that a [`LimitPolicy`] moves.
///
/// It moves at the ends of windows and nowhere else. A window opens with its first sample, and one
/// with too few samples moves nothing: without requests the limit stays where it is for ever.
/// Always `min <= limit <= max`.
///
/// ```
/// use core::time::Duration;
/// use pointsub_core::Timestamp;
/// use pointsub_core::endpoint::{Limit, LimitPolicy};
///
/// let mut limit = Limit::new(LimitPolicy::LOAD_FACTOR, 1000, 100, 10_000)?;
/// limit.started(Timestamp::ZERO);
/// assert_eq!(limit.limit(), 1000);
/// limit.handle_timeout(Timestamp::ZERO + Duration::from_secs(1));
/// assert_eq!(limit.limit(), 1100); // 1 of 1000 is less than 0.4
/// # Ok::<(), pointsub_core::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Limit {
    policy: LimitPolicy,
    /// Of the limit, in whole requests.
    min: usize,
    max: usize,
    length: Duration,
    /// The limit, with [`FRACTION`] bits.
    estimate: u64,
    active: usize,
    now: Timestamp,
    window: Option<Window>,
    long: LongTerm,
    delay: QueueDelay,
    /// Since when there has been work of which none has ended, or since the limit rose for that.
    none_ended: Timestamp,
}

#[derive(Debug, Clone)]
struct Window {
    opened: Timestamp,
    /// When it is over; not ever, if the end of time cuts it short.
    due: Option<Timestamp>,
    samples: u32,
    /// The most requests at work at once.
    peak: usize,
    /// Sum of the latencies in nanoseconds.
    latency: u128,
    dropped: bool,
    /// The limit was reached.
    full: bool,
}

impl Window {
    /// Whether fewer requests have ended in it than the rule of the queue delay wants. Where more come
    /// than end, those at work never all end: then so many are waited for no longer than a fifth of
    /// `length`.
    fn is_short_of_samples(&self, now: Timestamp, length: Duration) -> bool {
        let at_work = u32::try_from(self.peak).unwrap_or(u32::MAX);
        let lasts = now.since(self.opened);
        let least = if lasts < length { queue_delay::SAMPLES } else { queue_delay::MIN_SAMPLES };
        self.samples < least || self.samples < at_work && lasts < length / 5
    }

    fn mean_latency(&self) -> u64 {
        let mean = self.latency / u128::from(self.samples.max(1));
        u64::try_from(mean).unwrap_or(u64::MAX)
    }
}

impl Limit {
    /// The limit to begin with, unless another is configured: the Go original's.
    pub const INITIAL: usize = 1000;
    /// The least limit, unless another is configured: the Go original's. With
    /// [`LimitPolicy::QueueDelay`] it is 8.
    pub const MIN: usize = 100;
    /// The greatest limit, unless another is configured: the Go original's.
    pub const MAX: usize = 10_000;
    /// The greatest limit that can be configured.
    pub(super) const CEILING: usize = 1_000_000;
    /// How long a window is, unless another length is configured: Netflix's.
    pub const WINDOW: Duration = Duration::from_secs(1);

    /// A limit of `initial` requests that stays between `min` and `max`, both included.
    ///
    /// # Errors
    /// [`ConfigError`] unless `1 <= min <= initial <= max <= 1_000_000` and the policy's
    /// parameters are in their ranges.
    pub fn new(
        policy: LimitPolicy,
        initial: usize,
        min: usize,
        max: usize,
    ) -> Result<Self, ConfigError> {
        policy.validate()?;
        check("max", max, 1, Self::CEILING)?;
        check("min", min, 1, max)?;
        check("initial", initial, min, max)?;
        Ok(Self::unchecked(policy, initial, min, max, Self::WINDOW))
    }

    /// The limit of a server whose options are valid.
    pub(super) fn configured(config: &ServerConfig) -> Self {
        // Options that nobody has validated must not make it panic.
        let min = config.min_concurrent_requests().max(1);
        let initial = config.max_concurrent_requests().max(min);
        let max = config.concurrency_ceiling().max(initial);
        Self::unchecked(config.limit_policy(), initial, min, max, config.limit_window)
    }

    fn unchecked(
        policy: LimitPolicy,
        initial: usize,
        min: usize,
        max: usize,
        length: Duration,
    ) -> Self {
        Self {
            policy,
            min,
            max,
            length,
            estimate: fixed(initial),
            active: 0,
            now: Timestamp::ZERO,
            window: None,
            long: LongTerm::default(),
            delay: QueueDelay::new(initial),
            none_ended: Timestamp::ZERO,
        }
    }

    /// With windows of another length. Default 1 s; 1 ms to 1 h.
    ///
    /// # Errors
    /// [`ConfigError`] if it is outside that range.
    pub fn with_window(mut self, window: Duration) -> Result<Self, ConfigError> {
        check("window", window, Duration::from_millis(1), Duration::from_secs(60 * 60))?;
        self.length = window;
        Ok(self)
    }

    /// How many requests may run at a time.
    #[must_use]
    pub fn limit(&self) -> usize {
        // `max` is a `usize`, so the estimate's whole part is one.
        usize::try_from(self.estimate >> FRACTION).unwrap_or(self.max)
    }

    /// How many requests are at work.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active
    }

    /// How many requests are at work, in thousandths of the limit, rounded down. More than 1000
    /// while a limit that has shrunk is exceeded.
    #[must_use]
    pub fn load(&self) -> u32 {
        let load = wide(self.active) * u128::from(WHOLE) / wide(self.limit());
        u32::try_from(load).unwrap_or(u32::MAX)
    }

    /// A request was handed to its handler.
    pub fn started(&mut self, now: Timestamp) {
        self.handle_timeout(now);
        self.begin();
    }

    /// The same when time has passed already.
    pub(super) fn begin(&mut self) {
        if self.active == 0 {
            self.none_ended = self.now;
        }
        self.active = self.active.saturating_add(1);
        self.observe_load();
    }

    /// A request is no longer at work.
    pub fn ended(&mut self, now: Timestamp, sample: Sample) {
        self.handle_timeout(now);
        let outcome = sample.outcome;
        match self.policy {
            // Before the count goes down: this request was part of the peak.
            LimitPolicy::Fixed | LimitPolicy::LoadFactor { .. } => self.observe_load(),
            LimitPolicy::QueueDelay { .. } => {
                if outcome != SampleOutcome::Cancelled {
                    let latency = u64::try_from(sample.latency.as_nanos()).unwrap_or(u64::MAX);
                    self.sample_delays(1, latency);
                }
            }
            LimitPolicy::Aimd { .. } | LimitPolicy::Gradient { .. } => {
                if outcome != SampleOutcome::Cancelled {
                    let window = self.sample();
                    window.latency = window.latency.saturating_add(sample.latency.as_nanos());
                    window.dropped |= outcome == SampleOutcome::Dropped;
                }
            }
        }
        self.active = self.active.saturating_sub(1);
    }

    /// As many requests are no longer at work as `samples` says, and so many of those began each on
    /// the place of another one.
    pub(super) fn settle(&mut self, now: Timestamp, samples: Samples, renewed: u32) {
        self.handle_timeout(now);
        let counted = match self.policy {
            LimitPolicy::Fixed => 0,
            LimitPolicy::QueueDelay { .. } => {
                self.sample_delays(samples.counted, samples.latency);
                0
            }
            // Each beginning is a sample of the load, and each end.
            LimitPolicy::LoadFactor { .. } => samples.ended.saturating_add(renewed),
            LimitPolicy::Aimd { .. } | LimitPolicy::Gradient { .. } => samples.counted,
        };
        if counted > 0 {
            let window = self.sample();
            window.samples = window.samples.saturating_add(counted - 1);
            window.latency = window.latency.saturating_add(u128::from(samples.latency));
            window.dropped |= samples.dropped;
        }
        let left = samples.ended.saturating_sub(renewed);
        self.active = self.active.saturating_sub(left as usize);
    }

    /// A request was refused because the limit was reached. A reading of the load, no more: the
    /// server never worked on it, so that it has no latency and is no drop.
    pub fn refused(&mut self, now: Timestamp) {
        self.handle_timeout(now);
        self.observe_load();
        if let Some(window) = &mut self.window {
            window.full = true;
        }
        if matches!(self.policy, LimitPolicy::QueueDelay { .. }) {
            self.rise_if_none_ends();
        }
    }

    /// What has been at work for long while nothing ended says that the limit was found for other
    /// requests than these. Nothing would move it before they end.
    fn rise_if_none_ends(&mut self) {
        if self.now.since(self.none_ended) >= self.length.max(self.delay.long()) {
            self.none_ended = self.now;
            let limit = self.delay.toward_first(self.limit());
            self.estimate = fixed(limit).min(fixed(self.max));
        }
    }

    /// Time has passed. Moves the limit if a window is over.
    ///
    /// Every other input does this first, and where the limit goes does not depend on how late it
    /// is done: no timer is needed, only this call before [`limit`](Self::limit) is read.
    #[inline]
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        if self.next_deadline().is_some_and(|due| due <= self.now) && !self.needs_more_samples() {
            self.end_window();
        }
    }

    fn end_window(&mut self) {
        if let Some(window) = self.window.take()
            && window.samples >= self.policy.min_samples()
        {
            self.evaluate(&window);
        }
    }

    /// When the window is over; `None` if it has no samples yet, so that time alone changes
    /// nothing.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.window.as_ref()?.due
    }

    /// Whether a window that could be over goes on for want of samples.
    fn needs_more_samples(&self) -> bool {
        let delay = matches!(self.policy, LimitPolicy::QueueDelay { .. });
        let is_short = |window: &Window| window.is_short_of_samples(self.now, self.length);
        delay && self.window.as_ref().is_some_and(is_short)
    }

    /// Takes in the latencies of so many requests, which sum up to `latency`.
    fn sample_delays(&mut self, count: u32, latency: u64) {
        if count > 0 {
            self.none_ended = self.now;
        }
        let new = self.delay.without_earlier(count);
        if new > 0 {
            let window = self.sample();
            window.samples = window.samples.saturating_add(new - 1);
            let latency = u128::from(latency) * u128::from(new) / u128::from(count);
            window.latency = window.latency.saturating_add(latency);
        }
    }

    /// A sample of the load, under the one policy for which that is the sample; otherwise only
    /// a peak to be remembered by a window that is open.
    fn observe_load(&mut self) {
        if matches!(self.policy, LimitPolicy::LoadFactor { .. }) {
            self.sample();
        } else if let Some(window) = &mut self.window {
            window.peak = window.peak.max(self.active);
            window.full |= wide(self.active) >= u128::from(self.estimate >> FRACTION);
        }
    }

    /// Counts a sample, which opens a window if none is open.
    fn sample(&mut self) -> &mut Window {
        let (opened, active) = (self.now, self.active);
        let length = match self.policy {
            LimitPolicy::QueueDelay { .. } => self.length / 10,
            _ => self.length,
        };
        let window = self.window.get_or_insert_with(|| {
            let due = Some(opened + length).filter(|due| due.since(opened) == length);
            Window { opened, due, samples: 0, peak: 0, latency: 0, dropped: false, full: false }
        });
        window.samples = window.samples.saturating_add(1);
        window.peak = window.peak.max(active);
        window
    }

    fn evaluate(&mut self, window: &Window) {
        let limit = self.limit();
        // A limit that nothing presses against says nothing about what the server can do.
        let pressed = wide(window.peak) * 2 >= wide(limit);
        let moved = match self.policy {
            LimitPolicy::Fixed => return,
            LimitPolicy::LoadFactor { max_load } => {
                let load = wide(window.peak) * u128::from(WHOLE);
                let high = wide(limit) * u128::from(max_load);
                if load > high {
                    fixed(limit - limit.div_ceil(10))
                } else if load * 2 < high {
                    fixed(limit + (limit / 10).max(1))
                } else {
                    return;
                }
            }
            LimitPolicy::Aimd { backoff } if window.dropped => {
                // Less than 1000 thousandths, so that it always moves.
                u64::from(backoff) * (self.estimate >> FRACTION) / u64::from(WHOLE) * ONE
            }
            LimitPolicy::Aimd { .. } if pressed => fixed(limit + 1),
            LimitPolicy::Aimd { .. } => return,
            LimitPolicy::QueueDelay { queue } => {
                let seen = Seen {
                    mean: window.mean_latency(),
                    limit,
                    peak: window.peak.min(limit),
                    full: window.full,
                    active: self.active,
                };
                fixed(self.delay.next(seen, queue as usize))
            }
            LimitPolicy::Gradient { tolerance, smoothing } => {
                let gradient = self.long.gradient(window.mean_latency(), tolerance);
                if !pressed {
                    return;
                }
                let target = ((self.estimate * gradient) >> FRACTION) + fixed(limit.isqrt());
                let (whole, smoothing) = (u64::from(WHOLE), u64::from(smoothing));
                (self.estimate * (whole - smoothing) + target * smoothing) / whole
            }
        };
        self.estimate = moved.clamp(fixed(self.min), fixed(self.max));
    }
}

/// The latency to be expected: the moving average of windows' means.
#[derive(Debug, Clone, Default)]
struct LongTerm {
    /// In nanoseconds, with [`FRACTION`] bits: with whole ones, an average over 600 samples would
    /// not follow changes of less than 300 ns, which is a lot to a handler that only looks up.
    average: u128,
    /// Samples so far, up to [`WARM_UP`].
    samples: u32,
}

impl LongTerm {
    /// The samples that the average goes over, in the usual sense: each counts for 2 / (600 + 1).
    const SPAN: u128 = 600;

    /// Adds a window's mean latency of `short` nanoseconds and returns the gradient, with
    /// [`FRACTION`] bits.
    fn gradient(&mut self, short: u64, tolerance: u32) -> u64 {
        // The clock of a fast server may say 0.
        let short = u128::from(short.max(1));
        let sample = short << FRACTION;
        let (part, whole) = if self.samples < WARM_UP {
            self.samples += 1;
            (1, u128::from(self.samples))
        } else {
            (2, Self::SPAN + 1)
        };
        self.average = (self.average * (whole - part) + sample * part) / whole;
        let gradient = self.average * u128::from(tolerance) / (u128::from(WHOLE) * short);
        if self.average > sample * 2 {
            self.average = self.average / 20 * 19;
        }
        let (half, one) = (u128::from(ONE / 2), u128::from(ONE));
        u64::try_from(gradient.clamp(half, one)).unwrap_or(ONE)
    }
}

/// A limit with [`FRACTION`] bits. Limits are at most a million and little more, so that 64 bits
/// hold one such number times another.
const fn fixed(limit: usize) -> u64 {
    (limit as u64) << FRACTION
}

/// A count as a number that can be multiplied by any other.
const fn wide(count: usize) -> u128 {
    count as u128
}
