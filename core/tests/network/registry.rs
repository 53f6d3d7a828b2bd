//! The table of a registry, against a model; strangers that fill it, and watchers that are slow.

use std::collections::{BTreeMap, BTreeSet};

use pointsub_core::endpoint::GroupId;
use pointsub_core::network::candidates::{
    CandidateFact, CandidateOrder, Candidates, Found, Source, Sources,
};
use pointsub_core::network::registry::{
    Announcement, EntryId, Registries, RegistriesFact, RegistriesOrder, Registry,
    RegistryEvent as Event, RegistryId, RegistryLimits, RegistryOrder, RegistryRefusal, WatcherId,
};
use pointsub_core::{PeerId, ProtocolName, Timestamp};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1");
const SEARCH: ProtocolName = ProtocolName::from_static("/search/1");

fn peer(n: u32) -> PeerId {
    PeerId::from_bytes(&n.to_be_bytes()).expect("four bytes")
}

const fn network(n: u64) -> GroupId {
    GroupId::new(n)
}

fn says(services: &[ProtocolName], record: u32) -> Announcement<u32> {
    Announcement { services: services.to_vec(), record, size: 4 }
}

/// Takes all events of a watcher.
fn events(registry: &mut Registry<u32>, watcher: WatcherId) -> Vec<Event<u32>> {
    std::iter::from_fn(|| registry.next_event(watcher)).collect()
}

fn orders(registry: &mut Registry<u32>) -> Vec<RegistryOrder> {
    std::iter::from_fn(|| registry.poll_order()).collect()
}

/// Pseudorandom numbers (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }
}

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

    fn step(&mut self, record: u32) {
        let n = self.dice.below(12) as u32;
        let services = self.services();
        let entry = self.listed.keys().copied().nth(self.dice.below(6) as usize);
        let watcher = self.watchers.keys().copied().nth(self.dice.below(4) as usize);
        let announcement = says(&services, record);
        let services: BTreeSet<_> = services.into_iter().collect();
        match (self.dice.below(10), entry, watcher) {
            (0..3, ..) => {
                let network = network(u64::from(n % 3));
                if let Ok(id) = self.registry.announce(peer(n), network, announcement) {
                    self.carry_out();
                    self.listed.insert(id, (peer(n), services, record));
                }
            }
            (3, Some(entry), _) => {
                self.registry.update(entry, announcement).expect("it is there");
                let listed = self.listed.get_mut(&entry).expect("it is there");
                (listed.1, listed.2) = (services, record);
            }
            (4, Some(entry), _) => {
                self.registry.withdraw(entry);
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

    /// Whoever has taken all events knows exactly what is listed.
    fn check(&mut self) {
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
    let limits = limits.with_watchers(5).with_watchers_per_peer(2).with_pending(2);
    for seed in 0..300 {
        let mut world = World {
            registry: Registry::new(limits),
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
    let listed =
        (1..=1000).filter(|n| registry.announce(peer(*n), network(1), says(&[ECHO], *n)).is_ok());
    assert_eq!(listed.count(), 512);
    registry.announce(peer(5000), network(2), says(&[ECHO], 0)).expect("there is room");
    registry.announce(peer(6000), network(3), says(&[ECHO], 0)).expect("there is room");
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
        registry.announce(peer(n), network, says(&[ECHO], n)).expect("there is room");
    }
    registry.announce(peer(5000), network(2), says(&[ECHO], 0)).expect("there is room");
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
        registry.announce(peer(n), network, says(&[ECHO], n)).expect("there is room");
    }
    let full = RegistryRefusal::Full { limit: 10 };
    let refused = registry.announce(peer(11), network(1), says(&[ECHO], 11));
    assert_eq!(refused, Err(full), "its network has the most");
    for n in 20..23 {
        registry.announce(peer(n), network(3), says(&[ECHO], n)).expect("it has few");
    }
    let ended = orders(&mut registry).into_iter();
    assert!(ended.clone().all(|order| matches!(order, RegistryOrder::End(_, why) if why == full)));
    assert_eq!(ended.count(), 3);
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
    let three = registry.announce(peer(1), network(1), says(&[ECHO, ECHO, ECHO], 0));
    assert!(matches!(three, Err(RegistryRefusal::TooLarge { protocols: 3, .. })), "{three:?}");
    let long = Announcement { services: vec![ECHO], record: 0, size: usize::MAX };
    let long = registry.announce(peer(1), network(1), long);
    assert!(matches!(long, Err(RegistryRefusal::TooLarge { .. })), "{long:?}");
    let entry = registry.announce(peer(1), network(1), says(&[ECHO], 0)).expect("it fits");
    let more = registry.update(entry, says(&[ECHO, SEARCH], 0));
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
fn a_slow_watcher_gets_the_newest_state_once() {
    let limits = RegistryLimits::new().with_pending(3);
    let mut registry = Registry::new(limits);
    let watcher = registry.watch(peer(99), network(1), ECHO).expect("it may");
    assert_eq!(events(&mut registry, watcher), [Event::Begin, Event::Complete]);
    let entry = registry.announce(peer(1), network(1), says(&[ECHO], 0)).expect("there is room");
    for record in 1..1000 {
        registry.update(entry, says(&[ECHO], record)).expect("it is there");
    }
    assert_eq!(orders(&mut registry), [RegistryOrder::Wake(watcher)], "it is woken once");
    assert_eq!(events(&mut registry, watcher), [Event::Here(peer(1), 999)]);
    for n in 2..100 {
        registry.announce(peer(n), network(1), says(&[ECHO], n)).expect("there is room");
    }
    let told = events(&mut registry, watcher);
    assert_eq!((told.len(), &told[0], &told[100]), (101, &Event::Begin, &Event::Complete));
}

#[test]
fn the_newest_call_of_a_peer_counts() {
    let mut registry = Registry::new(RegistryLimits::new());
    let watcher = registry.watch(peer(9), network(1), ECHO).expect("it may");
    events(&mut registry, watcher);
    let old = registry.announce(peer(1), network(1), says(&[ECHO], 1)).expect("there is room");
    let new = registry.announce(peer(1), network(1), says(&[ECHO], 2)).expect("there is room");
    let ended = RegistryOrder::End(old, RegistryRefusal::Replaced);
    assert!(orders(&mut registry).contains(&ended));
    assert_eq!(events(&mut registry, watcher), [Event::Here(peer(1), 2)]);
    registry.withdraw(old);
    assert_eq!(registry.update(old, says(&[ECHO], 3)), Err(RegistryRefusal::Replaced));
    assert_eq!(events(&mut registry, watcher), [], "the old call is nobody's");
    registry.withdraw(new);
    assert_eq!(events(&mut registry, watcher), [Event::Gone(peer(1))]);
    registry.unwatch(watcher);
    assert_eq!(registry.sizes(), (0, 0));
}
