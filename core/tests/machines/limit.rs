//! The server: a concurrency limit that moves.

use std::time::Duration;

use pointsub_core::Timestamp;
use pointsub_core::endpoint::{Limit, LimitPolicy, Sample, SampleOutcome};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn limit(policy: LimitPolicy, initial: usize) -> Limit {
    Limit::new(policy, initial, Limit::MIN, Limit::MAX).expect("in range")
}

fn sample(latency: Duration, outcome: SampleOutcome) -> Sample {
    Sample { latency, outcome }
}

fn answered(latency: Duration) -> Sample {
    sample(latency, SampleOutcome::Answered)
}

struct Script {
    limit: Limit,
    now: Timestamp,
}

impl Script {
    fn new(policy: LimitPolicy, initial: usize) -> Self {
        Self { limit: limit(policy, initial), now: Timestamp::ZERO }
    }

    /// Starts or cancels requests until this many are at work.
    fn work(&mut self, active: usize) {
        while self.limit.active() < active {
            self.limit.started(self.now);
        }
        while self.limit.active() > active {
            self.limit.ended(self.now, sample(MS, SampleOutcome::Cancelled));
        }
    }

    /// Lets this many requests end, each replaced by another.
    fn turn_over(&mut self, count: usize, sample: Sample) {
        for _ in 0..count {
            self.limit.ended(self.now, sample);
            self.limit.started(self.now);
        }
    }

    /// Lets a window pass and returns where the limit is then.
    fn pass(&mut self) -> usize {
        self.now = self.now + SECOND;
        self.limit.handle_timeout(self.now);
        assert_eq!(self.limit.next_deadline(), None);
        self.limit.limit()
    }

    /// A window with this many requests at work, 10 of which end like this.
    fn window(&mut self, active: usize, sample: Sample) -> usize {
        self.work(active);
        self.turn_over(10, sample);
        self.pass()
    }
}

// The load factor.

/// S6: +10 % below load 0.4, to exactly 10 000.
#[test]
fn an_empty_server_grows_by_a_tenth_to_exactly_the_maximum() {
    let mut s = Script::new(LimitPolicy::LOAD_FACTOR, 1000);
    let seen = [(); 26].map(|()| s.window(1, answered(MS)));
    assert_eq!(seen[..6], [1100, 1210, 1331, 1464, 1610, 1771]);
    // Where the Go original stays for ever, and a step further.
    assert_eq!(seen[23..], [9829, 10_000, 10_000]);
    // And all the way down.
    let down = [(); 44].map(|()| s.window(10_000, answered(MS)));
    assert_eq!(down[42..], [104, 100]);
}

/// S6: -10 % above load 0.8, to exactly 100.
#[test]
fn a_full_server_shrinks_by_a_tenth_to_exactly_the_minimum() {
    let mut s = Script::new(LimitPolicy::LOAD_FACTOR, 1000);
    let seen = [(); 23].map(|()| s.window(s.limit.limit(), answered(MS)));
    assert_eq!(seen[..6], [900, 810, 729, 656, 590, 531]);
    // Where the Go original stays for ever, and a step further.
    assert_eq!(seen[20..], [105, 100, 100]);
    // And all the way up.
    s.work(1);
    s.pass();
    let up = [(); 49].map(|()| s.window(1, answered(MS)));
    assert_eq!(up[47..], [9394, 10_000]);
}

#[test]
fn a_step_is_at_least_one() {
    let mut limit = Limit::new(LimitPolicy::LOAD_FACTOR, 9, 1, 20).expect("in range");
    let mut now = Timestamp::ZERO;
    let mut window = |limit: &mut Limit| {
        limit.refused(now);
        now = now + SECOND;
        limit.handle_timeout(now);
        limit.limit()
    };
    assert_eq!([(); 3].map(|()| window(&mut limit)), [10, 11, 12]);
    (0..20).for_each(|_| limit.started(Timestamp::ZERO));
    let down = [(); 12].map(|()| window(&mut limit));
    assert_eq!(down, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1, 1]);
}

/// S6, S7: load is active / limit, and 0.4 and 0.8 are exact.
#[test]
fn the_load_factors_thresholds_are_exact() {
    for (active, after) in [(399, 1100), (400, 1000), (800, 1000), (801, 900)] {
        let mut s = Script::new(LimitPolicy::LOAD_FACTOR, 1000);
        s.work(active);
        assert_eq!(s.limit.load(), active as u32);
        assert_eq!(s.pass(), after, "{active}");
    }
    let mut s = Script::new(LimitPolicy::LoadFactor { max_load: 500 }, 1000);
    s.work(501);
    assert_eq!(s.pass(), 900);
}

