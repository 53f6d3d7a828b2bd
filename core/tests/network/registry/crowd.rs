//! A registry that a thousand servers and a thousand watchers know ends and comes back.

use core::time::Duration;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use pointsub_core::network::registry::{
    EntryId, Registries, RegistriesFact as Fact, RegistriesOrder as Order, Registry,
    RegistryEvent as Event, RegistryId, RegistryLimits, RegistryOrder, WatcherId,
};
use pointsub_core::{PeerId, Timestamp};

use super::{ECHO, millis, network, peer, says};

const HUB: RegistryId = RegistryId(0);
/// How long anything takes from one end to the other.
const WAY: Duration = Duration::from_millis(50);

type Node = usize;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// The registry is asked.
    Asked(Node, Call),
    /// A node is told, if its call is still that of this life of the registry.
    Told(Node, Call, u32, News),
    Tick(Node),
    Hub(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Announce,
    Watch,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    Accepted,
    Begin,
    Here(u32),
    Gone(PeerId),
    Complete,
    Ended,
}

struct World {
    now: Timestamp,
    heap: BinaryHeap<Reverse<(Timestamp, u64, Happening)>>,
    numbered: u64,
    nodes: Vec<Registries<u32>>,
    servers: usize,
    /// Which life of the registry this is, and its table, if it lives.
    life: u32,
    hub: Option<Registry<u32>>,
    entries: BTreeMap<Node, EntryId>,
    watchers: BTreeMap<WatcherId, Node>,
    /// Calls that the registry holds.
    open: BTreeSet<(Node, Call)>,
    /// What each watcher has found, and whom it has lost.
    found: BTreeMap<Node, BTreeSet<PeerId>>,
    lost: usize,
    announced: Vec<Timestamp>,
}

