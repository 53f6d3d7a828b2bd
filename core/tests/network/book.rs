//! Addresses that are kept, and the order in which they are tried.

use core::time::Duration;

use pointsub_core::network::{Address, AddressBook, Carrier, Source};
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

#[test]
fn a_peers_own_word_pushes_out_that_of_strangers() {
    let (mut book, peer) = (AddressBook::default(), id(0));
    assert!((0..ADDRESSES).all(|port| book.learn(peer, address(port), at(0))));
    book.connected(peer, Some(&address(0)), at(1));
    assert!(book.learn_from_peer(peer, address(100), at(2)));
    assert!(book.learn_from_peer(peer, address(2), at(2)), "it says the same");
    let sources = |source| book.known(&peer).iter().filter(|one| one.source == source).count();
    assert_eq!((sources(Source::Peer), sources(Source::Stranger)), (2, 14));
    let kept = book.of(&peer);
    assert!(kept.contains(&address(0)), "the peer was reached there");
    assert!(!kept.contains(&address(1)) && kept.contains(&address(2)));
    let (_, _, bytes) = book.sizes();
    assert_eq!(bytes, kept.iter().map(|address| address.as_bytes().len()).sum());
}

#[test]
fn what_has_proved_to_be_true_is_kept_longer() {
    let (mut book, peer) = (AddressBook::default(), id(0));
    book.connected(peer, None, at(0));
    book.learn(peer, address(1), at(0));
    book.connected(peer, Some(&address(1)), at(0));
    book.disconnected(peer, at(10));
    book.expire(at(10) + REMEMBERED * 24 * 6);
    assert_eq!(book.of(&peer), [address(1)]);
    book.expire(at(10) + REMEMBERED * 24 * 7);
    assert!(!book.knows(&peer));
}

#[test]
fn an_address_that_fails_for_a_day_is_forgotten() {
    let (mut book, peer) = (AddressBook::default(), id(0));
    book.learn(peer, address(1), at(0));
    book.connected(peer, Some(&address(1)), at(0));
    let day = 24 * 3600;
    (0..8).for_each(|n| book.failed(&peer, &address(1), true, at(n)));
    assert_eq!(book.of(&peer), [address(1)]);
    book.failed(&peer, &address(1), true, at(day + 1));
    assert_eq!(book.of(&peer), []);
}

#[test]
fn a_quick_address_comes_before_a_slow_one() {
    let (mut book, peer) = (AddressBook::default(), id(0));
    (0..3).for_each(|port| book.pin(peer, address(port)));
    for (port, millis) in [(0, 15), (1, 300), (2, 18)] {
        book.connected(peer, Some(&address(port)), at(u64::from(port)));
        book.measured(&peer, &address(port), Duration::from_millis(millis));
    }
    assert_eq!(book.of(&peer), [2, 0, 1].map(address), "of those about as quick, the last one");
}

fn over(carrier: Carrier, n: u16) -> Address {
    address(n).over(carrier)
}

#[test]
fn of_two_carriers_the_quicker_one_comes_first() {
    let mut book = AddressBook::default();
    let new = id(100);
    book.pin(new, over(Carrier::Quic, 0));
    book.pin(new, over(Carrier::Tcp, 1));
    for n in 0..4 {
        for (carrier, millis) in [(Carrier::Quic, 100), (Carrier::Tcp, 40)] {
            assert_eq!(book.of(&new)[0], address(0), "as they were named, before it is measured");
            book.measured(&id(n), &over(carrier, 9), Duration::from_millis(millis));
        }
    }
    assert_eq!(book.of(&new), [1, 0].map(address));
    book.forgive(at(1));
    assert_eq!(book.of(&new), [0, 1].map(address), "in another network it may be different");
}

#[test]
fn a_carrier_that_never_gets_through_comes_last() {
    let mut book = AddressBook::default();
    let new = id(100);
    book.pin(new, over(Carrier::Quic, 0));
    book.pin(new, over(Carrier::Tcp, 1));
    (0..40).for_each(|_| book.failed(&id(0), &over(Carrier::Quic, 9), false, at(0)));
    assert_eq!(book.of(&new), [0, 1].map(address), "it may be the peer");
    (1..3).for_each(|n| book.failed(&id(n), &over(Carrier::Quic, 9), false, at(0)));
    assert_eq!(book.of(&new), [1, 0].map(address));
    book.measured(&id(3), &over(Carrier::Quic, 9), Duration::from_millis(9));
    assert_eq!(book.of(&new), [0, 1].map(address));
}

#[test]
fn a_book_that_is_restored_ranks_the_same() {
    let (mut book, peer) = (AddressBook::default(), id(0));
    (0..6).for_each(|port| book.pin(peer, address(port)));
    assert!((6..9).all(|port| book.learn_from_peer(peer, address(port), at(0))));
    for (port, when) in [(4, 10), (2, 20), (7, 30)] {
        book.connected(peer, Some(&address(port)), at(when));
    }
    book.measured(&peer, &address(2), Duration::from_millis(700));
    book.failed(&peer, &address(5), true, at(40));
    book.failed(&peer, &address(8), false, at(41));
    let mut restored = AddressBook::default();
    for known in book.known(&peer) {
        assert!(restored.restore(peer, known, at(0)));
    }
    assert_eq!(restored.of(&peer), book.of(&peer));
    assert_eq!(restored.known(&peer), book.known(&peer));
    assert_eq!(restored.peers().collect::<Vec<_>>(), [peer]);
}