#[test]
fn the_load_of_a_window_is_its_peak() {
    let mut s = Script::new(LimitPolicy::LOAD_FACTOR, 1000);
    s.work(801);
    s.work(0);
    assert_eq!(s.pass(), 900);
    // What was at work at the beginning counts as well.
    s.work(801);
    s.pass();
    let before = s.limit.limit();
    s.work(0);
    assert_eq!(s.pass(), before - before.div_ceil(10));
}

#[test]
fn a_refusal_is_a_reading_of_the_load() {
    let mut s = Script::new(LimitPolicy::LOAD_FACTOR, 1000);
    s.work(1000);
    assert_eq!(s.pass(), 900);
    assert_eq!(s.pass(), 900);
    assert_eq!(s.limit.load(), 1111);
    s.limit.refused(s.now);
    assert_eq!(s.pass(), 810);
}

// Every policy.

const POLICIES: [LimitPolicy; 4] =
    [LimitPolicy::Fixed, LimitPolicy::LOAD_FACTOR, LimitPolicy::AIMD, LimitPolicy::GRADIENT];

/// S6: no samples, no change.
#[test]
fn without_requests_nothing_moves() {
    for policy in POLICIES {
        let mut s = Script::new(policy, 1000);
        for _ in 0..100 {
            assert_eq!(s.pass(), 1000, "{policy:?}");
        }
        // Not even while some are at work.
        s.work(900);
        let before = s.pass();
        for _ in 0..100 {
            assert_eq!(s.pass(), before, "{policy:?}");
        }
    }
}

#[test]
fn a_storm_in_no_time_moves_nothing() {
    for policy in POLICIES {
        for now in [Timestamp::ZERO, Timestamp::from_nanos(u64::MAX)] {
            let mut limit = limit(policy, 1000);
            for _ in 0..10_000 {
                limit.started(now);
                limit.refused(now);
                limit.ended(now, sample(MS, SampleOutcome::Dropped));
                limit.handle_timeout(now);
                assert_eq!(limit.limit(), 1000, "{policy:?}");
            }
            assert!(limit.next_deadline().is_none_or(|due| due > now));
        }
    }
}

#[test]
fn a_window_ends_to_the_nanosecond() {
    let at = |nanos: u64| Timestamp::from_nanos(7_000_000_000 + nanos);
    let mut limit = limit(LimitPolicy::LOAD_FACTOR, 1000);
    limit.handle_timeout(at(0));
    assert_eq!(limit.next_deadline(), None);
    limit.started(at(5));
    assert_eq!(limit.next_deadline(), Some(at(1_000_000_005)));
    limit.handle_timeout(at(1_000_000_004));
    assert_eq!(limit.limit(), 1000);
    assert_eq!(limit.next_deadline(), Some(at(1_000_000_005)));
    limit.handle_timeout(at(1_000_000_005));
    assert_eq!(limit.limit(), 1100);
    assert_eq!(limit.next_deadline(), None);
    // What comes at the end belongs to the next window, which it opens.
    limit.started(at(2_000_000_000));
    limit.started(at(3_000_000_000));
    assert_eq!(limit.limit(), 1210);
    assert_eq!(limit.next_deadline(), Some(at(4_000_000_000)));
}

#[test]
fn time_that_runs_backwards_stands_still() {
    let mut limit = limit(LimitPolicy::LOAD_FACTOR, 1000);
    let (early, late) = (Timestamp::ZERO, Timestamp::ZERO + SECOND * 10);
    limit.started(late);
    for _ in 0..3 {
        limit.started(early);
        limit.refused(early);
        limit.handle_timeout(early);
        limit.ended(early, answered(MS));
    }
    assert_eq!(limit.next_deadline(), Some(late + SECOND));
    limit.handle_timeout(late + SECOND);
    assert_eq!(limit.limit(), 1100);
    // A window that opens in the past opens now.
    limit.started(early);
    assert_eq!(limit.next_deadline(), Some(late + SECOND * 2));
}

#[test]
fn ends_without_beginnings_are_harmless() {
    for policy in POLICIES {
        let mut limit = limit(policy, 1000);
        for (latency, end) in [(Duration::MAX, SECOND), (Duration::ZERO, SECOND * 2)] {
            (0..100).for_each(|_| limit.ended(Timestamp::ZERO, answered(latency)));
            limit.handle_timeout(Timestamp::ZERO + end);
        }
        assert_eq!((limit.active(), limit.load()), (0, 0));
    }
}

// AIMD.

