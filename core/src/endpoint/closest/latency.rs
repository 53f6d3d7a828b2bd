//! What is known of a node's latency, in whole nanoseconds.

use core::time::Duration;

use crate::time::Timestamp;

/// How long a smoothed latency counts after its last sample: 5 min. Then it is unknown again, so
/// that a node that was slow once does not stay unused for ever.
pub const LATENCY_FRESH: Duration = Duration::from_secs(300);

/// The time in which a peak latency falls to half: 10 s × ln 2, since Finagle's `PeakEwma` lets
/// it fall by a factor of e in 10 s.
pub const PEAK_HALF_LIFE: Duration = Duration::from_nanos(HALF_LIFE);

/// The peak latency that a new node starts with: 1 s, as in Finagle and tower. It falls with time,
/// so that a new node is tried, but not by everybody at once.
pub const INITIAL_PEAK: Duration = Duration::from_secs(1);

const HALF_LIFE: u64 = 6_931_471_806;

/// The least latency is that of two such whiles.
const LEAST_WHILE: Duration = Duration::from_secs(30);

/// The longest time of an answer that counts when servers are compared, in nanoseconds: an hour.
const MAX_SAMPLE: u64 = 3_600_000_000_000;

/// 2^(-i/16) for i = 0 to 16, in units of 2^-32.
const HALVING: [u64; 17] = [
    4_294_967_296,
    4_112_874_773,
    3_938_502_376,
    3_771_522_796,
    3_611_622_603,
    3_458_501_653,
    3_311_872_529,
    3_171_459_999,
    3_037_000_500,
    2_908_241_642,
    2_784_941_738,
    2_666_869_345,
    2_553_802_834,
    2_445_529_972,
    2_341_847_524,
    2_242_560_872,
    2_147_483_648,
];

#[derive(Clone, Debug)]
pub(super) struct Latency {
    smooth: Option<u64>,
    sampled: Timestamp,
    peak: u64,
    peaked: Timestamp,
    /// What the next answer is expected to take: falls by half with each sample below it, and with time.
    expected: u64,
    /// The least of this while and of the one before.
    least: [u64; 2],
    /// When this while began.
    least_since: Timestamp,
}

impl Latency {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            smooth: None,
            sampled: now,
            peak: nanos(INITIAL_PEAK),
            peaked: now,
            expected: nanos(INITIAL_PEAK),
            least: [u64::MAX; 2],
            least_since: now,
        }
    }

    /// The smoothed latency, if known. The first sample sets it, each further one moves it by an
    /// eighth of the difference, as TCP smooths its round-trip time (RFC 6298, section 2.3).
    pub(super) fn smooth(&self, now: Timestamp) -> Option<Duration> {
        let fresh = now.since(self.sampled) <= LATENCY_FRESH;
        self.smooth.filter(|_| fresh).map(Duration::from_nanos)
    }

    /// The peak latency: the first sample and any above it set it at once, one below draws it down
    /// by as much as has decayed since the last one, and without samples it falls towards zero.
    pub(super) fn peak(&self, now: Timestamp) -> Duration {
        Duration::from_nanos(decayed(self.peak, now.since(self.peaked)))
    }

    /// The least latency of the last half to whole minute with answers: how far away the node is, and
    /// what it needs at least. `None` before the first answer.
    pub(super) fn least(&self) -> Option<u64> {
        let least = self.least[0].min(self.least[1]);
        (least < u64::MAX).then_some(least)
    }

    /// An answer came after this long.
    pub(super) fn answered(&mut self, took: Duration, now: Timestamp) {
        if now.since(self.least_since) >= LEAST_WHILE {
            self.least = [u64::MAX, self.least[0]];
            self.least_since = now;
        }
        // The first answer may have waited for a connection to be made.
        if self.smooth.is_some() {
            self.least[0] = self.least[0].min(nanos(took));
        }
        self.sample(took, now);
    }

    /// What an answer is expected to take; `None` before the first sample. It falls by half in a third
    /// of the time in which a peak does, so that a node that was slow is soon tried again.
    pub(super) fn expected(&self, now: Timestamp) -> Option<u64> {
        let age = now.since(self.sampled).saturating_mul(3);
        self.smooth.map(|_| decayed(self.expected, age))
    }

    /// The node is in use again after a time in which it was not: what was known is of no use.
    pub(super) fn forget(&mut self) {
        self.smooth = None;
    }

    /// No answer came within this long, and none comes.
    pub(super) fn unanswered(&mut self, took: Duration, now: Timestamp) {
        if self.smooth(now).is_none_or(|usual| took > usual) {
            self.sample(took, now);
        }
    }

    /// What is sampled is this long.
    fn sample(&mut self, took: Duration, now: Timestamp) {
        let took = nanos(took);
        self.expected = match self.expected(now) {
            Some(expected) if took < expected => expected - (expected - took) / 2,
            Some(expected) => expected + (took - expected) / 4,
            None => took,
        };
        let elapsed = now.since(self.peaked);
        self.peak = match self.smooth {
            // Finagle: cost × w + sample × (1 − w), with w = e^(−elapsed / 10 s).
            Some(_) => took.max(decayed(self.peak, elapsed) + (took - decayed(took, elapsed))),
            None => took,
        };
        self.smooth = Some(match self.smooth(now) {
            Some(old) => (nanos(old) * 7 + took) / 8,
            None => took,
        });
        self.sampled = self.sampled.max(now);
        self.peaked = self.peaked.max(now);
    }

    /// No answer had come after this long: that says something only if it is longer than usual.
    pub(super) fn at_least(&mut self, took: Duration, now: Timestamp) {
        if self.smooth(now).is_some_and(|usual| took > usual) {
            self.sample(took, now);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).map_or(MAX_SAMPLE, |nanos| nanos.min(MAX_SAMPLE))
}

/// `value` × 2^(−elapsed / half-life): whole half-lives by shifting, the rest between two entries
/// of the table in a straight line. Exact to 0.03 %, and never growing with time.
fn decayed(value: u64, elapsed: Duration) -> u64 {
    let elapsed = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
    let halvings = elapsed / HALF_LIFE;
    if halvings >= 64 {
        return 0;
    }
    let sixteenths = elapsed % HALF_LIFE * 16;
    let entry = (sixteenths / HALF_LIFE) as usize;
    let (above, below) = (HALVING[entry], HALVING[entry + 1]);
    // Below 2^28 times below 2^33: no overflow.
    let factor = above - (above - below) * (sixteenths % HALF_LIFE) / HALF_LIFE;
    let scaled = (u128::from(value) * u128::from(factor)) >> 32;
    (scaled >> halvings) as u64
}
