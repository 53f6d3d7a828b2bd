//! Addresses that are kept, and the order in which they are tried.

use core::time::Duration;

use pointsub_core::network::{Address, AddressBook};
use pointsub_core::{PeerId, Timestamp};

/// Addresses kept of a peer, of each source.
const ADDRESSES: u16 = 16;
/// Peers of which the application may name addresses, and peers of which anything else is kept.
const PEERS: usize = 16_384;
const REMEMBERED: Duration = Duration::from_secs(3600);

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

fn address(n: u16) -> Address {
    Address::new(&n.to_be_bytes())
}

fn id(n: usize) -> PeerId {
    PeerId::from_bytes(&(n as u64).to_be_bytes()).expect("a peer id")
}

#[test]
fn strangers_push_out_nothing_that_the_application_said() {
    let (mut book, peer) = (AddressBook::default(), id(0));
    book.pin(peer, address(0));
    for port in 1..100 {
        book.learn(peer, address(port), at(0));
    }
    for stranger in 1..=2 * PEERS {
        book.learn(id(stranger), address(1), at(0));
    }
    assert_eq!(book.of(&peer)[0], address(0));
    assert_eq!(book.sizes().1, PEERS);
}

#[test]
fn what_strangers_say_is_limited() {
    let (mut book, peer) = (AddressBook::default(), id(0));
    for port in 0..100 {
        book.learn(peer, address(port), at(0));
    }
    assert_eq!(book.of(&peer).len(), usize::from(ADDRESSES));
    let long = |n: u8| Address::new(&[n; 250]);
    for peer in 1..PEERS / 2 {
        let kept = (10..26).filter(|n| book.learn(id(peer), long(*n), at(0))).count();
        assert!(kept == 8 || peer > PEERS / 8, "{kept} of peer {peer}");
    }
    let of_one: usize = book.of(&id(1)).iter().map(|address| address.as_bytes().len()).sum();
    assert_eq!(of_one, 2000, "2048 bytes at most");
    let (_, peers, in_all) = book.sizes();
    let most = 4 * 1024 * 1024;
    assert!((most - 250..=most).contains(&in_all), "{in_all}");
    assert_eq!(peers, PEERS / 2, "of whom nothing is kept, it is known that they were there");
}

#[test]
fn it_is_said_what_is_kept() {
    let (mut book, peer) = (AddressBook::default(), id(0));
    assert!((0..ADDRESSES).all(|port| book.learn(peer, address(port), at(0))));
    assert!(!book.learn(peer, address(100), at(0)));
    assert!(book.learn(peer, address(3), at(0)), "it was kept before");
}

#[test]
fn what_strangers_said_ends_some_time_after_the_connection() {
    let (mut book, peer) = (AddressBook::default(), id(0));
    book.connected(peer, None, at(0));
    book.learn(peer, address(1), at(0));
    book.expire(at(1_000_000));
    assert_eq!(book.of(&peer), [address(1)], "it is connected");
    book.disconnected(peer, at(1_000_000));
    book.expire(at(1_000_000) + REMEMBERED.saturating_sub(Duration::from_nanos(1)));
    assert!(book.knows(&peer));
    assert_eq!(book.next_deadline(), Some(at(1_000_000) + REMEMBERED));
    book.expire(at(1_000_000) + REMEMBERED);
    assert!(!book.knows(&peer));
    assert_eq!((book.sizes(), book.next_deadline()), ((0, 0, 0), None));
}

#[test]
fn a_peer_that_comes_back_is_not_forgotten() {
    let (mut book, peer) = (AddressBook::default(), id(0));
    book.connected(peer, None, at(0));
    book.disconnected(peer, at(1));
    book.connected(peer, None, at(2));
    book.expire(at(1_000_000));
    assert!(book.knows(&peer));
}

#[test]
fn many_peers_are_pinned_and_not_more() {
    let mut book = AddressBook::default();
    let peers: Vec<PeerId> = (0..=PEERS).map(id).collect();
    book.pin(peers[0], address(0));
    book.pin(peers[1], address(0));
    peers[1..].iter().for_each(|peer| book.pin(*peer, address(1)));
    assert_eq!(book.sizes().0, PEERS);
    assert!(!book.knows(&peers[0]), "it was named longest ago");
    assert!(book.knows(&peers[1]) && book.knows(&peers[PEERS]));
}

#[test]
fn of_one_peer_the_worst_address_makes_room() {
    let (mut book, peer) = (AddressBook::default(), id(0));
    (0..ADDRESSES).for_each(|port| book.pin(peer, address(port)));
    book.failed(&peer, &address(3), true, at(1));
    book.pin(peer, address(100));
    let kept = book.of(&peer);
    assert_eq!(kept.len(), usize::from(ADDRESSES));
    assert!(!kept.contains(&address(3)) && kept.contains(&address(100)));
    book.pin(peer, address(101));
    assert!(!book.of(&peer).contains(&address(0)), "then the oldest");
}

#[test]
fn the_most_promising_address_comes_first() {
    let (mut book, peer) = (AddressBook::default(), id(0));
    (0..5).for_each(|port| book.pin(peer, address(port)));
    book.failed(&peer, &address(0), true, at(2));
    book.failed(&peer, &address(1), false, at(1));
    book.connected(peer, Some(&address(4)), at(3));
    assert_eq!(book.of(&peer), [4, 2, 3, 1, 0].map(address));
    book.pin(peer, address(0));
    assert_eq!(book.of(&peer), [4, 0, 2, 3, 1].map(address), "named once more");
}

#[test]
fn a_wrong_address_is_forgotten_if_a_stranger_named_it() {
    let (mut book, peer) = (AddressBook::default(), id(0));
    book.pin(peer, address(0));
    assert!((0..3).all(|port| book.learn(peer, address(port), at(0))));
    book.failed(&peer, &address(0), true, at(1));
    book.failed(&peer, &address(1), true, at(1));
    book.failed(&peer, &address(2), false, at(2));
    assert_eq!(book.of(&peer), [0, 2].map(address));
    book.connected(peer, Some(&address(2)), at(3));
    book.failed(&peer, &address(2), true, at(4));
    assert_eq!(book.of(&peer), [0, 2].map(address), "the peer was there, and may come back");
}
