//! The table of a registry, against a model; strangers that fill it, and watchers that are slow.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use pointsub_core::network::candidates::{
    CandidateFact, CandidateOrder, Candidates, Found, Source, Sources,
};
use pointsub_core::network::registry::{
    Announcement, EntryId, Registries, RegistriesFact, RegistriesOrder, Registry,
    RegistryEvent as Event, RegistryId, RegistryLimits, RegistryOrder, RegistryRefusal, WatcherId,
};
use pointsub_core::{PeerId, ProtocolName, Timestamp};

use super::{Dice, ECHO, SEARCH, events, network, orders, peer, says, settle};

const START: Timestamp = Timestamp::ZERO;

/// What somebody who watches makes of events.
#[derive(Default)]
struct View {
    listed: BTreeMap<PeerId, u32>,
    doubted: BTreeSet<PeerId>,
}

impl View {
    fn take(&mut self, event: Event<u32>) {
        match event {
            Event::Begin => self.doubted = self.listed.keys().copied().collect(),
            Event::Here(peer, record) => {
                self.doubted.remove(&peer);
                self.listed.insert(peer, record);
            }
            Event::Gone(peer) => _ = self.listed.remove(&peer),
            Event::Complete => {
                let doubted = std::mem::take(&mut self.doubted);
                self.listed.retain(|peer, _| !doubted.contains(peer));
            }
        }
    }
}

/// A registry, what it should list, and watchers that take events when they like.
struct World {
    registry: Registry<u32>,
    now: Timestamp,
    dice: Dice,
    listed: BTreeMap<EntryId, (PeerId, BTreeSet<ProtocolName>, u32)>,
    watchers: BTreeMap<WatcherId, (ProtocolName, View)>,
    /// Those whom the registry has said that there is something.
    awake: BTreeSet<WatcherId>,
}

impl World {
    fn carry_out(&mut self) {
        for order in orders(&mut self.registry) {
            match order {
                RegistryOrder::Wake(watcher) => _ = self.awake.insert(watcher),
                RegistryOrder::End(entry, _) => {
                    assert!(self.listed.remove(&entry).is_some(), "it was not there");
                }
            }
        }
    }

    fn services(&mut self) -> Vec<ProtocolName> {
        [ECHO, SEARCH].into_iter().filter(|_| self.dice.below(2) == 0).collect()
    }

    /// Lets some time pass, or none.
    fn pass(&mut self) -> Timestamp {
        let pass = [0, 0, 30, 200][self.dice.below(4) as usize];
        self.now = self.now + Duration::from_millis(pass);
        self.registry.tick(self.now);
        self.now
    }

    fn late_or_not(&mut self, announcement: Announcement<u32>) -> Announcement<u32> {
        Announcement { may_be_late: self.dice.below(3) == 0, ..announcement }
    }

    fn step(&mut self, record: u32) {
        let n = self.dice.below(12) as u32;
        let services = self.services();
        let entry = self.listed.keys().copied().nth(self.dice.below(6) as usize);
        let watcher = self.watchers.keys().copied().nth(self.dice.below(4) as usize);
        let announcement = says(&services, record);
        let services: BTreeSet<_> = services.into_iter().collect();
        let (announcement, now) = (self.late_or_not(announcement), self.pass());
        match (self.dice.below(10), entry, watcher) {
            (0..3, ..) => {
                let network = network(u64::from(n % 3));
                if let Ok(id) = self.registry.announce(peer(n), network, announcement, now) {
                    self.carry_out();
                    self.listed.insert(id, (peer(n), services, record));
                }
            }
            (3, Some(entry), _) => {
                self.registry.update(entry, announcement, now).expect("it is there");
                let listed = self.listed.get_mut(&entry).expect("it is there");
                (listed.1, listed.2) = (services, record);
            }
            (4, Some(entry), _) => {
                self.registry.withdraw(entry, now);
                self.listed.remove(&entry);
            }
            (5, ..) => {
                let service = if n.is_multiple_of(2) { ECHO } else { SEARCH };
                let watched = self.registry.watch(peer(n), network(0), service.clone());
                if let Ok(watcher) = watched {
                    self.watchers.insert(watcher, (service, View::default()));
                    self.awake.insert(watcher);
                }
            }
            (6, _, Some(watcher)) => {
                self.registry.unwatch(watcher);
                self.watchers.remove(&watcher);
                self.awake.remove(&watcher);
            }
            (_, _, Some(watcher)) if self.awake.contains(&watcher) => self.tell(watcher, n),
            _ => {}
        }
        self.carry_out();
    }

