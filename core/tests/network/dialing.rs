//! When peers are dialled, where, and who shares a dial.

use pointsub_core::Verdict;
use pointsub_core::network::{DialError, Goal, NetworkEvent, Order, Source};

use super::script::{Script, address, circuit, dialled, inbound, peer, refused};

const NOTHING: [&str; 0] = [];

#[test]
fn all_who_wait_for_a_peer_share_its_dial() {
    let mut s = Script::new();
    s.name(1, address(1), Source::Application);
    s.open(1);
    assert_eq!(s.orders(), ["dial 0: peer 1 at 1"]);
    s.open(1);
    s.connect_at(1, address(1));
    assert_eq!(s.orders(), NOTHING);
    assert!(s.succeed(0, 7, 1, address(1)));
    let expected = ["event: peer 1 is there", "open 0 on 7", "open 1 on 7", "probe 7"];
    assert_eq!(s.orders(), expected);
    s.judge(7, Verdict::Answered);
    assert_eq!(s.orders(), ["connect 0: peer 1"]);
    assert_eq!((s.net.sizes().races, s.net.sizes().waiting, s.net.sizes().dials), (0, 0, 0));
}

#[test]
fn what_the_driver_knows_is_tried_last() {
    let mut s = Script::new();
    s.name(1, address(1), Source::Application);
    s.name(1, circuit(9), Source::Stranger);
    s.open(1);
    s.fail_all_of(["dial 0: peer 1 at 1", "dial 1: peer 1 at 9"]);
    assert_eq!(s.orders(), ["dial 2: peer 1 elsewhere"]);
    s.fail(2, None);
    assert_eq!(s.orders(), ["open 0 failed: 2 tried"]);
}

#[test]
fn relays_are_dialled_half_a_second_later() {
    let mut s = Script::new();
    s.name(1, circuit(9), Source::Application);
    s.name(1, address(1), Source::Stranger);
    s.open(1);
    assert_eq!(s.orders(), ["dial 0: peer 1 at 1"]);
    s.at(499);
    assert_eq!(s.orders(), NOTHING);
    s.at(500);
    assert_eq!(s.orders(), ["dial 1: peer 1 at 9"]);
}

#[test]
fn nobody_is_dialled_of_whom_nothing_is_known() {
    let mut s = Script::new();
    s.open(1);
    assert_eq!(s.orders(), ["dial 0: peer 1 elsewhere"]);
    s.fail(0, None);
    assert_eq!(s.orders(), ["open 0 failed: no address"]);
    s.up(inbound(3, 1));
    s.down(3);
    s.open(1);
    assert_eq!(s.acts(), ["dial 1: peer 1 elsewhere"]);
    s.fail(1, None);
    assert_eq!(s.orders(), ["open 1 failed: gone"]);
}

#[test]
fn an_address_that_is_named_meanwhile_takes_part() {
    let mut s = Script::new();
    s.name(1, address(1), Source::Application);
    s.open(1);
    assert_eq!(s.orders(), ["dial 0: peer 1 at 1"]);
    s.name(1, address(2), Source::Stranger);
    s.at(250);
    assert_eq!(s.orders(), ["dial 1: peer 1 at 2"]);
    s.connect_at(1, address(3));
    assert_eq!(s.orders(), ["dial 2: peer 1 at 3"], "somebody wants that now");
}

/// Strangers name more addresses than are kept: the rest take no part in a dial either.
#[test]
fn what_is_not_kept_is_not_dialled() {
    let mut s = Script::new();
    s.name(1, address(200), Source::Application);
    s.open(1);
    (0..100).for_each(|a| s.name(1, address(a), Source::Stranger));
    let mut dials = 0;
    for _ in 0..100 {
        let orders = s.orders();
        let begun = dials..dials + orders.iter().filter(|order| order.starts_with("dial")).count();
        dials = begun.end;
        begun.for_each(|n| s.fail(n, refused()));
    }
    assert_eq!(dials, 1 + 16 + 1);
}

#[test]
fn each_address_has_the_same_time() {
    let mut s = Script::new();
    (1..=3).for_each(|a| s.name(1, address(a), Source::Application));
    s.connect_at(1, address(1));
    s.at(5000);
    assert_eq!(s.orders().len(), 4);
    s.at(5999);
    assert_eq!(s.orders(), NOTHING);
    s.at(6000);
    assert_eq!(s.orders(), ["connect 0 failed: late, after 5s"]);
    assert_eq!(s.net.sizes().dials, 4, "until the driver says that they are over");
    (0..4).for_each(|n| s.fail(n, Some(DialError::Aborted)));
    assert_eq!((s.net.sizes().dials, s.orders().len()), (0, 0));
}

#[test]
fn a_failure_is_told_by_address() {
    let mut s = Script::new();
    s.name(1, address(1), Source::Application);
    s.connect_at(1, address(2));
    s.connect_to(1);
    s.orders();
    s.fail(0, Some(DialError::WrongPeer(peer(5))));
    s.orders();
    s.fail(1, refused());
    s.orders();
    s.fail(2, None);
    let wrong = format!("another peer answers, {}", peer(5));
    let first = format!("connect 0 failed: {wrong}; 1 others");
    assert_eq!(s.orders(), [first.as_str(), "connect 1 failed: nowhere; 2 others"]);
}

#[test]
fn who_gave_up_is_told_nothing_and_the_dial_goes_on() {
    let mut s = Script::new();
    s.connect_at(1, address(1));
    s.open(1);
    s.abandon_connect(0);
    s.abandon_open(0);
    assert_eq!(s.orders(), ["dial 0: peer 1 at 1"]);
    s.open(1);
    assert!(s.succeed(0, 7, 1, address(1)));
    assert_eq!(s.acts(), ["open 1 on 7"]);
}

