//! Which silence is death, and which is not.

use core::time::Duration;

use pointsub_core::{Liveness, Timestamp, Verdict};

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

/// Looks each second of a range; what came of it, with the second.
fn watch(
    liveness: &mut Liveness,
    seconds: core::ops::RangeInclusive<u64>,
    mut heard: impl FnMut(u64) -> u64,
    written: u64,
) -> Vec<(u64, Verdict)> {
    let look =
        |second| Some((second, liveness.look(true, at(heard(second)), written, at(second))?));
    seconds.filter_map(look).collect()
}

#[test]
fn a_peer_that_says_nothing_more_is_asked_then_suspect_then_dead() {
    let mut liveness = Liveness::new(at(0));
    let verdicts = watch(&mut liveness, 0..=100, |_| 0, 0);
    assert_eq!(verdicts, [(3, Verdict::Probe), (6, Verdict::Suspect), (36, Verdict::Dead)]);
}

#[test]
fn nothing_is_asked_while_nothing_is_due() {
    let mut liveness = Liveness::new(at(0));
    for second in 0..1000 {
        assert_eq!(liveness.look(false, at(0), 0, at(second)), None);
        assert!(!liveness.is_watched());
    }
    // What was silent before does not count.
    assert_eq!(liveness.look(true, at(0), 0, at(1000)), None);
    assert!(liveness.is_watched());
    assert_eq!(watch(&mut liveness, 1001..=1003, |_| 0, 0), [(1003, Verdict::Probe)]);
}

#[test]
fn whoever_sends_is_not_asked() {
    let mut liveness = Liveness::new(at(0));
    assert_eq!(watch(&mut liveness, 0..=1000, |second| second - second % 2, 0), []);
}

/// A handler takes long: the peer answers probes and nothing else.
#[test]
fn probes_that_are_answered_become_rarer() {
    let mut liveness = Liveness::new(at(0));
    let (mut heard, mut probes) = (0, Vec::new());
    for second in 0..200 {
        match liveness.look(true, at(heard), 0, at(second)) {
            Some(Verdict::Probe) => {
                probes.push(second);
                heard = second + 1;
            }
            None | Some(Verdict::Answered) => {}
            Some(verdict) => panic!("{verdict:?} after {second} s"),
        }
    }
    assert_eq!(probes, [3, 10, 23, 48, 73, 98, 123, 148, 173, 198]);
    // With something else, they begin from anew.
    for second in 200..210 {
        assert_eq!(liveness.look(true, at(second), 0, at(second)), None);
    }
    assert_eq!(
        watch(&mut liveness, 210..=213, |_| 209, 0),
        [(213, Verdict::Probe)],
        "four round trips"
    );
}

#[test]
fn whoever_answers_late_is_used_again() {
    let mut liveness = Liveness::new(at(0));
    watch(&mut liveness, 0..=6, |_| 0, 0);
    assert!(liveness.is_suspect());
    assert_eq!(liveness.look(true, at(20), 0, at(20)), Some(Verdict::Recovered));
    assert!(!liveness.is_suspect());
}

/// What goes out at 50 KB/s takes a minute, and the probe stands behind it.
#[test]
fn a_slow_link_is_not_dead() {
    let mut liveness = Liveness::new(at(0));
    let verdicts = watch(&mut liveness, 0..=40, |second| second / 20 * 20, 1024 * 1024);
    assert!(
        verdicts.iter().all(|(_, verdict)| matches!(verdict, Verdict::Probe | Verdict::Answered)),
        "{verdicts:?}"
    );
    // However much is on its way, there is an end.
    let mut liveness = Liveness::new(at(0));
    let verdicts = watch(&mut liveness, 0..=100, |_| 0, u64::MAX);
    assert_eq!(verdicts, [(3, Verdict::Probe), (63, Verdict::Suspect), (93, Verdict::Dead)]);
}

