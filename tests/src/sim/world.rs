//! The world: what is due when, and the loop that lives through it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use pointsub_core::endpoint::StreamKey;
use pointsub_core::endpoint::closest::{PeakEwma, Weighted, XorOrder};
use pointsub_core::{
    ClientConfig, ClientInput, DialId, InboundId, ServerInput, StreamId, Timestamp,
};

use super::calls::{Asked, Sent};
use super::client::SimClient;
use super::connections::Conn;
use super::event::Event;
use super::link::{Link, Side};
use super::note::{Note, Who};
use super::peer::{CLIENT, Clock, Peer, peer_id};
use super::raws::RawLink;
use super::{Failure, Life, Options, Outcome, Rng};
use crate::check::{self, Check};
use crate::coverage::Situation;
use crate::scenario::{Kind, Scenario, Strategy};

/// A life that takes more steps than this never ends.
const STEPS: usize = 400_000;
/// When lives begin: not at the epoch, where times that are missing would look right.
const START: Timestamp = Timestamp::from_nanos(1_000);

/// Something that will happen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Op(usize),
    Fault(usize),
    Cancel(Asked),
    Opened(u32),
    Arrive(u32, Side),
    Taken(u32, Side),
    Broken(u32, Side),
    Handled(usize, InboundId),
    Stopped(usize, InboundId),
    SingleShot(u32),
    Nonsense(u32),
    Intrude(u32),
    Dialed(DialId),
    HangUp(DialId),
    Register(usize, usize),
    Restart(usize),
    Resume(usize),
    /// Only so that the loop looks at how things stand.
    Look,
}

/// Everything that there is in a life.
#[derive(Debug)]
pub struct World {
    /// What is to happen.
    pub scenario: Scenario,
    pub(super) options: Options,
    /// The true time.
    pub now: Timestamp,
    /// The client.
    pub client: SimClient,
    /// Its options.
    pub config: ClientConfig,
    /// Its clock.
    pub(super) clock: Clock,
    /// Those that it speaks to.
    pub peers: Vec<Peer>,
    /// Streams, by number.
    pub links: BTreeMap<u32, Link>,
    pub(super) next_link: u32,
    pub(super) by_client: BTreeMap<StreamId, u32>,
    /// Directions in which bytes have arrived that nobody wanted to read.
    pub(super) paused: BTreeSet<(u32, Side)>,
    /// Connections so far.
    pub conns: Vec<Conn>,
    /// The connection to each peer that takes what is new.
    pub(super) current: Vec<Option<usize>>,
    /// On which connection a server has a stream, and under which name.
    pub(super) inbound: BTreeMap<(usize, StreamId), (usize, StreamKey)>,
    /// Nothing is to go wrong.
    pub(super) calm: bool,
    /// Raw streams.
    pub raws: BTreeMap<DialId, RawLink>,
    queue: BinaryHeap<Reverse<(Timestamp, u64, Due)>>,
    seq: u64,
    /// Requests without an outcome.
    pub pending: BTreeMap<Asked, Sent>,
    /// How many requests there were.
    pub(super) sent: u64,
    /// How often handlers saw each, if they did.
    pub seen: BTreeMap<u64, u32>,
    /// Strangers so far.
    pub(super) intruders: usize,
    /// The client was asked to stop.
    pub draining: bool,
    /// It said that it has.
    pub drained: bool,
    /// Everybody was asked to stop, since nothing was left to happen.
    pub over: bool,
    /// When everything that can happen by itself has begun.
    pub last_op: Timestamp,
    /// A machine was told something since it was last asked what it wants.
    pub(super) told: bool,
    checks: Vec<Box<dyn Check>>,
    failure: Option<Failure>,
    life: Life,
    /// Machines to which time has passed since they were last looked at.
    ticked: Vec<(Who, Timestamp)>,
}

