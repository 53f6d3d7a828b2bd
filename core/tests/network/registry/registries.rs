//! What a node makes of several registries: who is found, and when calls are opened again.

use std::collections::BTreeSet;

use pointsub_core::PeerId;
use pointsub_core::network::registry::{
    Registries, RegistriesFact as Fact, RegistriesOrder as Order, RegistryEvent as Event,
    RegistryId, RegistryRefusal,
};

use super::{ECHO, millis, peer};

const FIRST: RegistryId = RegistryId(0);
const SECOND: RegistryId = RegistryId(1);

/// A node that knows two registries, and is peer 0. Servers are told of with a number.
struct World {
    registries: Registries<u32>,
    found: BTreeSet<PeerId>,
}

impl World {
    fn new() -> Self {
        let registries = Registries::new(2, Some(peer(0)), 7);
        Self { registries, found: BTreeSet::new() }
    }

    fn looking() -> Self {
        let mut world = Self::new();
        let opened = world.tell(Fact::LookUp(ECHO), 0);
        assert_eq!(opened, [Order::Watch(FIRST, ECHO), Order::Watch(SECOND, ECHO)]);
        world
    }

    fn tell(&mut self, fact: Fact<u32>, at: u64) -> Vec<Order<u32>> {
        self.registries.handle(fact, millis(at));
        let orders: Vec<_> = std::iter::from_fn(|| self.registries.poll_order()).collect();
        for order in &orders {
            match order {
                Order::Found(peer, ..) => _ = self.found.insert(*peer),
                Order::Lost(peer, _) => _ = self.found.remove(peer),
                _ => {}
            }
        }
        orders
    }

    fn told(&mut self, registry: RegistryId, event: Event<u32>, at: u64) -> Vec<Order<u32>> {
        self.tell(Fact::Told(registry, ECHO, event), at)
    }

    /// A registry tells that these are listed, and nobody else.
    fn lists(&mut self, registry: RegistryId, peers: &[u32], at: u64) {
        self.told(registry, Event::Begin, at);
        for n in peers {
            self.told(registry, Event::Here(peer(*n), *n), at);
        }
        self.told(registry, Event::Complete, at);
    }

    /// Lets time pass until then. When what was ordered.
    fn until(&mut self, end: u64) -> Vec<(u64, Order<u32>)> {
        let mut all = Vec::new();
        while let Some(due) = self.registries.next_deadline().filter(|due| *due <= millis(end)) {
            let at = due.as_nanos().div_ceil(1_000_000);
            all.extend(self.tell(Fact::Tick, at).into_iter().map(|order| (at, order)));
        }
        all
    }

    fn found(&self) -> Vec<PeerId> {
        self.found.iter().copied().collect()
    }
}

#[test]
fn a_server_stays_as_long_as_one_registry_names_it() {
    let mut world = World::looking();
    world.lists(FIRST, &[1, 2], 10);
    world.lists(SECOND, &[2, 3], 10);
    assert_eq!(world.found(), [peer(1), peer(2), peer(3)]);
    world.told(FIRST, Event::Gone(peer(2)), 20);
    assert_eq!(world.found(), [peer(1), peer(2), peer(3)], "the second one names it");
    let lost = world.told(SECOND, Event::Gone(peer(2)), 30);
    assert_eq!(lost, [Order::Lost(peer(2), ECHO)]);
    world.told(SECOND, Event::Here(peer(0), 0), 40);
    assert_eq!(world.found(), [peer(1), peer(3)], "it does not find itself");
}

#[test]
fn a_registry_that_is_lost_takes_nobody_with_it_for_ten_minutes() {
    let mut world = World::looking();
    world.lists(FIRST, &[1, 2], 0);
    world.lists(SECOND, &[2], 0);
    world.tell(Fact::WatchEnded(FIRST, ECHO), 1000);
    let again = world.until(6000);
    let [(at, Order::Watch(FIRST, _))] = &*again else { panic!("it is asked again: {again:?}") };
    assert!((1250..=6000).contains(at), "{at}");
    world.tell(Fact::WatchEnded(FIRST, ECHO), 6000);
    world.until(600_900);
    assert_eq!(world.found(), [peer(1), peer(2)]);
    world.until(601_000);
    assert_eq!(world.found(), [peer(2)], "the other one still names it");
    assert_eq!(world.registries.servers(ECHO.as_str()).collect::<Vec<_>>(), [&peer(2)]);
}

/// A registry that has ended and is back lists nobody at first.
#[test]
fn those_whom_a_registry_has_named_have_a_minute_to_come_back_to_it() {
    let mut world = World::looking();
    world.lists(FIRST, &[1, 2, 3], 0);
    world.tell(Fact::WatchEnded(FIRST, ECHO), 1000);
    world.until(6000);
    world.lists(FIRST, &[4], 6000);
    assert_eq!(world.found(), [peer(1), peer(2), peer(3), peer(4)], "they may come back");
    world.told(FIRST, Event::Here(peer(2), 2), 20_000);
    let lost = world.told(FIRST, Event::Gone(peer(3)), 30_000);
    assert_eq!(lost, [Order::Lost(peer(3), ECHO)], "it knows that");
    assert!(world.until(65_900).is_empty());
    let lost = world.until(66_000);
    assert_eq!(lost, [(66_000, Order::Lost(peer(1), ECHO))]);
    assert!(world.until(2_000_000).is_empty(), "nobody is doubted");
}

