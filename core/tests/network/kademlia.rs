//! A table that all nodes keep: when a node is listed in it, whom it finds there, and whom it lists.

use core::time::Duration;
use std::collections::BTreeSet;

use pointsub_core::network::Address;
use pointsub_core::network::kademlia::{
    Kademlia, KademliaFact, KademliaOrder, NetworkSecret, Part, Provider, Providers, QueryId,
    Reachable, ServiceKey,
};
use pointsub_core::{PeerId, ProtocolName, Timestamp};

const SEARCH: ProtocolName = ProtocolName::from_static("/search/1.0.0");
const OTHER: ProtocolName = ProtocolName::from_static("/other/1.0.0");
/// Half past an hour, so that one key counts.
const UNIX: u64 = 490_896 * 3600 + 1800;

fn secs(secs: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(secs)
}

fn peer(n: u64) -> PeerId {
    PeerId::from_bytes(&n.to_be_bytes()).expect("an id")
}

fn secret() -> NetworkSecret {
    NetworkSecret::new(core::array::from_fn(|n| n as u8))
}

/// A machine in virtual time, whose queries end when the test says so.
struct World {
    table: Kademlia,
    now: Timestamp,
    unix: u64,
}

impl World {
    fn new() -> Self {
        Self::at(UNIX)
    }

    fn at(unix: u64) -> Self {
        Self { table: Kademlia::new(secret(), peer(0), 1), now: Timestamp::ZERO, unix }
    }

    fn joined() -> Self {
        let mut world = Self::new();
        world.tell(KademliaFact::Joined);
        world
    }

    fn tell(&mut self, fact: KademliaFact) -> Vec<KademliaOrder> {
        let unix = Duration::from_secs(self.unix) + self.now.since(Timestamp::ZERO);
        self.table.handle(fact, self.now, unix);
        std::iter::from_fn(|| self.table.poll_order()).collect()
    }

    /// Lets time pass; announcements are answered at once. Returns what was ordered, and when.
    fn pass(&mut self, until: u64) -> Vec<(u64, KademliaOrder)> {
        let mut all = Vec::new();
        while let Some(due) = self.table.next_deadline().filter(|due| *due <= secs(until)) {
            self.now = self.now.max(due);
            let mut orders = self.tell(KademliaFact::Tick);
            while !orders.is_empty() {
                let at = self.now.since(Timestamp::ZERO).as_secs();
                let queries: Vec<_> = orders.iter().filter_map(announced).collect();
                all.extend(orders.drain(..).map(|order| (at, order)));
                for (id, _) in queries {
                    orders.extend(self.tell(KademliaFact::Ended(id, 3)));
                }
            }
        }
        self.now = secs(until);
        all
    }
}

fn announced(order: &KademliaOrder) -> Option<(QueryId, ServiceKey)> {
    match order {
        KademliaOrder::Announce(id, key) => Some((*id, *key)),
        _ => None,
    }
}

fn searched(order: &KademliaOrder) -> Option<(QueryId, ServiceKey)> {
    match order {
        KademliaOrder::Find(id, key) => Some((*id, *key)),
        _ => None,
    }
}

fn found(orders: &[KademliaOrder]) -> Vec<PeerId> {
    let peer = |order: &KademliaOrder| match order {
        KademliaOrder::Found { peer, .. } => Some(*peer),
        _ => None,
    };
    orders.iter().filter_map(peer).collect()
}