impl World {
    /// The beginning of a life.
    ///
    /// # Panics
    /// If an option is out of its range.
    #[must_use]
    pub fn new(scenario: Scenario, options: Options) -> Self {
        let config = scenario.client.config();
        let (id, seam) = (peer_id(CLIENT), options.seam);
        let mut client = SimClient::new(config.clone(), id, scenario.seed, seam);
        match scenario.client.strategy {
            Strategy::Xor => client.set_strategy(XorOrder),
            Strategy::Peak => client.set_strategy(PeakEwma),
            Strategy::Score => client.set_strategy(Weighted::default()),
        }
        let peer = |(n, plan)| Peer::new(n, plan, options.seam, scenario.seed);
        let peers = scenario.peers.iter().enumerate().map(peer).collect();
        Self {
            options,
            now: START,
            client,
            config,
            clock: Clock::default(),
            peers,
            links: BTreeMap::new(),
            next_link: 0,
            by_client: BTreeMap::new(),
            paused: BTreeSet::new(),
            conns: Vec::new(),
            current: vec![None; scenario.peers.len()],
            inbound: BTreeMap::new(),
            calm: scenario.is_calm(),
            raws: BTreeMap::new(),
            queue: BinaryHeap::new(),
            seq: 0,
            pending: BTreeMap::new(),
            sent: 0,
            seen: BTreeMap::new(),
            intruders: 0,
            draining: false,
            drained: false,
            over: false,
            last_op: START,
            told: false,
            checks: check::all(&scenario),
            failure: None,
            life: Life::default(),
            ticked: Vec::new(),
            scenario,
        }
    }

    /// Lives it.
    pub(super) fn live(mut self) -> Result<Life, Failure> {
        for (number, (at, _)) in self.scenario.ops.clone().into_iter().enumerate() {
            self.schedule(self.time(at), Due::Op(number));
        }
        for (number, (at, _)) in self.scenario.faults.clone().into_iter().enumerate() {
            if at < self.scenario.heal {
                self.schedule(self.time(at), Due::Fault(number));
            }
        }
        let last = self.scenario.ops.last().map_or(0, |(at, _)| *at).max(self.scenario.heal);
        self.last_op = self.time(last);
        self.schedule(self.last_op, Due::Look);
        for _ in 0..STEPS {
            let next = self.settle();
            for (who, at) in std::mem::take(&mut self.ticked) {
                self.look_after_tick(who, at);
            }
            self.step();
            if let Some(mut failure) = self.failure.take() {
                failure.timeline = std::mem::take(&mut self.life.timeline);
                return Err(failure);
            }
            let due = self.queue.peek().map(|Reverse((when, ..))| *when);
            match (due, next) {
                (None, None) if self.over => return self.end(),
                (None, None) => self.stop_everybody(),
                (Some(when), next) if next.is_none_or(|next| when <= next) => self.happen(when),
                (_, Some(next)) => self.pass_time(next),
                (Some(_), None) => {}
            }
        }
        let message = format!("no end after {STEPS} steps");
        Err(Failure { check: "quiescence", message, timeline: self.life.timeline })
    }

    fn time(&self, micros: u32) -> Timestamp {
        START + Duration::from_micros(u64::from(micros))
    }

    /// When a fault that lasts so long is over.
    pub(super) fn until(&self, for_ms: u16) -> Timestamp {
        let end = self.now + Duration::from_millis(u64::from(for_ms));
        end.min(self.time(self.scenario.heal))
    }

    pub(super) fn schedule(&mut self, when: Timestamp, due: Due) {
        self.seq += 1;
        self.queue.push(Reverse((when.max(self.now), self.seq, due)));
    }

    pub(super) fn after(&mut self, pause: Duration, due: Due) {
        self.schedule(self.now + pause, due);
    }

    /// What is decided at random for one thing, whatever was decided for others.
    pub(super) fn draw(&self, numbers: &[u64]) -> Rng {
        Rng::of(self.scenario.seed, numbers)
    }