impl World {
    fn new(servers: usize, watchers: usize) -> Self {
        let mut world = Self {
            now: Timestamp::ZERO,
            heap: BinaryHeap::new(),
            numbered: 0,
            nodes: Vec::new(),
            servers,
            life: 0,
            hub: Some(Registry::new(RegistryLimits::new())),
            entries: BTreeMap::new(),
            watchers: BTreeMap::new(),
            open: BTreeSet::new(),
            found: (servers..servers + watchers).map(|node| (node, BTreeSet::new())).collect(),
            lost: 0,
            announced: Vec::new(),
        };
        for node in 0..servers + watchers {
            let seed = (node as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            world.nodes.push(Registries::new(1, Some(peer(node as u32)), seed));
            let begin = if node < servers { Fact::Serves(true) } else { Fact::LookUp(ECHO) };
            world.tell(node, begin);
        }
        world
    }

    fn later(&mut self, after: Duration, happening: Happening) {
        self.numbered += 1;
        self.heap.push(Reverse((self.now + after, self.numbered, happening)));
    }

    /// A node takes something in, and does what follows.
    fn tell(&mut self, node: Node, fact: Fact<u32>) {
        let before = self.nodes[node].next_deadline();
        self.nodes[node].handle(fact, self.now);
        while let Some(order) = self.nodes[node].poll_order() {
            match order {
                Order::Announce(_) => self.later(WAY, Happening::Asked(node, Call::Announce)),
                Order::Watch(..) => self.later(WAY, Happening::Asked(node, Call::Watch)),
                Order::Found(peer, ..) => {
                    self.found.entry(node).or_default().insert(peer);
                }
                Order::Lost(peer, _) => {
                    self.lost += 1;
                    self.found.entry(node).or_default().remove(&peer);
                }
                Order::Withdraw(_) | Order::Unwatch(..) => {}
            }
        }
        let due = self.nodes[node].next_deadline();
        if let Some(due) = due.filter(|_| due != before) {
            self.later(due.since(self.now), Happening::Tick(node));
        }
    }

    fn asked(&mut self, node: Node, call: Call) {
        let ended = Happening::Told(node, call, self.life, News::Ended);
        let (of, id) = (network(node as u64 / 4), peer(node as u32));
        let Some(hub) = &mut self.hub else { return self.later(WAY, ended) };
        match call {
            Call::Announce => {
                self.announced.push(self.now);
                let says = says(&[ECHO], node as u32);
                let Ok(entry) = hub.announce(id, of, says, self.now) else {
                    return self.later(WAY, ended);
                };
                self.entries.insert(node, entry);
                self.later(WAY, Happening::Told(node, call, self.life, News::Accepted));
            }
            Call::Watch => {
                let Ok(watcher) = hub.watch(id, of, ECHO) else { return self.later(WAY, ended) };
                self.watchers.insert(watcher, node);
                self.take_events(watcher);
            }
        }
        self.open.insert((node, call));
        self.hub_goes_on();
    }

    fn take_events(&mut self, watcher: WatcherId) {
        let Some(node) = self.watchers.get(&watcher).copied() else { return };
        while let Some(event) = self.hub.as_mut().and_then(|hub| hub.next_event(watcher)) {
            let news = match event {
                Event::Begin => News::Begin,
                Event::Here(_, n) => News::Here(n),
                Event::Gone(peer) => News::Gone(peer),
                Event::Complete => News::Complete,
            };
            self.later(WAY, Happening::Told(node, Call::Watch, self.life, news));
        }
    }

    fn hub_goes_on(&mut self) {
        while let Some(order) = self.hub.as_mut().and_then(Registry::poll_order) {
            if let RegistryOrder::Wake(watcher) = order {
                self.take_events(watcher);
            }
        }
        if let Some(due) = self.hub.as_ref().and_then(Registry::next_deadline) {
            self.later(due.since(self.now), Happening::Hub(self.life));
        }
    }

    fn hub_ends(&mut self) {
        self.hub = None;
        for (node, call) in std::mem::take(&mut self.open) {
            self.later(WAY, Happening::Told(node, call, self.life, News::Ended));
        }
        self.entries.clear();
        self.watchers.clear();
    }

    fn hub_begins(&mut self) {
        self.life += 1;
        self.hub = Some(Registry::new(RegistryLimits::new()));
    }

    fn until(&mut self, end: Timestamp) {
        while let Some(Reverse((at, ..))) = self.heap.peek()
            && *at <= end
        {
            let Some(Reverse((at, _, happening))) = self.heap.pop() else { return };
            self.now = at;
            match happening {
                Happening::Asked(node, call) => self.asked(node, call),
                Happening::Told(node, call, life, news) => self.told(node, call, life, news),
                Happening::Tick(node) => self.tell(node, Fact::Tick),
                Happening::Hub(life) if life == self.life => {
                    if let Some(hub) = &mut self.hub {
                        hub.tick(self.now);
                    }
                    self.hub_goes_on();
                }
                Happening::Hub(_) => {}
            }
        }
        self.now = end;
    }

    fn told(&mut self, node: Node, call: Call, life: u32, news: News) {
        if life != self.life && news != News::Ended {
            return;
        }
        let event = match news {
            News::Accepted => return self.tell(node, Fact::Accepted(HUB)),
            News::Ended if call == Call::Announce => {
                return self.tell(node, Fact::AnnounceEnded(HUB, None));
            }
            News::Ended => return self.tell(node, Fact::WatchEnded(HUB, ECHO)),
            News::Begin => Event::Begin,
            News::Here(n) => Event::Here(peer(n), n),
            News::Gone(peer) => Event::Gone(peer),
            News::Complete => Event::Complete,
        };
        self.tell(node, Fact::Told(HUB, ECHO, event));
    }

    /// The most announcements within a second since then.
    fn most_in_a_second(&self, since: Timestamp) -> usize {
        let times: Vec<_> = self.announced.iter().filter(|at| **at >= since).collect();
        let second = Duration::from_secs(1);
        let within = |first: usize| {
            times[first..].iter().take_while(|at| at.since(*times[first]) < second).count()
        };
        (0..times.len()).map(within).max().unwrap_or(0)
    }

    /// Whether all servers are listed, and every watcher is told of them.
    fn all_are_back(&self) -> bool {
        let watchers = self.nodes.len() - self.servers;
        let listed = self.hub.as_ref().map_or((0, 0), Registry::sizes);
        let knows =
            |node: Node| self.nodes[node].servers(ECHO.as_str()).count() == self.servers.min(1024);
        listed == (self.servers, watchers)
            && (self.servers..self.nodes.len()).all(knows)
            && self.hub.as_ref().is_some_and(|hub| hub.next_deadline().is_none())
    }
}

/// How long it takes after the registry is back until everybody is.
fn restart(servers: usize, watchers: usize, down: u64) -> u64 {
    let mut world = World::new(servers, watchers);
    world.until(millis(60_000));
    assert!(world.all_are_back(), "all have come");
    world.hub_ends();
    world.until(millis(60_000 + down));
    world.hub_begins();
    let back = world.now;
    let mut took = 0;
    while !world.all_are_back() {
        took += 100;
        assert!(took <= 31_000, "down for {down} ms: {:?}", world.hub.map(|hub| hub.sizes()));
        world.until(back + Duration::from_millis(took));
    }
    world.until(back + Duration::from_secs(600));
    let rate = world.most_in_a_second(millis(60_000));
    assert!(rate <= 300, "down for {down} ms: {rate} in a second");
    assert_eq!(world.lost, 0, "down for {down} ms: nobody is told that a server has gone");
    assert!(world.found.values().all(|found| !found.is_empty()));
    println!("down for {down} ms: all are back after {took} ms, {rate} in a second at most");
    took
}

#[test]
fn a_thousand_servers_and_watchers_come_back_to_a_registry() {
    assert!(restart(1000, 1000, 1000) <= 15_000);
}

#[test]
fn however_long_a_registry_was_away_servers_come_back_evenly() {
    for down in [0, 100, 3000, 5000, 8000, 20_000, 90_000, 500_000] {
        restart(1000, 20, down);
    }
}