fn providers(numbers: impl IntoIterator<Item = u64>) -> Vec<Provider> {
    let one = |n| Provider { peer: peer(n), addresses: vec![Address::new(&[1, 2, 3])] };
    numbers.into_iter().map(one).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The vector of WIRE.md.
#[test]
fn names_and_keys_are_those_of_the_specification() {
    assert_eq!(secret().protocol(), "/pointsub/kad/04bf9d790635439604ee10c3ba4bc7c8/1");
    let key = secret().key(&SEARCH, 490_896).to_bytes();
    assert_eq!(hex(&key), "122091f7bc3cf92ccd905a84b7ab90b83d46b81f64673c71ede5544fb884ae521576");
    assert_eq!(ServiceKey::from_bytes(&key), Some(secret().key(&SEARCH, 490_896)));
    assert_eq!(ServiceKey::from_bytes(&key[1..]), None);
    assert_eq!(ServiceKey::from_bytes(&[key[0]; 34]), None);
    assert_eq!(format!("{:?}", secret()), "NetworkSecret(..)");
    assert_ne!(NetworkSecret::from_phrase("a"), NetworkSecret::from_phrase("b"));
}

#[test]
fn clocks_that_differ_by_twenty_minutes_share_a_key() {
    let epochs = |secs| NetworkSecret::epochs(Duration::from_secs(secs));
    for at in (0..3 * 3600).step_by(60) {
        let (one, other) = (epochs(7200 + at), epochs(7200 + at + 1200));
        assert!(one.end() >= other.start(), "at {at}");
        let until = NetworkSecret::until_others(Duration::from_secs(7200 + at));
        assert!(until <= Duration::from_secs(3600) && !until.is_zero());
        let last = until - Duration::from_secs(1);
        assert_eq!(epochs(7200 + at + last.as_secs()), epochs(7200 + at), "nothing changes before");
        assert_ne!(epochs(7200 + at + until.as_secs()), epochs(7200 + at), "at {at}");
    }
}

#[test]
fn it_dials_the_first_nodes_until_one_answers() {
    let mut world = World::new();
    assert_eq!(world.tell(KademliaFact::Tick), [KademliaOrder::Join]);
    let times: Vec<_> = world.pass(200).into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [1, 3, 7, 15, 31, 63, 123, 183]);
    assert_eq!(world.tell(KademliaFact::Joined), []);
    assert!(world.table.is_joined());
    let later = world.pass(500);
    let again = [320, 440].map(|at| (at, KademliaOrder::Join));
    assert_eq!(later, again, "one of them may have restarted");
}

#[test]
fn what_is_served_is_announced_at_once_and_again() {
    let mut world = World::new();
    let orders = world.tell(KademliaFact::Serves(vec![SEARCH]));
    let (id, _) = orders.iter().find_map(announced).expect("at itself, if there is nobody");
    world.tell(KademliaFact::Ended(id, 0));
    let orders = world.tell(KademliaFact::Joined);
    let [(id, key)] = orders.iter().filter_map(announced).collect::<Vec<_>>()[..] else {
        panic!("{orders:?}")
    };
    assert_eq!(key, secret().key(&SEARCH, 490_896));
    world.tell(KademliaFact::Ended(id, 3));
    let all = world.pass(600).into_iter();
    let times: Vec<_> =
        all.filter(|(_, order)| announced(order).is_some()).map(|(at, _)| at).collect();
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((4..=5).contains(&times[0]) && (13..=15).contains(&pauses[0]), "{times:?}");
    assert!(pauses[2..].iter().all(|pause| (107..=121).contains(pause)), "{pauses:?}");

    let orders = world.tell(KademliaFact::Serves(vec![SEARCH, OTHER]));
    assert_eq!(orders.iter().filter_map(announced).count(), 1, "the new one");
    let orders = world.tell(KademliaFact::Serves(vec![SEARCH]));
    let gone = KademliaOrder::Withdraw(secret().key(&OTHER, 490_896));
    assert!(matches!(&orders[..], [KademliaOrder::Stop(_), last] if *last == gone), "{orders:?}");
    let orders = world.tell(KademliaFact::Moved);
    assert_eq!(orders.iter().filter_map(announced).count(), 1, "{orders:?}");
}

#[test]
fn a_node_that_moves_while_it_is_announced_is_announced_once_more() {
    let mut world = World::joined();
    let orders = world.tell(KademliaFact::Serves(vec![SEARCH]));
    let (id, key) = announced(&orders[0]).expect("at once");
    assert_eq!(world.tell(KademliaFact::Moved), []);
    let orders = world.tell(KademliaFact::Ended(id, 1));
    assert_eq!(orders.iter().filter_map(announced).map(|(_, key)| key).collect::<Vec<_>>(), [key]);
}

