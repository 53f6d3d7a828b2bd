//! How long answers take, as far as their quantiles go.

use alloc::vec::Vec;
use core::time::Duration;

/// A bucket is an eighth of an octave wide, so that a quantile is at most an eighth too high.
const FINE_BITS: u32 = 3;
const FINE: usize = 1 << FINE_BITS;
/// Times below 2^10 ns, a microsecond, are alike,
const SHORTEST: u32 = 10;
/// and so are those from 2^42 ns, 73 minutes, on.
const LONGEST: u32 = 42;
/// When so many times are noted, all count half as much: what was long ago is forgotten.
const MOST: u32 = 2048;
/// No quantile is known before so many times are.
const LEAST: u32 = 100;

/// The times of late, in buckets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quantiles {
    /// None before the first.
    buckets: Vec<u16>,
    count: u32,
}

impl Quantiles {
    pub(crate) fn note(&mut self, took: Duration) {
        if self.buckets.is_empty() {
            self.buckets.resize(bucket(u64::MAX) + 1, 0);
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        if self.count >= MOST {
            self.buckets.iter_mut().for_each(|bucket| *bucket /= 2);
            self.count = self.buckets.iter().map(|bucket| u32::from(*bucket)).sum();
        }
    }

    /// What this part of the times, in thousandths, does not exceed; `None` before it is known.
    pub(crate) fn quantile(&self, thousandths: u16) -> Option<Duration> {
        if self.count < LEAST {
            return None;
        }
        let wanted = (u64::from(self.count) * u64::from(thousandths)).div_ceil(1000);
        let mut seen = 0;
        let found = self.buckets.iter().position(|bucket| {
            seen += u64::from(*bucket);
            seen >= wanted
        });
        found.map(|bucket| Duration::from_nanos(upper_end(bucket)))
    }
}

fn bucket(nanos: u64) -> usize {
    let nanos = nanos.clamp(1 << SHORTEST, (1 << LONGEST) - 1);
    let octave = nanos.ilog2();
    let fine = (nanos >> (octave - FINE_BITS)) as usize - FINE;
    (octave - SHORTEST) as usize * FINE + fine
}

fn upper_end(bucket: usize) -> u64 {
    let octave = (bucket / FINE) as u32 + SHORTEST;
    ((bucket % FINE + FINE + 1) as u64) << (octave - FINE_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each time lies below the upper end of its bucket, and not below that of the one before.
    #[test]
    fn buckets_follow_each_other() {
        for nanos in [1 << SHORTEST, 1025, 1151, 1152, 10_000_000, 12_345_678_901] {
            let bucket = bucket(nanos);
            assert!(nanos < upper_end(bucket), "{nanos} in {bucket}");
            assert!(bucket == 0 || nanos >= upper_end(bucket - 1), "{nanos} in {bucket}");
        }
    }
}
