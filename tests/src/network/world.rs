//! The world around one network machine: places that can be dialled, peers that come and go, the
//! connections to them, each with the machine of a [`Connection`], and relays.

mod connection;
mod delays;
mod distant;
mod happening;
mod links;
mod relays;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pointsub_core::connection::Connection;
use pointsub_core::network::{
    Act, Address, AttemptId, Change, ConnectId, DialError, Fact, Goal, Network, OpenId, Order,
    Place as At, Reach, Source, Target, Up, Work,
};
use pointsub_core::{PeerId, StreamId, Timestamp, Verdict};
use slotmap::SlotMap;

use self::delays::Body;
use self::relays::Relays;
use super::Plant;
use super::check::Checker;
use super::day::Day;
use super::plan::{Answer, Op, Place, Plan};
use super::planted::Planted;
use super::situation::Situation;
use crate::sim::Rng;

/// How long one address may take.
pub(super) const LIMIT: Duration = Duration::from_secs(5);
/// How long a transport tries. The machine does not wait for that.
const TRANSPORT: Duration = Duration::from_secs(10);
/// How long after all has healed each peer has to be reached.
const SETTLED: Duration = Duration::from_secs(45);
/// Whoever gives no sign of life for so long is not counted on.
const DOUBT: Duration = Duration::from_secs(1);
/// How often it is tried again to get an answer on a stream, or to a probe.
const RETRY: Duration = Duration::from_millis(200);
/// After this, whoever waits on a stream gives up.
const REQUEST: Duration = Duration::from_secs(10);
/// So long after all has healed, all is over.
const END: Duration = Duration::from_secs(200);
/// By how much the clock runs backwards at most.
const SKEW: u32 = 500_000;
/// Peers that are not there have numbers from here on.
const ABSENT: usize = 10;
/// How many peers have numbers.
const NUMBERS: usize = 256;

/// A connection as the machine knows it.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) peer: usize,
    pub(super) relayed: bool,
    pub(super) heard: Timestamp,
    pub(super) suspect: bool,
    pub(super) retired: bool,
    /// It has been told to end.
    pub(super) ending: bool,
    /// It has been told last that it is retired.
    pub(super) told_retired: bool,
    /// It has said last that it is at work.
    pub(super) assessed_busy: bool,
    /// Since when its peer owes a sign of life that somebody waits for.
    asked: Option<Timestamp>,
    /// When it heard last that this node has slept.
    rechecked: Timestamp,
    /// Since when something is due and no byte moves.
    pub(super) silent_since: Option<Timestamp>,
    at: usize,
    generation: u64,
    broken: bool,
    machine: Connection,
    /// Requests that have no answer.
    pub(super) due: usize,
    /// When its machine is asked next what the silence means.
    look_at: Option<Timestamp>,
    /// Bytes written since it heard of its peer, and those that the peer has not confirmed.
    pub(super) written: u32,
    unconfirmed: u32,
    /// When all that was written before is gone, and when all has come.
    free_up: Timestamp,
    free_down: Timestamp,
    /// Orders and facts of one connection do not overtake each other.
    acts_until: Timestamp,
    facts_until: Timestamp,
}

#[derive(Debug)]
pub(super) struct Dial {
    target: Option<usize>,
    at: Option<usize>,
    began: Timestamp,
}