#[test]
fn aimd_is_a_saw_tooth() {
    let mut s = Script::new(LimitPolicy::AIMD, 1000);
    let mut round = |outcome| s.window(1000, sample(MS, outcome));
    let seen = [SampleOutcome::Answered, SampleOutcome::Answered, SampleOutcome::Dropped];
    let seen = [(); 3].map(|()| seen.map(&mut round));
    assert_eq!(seen, [[1001, 1002, 901], [902, 903, 812], [813, 814, 732]]);
}

#[test]
fn aimd_grows_only_if_half_of_the_limit_is_in_use() {
    let mut s = Script::new(LimitPolicy::AIMD, 1000);
    assert_eq!(s.window(499, answered(MS)), 1000);
    assert_eq!([(); 2].map(|()| s.window(500, answered(MS))), [1001; 2]);
    // Whenever in the window that is.
    s.work(10);
    s.turn_over(10, answered(MS));
    s.work(501);
    assert_eq!(s.pass(), 1002);
    // It shrinks however little is in use, and for a single drop.
    s.work(10);
    s.turn_over(1, sample(MS, SampleOutcome::Dropped));
    assert_eq!(s.window(10, answered(MS)), 901);
}

#[test]
fn aimd_stops_at_its_ends() {
    let mut s = Script::new(LimitPolicy::AIMD, 105);
    let dropped = sample(MS, SampleOutcome::Dropped);
    assert_eq!([(); 2].map(|()| s.window(105, dropped)), [100; 2]);
    let mut s = Script::new(LimitPolicy::AIMD, 9999);
    assert_eq!([(); 2].map(|()| s.window(9999, answered(MS))), [10_000; 2]);
}

#[test]
fn few_samples_do_not_count_for_aimd_and_gradient() {
    for (policy, after) in [(LimitPolicy::AIMD, 900), (LimitPolicy::GRADIENT, 1006)] {
        let mut s = Script::new(policy, 1000);
        s.work(1000);
        assert_eq!(s.limit.next_deadline(), None);
        s.turn_over(9, sample(MS, SampleOutcome::Dropped));
        assert!(s.limit.next_deadline().is_some());
        // Nor are they carried over.
        assert_eq!(s.pass(), 1000);
        s.turn_over(1, sample(MS, SampleOutcome::Dropped));
        assert_eq!(s.pass(), 1000);
        s.turn_over(10, sample(MS, SampleOutcome::Dropped));
        assert_eq!(s.pass(), after, "{policy:?}");
    }
}

#[test]
fn cancelled_requests_are_neither_drops_nor_latencies() {
    for policy in [LimitPolicy::AIMD, LimitPolicy::GRADIENT] {
        let mut s = Script::new(policy, 1000);
        s.work(1000);
        s.turn_over(500, sample(SECOND, SampleOutcome::Cancelled));
        assert_eq!(s.limit.next_deadline(), None);
        assert_eq!(s.pass(), 1000);
        let mut other = Script::new(policy, 1000);
        for _ in 0..20 {
            s.turn_over(50, sample(SECOND, SampleOutcome::Cancelled));
            assert_eq!(s.window(1000, answered(MS)), other.window(1000, answered(MS)));
        }
    }
}

// The gradient.

#[test]
fn gradient_grows_while_latency_is_steady() {
    let mut s = Script::new(LimitPolicy::GRADIENT, 1000);
    // 1000 + 0.2 × 31 = 1006.2, and so on.
    let seen = [(); 6].map(|()| s.window(1000, answered(MS)));
    assert_eq!(seen, [1006, 1012, 1018, 1024, 1031, 1037]);
    for _ in 0..2000 {
        s.window(10_000, answered(MS));
    }
    assert_eq!(s.limit.limit(), 10_000);
}

/// It is the mean that counts, not how many requests there were.
#[test]
fn gradient_does_not_care_how_many_requests_ended() {
    let mut s = Script::new(LimitPolicy::GRADIENT, 1000);
    let seen = [10, 40, 10, 100].map(|count| {
        s.work(1000);
        s.turn_over(count, answered(MS));
        s.pass()
    });
    assert_eq!(seen, [1006, 1012, 1018, 1024]);
}

#[test]
fn gradient_shrinks_when_latency_doubles_and_recovers() {
    let mut s = Script::new(LimitPolicy::GRADIENT, 1000);
    for _ in 0..20 {
        s.window(2000, answered(MS * 10));
    }
    let before = s.limit.limit();
    let mut last = before;
    for _ in 0..20 {
        let next = s.window(2000, answered(MS * 20));
        assert!(next < last, "{next} after {last}");
        last = next;
    }
    assert!(last < before * 2 / 3, "{last} after {before}");
    for _ in 0..200 {
        let next = s.window(2000, answered(MS * 10));
        assert!(next > last, "{next} after {last}");
        last = next;
    }
    assert!(last > before);
}