#[test]
fn few_announcements_are_under_way_at_a_time() {
    let mut world = World::joined();
    let names = (0..300).map(|n| ProtocolName::new(&format!("/s/{n}")).expect("a name"));
    let mut orders = world.tell(KademliaFact::Serves(names.collect()));
    let mut keys = BTreeSet::new();
    while let Some((id, key)) = orders.first().and_then(announced) {
        keys.insert(key);
        orders.remove(0);
        orders.extend(world.tell(KademliaFact::Ended(id, 1)));
        assert!(orders.len() <= 4, "{}", orders.len());
    }
    assert_eq!(keys.len(), 128, "of 300, so many are announced");
}

/// Around the turn of an hour, both keys count; the old one is given up afterwards.
#[test]
fn the_next_key_is_used_before_the_turn_and_the_old_one_after_it() {
    let mut world = World::at(490_896 * 3600 + 2900);
    world.tell(KademliaFact::Joined);
    let orders = world.tell(KademliaFact::Serves(vec![SEARCH]));
    let (id, _) = announced(&orders[0]).expect("at once");
    world.tell(KademliaFact::Ended(id, 1));
    let [old, new] = [490_896, 490_897].map(|epoch| secret().key(&SEARCH, epoch));
    let all = world.pass(1400);
    let of = |wanted| {
        let times =
            all.iter().filter(|(_, order)| announced(order).is_some_and(|(_, key)| key == wanted));
        times.map(|(at, _)| *at).collect::<Vec<_>>()
    };
    assert_eq!(of(new).first(), Some(&100), "10 min before");
    assert!(of(old).last().is_some_and(|last| (1150..1300).contains(last)), "{:?}", of(old));
    let gone = all.iter().find(|(_, order)| *order == KademliaOrder::Withdraw(old));
    assert_eq!(gone.map(|(at, _)| *at), Some(1300), "10 min after");

    let mut world = World::at(490_896 * 3600 + 3100);
    world.tell(KademliaFact::Joined);
    let orders = world.tell(KademliaFact::LookUp(SEARCH));
    let keys: Vec<_> = orders.iter().filter_map(searched).map(|(_, key)| key).collect();
    assert_eq!(keys, [old, new]);
}

#[test]
fn who_is_wanted_is_looked_for_again_when_there_is_somebody_to_ask() {
    let mut world = World::new();
    let orders = world.tell(KademliaFact::LookUp(SEARCH));
    let (id, _) = orders.iter().find_map(searched).expect("this node may know somebody itself");
    assert_eq!(found(&world.tell(KademliaFact::Answered(id, providers([5])))), [peer(5)]);
    world.tell(KademliaFact::Ended(id, 0));
    world.tell(KademliaFact::LookUp(OTHER));
    world.tell(KademliaFact::Forget(OTHER));
    let orders = world.tell(KademliaFact::Joined);
    let [(id, _)] = orders.iter().filter_map(searched).collect::<Vec<_>>()[..] else {
        panic!("{orders:?}")
    };
    assert_eq!(world.tell(KademliaFact::LookUp(SEARCH)), [], "it is under way");
    let orders = world.tell(KademliaFact::Answered(id, providers([0, 7])));
    assert_eq!(found(&orders), [peer(7)], "this node itself is none");
    assert_eq!(world.tell(KademliaFact::Answered(id, providers([7]))), [], "it is known");
    assert_eq!(world.tell(KademliaFact::Ended(id, 2)), []);
    let orders = world.tell(KademliaFact::LookUp(SEARCH));
    let (id, _) = searched(&orders[0]).expect("anew");
    assert_eq!(world.tell(KademliaFact::Forget(SEARCH)), [KademliaOrder::Stop(id)]);
    assert_eq!(world.tell(KademliaFact::Answered(id, providers([8]))), []);
}

