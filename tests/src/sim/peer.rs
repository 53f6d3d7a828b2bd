//! A peer, as the interpreter keeps it.

use std::collections::BTreeMap;

use bytes::Bytes;
use pointsub_core::{
    InboundId, PeerId, ProtocolName, ServerConfig, StreamId, StreamInfo, Timestamp,
};

use super::link::Side;
use super::seam::Seam;
use super::server::SimServer;
use crate::scenario::{Kind, PeerPlan, Refusal};

/// The protocols that every peer serves.
pub const PROTOCOLS: [&str; 2] = ["/a/1.0.0", "/b/1.0.0"];
/// The client's own number.
pub(super) const CLIENT: usize = 99;

/// A clock that may have stopped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    stopped: Option<(Timestamp, Timestamp)>,
}

impl Clock {
    /// What it says.
    #[must_use]
    pub fn read(&self, now: Timestamp) -> Timestamp {
        match self.stopped {
            Some((at, until)) if now < until => at,
            _ => now,
        }
    }

    /// When it will say `due`, or something later.
    #[must_use]
    pub fn when(&self, due: Timestamp, now: Timestamp) -> Timestamp {
        match self.stopped {
            Some((at, until)) if now < until && at < due => due.max(until),
            _ => due,
        }
    }

    /// Stops it for a while, if it runs.
    pub(super) fn stop(&mut self, now: Timestamp, until: Timestamp) {
        if self.read(now) == now {
            self.stopped = Some((now, until));
        }
    }
}

/// A request at a handler.
#[derive(Debug)]
pub struct Work {
    /// Its number, if it is the client's.
    pub number: Option<u64>,
    /// What it asks.
    pub(super) body: Bytes,
    /// The handler was told to stop, and has not yet.
    pub stopping: bool,
}

/// A peer.
#[derive(Debug)]
pub struct Peer {
    /// Who it is.
    pub id: PeerId,
    /// How it is meant to be.
    pub plan: PeerPlan,
    /// The options of its server.
    pub config: ServerConfig,
    /// What it is.
    pub kind: Kind,
    /// Its server, if it is one of ours.
    pub server: Option<SimServer>,
    /// The streams that its server says it has, as they were after the last step.
    pub streams: Vec<StreamInfo>,
    /// It has crashed and is not back.
    pub down: bool,
    /// It was asked to stop.
    pub(super) stopping: bool,
    /// A protocol of its was unregistered in this life.
    pub unregistered: bool,
    /// A protocol of its was unregistered in any life.
    pub ever_unregistered: bool,
    /// How its server is composed, in which number of life.
    seam: Seam,
    seed: u64,
    number: usize,
    lives: u64,
    /// What its handlers are at.
    pub at_work: BTreeMap<InboundId, Work>,
    /// Streams by the server's name for them.
    pub(super) links: BTreeMap<StreamId, u32>,
    /// Streams that were opened to it.
    pub(super) opened: u64,
    /// Streams on which it may find the format broken.
    pub excused: u64,
    pub(super) clock: Clock,
    pub(super) refuses: Option<(Refusal, Timestamp)>,
    pub(super) slow_opens: Option<(u16, Timestamp)>,
    pub(super) slow_handlers: Option<(u16, Timestamp)>,
    /// Until when nothing gets through, to the client and to the server.
    blocked: [Timestamp; 2],
}

impl Peer {
    pub(super) fn new(number: usize, plan: &PeerPlan, seam: Seam, seed: u64) -> Self {
        let mut peer = Self {
            id: peer_id(number),
            plan: plan.clone(),
            config: plan.server.config(),
            kind: plan.kind,
            server: None,
            streams: Vec::new(),
            down: false,
            stopping: false,
            unregistered: false,
            ever_unregistered: false,
            seam,
            seed,
            number,
            lives: 0,
            at_work: BTreeMap::new(),
            links: BTreeMap::new(),
            opened: 0,
            excused: 0,
            clock: Clock::default(),
            refuses: None,
            slow_opens: None,
            slow_handlers: None,
            blocked: [Timestamp::ZERO; 2],
        };
        peer.start();
        peer
    }

    /// Begins a life of its server.
    pub(super) fn start(&mut self) {
        self.down = false;
        self.stopping = false;
        self.unregistered = false;
        self.at_work.clear();
        self.links.clear();
        self.excused = 0;
        self.lives += 1;
        let server = || SimServer::new(&self.config, self.seam, self.seed, self.number, self.lives);
        self.server = self.kind.is_machine().then(server);
        for protocol in PROTOCOLS {
            self.register(protocol);
        }
    }

    /// Serves a protocol, if it can.
    pub(super) fn register(&mut self, protocol: &str) {
        if let Some(server) = &mut self.server {
            let protocol = ProtocolName::new(protocol).expect("a usable name");
            server.register(&protocol);
        }
    }

    pub(super) fn block(&mut self, to: Side, until: Timestamp) {
        let blocked = &mut self.blocked[usize::from(to == Side::Server)];
        *blocked = (*blocked).max(until);
    }

    pub(super) fn blocked_until(&self, to: Side) -> Timestamp {
        self.blocked[usize::from(to == Side::Server)]
    }
}

/// The peer id of a number.
pub(super) fn peer_id(number: usize) -> PeerId {
    PeerId::from_bytes(&[number as u8 + 1; 34]).expect("of a usable length")
}
