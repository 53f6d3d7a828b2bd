//! Which of too many connections to a peer makes room.

use pointsub_core::Verdict;
use pointsub_core::network::{Fact, Up};

use super::script::{Script, inbound, peer};

const NOTHING: [&str; 0] = [];

/// Connections through a relay, of which none retires another.
fn nine() -> Script {
    let mut s = Script::new();
    (1..=9).for_each(|key| s.up(Up { relayed: true, ..inbound(key, 1) }));
    s.acts();
    s
}

fn asked(keys: impl Iterator<Item = u32>) -> Vec<String> {
    keys.map(|key| format!("assess {key}")).collect()
}

#[test]
fn a_suspect_connection_goes_at_once() {
    let mut s = nine();
    s.judge(3, Verdict::Suspect);
    s.acts();
    s.tell(Fact::Crowded(peer(1)));
    assert_eq!(s.orders(), ["abort 3"]);
    s.tell(Fact::Crowded(peer(2)));
    assert_eq!(s.orders(), NOTHING);
}

#[test]
fn the_least_useful_one_that_is_idle_goes() {
    let mut s = nine();
    s.tell(Fact::Crowded(peer(1)));
    assert_eq!(s.orders(), asked(1..=9));
    s.tell(Fact::Crowded(peer(1)));
    assert_eq!(s.orders(), NOTHING, "they were asked");
    for key in 1..=8 {
        s.assess(key, key < 5, if key == 7 { 0 } else { 3 });
    }
    assert_eq!(s.orders(), NOTHING);
    s.assess(9, false, 0);
    assert_eq!(s.orders(), ["close 7"], "the fewest streams, and not the newest");
}

#[test]
fn who_does_not_answer_is_not_waited_for_and_not_closed() {
    let mut s = nine();
    s.tell(Fact::Crowded(peer(1)));
    s.acts();
    s.assess(4, false, 9);
    s.at(1000);
    assert_eq!(s.orders(), ["close 4"]);
}

#[test]
fn none_that_is_at_work_goes() {
    let mut s = nine();
    s.tell(Fact::Crowded(peer(1)));
    s.acts();
    (1..=8).for_each(|key| s.assess(key, true, 1));
    s.assess(9, false, 0);
    assert_eq!(s.orders(), NOTHING, "the newest was made for something");
    s.at(5000);
    assert_eq!(s.orders(), asked(1..=9), "one may have become idle");
    (1..=9).for_each(|key| s.assess(key, key != 2, 1));
    assert_eq!(s.orders(), ["close 2"]);
    s.down(2);
    s.at(60_000);
    assert_eq!((s.orders(), s.net.next_deadline()), (Vec::<String>::new(), None));
}

/// It is closed in good order, which takes a while.
#[test]
fn nothing_is_begun_on_the_one_that_goes() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.up(Up { relayed: true, ..inbound(2, 1) });
    s.tell(Fact::Crowded(peer(1)));
    s.acts();
    s.assess(1, false, 0);
    s.assess(2, false, 0);
    assert_eq!(s.orders(), ["close 1", "resume 2"], "the newest stays");
    s.open(1);
    assert_eq!(s.orders(), ["open 0 on 2, relayed"]);
}

/// The peer of one that is closed in good order may be gone.
#[test]
fn the_one_that_goes_ends_at_once_if_its_peer_is_silent() {
    let mut s = nine();
    s.tell(Fact::Crowded(peer(1)));
    (1..=9).for_each(|key| s.assess(key, key != 2, 1));
    s.acts();
    s.judge(2, Verdict::Suspect);
    assert_eq!(s.orders(), ["retire 2", "abort 2"]);
}

#[test]
fn a_crowd_that_has_gone_is_forgotten() {
    let mut s = nine();
    s.tell(Fact::Crowded(peer(1)));
    (1..=9).for_each(|key| s.down(key));
    s.acts();
    s.at(1000);
    assert_eq!(s.orders(), NOTHING);
}