#[derive(Debug)]
enum Event {
    Op(Op),
    Tick,
    Fact(Fact<u32>),
    Dialled(AttemptId),
    Act(u32, Act),
    Look(u32),
    Probe(u32, Timestamp),
    /// A stream was opened, at this time.
    Opened(u32, Timestamp),
    /// A request was sent on a stream, at this time.
    Stream(u32, StreamId, Timestamp),
    /// A part of a body was sent, at this time.
    Part(u32, StreamId, Timestamp, Body),
    /// A relay may be due to be asked.
    Relays,
    /// A relay was asked for a place, at this time.
    Reserve(u32, u32, Timestamp),
    Heal,
    Settled,
    MustWork(usize),
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) net: Network<u32>,
    pub(super) now: Timestamp,
    pub(super) connections: BTreeMap<u32, Conn>,
    /// What the application has named, by peer, while that is not too much.
    pub(super) pinned: Vec<BTreeSet<usize>>,
    /// Streams to peers that were reached just before.
    pub(super) must_work: BTreeSet<OpenId>,
    pub(super) situations: BTreeSet<Situation>,
    pub(super) timeline: Option<Vec<String>>,
    pub(super) hash: u64,
    pub(super) planted: Option<Planted>,
    /// When this node has slept last.
    pub(super) woke: Timestamp,
    /// When it has slept last so that everybody can see it in the clock.
    pub(super) jumped: Timestamp,
    pub(super) dials: BTreeMap<AttemptId, Dial>,
    /// What becomes of requests, if somebody wants to know.
    pub(super) day: Option<Day>,
    /// What must not have happened.
    broken: Option<String>,
    end: Timestamp,
    skewed: bool,
    /// How much later than others a message may arrive, in microseconds.
    jitter: u32,
    /// When something has gone wrong last that may have lost a message.
    troubled: Timestamp,
    plan: Plan,
    rng: Rng,
    queue: BTreeMap<(Timestamp, u64), Event>,
    events: u64,
    places: Vec<Place>,
    generations: Vec<u64>,
    frozen: Vec<bool>,
    /// Dials and what was asked for since a peer's race may have begun.
    races: Vec<(Timestamp, usize)>,
    next_connection: u32,
    healed: bool,
    checker: Checker,
    streams: SlotMap<StreamId, ()>,
    pub(super) relays: Relays,
    plant: Option<Plant>,
}

impl World {
    pub(super) fn new(seed: u64, plan: Plan, plant: Option<Plant>) -> Self {
        let peers = plan.peers;
        let mut world = Self {
            net: Network::with_seed(LIMIT, seed),
            now: Timestamp::ZERO,
            connections: BTreeMap::new(),
            pinned: vec![BTreeSet::new(); peers],
            must_work: BTreeSet::new(),
            situations: BTreeSet::new(),
            timeline: None,
            hash: 0,
            planted: None,
            woke: Timestamp::ZERO,
            jumped: Timestamp::ZERO,
            dials: BTreeMap::new(),
            broken: None,
            end: Timestamp::ZERO + plan.heal + END,
            day: None,
            skewed: false,
            jitter: 0,
            troubled: Timestamp::ZERO,
            rng: Rng::of(seed, &[0x776f_726c]),
            queue: BTreeMap::new(),
            events: 0,
            places: plan.places.clone(),
            generations: vec![0; peers],
            frozen: vec![false; peers],
            races: vec![(Timestamp::ZERO, 0); NUMBERS],
            next_connection: 0,
            healed: false,
            checker: Checker::default(),
            streams: SlotMap::with_key(),
            relays: Relays::new(peers),
            plant,
            plan,
        };
        for (after, op) in world.plan.ops.clone() {
            world.after(after, Event::Op(op));
        }
        world.after(world.plan.heal, Event::Heal);
        world
    }

    /// Lives until nothing is left to happen.
    pub(super) fn live(&mut self) -> Result<(), String> {
        while let Some(((now, _), event)) = self.queue.pop_first()
            && now <= self.end
        {
            self.now = now;
            self.happen(event)?;
            self.carry_out()?;
            if let Some(broken) = self.broken.take() {
                return Err(broken);
            }
            if self.events.is_multiple_of(8) {
                self.checker.step(self)?;
            }
        }
        self.checker.step(self)?;
        if let Some(day) = &mut self.day {
            day.longest = self.checker.longest_wait;
        }
        self.checker.end(self)
    }

    pub(super) fn is_healed(&self) -> bool {
        self.healed && self.must_work.len() == self.plan.peers
    }

    /// How many peers there are.
    pub(super) fn peers(&self) -> usize {
        self.plan.peers
    }

    pub(super) fn id(&self, peer: usize) -> PeerId {
        PeerId::from_bytes(&[0, 36, peer as u8]).expect("a peer id")
    }

    pub(super) fn number(&self, peer: &PeerId) -> usize {
        usize::from(peer.as_bytes()[2])
    }

