//! Servers that nobody has named: liars, floods, churn and outages.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use pointsub_core::network::candidates::{
    CandidateFact as Fact, CandidateOrder as Order, CandidateState, Candidates, Found, Source,
    Sources,
};
use pointsub_core::{PeerId, ProtocolName, Timestamp};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1");
const OTHER: ProtocolName = ProtocolName::from_static("/other/1");

fn peer(n: u32) -> PeerId {
    PeerId::from_bytes(&n.to_be_bytes()).expect("four bytes")
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Where peers do not count that are merely connected, they do once a source has found them: also one that
/// had not served what is wanted when it was found first.
#[test]
fn a_connected_peer_that_a_source_finds_is_a_server() {
    let mut candidates = Candidates::new(Sources::NONE.with(Source::Registry), Some(peer(0)), 7);
    let mut tell = |fact| {
        candidates.handle(fact, Timestamp::ZERO);
        let orders = std::iter::from_fn(|| candidates.poll_order());
        orders.filter(|order| !matches!(order, Order::LookUp(..))).collect::<Vec<_>>()
    };
    let found = |service| {
        let (source, until, network) = (Source::Registry, None, None);
        Fact::Found(Found { peer: peer(1), service, source, until, network })
    };
    tell(Fact::Wanted(ECHO));
    tell(Fact::Connected(peer(1), None));
    assert_eq!(tell(Fact::Identified(peer(1), vec![OTHER])), []);
    assert_eq!(tell(found(Some(ECHO))), [], "it says that it does not serve it");
    assert_eq!(tell(Fact::Identified(peer(1), vec![OTHER, ECHO])), [], "it is merely connected");
    assert_eq!(tell(found(Some(OTHER))), [], "that is not wanted");
    let add = Order::Add(ECHO, peer(1), Source::Registry);
    assert_eq!(tell(found(Some(ECHO))), [add]);
    assert_eq!(tell(found(Some(ECHO))), []);
    let remove = Order::Remove(ECHO, peer(1));
    assert_eq!(tell(Fact::Identified(peer(1), vec![OTHER])), [remove]);
    tell(Fact::Identified(peer(1), vec![ECHO]));
    let add = Order::Add(ECHO, peer(1), Source::Registry);
    assert_eq!(tell(found(None)), [add], "whatever it serves");
}

/// A node that looks for servers, and a world in which each peer serves something or cannot be reached.
struct World {
    candidates: Candidates,
    now: Timestamp,
    /// What the peers serve that can be reached.
    serve: BTreeMap<PeerId, Vec<ProtocolName>>,
    nodes: BTreeSet<PeerId>,
    /// When each dial began.
    dials: Vec<(Timestamp, PeerId)>,
    look_ups: Vec<(Timestamp, Source)>,
}

impl World {
    fn new(sources: &[Source]) -> Self {
        let sources = Sources::from_iter(sources.iter().copied());
        Self {
            candidates: Candidates::new(sources, Some(peer(0)), 7),
            now: Timestamp::ZERO,
            serve: BTreeMap::new(),
            nodes: BTreeSet::new(),
            dials: Vec::new(),
            look_ups: Vec::new(),
        }
    }

    fn wanting(sources: &[Source]) -> Self {
        let mut world = Self::new(sources);
        world.tell(Fact::Wanted(ECHO));
        world
    }

    /// Tells a fact. Dials are noted, and lead nowhere yet.
    fn tell(&mut self, fact: Fact) -> Vec<PeerId> {
        self.candidates.handle(fact, self.now);
        let mut verify = Vec::new();
        while let Some(order) = self.candidates.poll_order() {
            match order {
                Order::Verify(peer) => {
                    self.dials.push((self.now, peer));
                    verify.push(peer);
                }
                Order::Add(name, peer, _) => {
                    assert_eq!(name, ECHO);
                    assert!(self.nodes.insert(peer), "added twice");
                }
                Order::Remove(_, peer) => assert!(self.nodes.remove(&peer), "it was none"),
                Order::LookUp(_, source) => self.look_ups.push((self.now, source)),
                Order::Forget(_) => {}
            }
        }
        verify
    }

    /// The same; whoever is dialled is reached or not, and says what it serves, at once.
    fn settle(&mut self, fact: Fact) {
        let mut due = self.tell(fact);
        while let Some(peer) = due.pop() {
            due.extend(match self.serve.get(&peer).cloned() {
                Some(names) => {
                    let mut more = self.tell(Fact::Connected(peer, None));
                    more.extend(self.tell(Fact::Identified(peer, names)));
                    more
                }
                None => self.tell(Fact::Unreachable(peer)),
            });
        }
    }

    fn found(&mut self, n: u32, source: Source) {
        self.found_in(n, source, None);
    }

    fn found_in(&mut self, n: u32, source: Source, network: Option<u64>) {
        let (service, until) = (Some(ECHO), None);
        self.settle(Fact::Found(Found { peer: peer(n), service, source, until, network }));
    }

    /// Lets time pass, with all that is due meanwhile.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.candidates.next_deadline().filter(|due| *due <= end) {
            assert!(due > self.now, "a deadline that has passed");
            self.now = due;
            self.settle(Fact::Tick);
        }
        self.now = end;
        self.settle(Fact::Tick);
    }

    fn state(&self, n: u32) -> Option<CandidateState> {
        let mut all = self.candidates.candidates("/echo/1");
        all.find(|one| one.peer == peer(n)).map(|one| one.state)
    }
}