/// Nine nodes lie, as much as they can; one knows two servers.
#[test]
fn those_who_lie_do_not_take_the_places_of_what_others_say() {
    let mut world = World::joined();
    let orders = world.tell(KademliaFact::LookUp(SEARCH));
    let (id, _) = searched(&orders[0]).expect("at once");
    let mut all = Vec::new();
    for liar in 1..=7 {
        let orders =
            world.tell(KademliaFact::Answered(id, providers(liar * 1000..liar * 1000 + 500)));
        assert_eq!(found(&orders).len(), 4);
        all.extend(found(&orders));
    }
    all.extend(found(&world.tell(KademliaFact::Answered(id, providers([1, 2])))));
    for liar in 8..=9 {
        all.extend(found(
            &world.tell(KademliaFact::Answered(id, providers(liar * 1000..liar * 1000 + 500))),
        ));
    }
    all.extend(found(&world.tell(KademliaFact::Ended(id, 10))));
    assert!(all.contains(&peer(1)) && all.contains(&peer(2)));
    assert_eq!(all.len(), 32);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 32, "each once");
}

#[test]
fn who_has_to_wait_is_found_when_the_query_ends() {
    let mut world = World::joined();
    let orders = world.tell(KademliaFact::LookUp(SEARCH));
    let (id, _) = searched(&orders[0]).expect("at once");
    let mut all = found(&world.tell(KademliaFact::Answered(id, providers(1..=10))));
    assert_eq!(all.len(), 4);
    all.extend(found(&world.tell(KademliaFact::Ended(id, 1))));
    all.sort_unstable();
    assert_eq!(all, (1..=10).map(peer).collect::<Vec<_>>());
}

#[test]
fn one_whom_nobody_answers_joins_anew_and_not_all_the_time() {
    let mut world = World::joined();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let orders = world.tell(KademliaFact::LookUp(SEARCH));
        let (id, _) = orders.iter().find_map(searched).expect("it asks");
        assert_eq!(world.tell(KademliaFact::Ended(id, 0)), []);
        assert!(!world.table.is_joined());
        let due = world.table.next_deadline().expect("it joins");
        pauses.push(due.since(world.now).as_secs());
        world.now = due;
        assert_eq!(world.tell(KademliaFact::Tick), [KademliaOrder::Join]);
        let orders = world.tell(KademliaFact::Joined);
        let (id, _) = orders.iter().find_map(searched).expect("what is wanted is looked for");
        world.tell(KademliaFact::Forget(SEARCH));
        assert_eq!(world.tell(KademliaFact::Ended(id, 0)), [], "it was stopped");
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32]);
}

#[test]
fn a_node_keeps_a_part_if_others_reach_it() {
    let behind_a_nat = Reachable { listens: true, confirmed: false, on_internet: true };
    let on_a_lan = Reachable { on_internet: false, ..behind_a_nat };
    let reached = Reachable { confirmed: true, ..behind_a_nat };
    let nowhere = Reachable::default();
    let keeps = |part: Part| [behind_a_nat, on_a_lan, reached, nowhere].map(|how| part.keeps(how));
    assert_eq!(keeps(Part::Auto), [false, true, true, false]);
    assert_eq!(keeps(Part::Keeper), [true; 4]);
    assert_eq!(keeps(Part::Asker), [false; 4]);
}

mod providers_of_others {
    use super::*;

    fn key(n: u64) -> ServiceKey {
        secret().key(&SEARCH, n)
    }

    fn named(providers: &Providers, now: Timestamp) -> Vec<PeerId> {
        providers.of(&key(0), now).into_iter().map(|(peer, _)| peer).collect()
    }

    #[test]
    fn who_does_not_say_so_again_is_not_listed_any_more() {
        let mut providers = Providers::new(1);
        assert!(providers.add(key(0), peer(1), None, Vec::new(), secs(0)));
        assert!(providers.add(key(0), peer(2), None, Vec::new(), secs(0)));
        assert!(providers.add(key(0), peer(2), None, Vec::new(), secs(200)));
        assert_eq!(providers.len(), 2);
        assert_eq!(named(&providers, secs(299)).len(), 2);
        assert_eq!(named(&providers, secs(300)), [peer(2)]);
        assert_eq!(providers.next_deadline(), Some(secs(300)));
        providers.expire(secs(500));
        assert!(providers.is_empty());
        assert_eq!(providers.next_deadline(), None);
    }

