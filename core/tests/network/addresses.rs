//! What is believed of the addresses that are named.

use pointsub_core::network::{Address, Fact, Reach, Source, Up};

use super::script::{Script, address, inbound, peer};

/// How many addresses are looked at, of those that a peer names at a time.
const LOOKED_AT: usize = 64;

fn named() -> Vec<Address> {
    let of = |n: u8, reach| Address::new(&[n]).within(reach);
    let [here, near, far] = [Reach::Machine, Reach::Network, Reach::Internet].map(Some);
    vec![of(0, here), of(1, near), of(2, far), of(3, None)]
}

#[test]
fn a_peer_names_no_address_that_is_nearer_than_itself() {
    for (from, believed) in [(Reach::Machine, 0), (Reach::Network, 1), (Reach::Internet, 2)] {
        let mut s = Script::new();
        s.up(Up { from, ..inbound(1, 1) });
        s.tell(Fact::Identified(1, peer(1), named()));
        assert_eq!(s.net.addresses(&peer(1)), named()[believed..], "{from:?}");
    }
}

#[test]
fn what_is_told_on_an_unknown_connection_comes_from_far_away() {
    let mut s = Script::new();
    s.tell(Fact::Identified(9, peer(1), named()));
    assert_eq!(s.net.addresses(&peer(1)), named()[2..]);
}

#[test]
fn of_a_long_list_the_beginning_is_looked_at() {
    let mut s = Script::new();
    let near = Address::new(&[1]).within(Some(Reach::Machine));
    let far = Address::new(&[2]).within(Some(Reach::Internet));
    let list = |len| [vec![near.clone(); len], vec![far.clone()]].concat();
    s.tell(Fact::Identified(1, peer(1), list(LOOKED_AT)));
    assert_eq!(s.net.addresses(&peer(1)), []);
    s.tell(Fact::Identified(1, peer(1), list(LOOKED_AT - 1)));
    assert_eq!(s.net.addresses(&peer(1)), [far]);
}

#[test]
fn the_application_s_addresses_are_kept_whatever_others_say() {
    let mut s = Script::new();
    (0..16).for_each(|a| s.name(1, address(a), Source::Application));
    (100..200).for_each(|a| s.name(1, address(a), Source::Stranger));
    let kept = s.net.addresses(&peer(1));
    assert!((0..16).all(|a| kept.contains(&address(a))));
    assert_eq!(kept.len(), 32);
}

#[test]
fn what_was_said_of_a_peer_is_forgotten_an_hour_after_its_end() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.name(1, address(1), Source::Stranger);
    s.at(10_000_000);
    assert_eq!(s.net.addresses(&peer(1)), [address(1)]);
    s.down(1);
    s.at(10_000_000 + 3_599_999);
    assert_eq!(s.net.addresses(&peer(1)), [address(1)]);
    s.at(10_000_000 + 3_600_000);
    assert_eq!(s.net.addresses(&peer(1)), []);
    assert_eq!(s.net.sizes().learned_peers, 0);
}