    /// What the client takes the time to be.
    #[must_use]
    pub fn client_now(&self) -> Timestamp {
        self.clock.read(self.now)
    }

    /// What a peer takes the time to be.
    #[must_use]
    pub fn peer_now(&self, peer: usize) -> Timestamp {
        self.peers[peer].clock.read(self.now)
    }

    /// The peer that a number means.
    pub(super) fn peer(&self, number: u8) -> usize {
        usize::from(number) % self.peers.len()
    }

    /// The number of a peer.
    pub(super) fn number_of(&self, id: &pointsub_core::PeerId) -> usize {
        self.peers.iter().position(|peer| peer.id == *id).expect("only known peers are spoken to")
    }

    /// Whether there is a peer that cannot be trusted.
    #[must_use]
    pub fn all_honest(&self) -> bool {
        self.peers.iter().all(|peer| peer.kind.is_honest())
    }

    pub(super) fn note(&mut self, who: Who, what: &'static str, a: u64, b: u64) {
        let note = Note { at: self.now, who, what, a, b };
        self.life.hash = note.hash(self.life.hash);
        if self.options.timeline {
            self.life.timeline.push(note);
        }
    }

    pub(super) fn hit(&mut self, situation: Situation) {
        self.life.coverage.hit(situation);
    }

    pub(super) fn record(&mut self, number: u64, what: Result<usize, String>) {
        self.life.outcomes.push(Outcome { number, at: self.now.as_nanos(), what });
    }

    /// Shows the checkers what has happened.
    pub(super) fn emit(&mut self, event: &Event<'_>) {
        let mut checks = std::mem::take(&mut self.checks);
        for check in &mut checks {
            let result = check.observe(event, self);
            self.judge(check.name(), result);
        }
        self.checks = checks;
    }

    fn step(&mut self) {
        for peer in &mut self.peers {
            peer.streams = peer.server.as_ref().map_or_else(Vec::new, |s| s.streams(self.now));
        }
        let mut checks = std::mem::take(&mut self.checks);
        for check in &mut checks {
            let result = check.step(self);
            self.judge(check.name(), result);
        }
        self.checks = checks;
    }

    fn judge(&mut self, check: &'static str, result: Result<(), String>) {
        if let Err(message) = result
            && self.failure.is_none()
        {
            self.failure = Some(Failure { check, message, timeline: Vec::new() });
        }
    }

    /// Lets every machine do what it wants done now; returns when time has to pass for one.
    fn settle(&mut self) -> Option<Timestamp> {
        loop {
            self.told = false;
            let wake = self.settle_client();
            let mut earliest = wake.map(|due| self.clock.when(due, self.now));
            for number in 0..self.peers.len() {
                if let Some(due) = self.settle_server(number) {
                    let due = self.peers[number].clock.when(due, self.now);
                    earliest = Some(earliest.map_or(due, |earliest| earliest.min(due)));
                }
            }
            if !self.resume() && !self.told {
                return earliest;
            }
        }
    }

    fn look_after_tick(&mut self, who: Who, at: Timestamp) {
        let next = match who {
            Who::Peer(number) => self.settle_server(number),
            _ => self.settle_client(),
        };
        self.emit(&Event::Ticked { who, at, next });
    }

    /// What is due happens: one thing of it, or all that is due at this instant.
    fn happen(&mut self, when: Timestamp) {
        self.now = self.now.max(when);
        if self.options.extra_ticks {
            self.tick_all();
        }
        while let Some(Reverse((due, ..))) = self.queue.peek()
            && *due == when
        {
            let Some(Reverse((.., due))) = self.queue.pop() else { return };
            self.happens(due);
            if !self.scenario.batched {
                return;
            }
        }
    }