    /// A thousand identities of one network, before the honest servers and after them.
    #[test]
    fn a_thousand_identities_of_one_network_push_nobody_out() {
        for honest_first in [true, false] {
            let mut providers = Providers::new(7);
            let flood = |providers: &mut Providers| {
                for n in 1000..2000 {
                    providers.add(key(0), peer(n), Some(666), Vec::new(), secs(1));
                }
            };
            if !honest_first {
                flood(&mut providers);
            }
            for n in 1..=10 {
                assert!(providers.add(key(0), peer(n), Some(n), Vec::new(), secs(1)), "{n}");
            }
            if honest_first {
                flood(&mut providers);
            }
            assert_eq!(providers.len(), 256);
            let named = named(&providers, secs(2));
            assert_eq!(named.len(), 20);
            let honest = named.iter().filter(|named| (1..=10).any(|n| peer(n) == **named));
            assert_eq!(honest.count(), 10, "each network has one before one has two");
        }
    }

    /// More servers than are listed, each in a network of its own: other nodes list others.
    #[test]
    fn each_node_lists_others_where_not_all_fit() {
        let lists = |seed| {
            let mut providers = Providers::new(seed);
            for n in 0..512 {
                providers.add(key(0), peer(n), Some(n), Vec::new(), secs(0));
            }
            assert_eq!(providers.len(), 256);
            let listed = |n: &u64| {
                let was = providers.remove(&key(0), &peer(*n));
                assert!(!providers.remove(&key(0), &peer(*n)));
                was
            };
            (0..512).filter(listed).collect::<BTreeSet<_>>()
        };
        let (one, other) = (lists(1), lists(2));
        assert!(one.len() == 256 && one.intersection(&other).count() < 200);
        assert_eq!(lists(1), one, "chance is what the seed says");
    }

    #[test]
    fn one_network_does_not_fill_the_table_with_keys() {
        let mut providers = Providers::new(3);
        for n in 0..20_000 {
            providers.add(key(n), peer(n % 100), Some(666), Vec::new(), secs(0));
        }
        assert_eq!(providers.len(), 8192);
        for n in 0..50 {
            assert!(providers.add(key(90_000 + n), peer(5000 + n), Some(n), Vec::new(), secs(1)));
        }
        assert_eq!(providers.len(), 8192);
        let listed = |n: &u64| !providers.of(&key(90_000 + n), secs(1)).is_empty();
        assert_eq!((0..50).filter(listed).count(), 50);
    }

    #[test]
    fn one_peer_is_listed_under_so_many_keys() {
        let mut providers = Providers::new(3);
        let added = (0..300).filter(|n| providers.add(key(*n), peer(1), None, Vec::new(), secs(0)));
        assert_eq!(added.count(), 256);
        assert!(providers.add(key(3), peer(1), None, Vec::new(), secs(9)), "again");
    }

    #[test]
    fn few_and_short_addresses_are_kept() {
        let mut providers = Providers::new(3);
        let all = |addresses: Vec<Address>| {
            providers.add(key(0), peer(1), None, addresses, secs(0));
            providers.of(&key(0), secs(0))[0].1.len()
        };
        let mut all = all;
        assert_eq!(all(vec![Address::new(&[1]); 20]), 8);
        assert_eq!(
            all(vec![Address::new(&[1; 600]), Address::new(&[2; 300]), Address::new(&[3; 300])]),
            1
        );
    }

    #[test]
    fn others_are_named_each_time() {
        let mut providers = Providers::new(3);
        for n in 0..100 {
            providers.add(key(0), peer(n), None, Vec::new(), secs(0));
        }
        let seen = (0..60).flat_map(|at| named(&providers, secs(at))).collect::<BTreeSet<_>>();
        assert_eq!(seen.len(), 100);
    }
}