    /// A watcher takes so many events at most.
    fn tell(&mut self, watcher: WatcherId, most: u32) {
        for _ in 0..most {
            match self.registry.next_event(watcher) {
                Some(event) => {
                    self.watchers.get_mut(&watcher).expect("it watches").1.take(event);
                }
                None => {
                    self.awake.remove(&watcher);
                    return;
                }
            }
        }
    }

    /// Whoever has taken all events knows exactly what is listed, when nothing waits any more.
    fn check(&mut self) {
        while let Some(due) = self.registry.next_deadline() {
            self.now = self.now.max(due);
            self.registry.tick(self.now);
        }
        self.carry_out();
        for watcher in self.awake.clone() {
            self.tell(watcher, u32::MAX);
        }
        for (service, view) in self.watchers.values() {
            let listed = self.listed.values().filter(|(_, services, _)| services.contains(service));
            let listed = listed.map(|(peer, _, record)| (*peer, *record)).collect();
            assert_eq!(view.listed, listed, "{service}");
        }
        assert_eq!(self.registry.sizes(), (self.listed.len(), self.watchers.len()));
    }
}

#[test]
fn whoever_watches_knows_what_is_listed_whatever_happens() {
    let limits = RegistryLimits::new().with_entries(7).with_entries_per_network(4);
    let limits = limits.with_watchers(5).with_watchers_per_peer(2).with_history(2);
    let limits = limits.with_changes(4).with_changes_per_network(2);
    for seed in 0..300 {
        let mut world = World {
            registry: Registry::new(limits),
            now: START,
            dice: Dice(seed * 2 + 1),
            listed: BTreeMap::new(),
            watchers: BTreeMap::new(),
            awake: BTreeSet::new(),
        };
        for record in 0..400 {
            world.step(record);
            let of =
                |n: u32| world.listed.values().filter(move |(peer, ..)| *peer == self::peer(n));
            assert!((0..12).all(|n| of(n).count() <= 1), "a peer is listed once");
            assert!(world.listed.len() <= 7 && world.watchers.len() <= 5);
            if record % 50 == 49 {
                world.check();
            }
        }
    }
}

#[test]
fn a_thousand_of_one_network_hide_nobody() {
    let mut registry = Registry::new(RegistryLimits::new());
    let listed = (1..=1000)
        .filter(|n| registry.announce(peer(*n), network(1), says(&[ECHO], *n), START).is_ok());
    assert_eq!(listed.count(), 512);
    registry.announce(peer(5000), network(2), says(&[ECHO], 0), START).expect("there is room");
    registry.announce(peer(6000), network(3), says(&[ECHO], 0), START).expect("there is room");
    settle(&mut registry);
    let watcher = registry.watch(peer(1), network(1), ECHO).expect("it may");
    let first = events(&mut registry, watcher).into_iter().skip(1).take(3);
    let first: Vec<_> = first.collect();
    let honest = [5000, 6000].map(|n| Event::Here(peer(n), 0));
    assert!(honest.iter().all(|event| first.contains(event)), "{first:?}");
}

/// Strangers of two networks fill what they may of a registry, with themselves at addresses where nobody is. A
/// node that looks for servers there dials 32 strangers a minute, and the honest server is one of the first.
#[test]
fn a_node_reaches_the_honest_server_among_a_thousand_that_are_none() {
    let mut registry = Registry::new(RegistryLimits::new());
    for n in 1..=1000 {
        let network = network(u64::from(n % 2));
        registry.announce(peer(n), network, says(&[ECHO], n), START).expect("there is room");
    }
    registry.announce(peer(5000), network(2), says(&[ECHO], 0), START).expect("there is room");
    settle(&mut registry);
    let watcher = registry.watch(peer(0), network(3), ECHO).expect("it may");

    let now = Timestamp::ZERO;
    let mut known = Registries::new(1, Some(peer(0)), 7);
    known.handle(RegistriesFact::LookUp(ECHO), now);
    for event in events(&mut registry, watcher) {
        known.handle(RegistriesFact::Told(RegistryId(0), ECHO, event), now);
    }
    let sources = Sources::NONE.with(Source::Registry);
    let mut candidates = Candidates::new(sources, Some(peer(0)), 7);
    candidates.handle(CandidateFact::Wanted(ECHO), now);
    while let Some(order) = known.poll_order() {
        let RegistriesOrder::Found(peer, ..) = order else { continue };
        let (service, source) = (Some(ECHO), Source::Registry);
        let found = Found { peer, service, source, until: None, network: None };
        candidates.handle(CandidateFact::Found(found), now);
    }
    let mut dialled = 0;
    while let Some(order) = candidates.poll_order() {
        let CandidateOrder::Verify(dial) = order else { continue };
        dialled += 1;
        if dial == peer(5000) {
            return;
        }
        candidates.handle(CandidateFact::Unreachable(dial), now);
    }
    panic!("{dialled} others were dialled, and not the honest one");
}