#[test]
fn a_server_that_serves_and_can_be_reached_is_found() {
    let mut world = World::wanting(&[Source::Lan]);
    world.serve.insert(peer(1), vec![ECHO, OTHER]);
    world.found(1, Source::Lan);
    assert_eq!(world.nodes, BTreeSet::from([peer(1)]));
    assert_eq!(world.state(1), Some(CandidateState::Serving));
}

#[test]
fn one_of_whom_nobody_says_what_it_serves_is_asked() {
    let mut world = World::wanting(&[Source::Lan]);
    world.serve.insert(peer(1), vec![ECHO]);
    let (service, source, until, network) = (None, Source::Lan, None, None);
    let found = Found { peer: peer(1), service, source, until, network };
    world.settle(Fact::Found(found.clone()));
    assert_eq!(world.nodes, BTreeSet::from([peer(1)]));
    let of = world.candidates.candidates("/echo/1").next().map(|one| one.source);
    assert_eq!(of, Some(Source::Lan), "who was found is not merely connected");
    world.settle(Fact::Found(Found { peer: peer(0), ..found }));
    assert_eq!(world.dials.len(), 1, "the node itself is none");
}

#[test]
fn a_liar_is_dialled_once_and_gets_no_request() {
    let mut world = World::wanting(&[Source::Dht]);
    world.serve.insert(peer(1), vec![OTHER]);
    world.found(1, Source::Dht);
    world.settle(Fact::Disconnected(peer(1), true));
    for _ in 0..10 {
        world.found(1, Source::Dht);
        world.pass(secs(1));
    }
    assert_eq!((world.dials.len(), world.nodes.len(), world.state(1)), (1, 0, None));
    world.pass(secs(300));
    world.found(1, Source::Dht);
    assert_eq!(world.dials.len(), 2, "it may have changed its mind");
}

#[test]
fn whoever_withdraws_is_no_node_at_once() {
    let mut world = World::wanting(&[]);
    world.tell(Fact::Connected(peer(1), None));
    world.tell(Fact::Identified(peer(1), vec![ECHO]));
    assert!(world.nodes.is_empty(), "connected peers do not count");
    let mut world = World::wanting(&[Source::Connected]);
    world.tell(Fact::Connected(peer(1), None));
    assert!(world.candidates.looks_for("/echo/1"), "it may serve that");
    world.tell(Fact::Identified(peer(1), vec![ECHO]));
    assert_eq!(world.nodes, BTreeSet::from([peer(1)]));
    world.tell(Fact::Identified(peer(1), vec![OTHER]));
    assert!(world.nodes.is_empty() && !world.candidates.looks_for("/echo/1"));
}

#[test]
fn connected_peers_serve_what_is_wanted_later() {
    let mut world = World::new(&[Source::Connected]);
    world.tell(Fact::Connected(peer(1), None));
    world.tell(Fact::Identified(peer(1), vec![ECHO]));
    world.tell(Fact::Wanted(ECHO));
    assert_eq!(world.nodes, BTreeSet::from([peer(1)]));
    world.tell(Fact::Unwanted(ECHO));
    assert!(world.nodes.is_empty());
}

/// A thousand identities claim the service in one source, and a server is in another one.
#[test]
fn a_flood_of_liars_keeps_nobody_from_being_found() {
    let mut world = World::wanting(&[Source::Dht, Source::Registry]);
    (1..=1000).filter(|n| n % 2 == 0).for_each(|n| _ = world.serve.insert(peer(n), vec![OTHER]));
    world.serve.insert(peer(5000), vec![ECHO]);
    (1..=1000).for_each(|n| world.found(n, Source::Dht));
    world.pass(secs(60));
    world.found(5000, Source::Registry);
    world.pass(secs(60));
    assert!(world.nodes.contains(&peer(5000)), "{:?}", world.candidates.sizes());
    (0..60).for_each(|_| {
        world.tell(Fact::Wanted(ECHO));
        (1..=1000).for_each(|n| world.found(n, Source::Dht));
        world.pass(secs(10));
    });
    assert_eq!(world.nodes, BTreeSet::from([peer(5000)]), "and stays");
    for (n, (began, _)) in world.dials.iter().enumerate() {
        let within = world.dials[n..].iter().take_while(|(at, _)| at.since(*began) < secs(60));
        assert!(within.count() <= 32 + 2, "strangers of a minute, and a server that is seen again");
    }
    assert!(world.candidates.sizes().1 <= 64);
}