#[test]
fn this_process_may_sleep() {
    let mut liveness = Liveness::new(at(0));
    watch(&mut liveness, 0..=4, |_| 0, 0);
    assert_eq!(liveness.look(true, at(0), 0, at(3600)), None, "there was no time to answer");
    assert_eq!(watch(&mut liveness, 3601..=3603, |_| 0, 0), [(3603, Verdict::Suspect)]);
    // Where the clock stands still meanwhile, somebody else has to tell.
    let mut asleep = Liveness::new(at(0));
    watch(&mut asleep, 0..=5, |_| 0, 0);
    assert_eq!(asleep.wake(at(0), at(5)), None, "a probe is under way");
    assert_eq!(watch(&mut asleep, 6..=8, |_| 0, 0), [(8, Verdict::Suspect)]);
    assert_eq!(Liveness::new(at(0)).wake(at(0), at(5)), Some(Verdict::Probe));
    assert_eq!(liveness.look(true, at(0), 0, at(7200)), None);
}

#[test]
fn there_may_be_another_reason_to_ask() {
    let mut liveness = Liveness::new(at(0));
    assert_eq!(liveness.probe(at(499), at(500)), Some(Verdict::Probe));
    assert_eq!(liveness.probe(at(499), at(501)), None, "one is under way");
    assert!(liveness.is_watched());
    assert_eq!(liveness.look(false, at(499), 0, at(502)), None, "that was before");
    assert_eq!(liveness.look(false, at(499), 0, at(503)), Some(Verdict::Suspect));
    let mut liveness = Liveness::new(at(0));
    liveness.probe(at(499), at(500));
    assert_eq!(liveness.look(false, at(501), 0, at(501)), Some(Verdict::Answered));
    assert!(!liveness.is_watched());
}

#[test]
fn how_long_a_peer_may_be_silent_is_an_option() {
    let tolerate = |seconds| Liveness::new(at(0)).tolerate(Duration::from_secs(seconds), 0);
    let verdicts = watch(&mut tolerate(2), 0..=40, |_| 0, 0);
    assert_eq!(verdicts, [(1, Verdict::Probe), (2, Verdict::Suspect), (12, Verdict::Dead)]);
    let verdicts = watch(&mut tolerate(60), 0..=100, |_| 0, 0);
    assert_eq!(verdicts, [(30, Verdict::Probe), (60, Verdict::Suspect), (90, Verdict::Dead)]);
    // However long it is, there is an end.
    let verdicts = watch(&mut tolerate(400), 0..=1000, |_| 0, 0);
    assert_eq!(verdicts, [(200, Verdict::Probe), (400, Verdict::Suspect), (430, Verdict::Dead)]);
}

#[test]
fn a_peer_that_is_far_away_has_more_time() {
    let mut liveness = Liveness::new(at(0));
    liveness.measured(Duration::from_millis(1500));
    let verdicts = watch(&mut liveness, 0..=60, |_| 0, 0);
    assert_eq!(verdicts, [(6, Verdict::Probe), (12, Verdict::Suspect), (42, Verdict::Dead)]);
    // What is measured stands behind something else at times, and does not count without end.
    let mut liveness = Liveness::new(at(0));
    liveness.measured(Duration::from_secs(100));
    let verdicts = watch(&mut liveness, 0..=60, |_| 0, 0);
    assert_eq!(verdicts, [(8, Verdict::Probe), (16, Verdict::Suspect), (46, Verdict::Dead)]);
}

/// A thousand connections whose peers have gone at the same moment.
#[test]
fn probes_of_many_connections_are_spread() {
    let mut probes = [0; 10];
    for random in 0..1000_u64 {
        let random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let mut liveness = Liveness::new(at(0)).tolerate(Duration::from_secs(6), random);
        let mut now = at(0);
        while liveness.look(true, at(0), 0, now).is_none() {
            now = liveness.next_look(now);
        }
        let after = now.since(at(3)).as_millis() as usize;
        probes[after / 60] += 1;
    }
    assert!(probes.iter().all(|count| (50..150).contains(count)), "{probes:?}");
}

#[test]
fn it_is_looked_at_when_something_may_be_due() {
    let mut liveness = Liveness::new(at(0)).tolerate(Duration::from_millis(3000), 0);
    let mut now = at(0);
    let mut looks = Vec::new();
    while looks.len() < 5 {
        liveness.look(true, at(0), 0, now);
        now = liveness.next_look(now);
        looks.push(now.since(at(0)).as_millis());
    }
    assert_eq!(looks, [1000, 1500, 2500, 3000, 4000]);
}