#[test]
fn a_full_registry_has_room_for_networks_with_few_places() {
    let limits = RegistryLimits::new().with_entries(10);
    let mut registry = Registry::new(limits);
    for n in 1..=10 {
        let network = network(if n <= 8 { 1 } else { 2 });
        registry.announce(peer(n), network, says(&[ECHO], n), START).expect("there is room");
    }
    let full = RegistryRefusal::Full { limit: 10 };
    let refused = registry.announce(peer(11), network(1), says(&[ECHO], 11), START);
    assert_eq!(refused, Err(full), "its network has the most");
    for n in 20..23 {
        registry.announce(peer(n), network(3), says(&[ECHO], n), START).expect("it has few");
    }
    let ended = orders(&mut registry).into_iter();
    assert!(ended.clone().all(|order| matches!(order, RegistryOrder::End(_, why) if why == full)));
    assert_eq!(ended.count(), 3);
    settle(&mut registry);
    let watcher = registry.watch(peer(1), network(1), ECHO).expect("it may");
    let listed = events(&mut registry, watcher);
    let is_listed = |n: u32| listed.contains(&Event::Here(peer(n), n));
    let left: Vec<u32> = (1..=22).filter(|n| is_listed(*n)).collect();
    assert_eq!(left, [1, 2, 3, 4, 5, 9, 10, 20, 21, 22], "the newest of the largest have gone");
}

#[test]
fn what_is_too_much_is_refused() {
    let limits = RegistryLimits::new().with_protocols(2).with_entry_size(19);
    let mut registry = Registry::new(limits.with_watchers_per_peer(1).with_watchers(2));
    let three = registry.announce(peer(1), network(1), says(&[ECHO, ECHO, ECHO], 0), START);
    assert!(matches!(three, Err(RegistryRefusal::TooLarge { protocols: 3, .. })), "{three:?}");
    let long =
        Announcement { services: vec![ECHO], record: 0, size: usize::MAX, may_be_late: false };
    let long = registry.announce(peer(1), network(1), long, START);
    assert!(matches!(long, Err(RegistryRefusal::TooLarge { .. })), "{long:?}");
    let entry = registry.announce(peer(1), network(1), says(&[ECHO], 0), START).expect("it fits");
    let more = registry.update(entry, says(&[ECHO, SEARCH], 0), START);
    assert!(matches!(more, Err(RegistryRefusal::TooLarge { size: 20, .. })), "{more:?}");

    let watcher = registry.watch(peer(1), network(1), ECHO).expect("it may");
    let again = registry.watch(peer(1), network(1), SEARCH);
    assert_eq!(again, Err(RegistryRefusal::PeerFull { limit: 1 }));
    registry.watch(peer(2), network(1), SEARCH).expect("it may");
    let third = registry.watch(peer(3), network(1), SEARCH);
    assert_eq!(third, Err(RegistryRefusal::Full { limit: 2 }));
    assert_eq!(events(&mut registry, watcher)[1], Event::Here(peer(1), 0));
    registry.unwatch(watcher);
    registry.watch(peer(1), network(1), SEARCH).expect("it watches nothing");
}

#[test]
fn the_newest_call_of_a_peer_counts() {
    let mut registry = Registry::new(RegistryLimits::new());
    let watcher = registry.watch(peer(9), network(1), ECHO).expect("it may");
    events(&mut registry, watcher);
    let old =
        registry.announce(peer(1), network(1), says(&[ECHO], 1), START).expect("there is room");
    let new =
        registry.announce(peer(1), network(1), says(&[ECHO], 2), START).expect("there is room");
    let ended = RegistryOrder::End(old, RegistryRefusal::Replaced);
    assert!(orders(&mut registry).contains(&ended));
    settle(&mut registry);
    assert_eq!(events(&mut registry, watcher), [Event::Here(peer(1), 2)], "it was not away");
    registry.withdraw(old, START);
    assert_eq!(registry.update(old, says(&[ECHO], 3), START), Err(RegistryRefusal::Replaced));
    assert_eq!(events(&mut registry, watcher), [], "the old call is nobody's");
    registry.withdraw(new, START);
    assert_eq!(events(&mut registry, watcher), [Event::Gone(peer(1))]);
    registry.unwatch(watcher);
    assert_eq!((registry.sizes(), registry.memory()), ((0, 0), 0));
}