/// The same in one source, from few networks.
#[test]
fn few_candidates_are_of_one_network() {
    let mut world = World::wanting(&[Source::Dht]);
    (1..=100).for_each(|n| world.found_in(n, Source::Dht, Some(u64::from(n % 2))));
    let waiting = world.candidates.candidates("/echo/1").count();
    assert!(waiting <= 8, "{waiting} of two networks");
    world.serve.insert(peer(500), vec![ECHO]);
    world.found_in(500, Source::Dht, Some(9));
    world.pass(secs(120));
    assert_eq!(world.nodes, BTreeSet::from([peer(500)]));
}

#[test]
fn at_most_half_are_of_one_source_but_for_those_that_are_named() {
    let mut world = World::wanting(&[Source::Lan, Source::Dht]);
    (1..=100).for_each(|n| _ = world.serve.insert(peer(n), vec![ECHO]));
    (1..=40).for_each(|n| world.found(n, Source::Lan));
    (41..=50).for_each(|n| world.found(n, Source::Dht));
    (51..=100).for_each(|n| world.found(n, Source::Manual));
    world.pass(secs(180));
    let of = |source| world.candidates.candidates("/echo/1").filter(move |c| c.source == source);
    let counts = [Source::Lan, Source::Dht, Source::Manual].map(|source| of(source).count());
    assert_eq!(counts, [32, 10, 50]);
    assert_eq!(world.nodes.len(), 92);
}

#[test]
fn four_are_dialled_at_a_time() {
    let mut world = World::wanting(&[Source::Lan]);
    let mut due = Vec::new();
    for n in 1..=20 {
        let (service, source, until, network) = (Some(ECHO), Source::Lan, None, None);
        let found = Found { peer: peer(n), service, source, until, network };
        due.extend(world.tell(Fact::Found(found)));
    }
    assert_eq!(due.len(), 4);
    let next = world.tell(Fact::Unreachable(due[0]));
    assert_eq!(next.len(), 1);
    // Those that are silent make room as well.
    world.now = world.now + secs(15);
    assert_eq!(world.tell(Fact::Tick).len(), 4);
}

#[test]
fn look_ups_back_off_while_nobody_is_found() {
    let mut world = World::wanting(&[Source::Registry]);
    world.pass(secs(599));
    let at: Vec<u64> =
        world.look_ups.iter().map(|(at, _)| at.since(Timestamp::ZERO).as_secs()).collect();
    assert_eq!(at, [0, 1, 3, 7, 15, 31, 63, 127, 255, 511]);
    world.tell(Fact::Wanted(ECHO));
    assert_eq!(world.look_ups.len(), 11, "somebody waits");
    world.pass(secs(601));
    let before = world.look_ups.len();
    world.pass(secs(1000));
    assert_eq!(world.look_ups.len(), before, "nobody wants it any more");
    assert_eq!(world.candidates.next_deadline(), None);
}

#[test]
fn sources_are_asked_again_before_what_they_found_is_over() {
    let mut world = World::wanting(&[Source::Registry]);
    world.serve.insert(peer(1), vec![ECHO]);
    let (service, source, network) = (Some(ECHO), Source::Registry, None);
    let until = Some(world.now + secs(100));
    world.settle(Fact::Found(Found { peer: peer(1), service, source, until, network }));
    world.pass(secs(79));
    assert_eq!(world.look_ups.len(), 1);
    world.pass(secs(1));
    assert_eq!(world.look_ups.len(), 2);
}

/// A source that still has a server which has gone does not keep others from being found soon.
#[test]
fn sources_are_asked_on_while_who_is_found_is_not_reached() {
    let mut world = World::wanting(&[Source::Dht]);
    let found = |world: &mut World| {
        let (service, source, network) = (Some(ECHO), Source::Dht, None);
        let until = Some(world.now + secs(100));
        world.settle(Fact::Found(Found { peer: peer(1), service, source, until, network }));
    };
    found(&mut world);
    for (wait, look_ups) in [(2, 2), (4, 3), (8, 4)] {
        world.pass(secs(wait));
        assert_eq!(world.look_ups.len(), look_ups);
        found(&mut world);
    }
}

