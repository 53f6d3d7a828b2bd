//! A limit of concurrency that follows from the delay which more requests at work cause.
//!
//! [`LimitPolicy::QueueDelay`](super::LimitPolicy::QueueDelay) has the formula. The estimate of how
//! many wait is that of TCP Vegas (Brakmo and Peterson, 1995) and of `VegasLimit` of Netflix
//! concurrency-limits. Looking for the latency without a queue by letting in less for a moment is what
//! BBR does (Cardwell and others, 2016), and Envoy's adaptive concurrency.

use core::time::Duration;

use super::Limit;

/// The least limit, unless another one is set: hardly less than that of one worker and a queue of 8.
pub(super) const MIN: usize = 8;
/// As many may wait in any case as are served within this time: that harms nobody (CoDel's target is a
/// quarter of it, between machines that are closer to each other).
const DELAY: Duration = Duration::from_millis(20);
/// A lower limit is not lowered further to look for the latency without a queue.
const LOOK_FROM: usize = 4;
/// The least number of requests that have to end in a window,
pub(super) const SAMPLES: u32 = 40;
/// and in one that is longer than `limit_window`.
pub(super) const MIN_SAMPLES: u32 = 10;
/// With each window in which the limit is not reached and hardly anything waits, it rises by this part,
/// up to where it began: a moment in which much came at once is not to make for refusals later.
const CALM: usize = 16;
/// Windows at the limit between two looks for the latency without a queue: after one that found a
/// queue, and at most, since one that finds none costs a quarter of a window's work.
const LOOK_AFTER: u32 = 4;
const LOOK_AFTER_AT_MOST: u32 = 64;

/// What the rule knows.
#[derive(Debug, Clone)]
pub(super) struct QueueDelay {
    /// The limit to begin with.
    first: usize,
    /// The latency without a queue, in nanoseconds; 0 before it is known.
    base: u64,
    /// Requests that were at work when the limit moved: what they took says nothing about the new one.
    earlier: u32,
    /// Windows at the limit since the last look for the latency without a queue.
    windows: u32,
    look_after: u32,
    /// What was there when the look began that is under way.
    look: Option<Look>,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    mean: u64,
    limit: usize,
}

/// A window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// The mean latency in nanoseconds.
    pub(super) mean: u64,
    pub(super) limit: usize,
    /// The most requests at work, as far as the limit lets them in.
    pub(super) peak: usize,
    /// The limit was reached.
    pub(super) full: bool,
    /// Requests at work now.
    pub(super) active: usize,
}

impl QueueDelay {
    pub(super) const fn new(first: usize) -> Self {
        Self { first, base: 0, earlier: 0, windows: 0, look_after: LOOK_AFTER, look: None }
    }

    /// Of so many requests that have ended, those that began after the last move of the limit.
    pub(super) fn without_earlier(&mut self, count: u32) -> u32 {
        let earlier = self.earlier.min(count);
        self.earlier -= earlier;
        count - earlier
    }

    /// The limit after a window.
    pub(super) fn next(&mut self, seen: Seen, queue: usize) -> usize {
        let seen = Seen { mean: seen.mean.max(1), ..seen };
        if self.base == 0 {
            self.base = seen.mean;
        }
        let limit = if let Some(look) = self.look.take() {
            self.end_look(look, seen, queue)
        } else {
            self.windows += u32::from(seen.full);
            if seen.full && self.windows >= self.look_after && seen.limit > LOOK_FROM {
                self.begin_look(seen)
            } else {
                self.moved(seen, queue)
            }
        };
        if limit < seen.limit || seen.full && limit > seen.limit {
            self.earlier = u32::try_from(seen.active).unwrap_or(u32::MAX);
        }
        limit
    }

    /// Within this time, some of the requests at work have ended as a rule.
    pub(super) fn long(&self) -> Duration {
        Duration::from_nanos(self.base.saturating_mul(4))
    }

    /// A higher limit, up to the one to begin with.
    pub(super) fn toward_first(&self, limit: usize) -> usize {
        limit.max((limit + limit.div_ceil(2)).min(self.first))
    }

    /// Hardly anything waits: the latency is the one without a queue. It rises slowly, since a queue may
    /// have begun to grow.
    fn follow(&mut self, mean: u64) {
        self.base = if mean > self.base {
            self.base + ((mean - self.base) / 8).min(self.base / 20 + 1)
        } else {
            self.base - (self.base - mean) / 4
        };
    }

    fn moved(&mut self, seen: Seen, queue: usize) -> usize {
        let limit = seen.limit;
        let served = scaled(seen.peak, self.base.min(seen.mean), seen.mean);
        let (waiting, harmless) = (seen.peak - served, self.served_within(DELAY, served));
        let few = queue.max(2 * seen.peak.isqrt());
        let allowed = few.max(harmless);
        let moved = if waiting > allowed {
            served + queue.max(2 * served.isqrt()).max(harmless)
        } else if !seen.full {
            if waiting <= few {
                self.follow(seen.mean);
            }
            if waiting <= few / 2 && limit < self.first {
                (limit + limit.div_ceil(CALM)).min(self.first)
            } else {
                limit
            }
        } else if waiting < allowed / 2 {
            limit + limit.div_ceil(2)
        } else {
            limit + allowed - waiting
        };
        moved.min(Limit::CEILING)
    }

    /// How many requests end within a time, where so many are worked on at once.
    fn served_within(&self, time: Duration, served: usize) -> usize {
        let within = served as u128 * time.as_nanos() / u128::from(self.base.max(1));
        usize::try_from(within).map_or(Limit::CEILING, |within| within.min(Limit::CEILING))
    }

    fn begin_look(&mut self, seen: Seen) -> usize {
        self.look = Some(Look { mean: seen.mean, limit: seen.limit });
        self.windows = 0;
        seen.limit - seen.limit.div_ceil(4)
    }

    /// Requests were let in by a quarter less. If they took a fifth less time at least, some had
    /// waited for others, and may still.
    fn end_look(&mut self, look: Look, seen: Seen, queue: usize) -> usize {
        let waited = u128::from(seen.mean) * 5 < u128::from(look.mean) * 4;
        if waited {
            self.base = self.base.min(seen.mean / 4 * 3).max(1);
            self.look_after = LOOK_AFTER;
            let before = Seen { mean: look.mean, limit: look.limit, peak: look.limit, ..seen };
            self.moved(before, queue)
        } else {
            self.base = seen.mean;
            self.look_after = (self.look_after * 2).min(LOOK_AFTER_AT_MOST);
            look.limit
        }
    }
}

/// `limit` × `part` / `whole`, for a part that is not more than the whole.
fn scaled(limit: usize, part: u64, whole: u64) -> usize {
    let scaled = limit as u128 * u128::from(part) / u128::from(whole.max(1));
    usize::try_from(scaled).unwrap_or(limit)
}