#[test]
fn what_a_registry_says_anew_counts_when_it_has_said_it() {
    let mut world = World::looking();
    world.lists(FIRST, &[1, 2], 0);
    world.told(FIRST, Event::Begin, 2000);
    world.told(FIRST, Event::Here(peer(2), 2), 2000);
    world.told(FIRST, Event::Here(peer(3), 3), 2000);
    assert_eq!(world.found(), [peer(1), peer(2), peer(3)], "it has not said everything");
    world.told(FIRST, Event::Complete, 2000);
    assert_eq!(world.found(), [peer(2), peer(3)]);
    // The minute of one that is back ends while it says everything anew.
    world.tell(Fact::WatchEnded(FIRST, ECHO), 3000);
    world.until(8000);
    world.lists(FIRST, &[3], 8000);
    world.told(FIRST, Event::Begin, 67_000);
    assert!(world.until(100_000).is_empty(), "it is heard to the end");
    world.told(FIRST, Event::Here(peer(3), 3), 100_000);
    world.told(FIRST, Event::Complete, 100_000);
    assert_eq!(world.found(), [peer(3)]);
}

#[test]
fn what_is_told_late_or_not_asked_for_is_harmless() {
    let mut world = World::looking();
    world.lists(FIRST, &[1], 0);
    let ended = world.tell(Fact::Forget(ECHO), 10);
    assert_eq!(ended, [Order::Unwatch(FIRST, ECHO), Order::Unwatch(SECOND, ECHO)]);
    assert!(world.told(FIRST, Event::Here(peer(2), 2), 20).is_empty());
    assert!(world.tell(Fact::WatchEnded(FIRST, ECHO), 30).is_empty());
    assert!(world.tell(Fact::WatchEnded(RegistryId(9), ECHO), 30).is_empty());
    assert!(world.tell(Fact::AnnounceEnded(RegistryId(9), None), 30).is_empty());
    assert_eq!(world.registries.next_deadline(), None);
}

#[test]
fn a_registry_that_fails_is_asked_less_and_less() {
    let mut world = World::looking();
    world.tell(Fact::WatchEnded(SECOND, ECHO), 0);
    let mut asked = Vec::new();
    while asked.last().is_none_or(|last| *last < 300_000) {
        let (at, _) = world.until(1_000_000).remove(0);
        asked.push(at);
        world.tell(Fact::WatchEnded(SECOND, ECHO), at);
    }
    let pauses: Vec<u64> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses.iter().all(|pause| (500..=30_001).contains(pause)), "{pauses:?}");
    assert!(asked.len() < 30, "{asked:?}");
    world.lists(SECOND, &[], 400_000);
}

#[test]
fn a_node_is_announced_for_as_long_as_it_serves() {
    let mut world = World::new();
    let opened = world.tell(Fact::Serves(true), 0);
    assert_eq!(opened, [Order::Announce(FIRST), Order::Announce(SECOND)]);
    assert!(world.tell(Fact::Serves(true), 0).is_empty());
    world.tell(Fact::AnnounceEnded(FIRST, None), 1000);
    let again = world.until(2000);
    assert!(matches!(&*again, [(1250..=1500, Order::Announce(FIRST))]), "{again:?}");
    world.tell(Fact::Accepted(FIRST), 1600);
    world.tell(Fact::AnnounceEnded(FIRST, Some(RegistryRefusal::Replaced)), 2000);
    assert!(world.until(61_000).is_empty(), "somebody else has its identity");
    assert_eq!(world.until(62_000), [(62_000, Order::Announce(FIRST))]);
    let ended = world.tell(Fact::Serves(false), 63_000);
    assert_eq!(ended, [Order::Withdraw(FIRST), Order::Withdraw(SECOND)]);
    assert_eq!(world.registries.next_deadline(), None);
}

/// A node takes 32 candidates of a source. It has to hear of all others too, in turn.
#[test]
fn all_that_a_registry_lists_have_their_turn() {
    let mut world = World::looking();
    let many: Vec<u32> = (1..=2000).collect();
    world.lists(FIRST, &many, 0);
    assert_eq!(world.found.len(), 64, "those who come first");
    assert_eq!(world.found.last(), Some(&peer(64)));
    for turn in 1..16 {
        let told = world.tell(Fact::LookUp(ECHO), turn * 1000);
        assert_eq!(told.len(), 64);
    }
    assert_eq!(world.found.len(), 1024, "as many as are remembered");
    let told = world.tell(Fact::LookUp(ECHO), 20_000);
    assert_eq!(told[0], Order::Found(peer(1), ECHO, 1), "the first ones again");
}

#[test]
fn few_are_told_of_whenever_it_is_asked() {
    let mut world = World::looking();
    world.lists(FIRST, &[1, 2], 0);
    for at in 1..5 {
        let told = world.tell(Fact::LookUp(ECHO), at);
        assert_eq!(told, [Order::Found(peer(1), ECHO, 1), Order::Found(peer(2), ECHO, 2)]);
    }
    let told = world.told(SECOND, Event::Here(peer(1), 7), 10);
    assert_eq!(told, [Order::Found(peer(1), ECHO, 7)], "something else is said of it");
}