/// A server without a connection is looked at again after a while. One that is not reached is none any
/// more, as long as anybody is reached.
#[test]
fn a_server_that_left_is_removed_after_one_dial() {
    let mut world = World::wanting(&[Source::Lan]);
    (1..=2).for_each(|n| _ = world.serve.insert(peer(n), vec![ECHO]));
    (1..=2).for_each(|n| world.found(n, Source::Lan));
    world.settle(Fact::Disconnected(peer(1), true));
    assert_eq!(world.nodes.len(), 2, "an idle connection has ended");
    world.serve.remove(&peer(1));
    world.pass(secs(240));
    assert_eq!(world.nodes, BTreeSet::from([peer(2)]));
    world.settle(Fact::Disconnected(peer(2), false));
    assert!(world.nodes.is_empty(), "no address of it is known");
}

/// Whoever is cut off keeps the servers that it knows, and finds them again.
#[test]
fn servers_are_kept_through_an_outage() {
    let mut world = World::wanting(&[Source::Lan]);
    (1..=3).for_each(|n| _ = world.serve.insert(peer(n), vec![ECHO]));
    (1..=3).for_each(|n| world.found(n, Source::Lan));
    let serve = std::mem::take(&mut world.serve);
    (1..=3).for_each(|n| world.settle(Fact::Disconnected(peer(n), true)));
    world.pass(secs(400));
    world.tell(Fact::Wanted(ECHO));
    world.pass(secs(400));
    assert_eq!(world.nodes.len(), 3);
    world.serve = serve;
    world.tell(Fact::Wanted(ECHO));
    world.pass(secs(301));
    assert_eq!(world.nodes.len(), 3);
    let serving = |n| world.state(n) == Some(CandidateState::Serving);
    assert!((1..=3).all(serving));
}

#[test]
fn what_a_source_takes_back_is_none_unless_the_peer_is_there() {
    let mut world = World::wanting(&[Source::Registry]);
    (1..=3).for_each(|n| _ = world.serve.insert(peer(n), vec![ECHO]));
    (1..=3).for_each(|n| world.found(n, Source::Registry));
    world.settle(Fact::Disconnected(peer(1), true));
    let lost = |n| Fact::Lost { peer: peer(n), service: None, source: Source::Registry };
    (1..=3).for_each(|n| world.settle(lost(n)));
    assert_eq!(world.nodes, BTreeSet::from([peer(2), peer(3)]));
    // It counts once they are not there any more, unless it was said again.
    world.found(3, Source::Registry);
    (2..=3).for_each(|n| world.settle(Fact::Disconnected(peer(n), true)));
    assert_eq!(world.nodes, BTreeSet::from([peer(3)]));
}

#[test]
fn who_is_named_is_never_forgotten() {
    let mut world = World::wanting(&[]);
    world.found(1, Source::Manual);
    for _ in 0..20 {
        world.tell(Fact::Wanted(ECHO));
        world.pass(secs(300));
    }
    assert_eq!(world.state(1), Some(CandidateState::Waiting));
    world.serve.insert(peer(1), vec![ECHO]);
    world.tell(Fact::Wanted(ECHO));
    world.pass(secs(300));
    assert_eq!(world.nodes, BTreeSet::from([peer(1)]));
}

/// Whatever comes, in any order: tables stay small, each order makes sense, and deadlines lie ahead.
#[test]
fn no_order_of_facts_does_harm() {
    for seed in 0..200_u64 {
        let mut world = World::wanting(&[Source::Connected, Source::Lan, Source::Dht]);
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for _ in 0..400 {
            let who = peer(draw(80) as u32 + 1);
            let service = (draw(3) > 0).then_some(ECHO);
            let source = [Source::Lan, Source::Dht, Source::Manual][draw(3).min(draw(3)) as usize];
            let names = if draw(2) == 0 { vec![ECHO] } else { vec![OTHER] };
            let until = (draw(2) == 0).then(|| world.now + secs(draw(400)));
            let network = (draw(2) == 0).then(|| draw(10));
            world.tell(match draw(9) {
                0..=2 => Fact::Found(Found { peer: who, service, source, until, network }),
                3 => Fact::Connected(who, network),
                4 => Fact::Identified(who, names),
                5 => Fact::Unreachable(who),
                6 => Fact::Disconnected(who, draw(2) == 0),
                7 => Fact::Lost { peer: who, service, source },
                _ if draw(20) == 0 => Fact::Unwanted(ECHO),
                _ => Fact::Wanted(ECHO),
            });
            if draw(3) == 0 {
                world.now = world.now + Duration::from_millis(draw(30_000));
                world.tell(Fact::Tick);
            }
            let late = world.candidates.next_deadline().filter(|due| *due <= world.now);
            assert_eq!(late, None, "seed {seed}");
            let all: Vec<_> = world.candidates.candidates("/echo/1").collect();
            let serving = all.iter().filter(|one| one.state == CandidateState::Serving);
            let serving: BTreeSet<_> = serving.map(|one| one.peer).collect();
            assert_eq!(serving, world.nodes, "seed {seed}");
            assert!(all.iter().filter(|one| one.source != Source::Manual).count() <= 64);
        }
    }
}