#[test]
fn whoever_is_at_an_address_is_found_once() {
    let mut s = Script::new();
    s.connect(Goal::Address(address(1)));
    s.connect(Goal::Address(address(1)));
    assert_eq!(s.orders(), ["dial 0: anybody at 1"]);
    assert!(s.succeed(0, 7, 4, address(1)));
    assert_eq!(s.acts(), ["probe 7", "probe 7"]);
    s.judge(7, Verdict::Answered);
    assert_eq!(s.orders(), ["connect 0: peer 4", "connect 1: peer 4"]);
    assert_eq!(s.net.addresses(&peer(4)), [address(1)]);
    s.connect(Goal::Address(address(1)));
    assert_eq!(s.orders(), ["probe 7"], "it is known who is there");
}

#[test]
fn a_second_connection_to_whoever_is_at_an_address_is_not_made() {
    let mut s = Script::new();
    s.up(dialled(3, 4, address(2)));
    s.connect(Goal::Address(address(1)));
    assert_eq!(s.acts(), ["dial 0: anybody at 1"]);
    assert!(!s.succeed(0, 7, 4, address(1)));
    assert_eq!(s.orders(), ["probe 3"], "the one that is there may be dead");
    s.judge(3, Verdict::Answered);
    assert_eq!(s.orders(), ["connect 0: peer 4"]);
}

#[test]
fn a_node_that_dials_itself_is_told() {
    let mut s = Script::new();
    s.connect(Goal::Address(address(1)));
    s.orders();
    s.fail(0, Some(DialError::OwnPeer));
    assert_eq!(s.orders(), ["connect 0 failed: self"]);
}

#[test]
fn two_that_dial_each_other_keep_both_connections() {
    let mut s = Script::new();
    s.name(1, address(1), Source::Application);
    s.open(1);
    s.orders();
    s.up(inbound(3, 1));
    assert_eq!(s.acts(), ["open 0 on 3"]);
    assert!(s.succeed(0, 7, 1, address(1)), "each end may have dialled the one of the other");
}

#[test]
fn a_dial_that_comes_second_is_not_kept() {
    let mut s = Script::new();
    (1..=2).for_each(|a| s.name(1, address(a), Source::Application));
    s.open(1);
    s.at(250);
    assert_eq!(s.orders(), ["dial 0: peer 1 at 1", "dial 1: peer 1 at 2"]);
    assert!(s.succeed(1, 7, 1, address(2)));
    assert_eq!(s.acts(), ["open 0 on 7"]);
    assert!(!s.succeed(0, 8, 1, address(1)));
    assert_eq!((s.orders().len(), s.net.sizes().dials), (0, 0));
}

#[test]
fn a_direct_connection_is_kept_beside_a_relayed_one() {
    let mut s = Script::new();
    (1..=2).for_each(|a| s.name(1, address(a), Source::Application));
    s.open(1);
    s.orders();
    s.up(dialled(3, 1, circuit(9)));
    assert_eq!(s.acts(), ["open 0 on 3, relayed"]);
    assert!(s.succeed(0, 7, 1, address(1)));
    assert_eq!(s.acts(), ["retire 3", "probe 3"]);
}

/// A dial is refused since the peer is connected, and somebody waits for that dial.
#[test]
fn whoever_waits_for_a_dial_that_comes_second_is_connected() {
    let mut s = Script::new();
    s.up(dialled(3, 1, address(1)));
    s.connect_at(1, address(1));
    s.at(1000);
    assert_eq!(s.acts(), ["probe 3", "dial 0: peer 1 at 1"], "no answer within a second");
    s.judge(3, Verdict::Recovered);
    assert_eq!(s.orders(), ["connect 0: peer 1"]);
    assert!(!s.succeed(0, 7, 1, address(1)));
    assert_eq!(s.orders(), NOTHING);
}

/// Found by the simulator: the dial began anew again and again.
#[test]
fn a_relayed_dial_that_comes_second_does_not_end_the_search_for_a_direct_one() {
    let mut s = Script::new();
    s.name(1, circuit(9), Source::Application);
    s.up(dialled(3, 1, circuit(9)));
    s.connect_at(1, address(1));
    s.connect_at(1, circuit(9));
    s.at(500);
    assert_eq!(s.acts(), ["dial 0: peer 1 at 1", "probe 3", "dial 1: peer 1 at 9"]);
    assert!(!s.succeed(1, 7, 1, circuit(9)));
    assert_eq!(s.orders(), NOTHING, "the dial of the direct address goes on");
    assert!(s.succeed(0, 8, 1, address(1)));
    assert_eq!(s.acts(), ["retire 3", "probe 3", "probe 8"]);
}

#[test]
fn events_tell_the_first_and_the_last_connection() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.up(inbound(2, 1));
    s.down(1);
    s.down(2);
    s.down(2);
    let mut events = Vec::new();
    while let Some(order) = s.net.poll_order() {
        if let Order::Event(event) = order {
            events.push(event);
        }
    }
    let (there, gone) = (NetworkEvent::PeerConnected, NetworkEvent::PeerDisconnected);
    assert_eq!(events, [there(peer(1)), gone(peer(1))]);
}

impl Script {
    /// These dials begin, each when the one before has failed, and the last one fails too.
    fn fail_all_of(&mut self, dials: [&str; 2]) {
        for dial in dials {
            assert_eq!(self.orders(), [dial]);
            let n: usize = dial[5..6].parse().expect("a number");
            self.fail(n, refused());
        }
    }
}
