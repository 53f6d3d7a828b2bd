//! Relays that are found.

use core::time::Duration;

use pointsub_core::network::{Address, RelayFinder};
use pointsub_core::{PeerId, Timestamp};

use super::script::peer;

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

fn relay(n: u8) -> Address {
    Address::new(&[n]).through_relay(true)
}

/// A node that wants so many, and knows that peers 1 to 5 relay.
fn finder(wanted: usize) -> RelayFinder<u32> {
    let mut finder = RelayFinder::new(wanted, at(0));
    (1..=5).for_each(|n| finder.offered(peer(n), relay(n), at(1)));
    finder
}

/// Asks all that are due, with listeners from `listener` on.
fn ask(finder: &mut RelayFinder<u32>, listener: u32, now: Timestamp) -> Vec<PeerId> {
    let mut asked = Vec::new();
    while let Some((peer, _)) = finder.due(now) {
        finder.asked(&peer, Some(listener + asked.len() as u32), now, 0);
        asked.push(peer);
    }
    asked
}

#[test]
fn a_node_that_is_not_reachable_for_a_while_takes_as_many_as_it_wants() {
    let mut finder = finder(2);
    assert_eq!(ask(&mut finder, 0, at(9)), []);
    assert_eq!(finder.next_deadline(), Some(at(10)));
    assert_eq!(ask(&mut finder, 0, at(10)), [peer(1), peer(2)]);
    assert_eq!(finder.next_deadline(), None);
    assert_eq!((finder.relay(1), finder.relay(2)), (Some(peer(2)), None));
}

#[test]
fn one_that_is_lost_is_replaced_by_another() {
    let mut finder = finder(1);
    assert_eq!(ask(&mut finder, 0, at(10)), [peer(1)]);
    finder.up(0);
    assert_eq!(finder.down(0, at(100), u64::MAX), Some(peer(1)));
    assert_eq!(finder.down(0, at(100), 0), None);
    assert_eq!(ask(&mut finder, 1, at(100)), [peer(2)]);
}

#[test]
fn pauses_double_up_to_five_minutes() {
    let mut finder = RelayFinder::new(1, at(0));
    finder.offered(peer(1), relay(1), at(0));
    let (mut now, mut pauses) = (at(10), Vec::new());
    for listener in 0..9 {
        assert_eq!(ask(&mut finder, listener, now), [peer(1)]);
        finder.down(listener, now, u64::MAX);
        let next = finder.next_deadline().expect("it is asked again");
        pauses.push(next.since(now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [4, 8, 16, 32, 64, 128, 256, 300, 300]);
    finder.asked(&peer(1), Some(9), now, 0);
    finder.up(9);
    finder.down(9, now, u64::MAX);
    assert_eq!(finder.next_deadline(), Some(now + Duration::from_secs(4)), "it was there");
}

#[test]
fn a_node_that_is_reachable_needs_none() {
    let mut finder = finder(2);
    ask(&mut finder, 0, at(10));
    assert_eq!(finder.reachable(false, at(11)), []);
    assert_eq!(finder.reachable(true, at(20)), [0, 1]);
    assert_eq!((ask(&mut finder, 2, at(1000)), finder.next_deadline()), (Vec::new(), None));
    assert_eq!(finder.reachable(false, at(2000)), []);
    assert_eq!(ask(&mut finder, 2, at(2009)), []);
    assert_eq!(ask(&mut finder, 2, at(2010)).len(), 2);
}

#[test]
fn who_does_not_relay_any_more_is_not_asked() {
    let mut finder = finder(1);
    finder.withdrawn(&peer(1));
    assert_eq!(ask(&mut finder, 0, at(10)), [peer(2)]);
    finder.withdrawn(&peer(2));
    assert_eq!(finder.relay(0), Some(peer(2)), "it may still do so for this node");
}

#[test]
fn few_are_remembered_and_those_that_fail_make_room() {
    let mut finder = RelayFinder::new(1, at(0));
    (1..=40).for_each(|n| finder.offered(peer(n), relay(n), at(0)));
    let mut asked = Vec::new();
    for listener in 0..100 {
        asked.extend(ask(&mut finder, listener, at(10)));
        finder.down(listener, at(10), u64::MAX);
    }
    assert_eq!(asked.len(), 32);
    finder.offered(peer(50), relay(50), at(11));
    assert_eq!(ask(&mut finder, 200, at(11)), [peer(50)]);
}

#[test]
fn who_wants_none_remembers_none() {
    let mut finder = finder(0);
    assert_eq!((ask(&mut finder, 0, at(1000)), finder.next_deadline()), (Vec::new(), None));
}