    pub(super) fn address(&self, at: usize) -> Address {
        let address = Address::new(&[at as u8]).within(Some(Reach::Internet));
        address.through_relay(self.plan.places[at].relayed)
    }

    pub(super) fn of(&self, peer: usize) -> impl Iterator<Item = &Conn> {
        self.connections.values().filter(move |one| one.peer == peer)
    }

    /// Whether somebody waits in vain for a sign of life on a connection.
    pub(super) fn is_doubtful(&self, one: &Conn) -> bool {
        // By a clock that runs backwards it has waited long enough earlier.
        let early = Duration::from_micros(if self.skewed { SKEW.into() } else { 0 });
        one.asked.is_some_and(|asked| self.now.since(asked) >= DOUBT - early)
    }

    /// Whether bytes move on a connection.
    pub(super) fn moves(&self, key: u32) -> bool {
        self.connections.get(&key).is_some_and(|one| {
            !one.broken
                && one.generation == self.generations[one.peer]
                && !self.frozen[one.peer]
                && !self.places[one.at].frozen
        })
    }

    /// How many dials of a peer are under way since its race may have begun.
    pub(super) fn running(&self, peer: usize) -> usize {
        let began = self.races[peer].0;
        let of_race = |dial: &&Dial| {
            dial.target == Some(peer) && dial.began >= began && self.now.since(dial.began) < LIMIT
        };
        self.dials.values().filter(of_race).count()
    }

    /// How many addresses somebody has asked for since then.
    pub(super) fn asked_now(&self, peer: usize) -> usize {
        self.races[peer].1
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.events += 1;
        self.queue.insert((self.now + delay, self.events), event);
    }

    /// Messages between the machine and the connections take a moment.
    fn soon(&mut self, event: Event) {
        let delay = self.rng.micros(2000);
        self.after(delay, event);
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let text = format!("{} {what}", self.now);
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(timeline) = &mut self.timeline {
            timeline.push(text);
        }
    }

