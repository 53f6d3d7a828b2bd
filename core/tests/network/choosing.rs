//! Which of a peer's connections is used, and which has to go.

use pointsub_core::Verdict;
use pointsub_core::network::{Fact, Source, Up};

use super::script::{Script, address, circuit, dialled, inbound, peer};

const NOTHING: [&str; 0] = [];

/// A relayed connection, as the peer has made it.
fn relayed(connection: u32, p: u8) -> Up<u32> {
    Up { relayed: true, ..inbound(connection, p) }
}

#[test]
fn a_direct_connection_comes_before_a_relayed_one() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.up(relayed(2, 1));
    s.open(1);
    assert_eq!(s.acts(), ["retire 2", "probe 2", "open 0 on 1"]);
    s.down(1);
    s.open(1);
    assert_eq!(s.acts(), ["resume 2", "open 1 on 2, relayed"]);
}

#[test]
fn when_a_direct_one_comes_up_the_relayed_one_is_retired() {
    let mut s = Script::new();
    s.up(relayed(1, 1));
    s.open(1);
    assert_eq!(s.acts(), ["open 0 on 1, relayed"]);
    s.up(inbound(2, 1));
    s.open(1);
    assert_eq!(s.acts(), ["retire 1", "probe 1", "open 1 on 2"]);
}

#[test]
fn two_relayed_ones_stay_side_by_side() {
    let mut s = Script::new();
    s.up(relayed(1, 1));
    s.up(relayed(2, 1));
    s.open(1);
    assert_eq!(s.acts(), ["open 0 on 2, relayed"]);
}

#[test]
fn among_equals_the_newest_is_used() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.up(inbound(2, 1));
    s.open(1);
    assert_eq!(s.acts(), ["retire 1", "probe 1", "open 0 on 2"], "1 may be lost without a word");
}

#[test]
fn a_suspect_connection_is_not_used_and_another_one_is_made() {
    let mut s = Script::new();
    s.name(1, address(1), Source::Application);
    s.up(inbound(1, 1));
    s.judge(1, Verdict::Suspect);
    assert_eq!(s.acts(), ["retire 1", "dial 0: peer 1 at 1"]);
    s.open(1);
    assert_eq!(s.orders(), NOTHING, "it waits for that dial");
    assert!(s.succeed(0, 2, 1, address(1)));
    assert_eq!(s.acts(), ["abort 1", "open 0 on 2"]);
}

/// What its peer has said before is under way when it is told to end.
#[test]
fn nothing_is_begun_on_a_connection_that_was_told_to_end() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.up(inbound(2, 1));
    s.judge(2, Verdict::Suspect);
    assert_eq!(s.acts(), ["retire 1", "probe 1", "retire 2", "resume 1", "abort 2"]);
    s.judge(2, Verdict::Recovered);
    s.open(1);
    assert_eq!(s.orders(), ["open 0 on 1"]);
    s.connect_to(1);
    assert_eq!(s.orders(), ["probe 1"]);
}

#[test]
fn a_suspect_connection_ends_at_once_if_there_is_another() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.up(inbound(2, 1));
    s.acts();
    s.judge(2, Verdict::Suspect);
    assert_eq!(s.orders(), ["retire 2", "resume 1", "abort 2"]);
    s.open(1);
    assert_eq!(s.orders(), ["open 0 on 1"]);
    s.down(2);
    assert_eq!(s.orders(), NOTHING);
}

#[test]
fn a_relayed_connection_that_lives_is_better_than_a_direct_one_that_is_suspect() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.up(relayed(2, 1));
    s.acts();
    s.judge(1, Verdict::Suspect);
    s.open(1);
    assert_eq!(s.orders(), ["retire 1", "resume 2", "abort 1", "open 0 on 2, relayed"]);
}

/// Whatever is newest: its peer has just failed to answer on it.
#[test]
fn a_doubtful_connection_is_not_used_beside_another_of_its_kind() {
    let mut s = Script::new();
    s.up(dialled(1, 1, address(1)));
    s.up(inbound(2, 1));
    s.connect_at(1, address(1));
    assert_eq!(s.acts(), ["retire 1", "probe 1", "probe 2"]);
    s.at(1000);
    assert_eq!(s.orders(), ["resume 1", "dial 0: peer 1 at 1"]);
    s.open(1);
    assert_eq!(s.orders(), ["open 0 on 1"]);
}

#[test]
fn a_direct_connection_that_is_doubtful_is_not_used_beside_a_relayed_one_that_lives() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.connect_at(1, address(1));
    s.at(1000);
    s.up(relayed(2, 1));
    s.acts();
    s.open(1);
    assert_eq!(s.acts(), ["open 0 on 2, relayed"]);
    s.judge(1, Verdict::Answered);
    assert_eq!(s.acts()[..2], ["retire 2", "probe 2"]);
    s.open(1);
    assert_eq!(s.acts(), ["open 1 on 1"]);
}

#[test]
fn a_suspect_that_recovers_serves_all_who_wait() {
    let mut s = Script::new();
    s.name(1, address(1), Source::Application);
    s.up(inbound(1, 1));
    s.judge(1, Verdict::Suspect);
    s.open(1);
    s.connect_at(1, address(1));
    assert_eq!(s.acts(), ["retire 1", "dial 0: peer 1 at 1"]);
    s.judge(1, Verdict::Recovered);
    assert_eq!(s.orders(), ["resume 1", "open 0 on 1", "connect 0: peer 1"]);
}

#[test]
fn a_dead_connection_is_ended() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.judge(1, Verdict::Dead);
    s.judge(9, Verdict::Dead);
    assert_eq!(s.acts(), ["abort 1"]);
}

#[test]
fn a_peer_that_comes_back_replaces_its_corpse() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.judge(1, Verdict::Suspect);
    assert_eq!(s.acts(), ["retire 1", "dial 0: peer 1 elsewhere"]);
    s.up(inbound(2, 1));
    assert_eq!(s.acts(), ["abort 1"]);
}

#[test]
fn whoever_does_something_for_this_node_is_watched() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.acts();
    s.tell(Fact::Watched(peer(1)));
    assert_eq!(s.orders(), ["watch 1"]);
    s.up(relayed(2, 1));
    assert_eq!(s.acts()[0], "watch 2");
}

#[test]
fn what_is_unknown_or_told_twice_changes_nothing() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.up(dialled(1, 2, circuit(3)));
    s.down(5);
    s.judge(5, Verdict::Suspect);
    s.acts();
    assert_eq!(s.net.connections(&peer(1)).collect::<Vec<_>>(), [1]);
    assert_eq!(s.net.peers().count(), 1);
}
