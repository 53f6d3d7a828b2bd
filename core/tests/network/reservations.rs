//! Places at relays: when a relay is asked, and when again.

use core::time::Duration;

use pointsub_core::Timestamp;
use pointsub_core::network::{Address, Reservations};

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

fn relay(n: u8) -> Address {
    Address::new(&[n]).through_relay(true)
}

/// Asks what is due, as `listener`.
fn ask(wanted: &mut Reservations<u32>, listener: u32, now: Timestamp) -> Option<Address> {
    let address = wanted.due(now)?;
    wanted.asked(&address, Some(listener), now, 0);
    Some(address)
}

fn wanting() -> Reservations<u32> {
    let mut wanted = Reservations::new();
    wanted.want(relay(1), 0);
    wanted
}

#[test]
fn a_place_that_is_lost_is_asked_for_again() {
    let mut wanted = wanting();
    assert_eq!((wanted.due(at(0)), wanted.next_deadline()), (None, None));
    assert!(!wanted.settled());
    wanted.up(0, at(1));
    assert!(wanted.settled());
    assert_eq!(wanted.down(0, at(1000), u64::MAX), Some(relay(1)));
    assert_eq!(wanted.next_deadline(), Some(at(1001)), "1 s with all of the chance");
    assert_eq!(wanted.due(at(1000)), None);
    assert_eq!(ask(&mut wanted, 2, at(1001)), Some(relay(1)));
    wanted.up(2, at(1002));
    assert_eq!(wanted.down(2, at(2000), 0), Some(relay(1)));
    assert_eq!(wanted.next_deadline(), Some(at(2000) + Duration::from_millis(500)));
}

#[test]
fn pauses_double_up_to_half_a_minute() {
    let mut wanted = wanting();
    let (mut now, mut pauses) = (at(0), Vec::new());
    for listener in 0..8 {
        wanted.down(listener, now, u64::MAX);
        let next = wanted.next_deadline().expect("it is asked again");
        pauses.push(next.since(now).as_secs());
        now = next;
        assert_eq!(ask(&mut wanted, listener + 1, now), Some(relay(1)));
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
}

#[test]
fn who_takes_the_place_away_at_once_is_not_asked_each_second() {
    let mut wanted = wanting();
    let mut now = at(0);
    for listener in 0..5 {
        wanted.up(listener, now);
        wanted.down(listener, now, u64::MAX);
        now = wanted.next_deadline().expect("it is asked again");
        assert_eq!(ask(&mut wanted, listener + 1, now), Some(relay(1)));
    }
    assert_eq!(now, at(1 + 2 + 4 + 8 + 16));
}

#[test]
fn there_is_one_listener_at_a_relay() {
    let mut wanted = wanting();
    wanted.want(relay(2), 2);
    assert_eq!(ask(&mut wanted, 3, at(1000)), None);
    assert_eq!(wanted.address(2), Some(relay(2)));
    assert_eq!(wanted.down(9, at(0), 0), None, "a listener of another kind");
    assert!(!wanted.settled());
    wanted.up(0, at(1));
    wanted.down(2, at(1), 0);
    assert!(wanted.settled(), "one has a place, and one is known to be down");
}

#[test]
fn a_relay_that_cannot_be_asked_rests_too() {
    let mut wanted = wanting();
    wanted.down(0, at(0), u64::MAX);
    let address = wanted.due(at(1)).expect("it is due");
    wanted.asked(&address, None, at(1), u64::MAX);
    assert_eq!(wanted.next_deadline(), Some(at(3)));
}

#[test]
fn in_another_network_all_are_asked_at_once() {
    let mut wanted = wanting();
    wanted.want(relay(2), 1);
    wanted.up(1, at(0));
    (0..6).for_each(|n| {
        wanted.down(n * 10, at(100 * u64::from(n)), u64::MAX);
        ask(&mut wanted, n * 10 + 10, at(100 * u64::from(n) + 60));
    });
    wanted.down(60, at(1000), u64::MAX);
    assert_eq!(wanted.due(at(1001)), None);
    wanted.hurry(at(1001));
    assert_eq!(wanted.due(at(1001)), Some(relay(1)), "and not the one that keeps a place");
}
