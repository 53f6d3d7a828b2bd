//! Whoever wants to be connected is told so when the peer has shown that it is there.

use std::time::Duration;

use pointsub_core::Verdict;
use pointsub_core::network::{Fact, Goal, Source};

use super::script::{Script, address, circuit, dialled, inbound};

const NOTHING: [&str; 0] = [];

#[test]
fn a_connection_that_is_there_is_asked_for_a_sign_of_life() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.connect_at(1, address(1));
    assert_eq!(s.acts(), ["probe 1"]);
    s.judge(1, Verdict::Answered);
    assert_eq!(s.orders(), ["connect 0: peer 1"]);
}

#[test]
fn without_one_within_a_second_the_peer_is_dialled() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.connect_at(1, address(1));
    s.acts();
    s.at(999);
    assert_eq!(s.orders(), NOTHING);
    s.at(1000);
    assert_eq!(s.orders(), ["dial 0: peer 1 at 1"]);
    s.connect_at(1, address(1));
    assert_eq!(s.orders(), NOTHING, "nor does anybody else rely on it");
    s.open(1);
    assert_eq!(s.orders(), ["open 0 on 1"], "streams are opened on it: it may only be slow");
    assert!(s.succeed(0, 2, 1, address(1)));
    assert_eq!(s.acts(), ["retire 1", "probe 1", "probe 2", "probe 2"]);
}

/// A ping behind a large body measures the body.
#[test]
fn a_round_trip_behind_something_else_is_not_waited_for_four_times() {
    let mut s = Script::new();
    s.name(1, address(1), Source::Application);
    s.up(inbound(1, 1));
    s.tell(Fact::Measured(1, Duration::from_secs(15)));
    s.connect_to(1);
    s.acts();
    s.at(7999);
    assert_eq!(s.orders(), NOTHING, "two seconds count, four times");
    s.at(8000);
    assert_eq!(s.orders(), ["dial 0: peer 1 at 1"]);
}

/// The dial then comes second, which must not be told as a failure.
#[test]
fn a_late_answer_serves_those_for_whom_the_peer_is_dialled() {
    let mut s = Script::new();
    s.up(dialled(1, 1, address(1)));
    s.connect_at(1, address(1));
    s.at(1000);
    assert_eq!(s.acts(), ["probe 1", "dial 0: peer 1 at 1"]);
    s.judge(1, Verdict::Answered);
    assert_eq!(s.orders(), ["connect 0: peer 1"]);
    assert!(!s.succeed(0, 2, 1, address(1)));
    assert_eq!(s.orders(), NOTHING);
}

/// Found by the simulator: beside slow connections, each dial that came second led to a further one.
#[test]
fn a_dial_that_comes_second_is_not_followed_by_another() {
    let mut s = Script::new();
    s.up(dialled(1, 1, address(1)));
    s.connect(Goal::Address(address(2)));
    s.acts();
    assert!(!s.succeed(0, 2, 1, address(2)));
    assert_eq!(s.orders(), ["probe 1"]);
    s.at(4999);
    assert_eq!(s.orders(), NOTHING, "it is slow, or will be suspect");
    s.judge(1, Verdict::Suspect);
    assert_eq!(s.orders(), ["retire 1", "dial 1: peer 1 at 2"]);
    assert!(s.succeed(1, 2, 1, address(2)));
    s.acts();
    s.judge(2, Verdict::Answered);
    assert_eq!(s.orders(), ["connect 0: peer 1"]);
}

/// Found by the simulator (seed 500811): what waits to be written keeps silence from being judged. Whoever
/// waited for 10 s was told that the peer is connected, which had long gone.
#[test]
fn a_connection_that_a_dial_was_second_to_is_not_waited_for_for_ever() {
    let mut s = Script::new();
    s.up(dialled(1, 1, address(1)));
    s.connect(Goal::Address(address(2)));
    s.acts();
    assert!(!s.succeed(0, 2, 1, address(2)));
    assert_eq!(s.orders(), ["probe 1"]);
    s.at(9999);
    assert_eq!(s.orders(), NOTHING);
    s.at(10_000);
    assert_eq!(s.orders(), ["dial 1: peer 1 at 2"]);
    assert!(s.succeed(1, 2, 1, address(2)), "it does not come second to what is doubtful");
    s.acts();
    s.judge(2, Verdict::Answered);
    assert_eq!(s.orders(), ["connect 0: peer 1"]);
}

#[test]
fn who_was_just_dialled_is_slow_at_worst() {
    let mut s = Script::new();
    s.connect_at(1, address(1));
    s.orders();
    assert!(s.succeed(0, 1, 1, address(1)));
    assert_eq!(s.acts(), ["probe 1"]);
    s.at(1000);
    assert_eq!(s.orders(), ["connect 0: peer 1"]);
}

#[test]
fn a_peer_that_ends_the_connection_at_once_is_not_dialled_again() {
    let mut s = Script::new();
    s.connect_at(1, address(1));
    s.orders();
    assert!(s.succeed(0, 1, 1, address(1)));
    s.tell(Fact::Down(1, Some("no muxer".into())));
    assert_eq!(s.acts(), ["probe 1", "connect 0 failed: ended: no muxer"]);
}

#[test]
fn if_a_connection_that_was_found_ends_the_peer_is_dialled() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.connect_at(1, address(1));
    s.down(1);
    assert_eq!(s.acts(), ["probe 1", "dial 0: peer 1 at 1"]);
}

#[test]
fn if_a_connection_ends_beside_another_that_one_is_asked() {
    let mut s = Script::new();
    s.connect_at(1, address(1));
    s.orders();
    assert!(s.succeed(0, 1, 1, address(1)));
    s.up(inbound(2, 1));
    s.acts();
    s.down(1);
    assert_eq!(s.orders(), ["probe 2"]);
}

#[test]
fn a_relayed_connection_does_not_serve_who_names_a_direct_address() {
    let mut s = Script::new();
    s.up(dialled(1, 1, circuit(9)));
    s.connect_at(1, circuit(9));
    assert_eq!(s.acts(), ["probe 1"]);
    s.connect_at(1, address(1));
    assert_eq!(s.orders(), ["dial 0: peer 1 at 1"]);
}

#[test]
fn a_suspect_connection_is_not_waited_for() {
    let mut s = Script::new();
    s.name(1, address(1), Source::Application);
    s.up(inbound(1, 1));
    s.connect_at(1, address(1));
    s.judge(1, Verdict::Suspect);
    assert_eq!(s.acts(), ["probe 1", "retire 1", "dial 0: peer 1 at 1"]);
}

#[test]
fn who_gave_up_is_told_nothing() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.connect(Goal::Peer(super::script::peer(1), None));
    s.abandon_connect(0);
    s.acts();
    s.judge(1, Verdict::Answered);
    assert_eq!((s.orders().len(), s.net.sizes().waiting), (0, 0));
}
