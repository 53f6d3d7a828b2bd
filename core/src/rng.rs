//! Randomness as the caller seeds it.

use core::time::Duration;

/// A small generator (splitmix64) whose sequence is part of the contract: equal seeds give equal
/// runs, today and after every upgrade. Not for secrets; it spreads retries.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A time between `low` and `high`, both included.
    pub(crate) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let low = u64::try_from(low.as_nanos()).unwrap_or(u64::MAX);
        let high = u64::try_from(high.as_nanos()).unwrap_or(u64::MAX);
        let span = high.saturating_sub(low);
        let drawn = (u128::from(self.next_u64()) * (u128::from(span) + 1)) >> 64;
        Duration::from_nanos(low.saturating_add(drawn as u64))
    }
}
