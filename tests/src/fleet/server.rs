//! A server of the fleet: the real machine, and the workers behind it.

use std::collections::{HashMap, VecDeque};

use pointsub_core::{InboundId, PeerId, ProtocolName, Server, ServerConfig, StreamId};
use slotmap::SecondaryMap;

use super::event::LinkKey;
use super::timer::Timer;

/// The protocol that all servers serve.
pub(super) const PROTOCOL: &str = "/fleet/1";

#[derive(Debug)]
pub(super) struct SimServer {
    /// `None` while it is down.
    pub(super) machine: Option<Server>,
    /// How often it was started.
    pub(super) life: u32,
    pub(super) links: SecondaryMap<StreamId, LinkKey>,
    pub(super) jobs: Jobs,
    pub(super) timer: Timer,
    pub(super) silent: bool,
    pub(super) slowness: f64,
    pub(super) erring: bool,
    pub(super) draining: bool,
    /// Requests that came in former lives, and those that were let in.
    former: (u64, u64),
}

/// What a server was asked and has not answered.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    slots: Vec<Job>,
    free: Vec<u32>,
    by_id: HashMap<InboundId, u32>,
    waiting: VecDeque<u32>,
    at_work: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub(super) request: InboundId,
    /// How long a worker needs for it.
    pub(super) takes: u64,
    /// Nobody waits for it any more.
    pub(super) gone: bool,
    started: bool,
}

impl SimServer {
    pub(super) fn new(config: &ServerConfig) -> Self {
        let mut server = Self {
            machine: None,
            life: 0,
            links: SecondaryMap::new(),
            jobs: Jobs::default(),
            timer: Timer::default(),
            silent: false,
            slowness: 1.0,
            erring: false,
            draining: false,
            former: (0, 0),
        };
        server.start(config);
        server
    }

    /// Begins a life.
    pub(super) fn start(&mut self, config: &ServerConfig) {
        let mut machine = Server::new(config.clone()).expect("options within their ranges");
        let protocol = ProtocolName::new(PROTOCOL).expect("a usable name");
        machine.register(&protocol).expect("the first one");
        self.machine = Some(machine);
        self.life += 1;
        self.draining = false;
    }

    /// Ends a life at once. Returns the links that break.
    pub(super) fn stop(&mut self) -> Vec<LinkKey> {
        self.former = self.seen();
        self.machine = None;
        self.jobs = Jobs::default();
        self.timer = Timer::default();
        self.draining = false;
        std::mem::take(&mut self.links).into_iter().map(|(_, link)| link).collect()
    }

    /// Requests that came, and those that were let in.
    pub(super) fn seen(&self) -> (u64, u64) {
        let stats = self.machine.as_ref().map(Server::stats).unwrap_or_default();
        (self.former.0 + stats.started + stats.refused, self.former.1 + stats.started)
    }
}

impl Jobs {
    /// A request was let in. Returns its job if a worker is free for it.
    pub(super) fn add(&mut self, request: InboundId, takes: u64, workers: usize) -> Option<u32> {
        let job = Job { request, takes, gone: false, started: false };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = job;
                slot
            }
            None => {
                self.slots.push(job);
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 jobs")
            }
        };
        self.by_id.insert(request, slot);
        self.waiting.push_back(slot);
        self.start_next(workers)
    }

    /// The next job, if there is a worker for it.
    pub(super) fn start_next(&mut self, workers: usize) -> Option<u32> {
        while self.at_work < workers {
            let slot = self.waiting.pop_front()?;
            let job = &mut self.slots[slot as usize];
            if job.gone {
                self.free.push(slot);
                continue;
            }
            job.started = true;
            self.at_work += 1;
            return Some(slot);
        }
        None
    }

    /// Nobody waits for a request. Whether its handler has stopped with that: one that waits for a
    /// worker does, one that has a worker goes on.
    pub(super) fn abandon(&mut self, request: InboundId) -> bool {
        let Some(slot) = self.by_id.get(&request) else { return false };
        let job = &mut self.slots[*slot as usize];
        job.gone = true;
        let stops = !job.started;
        if stops {
            self.by_id.remove(&request);
        }
        stops
    }

    pub(super) fn takes(&self, slot: u32) -> u64 {
        self.slots[slot as usize].takes
    }

    /// A worker is done.
    pub(super) fn done(&mut self, slot: u32) -> Job {
        let job = self.slots[slot as usize];
        self.by_id.remove(&job.request);
        self.free.push(slot);
        self.at_work -= 1;
        job
    }
}

/// The peer id of a server.
pub(super) fn peer_of_server(number: usize) -> PeerId {
    peer(b's', number)
}

/// The peer id of a client.
pub(super) fn peer_of_client(number: usize) -> PeerId {
    peer(b'c', number)
}

/// The number of the server with this peer id.
pub(super) fn server_of_peer(peer: &PeerId) -> usize {
    let digits = &peer.as_bytes()[1..5];
    u32::from_be_bytes(digits.try_into().expect("four bytes")) as usize
}

fn peer(kind: u8, number: usize) -> PeerId {
    let number = u32::try_from(number).expect("fewer than 2^32 peers");
    let mut bytes = vec![kind];
    bytes.extend(number.to_be_bytes());
    PeerId::from_bytes(&bytes).expect("a usable id")
}