    fn happens(&mut self, due: Due) {
        match due {
            Due::Op(number) => self.operate(number),
            Due::Fault(number) => self.fault(number),
            Due::Cancel(asked) => self.cancel(asked),
            Due::Opened(link) => self.opened(link),
            Due::Arrive(link, side) => self.arrive(link, side),
            Due::Taken(link, side) => self.taken(link, side),
            Due::Broken(link, side) => self.hear_of_reset(link, side),
            Due::Handled(peer, request) => self.handled(peer, request),
            Due::Stopped(peer, request) => self.stopped(peer, request),
            Due::SingleShot(link) => self.answer_once(link),
            Due::Nonsense(link) => self.say_anything(link),
            Due::Intrude(link) => self.intrude(link),
            Due::Dialed(dial) => self.raw_arrives(dial),
            Due::HangUp(dial) => self.end_raw(dial),
            Due::Register(peer, protocol) => {
                let protocol = super::peer::PROTOCOLS[protocol];
                self.peers[peer].register(protocol);
            }
            Due::Restart(peer) => self.restart(peer),
            Due::Resume(conn) => self.resume_connection(conn),
            Due::Look => {}
        }
    }

    /// Lets time pass at those for whom something is due.
    fn pass_time(&mut self, next: Timestamp) {
        self.now = self.now.max(next);
        // Which of them are due only they know; to let time pass for the others is harmless.
        self.tick_all();
    }

    fn tick_all(&mut self) {
        let now = self.client_now();
        self.client.handle_input(ClientInput::Timeout, now);
        self.ticked.push((Who::Client, now));
        for number in 0..self.peers.len() {
            let now = self.peer_now(number);
            if let Some(server) = &mut self.peers[number].server {
                server.handle_input(ServerInput::Timeout, now);
                self.ticked.push((Who::Peer(number), now));
            }
        }
    }

    fn stop_everybody(&mut self) {
        self.note(Who::Net, "nothing is left to happen; everybody is asked to stop", 0, 0);
        self.over = true;
        self.draining = true;
        self.client.drain(self.now);
        let late = self.now + Duration::from_secs(60);
        for peer in &mut self.peers {
            if let Some(server) = &mut peer.server {
                peer.stopping = true;
                server.drain(late, self.now);
            }
        }
    }

    fn end(mut self) -> Result<Life, Failure> {
        let mut checks = std::mem::take(&mut self.checks);
        for check in &mut checks {
            let result = check.end(&self);
            self.judge(check.name(), result);
        }
        self.count_situations();
        let stats = self.client.stats();
        self.note(Who::Client, "ends with {a} answers and {b} failures", stats.ok, stats.failed);
        match self.failure.take() {
            Some(failure) => Err(Failure { timeline: self.life.timeline, ..failure }),
            None => Ok(self.life),
        }
    }

    /// Situations that the counters tell of.
    fn count_situations(&mut self) {
        let stats = self.client.stats();
        // Ten further tries are there from the beginning, and a tenth of one for each first try.
        let further = stats.retries + stats.failovers + stats.hedges;
        let mut told = vec![
            (Situation::Reuse, stats.reused > 0),
            (Situation::HedgeSent, stats.hedges > 0),
            (Situation::Failover, stats.failovers > 0),
            (Situation::BudgetExhausted, 11 * further + 20 >= 500 + stats.started),
        ];
        for peer in &self.peers {
            let Some(server) = &peer.server else { continue };
            let stats = server.stats();
            told.extend([
                (Situation::ServerIdle, stats.idle_timeouts > 0),
                (Situation::FirstByteLate, stats.first_byte_timeouts > 0),
                (Situation::MessageLate, stats.message_timeouts > 0),
                (Situation::WriteLate, stats.write_timeouts > 0),
                (Situation::IntruderViolated, stats.violations > 0),
                (Situation::IntruderCutOff, stats.cut_off > 0),
                (
                    Situation::LimitMoved,
                    stats.limit != peer.config.max_concurrent_requests() as u64,
                ),
                (Situation::BothFormats, peer.kind == Kind::Native && peer.opened > 20),
            ]);
        }
        for (situation, hit) in told {
            if hit {
                self.hit(situation);
            }
        }
    }
}