#[test]
fn gradient_stays_while_less_than_half_of_the_limit_is_in_use() {
    let mut s = Script::new(LimitPolicy::GRADIENT, 1000);
    assert_eq!(s.window(499, answered(MS)), 1000);
    assert_eq!(s.window(499, answered(SECOND)), 1000);
    assert_eq!(s.window(500, answered(SECOND)), 1006);
}

/// `Gradient2Limit._update` in floating point, with the root for a queue.
#[derive(Default)]
struct Reference {
    limit: f64,
    long: f64,
    windows: f64,
}

impl Reference {
    fn update(&mut self, short: f64, in_flight: usize) -> f64 {
        self.windows += 1.0;
        let part = if self.windows <= 10.0 { 1.0 / self.windows } else { 2.0 / 601.0 };
        self.long = self.long * (1.0 - part) + short * part;
        let gradient = (1.5 * self.long / short).clamp(0.5, 1.0);
        if self.long / short > 2.0 {
            self.long *= 0.95;
        }
        if in_flight as f64 >= self.limit / 2.0 {
            let target = self.limit * gradient + self.limit.floor().sqrt().floor();
            self.limit = (self.limit * 0.8 + target * 0.2).clamp(100.0, 10_000.0);
        }
        self.limit
    }
}

#[test]
fn gradient_agrees_with_floating_point() {
    let mut random = Random(1);
    for _ in 0..20 {
        let mut s = Script::new(LimitPolicy::GRADIENT, 1000);
        let mut reference = Reference { limit: 1000.0, ..Reference::default() };
        let mut base = 1000;
        for round in 0..500 {
            if round % 50 == 0 {
                base = 1 << random.below(30);
            }
            let latency = base + random.below(base);
            // Far from half of the limit, where rounding would decide.
            let active = if random.below(5) == 0 { 10 } else { 10_000 };
            let fixed = s.window(active, answered(Duration::from_nanos(latency)));
            let floating = reference.update(latency as f64, active);
            assert!((fixed as f64 - floating).abs() <= 2.0, "{fixed} {floating} in {round}");
        }
    }
}

// What holds always.

/// Splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// S3, S6: whatever happens, min <= limit <= max.
#[test]
fn the_limit_is_always_between_its_ends() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let min = 1 + random.below(200) as usize;
        let max = min + (1 << random.below(14)) as usize - 1;
        let initial = min + random.below((max - min + 1) as u64) as usize;
        let policy = match random.below(4) {
            0 => LimitPolicy::Fixed,
            1 => LimitPolicy::LoadFactor { max_load: 1 + random.below(1000) as u32 },
            2 => LimitPolicy::Aimd { backoff: 500 + random.below(500) as u32 },
            _ => LimitPolicy::Gradient {
                tolerance: 1000 + random.below(9001) as u32,
                smoothing: 1 + random.below(1000) as u32,
            },
        };
        let window = MS * (1 + random.below(50) as u32);
        let new = Limit::new(policy, initial, min, max).and_then(|new| new.with_window(window));
        // With a timer and without: it is all the same, unless time runs backwards.
        let mut limit = new.expect("in range");
        let (mut lazy, backwards) = (limit.clone(), seed % 2 == 0);
        let (mut now, mut busy) = (Timestamp::ZERO, 500);
        for _ in 0..3000 {
            if random.below(100) == 0 {
                busy = random.below(1000);
            }
            now = match random.below(50) {
                0 if backwards => Timestamp::from_nanos(now.as_nanos() / 16 * 15),
                1 => now + MS * random.below(200) as u32,
                _ => now + Duration::from_nanos(random.below(2_000_000)),
            };
            let latency = Duration::from_nanos(random.next() >> random.below(64));
            let draw = random.below(1000);
            for limit in [&mut limit, &mut lazy] {
                match draw {
                    0..30 => limit.refused(now),
                    30..60 => limit.ended(now, sample(latency, SampleOutcome::Dropped)),
                    60..90 => limit.ended(now, sample(latency, SampleOutcome::Cancelled)),
                    _ if draw < busy => limit.started(now),
                    _ => limit.ended(now, answered(latency)),
                }
                assert!((min..=max).contains(&limit.limit()), "{policy:?} {seed}");
                assert!(policy != LimitPolicy::Fixed || limit.limit() == initial);
                assert!(limit.next_deadline().is_none_or(|due| due > now), "{policy:?} {seed}");
            }
            if random.below(20) == 0 {
                limit.handle_timeout(now);
            }
        }
        for limit in [&mut limit, &mut lazy] {
            limit.handle_timeout(now + SECOND * 3600);
            assert_eq!(limit.next_deadline(), None);
        }
        assert!(backwards || limit.limit() == lazy.limit(), "{policy:?} {seed}");
    }
}