    fn tell(&mut self, fact: Fact<u32>) {
        self.note(format_args!("fact   {fact:?}"));
        let fact = self.planted.map_or(fact.clone(), |planted| planted.fact(fact));
        let back = if self.skewed { self.rng.micros(SKEW) } else { Duration::ZERO };
        let nanos = self.now.as_nanos().saturating_sub(back.as_nanos() as u64);
        self.net.handle(fact, Timestamp::from_nanos(nanos));
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Op(op) => self.op(op),
            Event::Tick if self.planted == Some(Planted::StopClock) => {}
            Event::Tick => {
                self.net.handle(Fact::Tick, self.now);
                if self.net.next_deadline().is_some_and(|next| next <= self.now) {
                    return Err("it is due again at once".to_owned());
                }
            }
            Event::Fact(fact) => self.fact(fact),
            Event::Dialled(attempt) => self.dialled(attempt),
            Event::Act(key, act) => self.act(key, act),
            Event::Look(key) => self.look(key),
            Event::Probe(key, since) => self.probe(key, since),
            Event::Opened(key, since) => self.opened(key, since),
            Event::Stream(key, stream, since) => self.stream(key, stream, since),
            Event::Part(key, stream, since, body) => self.part(key, stream, since, body),
            Event::Relays => self.ask_relays()?,
            Event::Reserve(listener, key, since) => self.reserve(listener, key, since),
            Event::Heal => self.heal(),
            Event::Settled => {
                for peer in 0..self.plan.peers {
                    let _must = self.connect(Goal::Peer(self.id(peer), None), Some(peer));
                }
            }
            Event::MustWork(peer) => {
                let open = self.open(peer);
                self.must_work.insert(open);
            }
        }
        Ok(())
    }

    fn carry_out(&mut self) -> Result<(), String> {
        while let Some(order) = self.net.poll_order() {
            let order = self.deliver(order);
            match self.planted {
                None => self.check_and_obey(order)?,
                Some(planted) => {
                    for order in planted.order(order, self) {
                        self.check_and_obey(order)?;
                    }
                }
            }
        }
        if let Some(due) = self.net.next_deadline() {
            let late = due.since(self.now) + self.rng.micros(1000);
            // One that is early does no harm, and one that is late is what drivers do.
            if !self
                .queue
                .range(..=(self.now + late, u64::MAX))
                .any(|(_, e)| matches!(e, Event::Tick))
            {
                self.after(late, Event::Tick);
            }
        }
        Ok(())
    }

    fn check_and_obey(&mut self, order: Order<u32>) -> Result<(), String> {
        self.note(format_args!("order  {order:?}"));
        let mut checker = std::mem::take(&mut self.checker);
        let must = match &order {
            Order::Connected(id, _) => checker.connects.get(id).and_then(|(_, must)| *must),
            _ => None,
        };
        let checked = checker.order(&order, self);
        self.checker = checker;
        checked?;
        if let Some(peer) = must {
            self.after(Duration::ZERO, Event::MustWork(peer));
        }
        self.obey(order);
        Ok(())
    }

    /// An order on its way to the driver, which may mistake it: a planted fault.
    fn deliver(&self, order: Order<u32>) -> Order<u32> {
        let Order::Connection(peer, key, act @ Act::Open { .. }) = order else { return order };
        let number = self.number(&peer);
        let retired = self.connections.iter().find(|(_, one)| one.peer == number && one.retired);
        match (self.plant, retired) {
            (Some(Plant::RetiredChosen), Some((retired, _))) => {
                Order::Connection(peer, *retired, act)
            }
            _ => Order::Connection(peer, key, act),
        }
    }

    fn obey(&mut self, order: Order<u32>) {
        self.hear_of_relays(&order);
        match order {
            Order::Dial { attempt, target, place } => {
                let target = match target {
                    Target::Peer(peer) => Some(self.number(&peer)),
                    Target::Address(_) => None,
                };
                let at = match place {
                    At::At(address) => Some(usize::from(address.as_bytes()[0])),
                    At::Elsewhere => target.and_then(|peer| *self.plan.elsewhere.get(peer)?),
                };
                let began = self.now;
                self.begin(attempt, Dial { target, at, began });
                let takes = at.map_or(Duration::ZERO, |at| self.trip(at) + self.places[at].rtt);
                self.after(takes, Event::Dialled(attempt));
            }
            Order::Connection(_, key, act) => {
                let doubtful = self.is_doubtful(&self.connections[&key]);
                let one = self.connections.get_mut(&key).expect("it was checked");
                match act {
                    Act::Retire => one.retired = true,
                    Act::Resume => one.retired = false,
                    Act::Abort | Act::Close => one.ending = true,
                    Act::Probe => one.asked = one.asked.or(Some(self.now)),
                    // Sleep is no sign of life: who was in doubt before is in doubt still.
                    Act::Recheck if !doubtful => one.asked = Some(self.now),
                    _ => {}
                }
                self.soon_act(key, act);
            }
            Order::ConnectFailed(..) => drop(self.situations.insert(Situation::ConnectFailed)),
            Order::OpenFailed(_, why) => {
                self.situations.insert(Situation::OpenFailed);
                if let Some(day) = &mut self.day {
                    day.fail_open(&why);
                }
            }
            Order::Connected(..) | Order::Event(_) => {}
        }
    }

    fn connect(&mut self, goal: Goal, must: Option<usize>) -> ConnectId {
        self.note(format_args!("connect {goal:?}"));
        let id = self.net.connect(goal, self.now);
        self.checker.connects.insert(id, (self.now, must));
        id
    }

    fn open(&mut self, peer: usize) -> OpenId {
        self.note(format_args!("open   peer {peer}"));
        if let Some(day) = &mut self.day {
            day.requests += 1;
        }
        self.place(peer)
    }

    /// Asks for a connection for a stream.
    fn place(&mut self, peer: usize) -> OpenId {
        let open = self.net.open(self.id(peer), self.now);
        self.checker.opens.insert(open, (self.now, peer));
        open
    }

    fn pin(&mut self, peer: usize, at: usize) {
        self.pinned[peer].insert(at);
        if self.pinned[peer].len() > 16 {
            // Something makes room from now on.
            self.pinned[peer].clear();
        }
    }
}
