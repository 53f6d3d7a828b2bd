//! How many dials there are at a time, and how soon an address is dialled again.

use pointsub_core::network::Source;

use super::script::{LIMIT, Script, address, refused};

/// How many dials there may be.
const DIALS: usize = 256;
/// When there are so many, each peer has one at a time.
const CROWDED: usize = 128;
/// When there are so many, none begins for which nobody waits.
const BUSY: usize = 64;

/// Peers from 1 on, each with two addresses and somebody who waits for a stream.
fn dial(s: &mut Script, peers: std::ops::RangeInclusive<u8>) -> Vec<String> {
    for p in peers {
        s.name(p, address(1), Source::Application);
        s.name(p, address(2), Source::Application);
        s.open(p);
    }
    s.acts()
}

#[test]
fn there_are_so_many_dials_and_no_more() {
    let mut s = Script::new();
    assert_eq!(dial(&mut s, 1..=255).len(), 255);
    s.at(250);
    assert_eq!(s.acts(), Vec::<String>::new(), "each peer has one");
    assert_eq!(dial(&mut s, 0..=0), ["dial 255: peer 0 at 1"]);
    assert_eq!(s.net.sizes().dials, DIALS);
    // A stranger's peer has to wait.
    s.open_far(1);
    assert_eq!(s.acts(), Vec::<String>::new());
    s.fail(255, refused());
    assert_eq!(s.acts(), ["dial 256: peer 1 elsewhere"], "it was there before peer 0's second");
}

#[test]
fn while_there_are_few_each_peer_has_several() {
    let mut s = Script::new();
    dial(&mut s, 1..=100);
    s.at(250);
    assert_eq!(s.acts().len(), CROWDED - 100);
    // The others have their turn when there are fewer.
    for n in 0..100 {
        s.fail(n, refused());
    }
    assert_eq!(s.acts().len(), 100 - (CROWDED - 100));
}

#[test]
fn who_waits_comes_before_what_nobody_waits_for() {
    let mut s = Script::new();
    dial(&mut s, 1..=BUSY as u8);
    s.name(200, address(1), Source::Application);
    s.up(super::script::inbound(1, 200));
    s.judge(1, pointsub_core::Verdict::Suspect);
    assert_eq!(s.acts(), ["retire 1"], "no dial for a connection that nobody waits for");
    s.open(200);
    assert_eq!(s.acts(), [format!("dial {BUSY}: peer 200 at 1")]);
}

#[test]
fn those_that_hang_count_until_the_driver_says_that_they_have_ended() {
    let mut s = Script::new();
    dial(&mut s, 1..=255);
    dial(&mut s, 0..=0);
    s.open_far(1);
    s.open_far(2);
    s.acts();
    s.at(LIMIT);
    // Those that hang are still dials.
    assert_eq!(s.net.sizes().dials, DIALS);
    for n in 0..DIALS {
        s.fail(n, refused());
    }
    let acts = s.acts();
    assert!(acts.iter().any(|act| act.contains("elsewhere")), "{acts:?}");
}

/// Attempts at an address that is asked for again and again.
#[test]
fn an_address_that_fails_rests_longer_each_time() {
    let mut s = Script::new();
    s.name(1, address(1), Source::Application);
    let (mut dials, mut starts) = (0, Vec::new());
    for tick in 1..3000 {
        s.at(tick * 10);
        if s.net.sizes().waiting == 0 {
            s.open(1);
        }
        for act in s.acts() {
            if act.starts_with("dial") {
                if act.ends_with("at 1") {
                    starts.push(tick * 10);
                }
                s.fail(dials, if act.ends_with("elsewhere") { None } else { refused() });
                dials += 1;
            }
        }
    }
    let pauses: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, expected) in pauses.iter().zip([100, 200, 400, 800, 1600, 2000, 2000, 2000]) {
        assert!((expected * 4 / 5..=expected * 6 / 5 + 20).contains(pause), "{pauses:?}");
    }
    assert!(pauses.windows(2).skip(5).any(|pair| pair[0] != pair[1]), "by chance: {pauses:?}");
    // Who asks for it now does not wait.
    s.connect_at(1, address(1));
    assert!(s.acts().iter().any(|act| act.ends_with("at 1")));
}
