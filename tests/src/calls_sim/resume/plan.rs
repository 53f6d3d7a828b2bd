//! What the life of a call that is resumed is, drawn from a seed.

use std::time::Duration;

use pointsub_core::endpoint::ResumePolicy;
use pointsub_core::wire::Credit;

use crate::sim::Rng;

/// From when on nothing breaks any more.
pub(super) const HEALED: u64 = 1500;
/// Fewer milliseconds from one end to the other.
pub(super) const LATENCY: u64 = 15;

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) policy: ResumePolicy,
    pub(super) servers: usize,
    /// The call may be opened at any of them.
    pub(super) elsewhere: bool,
    /// Messages in all, their length, and how many milliseconds lie between two.
    pub(super) messages: usize,
    pub(super) len: usize,
    pub(super) pace: u64,
    /// How long after it has said that no more messages come a handler has its result. If it is 0, it
    /// does not say so.
    pub(super) lingers: u64,
    /// Each of so many has a cursor.
    pub(super) every: usize,
    pub(super) window: Credit,
    /// In how many percent of its turns the application reads.
    pub(super) reads: u64,
    /// How often in ten thousand milliseconds something happens.
    pub(super) cuts: u64,
    pub(super) drains: u64,
    pub(super) crashes: u64,
    /// In how many percent of all cases a server refuses, and the retry budget is used up.
    pub(super) busy: u64,
    pub(super) unpaid: u64,
}

impl Plan {
    pub(super) fn of_seed(seed: u64) -> Self {
        let mut rng = Rng::of(seed, &[0x7265_7375]);
        let policy = ResumePolicy::default()
            .with_max_tries(1 + rng.below(8) as u32)
            .with_patience(Duration::from_millis(100 + rng.below(3000)))
            .with_interval(Duration::from_millis(1 + rng.below(60)));
        Self {
            policy,
            servers: 1 + rng.below(3) as usize,
            elsewhere: rng.chance(60),
            messages: rng.below(80) as usize,
            len: if rng.chance(20) { rng.below(60_000) as usize } else { rng.below(200) as usize },
            pace: rng.below(20),
            lingers: if rng.chance(40) { 1 + rng.below(400) } else { 0 },
            every: if rng.chance(70) { 1 } else { 1 + rng.below(6) as usize },
            window: Credit::new(16 * 1024, 1 + rng.below(16) as u32),
            reads: 5 + rng.below(96),
            cuts: rng.below(100),
            drains: rng.below(100),
            crashes: rng.below(40),
            busy: if rng.chance(40) { rng.below(80) } else { 0 },
            unpaid: if rng.chance(30) { rng.below(90) } else { 0 },
        }
    }
}
