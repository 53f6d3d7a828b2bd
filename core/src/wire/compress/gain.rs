//! What compression costs and saves.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::id::ProtocolName;

const KIB: u64 = 1024;
/// What is assumed before anything was compressed: 40 % are left, at 80 MB/s, and inflated at 320 MB/s.
const USUAL: Gain = Gain { left: 410, deflating: 12_800, inflating: 3_200 };
/// A gain that is measured again counts an eighth.
const SHARE: u64 = 8;
/// What hardly shrinks is left as it is, and costs no more than this to find out.
const MOST_LEFT: u64 = 896;
/// What seems to take longer than a millisecond for each KiB was interrupted.
const LONGEST: u64 = 1_000_000;
/// The gains of so many protocols are remembered.
const PROTOCOLS: usize = 256;

/// What compression of the bodies of a protocol saves and what it costs, as measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gain {
    /// Bytes that are left of 1024.
    left: u64,
    /// Nanoseconds to compress 1024 bytes,
    deflating: u64,
    /// and to inflate what is 1024 bytes then.
    inflating: u64,
}

impl Default for Gain {
    fn default() -> Self {
        USUAL
    }
}

impl Gain {
    /// A body of `raw` bytes was compressed to `left` bytes, or found not to be worth it, in this time.
    pub fn deflated(&mut self, raw: usize, left: usize, took: Duration) {
        let Some(raw) = per_kib(raw) else { return };
        approach(&mut self.left, raw(left as u64).min(MOST_LEFT));
        approach(&mut self.deflating, raw(nanos(took)).min(LONGEST));
    }

    /// A body was inflated to `raw` bytes in this time.
    pub fn inflated(&mut self, raw: usize, took: Duration) {
        let Some(raw) = per_kib(raw) else { return };
        approach(&mut self.inflating, raw(nanos(took)).min(LONGEST));
    }

    /// At how many bytes a second of the link compression takes as long as it saves.
    ///
    /// Of `n` bytes, of which the share `ρ` is left, a link of `R` bytes a second is spared
    /// `(1 - ρ) n / R` seconds. One end compresses for `n / C`, the other one inflates for `n / I`. That
    /// is less while `R < (1 - ρ) / (1 / C + 1 / I)`. The bodies of several callers may be compressed
    /// side by side, while the link takes one after the other, so that compression may pay
    /// beyond that; but then it takes more of the processors than it saves of the time.
    #[must_use]
    pub fn break_even(&self) -> u64 {
        let saved = KIB - self.left.min(MOST_LEFT);
        saved * 1_000_000_000 / (self.deflating + self.inflating).max(1)
    }
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// How to turn a figure of `raw` bytes into one of 1024.
fn per_kib(raw: usize) -> Option<impl Fn(u64) -> u64> {
    let raw = raw as u64;
    (raw > 0).then_some(move |figure: u64| figure.saturating_mul(KIB) / raw)
}

fn approach(mean: &mut u64, measured: u64) {
    *mean = *mean - *mean / SHARE + measured / SHARE;
}

/// The gains of the protocols of one end, in one direction.
#[derive(Debug, Clone, Default)]
pub struct Gains(BTreeMap<ProtocolName, Gain>);

impl Gains {
    /// What is known of a protocol.
    #[must_use]
    pub fn of(&self, protocol: &str) -> Gain {
        self.0.get(protocol).copied().unwrap_or_default()
    }

    /// Notes what was measured. The gains of more than 256 protocols are not remembered.
    pub fn note(&mut self, protocol: &ProtocolName, measured: impl FnOnce(&mut Gain)) {
        if let Some(gain) = self.0.get_mut(protocol) {
            measured(gain);
        } else if self.0.len() < PROTOCOLS {
            measured(self.0.entry(protocol.clone()).or_default());
        }
    }
}
