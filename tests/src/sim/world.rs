//! The interpreter: who does what when, and what must hold.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::hash::{DefaultHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pointsub_core::server::LimitPolicy;
use pointsub_core::{
    Body, Client, ClientConfig, ClientInput, ClientOutput, DialId, Format, InboundId, PeerId,
    ProtocolName, Server, ServerConfig, ServerEvent, ServerInput, ServerOutput, Status, StatusCode,
    StreamError, StreamEvent, StreamId, StreamOp, Timestamp,
};

use super::Rng;
use super::calls::{Asked, Sent};
use super::link::{Link, Seen, Side};
use super::raws::RawLink;

pub(super) const PROTOCOLS: [&str; 2] = ["/a/1.0.0", "/b/1.0.0"];
const STEPS: usize = 2_000_000;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// A hash of everything that happened, in order.
    pub trace: u64,
    /// Requests answered with a response.
    pub ok: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests cancelled.
    pub cancelled: u64,
    /// Calls to the closest node that were answered.
    pub closest: u64,
    /// Raw streams that were opened.
    pub raws: u64,
    /// Times such a call went on to another node after a failure, or without waiting for one.
    pub more_nodes: u64,
    /// Streams opened.
    pub opens: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Send,
    Cancel(Asked),
    /// The nodes that calls choose from change.
    Nodes,
    Opened(StreamId),
    Arrive(StreamId, Side),
    Taken(StreamId, Side),
    Handled(usize, InboundId),
    Crash(usize),
    Stop(usize),
    Dial,
    Dialed(DialId),
    HangUp(DialId),
    Fault(StreamId),
}

pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) server: Server,
    native: bool,
    stopping: bool,
    pub(super) at_work: BTreeMap<InboundId, Bytes>,
    streams: BTreeMap<StreamId, StreamId>,
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: Timestamp,
    pub(super) trace: DefaultHasher,
    pub(super) client: Client,
    pub(super) config: ClientConfig,
    pub(super) peers: Vec<Peer>,
    links: BTreeMap<StreamId, Link>,
    pub(super) raws: BTreeMap<DialId, RawLink>,
    queue: BinaryHeap<Reverse<(Timestamp, u64, Due)>>,
    seq: u64,
    /// Requests without an outcome: to whom they may have gone, and with which body.
    pub(super) pending: BTreeMap<Asked, Sent>,
    pub(super) seen: Seen,
    /// How often handlers may still see each request.
    pub(super) may_be_seen: BTreeMap<u64, u32>,
    pub(super) sent: u64,
    pub(super) to_send: u64,
    pub(super) faults: bool,
    pub(super) summary: Summary,
    pub(super) drained: bool,
    /// A machine was told something since it was last asked what it wants.
    pub(super) told: bool,
    /// When time was last let pass.
    ticked: Option<Timestamp>,
}

/// Lives one life. The same seed always gives the same summary.
///
/// # Panics
/// When a property of the core does not hold; the message has the seed.
#[must_use]
pub fn run(seed: u64) -> Summary {
    let result = std::panic::catch_unwind(|| World::new(seed).live());
    result.unwrap_or_else(|_| panic!("seed {seed} breaks a property; see above"))
}

fn server_config(rng: &mut Rng) -> ServerConfig {
    let policies = [LimitPolicy::LOAD_FACTOR, LimitPolicy::AIMD, LimitPolicy::GRADIENT];
    let policy = policies[rng.below(3) as usize];
    // Between one large body and more than there ever are at a time.
    let memory = 100_000 + rng.below(3_000_000) as usize;
    ServerConfig::default()
        .with_max_concurrent_conns(1 + rng.below(40) as usize)
        .with_max_in_flight(1 + rng.below(20) as usize)
        .with_read_timeout(Duration::from_millis(200 + rng.below(2000)))
        .with_write_timeout(Duration::from_millis(200 + rng.below(2000)))
        .with_cleanup_interval(Duration::from_millis(100 + rng.below(5000)))
        .with_max_block_size(100_000)
        .with_limit_policy(policy)
        .with_max_memory(memory + rng.below(400_000) as usize)
        .with_max_memory_per_peer(memory)
        .with_buffer_pool_size(rng.below(5000) as usize)
}

fn client_config(rng: &mut Rng) -> ClientConfig {
    ClientConfig::default()
        .with_read_timeout(Duration::from_millis(200 + rng.below(2000)))
        .with_write_timeout(Duration::from_millis(200 + rng.below(2000)))
        .with_connect_timeout(Duration::from_millis(50 + rng.below(1000)))
        .with_idle_conn_timeout(Duration::from_millis(100 + rng.below(5000)))
        .with_max_idle_conns(rng.below(10) as usize)
        .with_max_in_flight(1 + rng.below(20) as usize)
        .with_max_streams_per_peer(1 + rng.below(10) as usize)
        .with_max_bulk_streams(1 + rng.below(4) as usize)
        .with_max_pending(1 + rng.below(200) as usize)
        .with_max_retries(rng.below(4) as u32)
        .with_retry_interval(Duration::from_millis(1 + rng.below(1000)))
        .with_max_block_size(100_000)
}

fn new_server(rng: &mut Rng) -> Server {
    let mut server = Server::new(server_config(rng)).expect("options within their ranges");
    register(&mut server);
    server
}

fn register(server: &mut Server) {
    for protocol in PROTOCOLS {
        let protocol = ProtocolName::new(protocol).expect("a usable name");
        server.register(&protocol).expect("registered once");
    }
}

pub(super) fn peer_id(number: usize) -> PeerId {
    PeerId::from_bytes(&[number as u8 + 1; 34]).expect("of a usable length")
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let config = client_config(&mut rng);
        let client = Client::new(config.clone(), Some(peer_id(99)), seed);
        let peers = (0..1 + rng.below(4) as usize)
            .map(|number| Peer {
                id: peer_id(number),
                server: new_server(&mut rng),
                native: rng.chance(70),
                stopping: false,
                at_work: BTreeMap::new(),
                streams: BTreeMap::new(),
            })
            .collect();
        let to_send = 1 + rng.below(200);
        let faults = rng.chance(70);
        Self {
            rng,
            now: Timestamp::from_nanos(1_000),
            trace: DefaultHasher::new(),
            client: client.expect("options within their ranges"),
            config,
            peers,
            links: BTreeMap::new(),
            raws: BTreeMap::new(),
            queue: BinaryHeap::new(),
            seq: 0,
            pending: BTreeMap::new(),
            seen: Seen::new(),
            may_be_seen: BTreeMap::new(),
            sent: 0,
            to_send,
            faults,
            summary: Summary::default(),
            drained: false,
            told: false,
            ticked: None,
        }
    }

    fn live(mut self) -> Summary {
        self.at(Duration::ZERO, Due::Send);
        self.choose_strategy();
        for _ in 0..self.rng.below(20) {
            let when = self.rng.duration(Duration::from_secs(3));
            self.at(when, Due::Nodes);
        }
        for _ in 0..self.rng.below(12) {
            let when = self.rng.duration(Duration::from_secs(3));
            self.at(when, Due::Dial);
        }
        if self.faults && self.rng.chance(50) {
            let peer = self.rng.below(self.peers.len() as u64) as usize;
            let when = self.rng.duration(Duration::from_secs(3));
            self.at(when, Due::Crash(peer));
        }
        if self.rng.chance(30) {
            let peer = self.rng.below(self.peers.len() as u64) as usize;
            let when = self.rng.duration(Duration::from_secs(3));
            self.at(when, Due::Stop(peer));
        }
        for _ in 0..STEPS {
            let deadline = self.settle();
            self.check();
            let event = self.queue.peek().map(|Reverse((when, ..))| *when);
            match (event, deadline) {
                (Some(when), deadline) if deadline.is_none_or(|deadline| when <= deadline) => {
                    let Reverse((when, _, due)) = self.queue.pop().expect("peeked at");
                    self.now = self.now.max(when);
                    self.happen(due);
                }
                (_, Some(deadline)) => {
                    assert!(
                        self.ticked < Some(deadline),
                        "a deadline that has passed is waited for"
                    );
                    self.now = self.now.max(deadline);
                    self.ticked = Some(self.now);
                    self.client.handle_input(ClientInput::Timeout, self.now);
                    for peer in &mut self.peers {
                        peer.server.handle_input(ServerInput::Timeout, self.now);
                    }
                }
                _ if self.drained => return self.end(),
                _ => {
                    // Nothing is left to happen by itself.
                    assert!(self.sent == self.to_send, "requests are left to be sent");
                    self.client.drain(self.now);
                    let late = self.now + Duration::from_secs(60);
                    for peer in &mut self.peers {
                        peer.server.drain(late, self.now);
                    }
                    self.drained = true;
                }
            }
        }
        panic!("no end after {STEPS} steps");
    }

    pub(super) fn at(&mut self, after: Duration, due: Due) {
        self.seq += 1;
        self.queue.push(Reverse((self.now + after, self.seq, due)));
    }

    pub(super) fn latency(&mut self) -> Duration {
        self.rng.duration(Duration::from_millis(20))
    }

    pub(super) fn note(&mut self, what: impl Hash) {
        (self.now.as_nanos(), what).hash(&mut self.trace);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Send => self.send(),
            Due::Cancel(asked) => self.cancel(asked),
            Due::Nodes => self.change_nodes(),
            Due::Opened(stream) => self.opened(stream),
            Due::Arrive(stream, side) => self.arrive(stream, side),
            Due::Taken(stream, side) => self.taken(stream, side),
            Due::Handled(peer, request) => {
                let answer = match self.peers[peer].at_work.remove(&request) {
                    Some(body) if body.len() % 7 == 3 => {
                        Err(Status::new(StatusCode::Application(7), "seven"))
                    }
                    Some(body) => Ok(Body::compressed(answer_to(peer, &body))),
                    None => return,
                };
                self.peers[peer].server.respond(request, answer, self.now);
            }
            Due::Crash(peer) => self.crash(peer),
            Due::Dial => self.dial(),
            Due::Dialed(dial) => self.raw_arrives(dial),
            Due::HangUp(dial) => self.end_raw(dial),
            Due::Stop(peer) => {
                self.note(("stop", peer));
                let grace = self.rng.duration(Duration::from_secs(1));
                self.peers[peer].server.drain(self.now + grace, self.now);
                self.peers[peer].stopping = true;
            }
            Due::Fault(stream) => self.fault(stream),
        }
    }

    /// Lets every machine do what it wants done now; returns when one wants to be called again.
    fn settle(&mut self) -> Option<Timestamp> {
        loop {
            self.told = false;
            let mut earliest = self.settle_client();
            for number in 0..self.peers.len() {
                earliest = earliest.into_iter().chain(self.settle_server(number)).min();
            }
            if !self.told {
                return earliest;
            }
        }
    }

    fn settle_client(&mut self) -> Option<Timestamp> {
        loop {
            match self.client.poll_output() {
                ClientOutput::Open { stream, peer, protocol, .. } => {
                    self.note(("open", protocol.as_str()));
                    self.summary.opens += 1;
                    let native = self.peers[self.number_of(peer)].native;
                    let format = if native { Format::Native } else { Format::Plain };
                    let link = Link::new(peer, protocol, format);
                    assert!(self.links.insert(stream, link).is_none(), "opened twice");
                    let after = self.latency() * if self.rng.chance(3) { 100 } else { 1 };
                    self.at(after, Due::Opened(stream));
                }
                ClientOutput::Abandon(stream) => {
                    self.links.remove(&stream);
                }
                ClientOutput::Dial { dial, peer, protocol } => self.open_raw(dial, peer, protocol),
                ClientOutput::AbandonDial(_) => {}
                ClientOutput::HangUp(dial) => self.end_raw(dial),
                ClientOutput::Stream(stream, op) => self.operate(stream, Side::Server, op),
                ClientOutput::Event(event) => self.on_client_event(event),
                ClientOutput::Wait(deadline) => return deadline,
            }
        }
    }

    fn settle_server(&mut self, number: usize) -> Option<Timestamp> {
        loop {
            match self.peers[number].server.poll_output() {
                ServerOutput::Stream(at_server, op) => {
                    if let Some(&stream) = self.peers[number].streams.get(&at_server) {
                        self.operate(stream, Side::Client, op);
                    }
                }
                ServerOutput::HangUp(key) => self.server_hangs_up(number, key),
                ServerOutput::Event(event) => self.on_server_event(number, event),
                ServerOutput::Wait(deadline) => return deadline,
            }
        }
    }

    /// A machine wants something done on a stream; what it writes goes to `to`.
    fn operate(&mut self, stream: StreamId, to: Side, op: StreamOp) {
        let Some(link) = self.links.get_mut(&stream) else { return };
        let pipe = link.pipe(to);
        assert!(!pipe.closed, "{op:?} after the end of the stream");
        match op {
            StreamOp::Write(bytes) => {
                assert!(!pipe.writing, "two writes at a time");
                assert!(!bytes.is_empty(), "an empty write");
                pipe.writing = true;
                pipe.bytes.extend_from_slice(&bytes);
                if !pipe.stalled {
                    let (arrive, taken) = (self.latency(), self.latency());
                    self.at(arrive, Due::Arrive(stream, to));
                    self.at(taken, Due::Taken(stream, to));
                }
                self.note((stream, to, bytes.len()));
            }
            StreamOp::Finish => {
                pipe.closed = true;
                if !pipe.stalled {
                    let arrive = self.latency();
                    self.at(arrive, Due::Arrive(stream, to));
                }
            }
            StreamOp::Reset => {
                pipe.closed = true;
                self.note((stream, "reset"));
                self.tell(stream, to, lost("reset by the peer"));
                self.links.remove(&stream);
            }
        }
    }

    /// Tells one end of a stream what happened on it.
    fn tell(&mut self, stream: StreamId, side: Side, event: StreamEvent) {
        self.told = true;
        if side == Side::Client {
            self.client.handle_input(ClientInput::Stream(stream, event), self.now);
        } else if let Some((peer, at_server)) = self.server_end(stream) {
            let server = &mut self.peers[peer].server;
            server.handle_input(ServerInput::Stream(at_server, event), self.now);
        }
    }

    fn server_end(&self, stream: StreamId) -> Option<(usize, StreamId)> {
        let link = self.links.get(&stream)?;
        Some((self.number_of(link.peer), link.at_server?))
    }

    pub(super) fn number_of(&self, id: PeerId) -> usize {
        self.peers.iter().position(|peer| peer.id == id).expect("only known peers are sent to")
    }

    fn opened(&mut self, stream: StreamId) {
        let Some(link) = self.links.get(&stream) else { return };
        let (id, protocol, format) = (link.peer, link.protocol.clone(), link.format);
        if self.faults && self.rng.chance(5) {
            self.links.remove(&stream);
            let error = StreamError::Unreachable(Arc::from("refused"));
            self.client.handle_input(ClientInput::OpenFailed(stream, error), self.now);
            return;
        }
        let number = self.number_of(id);
        let peer = &mut self.peers[number];
        let at_server = peer.server.accept(peer_id(99), &protocol, format, self.now);
        peer.streams.insert(at_server, stream);
        if let Some(link) = self.links.get_mut(&stream) {
            link.at_server = Some(at_server);
        }
        if self.faults && self.rng.chance(15) {
            let when = self.rng.duration(Duration::from_millis(500));
            self.at(when, Due::Fault(stream));
        }
        self.client.handle_input(ClientInput::Opened(stream, format), self.now);
    }

    fn arrive(&mut self, stream: StreamId, side: Side) {
        let wants_read = match self.server_end(stream) {
            _ if side == Side::Client => true,
            Some((peer, at_server)) => self.peers[peer].server.wants_read(at_server),
            None => return,
        };
        let Some(link) = self.links.get_mut(&stream) else { return };
        let server_is_done = side == Side::Server && link.to_client.closed;
        let pipe = link.pipe(side);
        if pipe.stalled || pipe.ended || server_is_done {
            return;
        }
        if !wants_read && !pipe.bytes.is_empty() {
            // One that pauses reads again.
            pipe.waits += 1;
            if pipe.waits < 10_000 {
                self.at(Duration::from_millis(5), Due::Arrive(stream, side));
            }
            return;
        }
        if pipe.bytes.is_empty() {
            if pipe.closed {
                pipe.ended = true;
                self.tell(stream, side, StreamEvent::Finished);
            }
            return;
        }
        let chunk = pipe.arrive(&mut self.rng);
        let more = !pipe.bytes.is_empty() || pipe.closed;
        self.note((stream, side, "arrive", chunk.len()));
        let event = self.deliver(stream, side, chunk);
        self.tell(stream, side, event);
        if more {
            let after = self.rng.duration(Duration::from_millis(2));
            self.at(after, Due::Arrive(stream, side));
        }
    }

    /// Bytes as an event: sometimes read straight into the space of a large body.
    fn deliver(&mut self, stream: StreamId, side: Side, chunk: Vec<u8>) -> StreamEvent {
        let space = match self.server_end(stream) {
            _ if side == Side::Client => self.client.space(stream),
            Some((peer, at_server)) => self.peers[peer].server.space(at_server),
            None => None,
        };
        match space {
            Some(space) if space.len() >= chunk.len() && chunk.len().is_multiple_of(2) => {
                space[..chunk.len()].copy_from_slice(&chunk);
                StreamEvent::Filled(chunk.len())
            }
            _ => StreamEvent::Received(chunk.into()),
        }
    }

    fn taken(&mut self, stream: StreamId, to: Side) {
        let Some(link) = self.links.get_mut(&stream) else { return };
        let pipe = link.pipe(to);
        if !pipe.stalled {
            pipe.writing = false;
            let writer = if to == Side::Server { Side::Client } else { Side::Server };
            self.tell(stream, writer, StreamEvent::Written);
        }
    }

    fn fault(&mut self, stream: StreamId) {
        let kind = self.rng.below(3);
        let Some(link) = self.links.get_mut(&stream) else { return };
        match kind {
            0 => link.to_server.stalled = true,
            1 => link.to_client.stalled = true,
            _ => {
                self.tell(stream, Side::Client, lost("reset"));
                self.tell(stream, Side::Server, lost("reset"));
                self.links.remove(&stream);
            }
        }
        self.note((stream, "fault", kind));
    }

    /// The process of a peer is killed, and another one started in its place.
    fn crash(&mut self, number: usize) {
        self.note(("crash", number));
        let id = self.peers[number].id;
        let streams: Vec<StreamId> =
            self.links.iter().filter(|(_, link)| link.peer == id).map(|(id, _)| *id).collect();
        let server = new_server(&mut self.rng);
        let peer = &mut self.peers[number];
        peer.server = server;
        peer.stopping = false;
        peer.at_work.clear();
        peer.streams.clear();
        let raws: Vec<DialId> =
            self.raws.iter().filter(|(_, raw)| raw.is_at(number)).map(|(dial, _)| *dial).collect();
        raws.into_iter().for_each(|dial| self.end_raw(dial));
        for stream in streams {
            let opened = self.links.remove(&stream).is_some_and(|link| link.at_server.is_some());
            if opened {
                self.tell(stream, Side::Client, lost("crash"));
            } else {
                let error = StreamError::Lost(Arc::from("crash"));
                self.client.handle_input(ClientInput::OpenFailed(stream, error), self.now);
            }
        }
    }

    fn on_server_event(&mut self, number: usize, event: ServerEvent) {
        match event {
            ServerEvent::Request { request, payload, .. } => {
                let body = payload.into_bytes().expect("inflates");
                self.seen.insert(number_in(&body));
                let left = self.may_be_seen.get_mut(&number_in(&body)).expect("it was sent");
                *left = left.checked_sub(1).expect("no handler sees a request too often");
                self.peers[number].at_work.insert(request, body);
                let slow = if self.rng.chance(5) { 5000 } else { 100 };
                let work = self.rng.duration(Duration::from_millis(slow));
                self.at(work, Due::Handled(number, request));
            }
            ServerEvent::Abandon { request } => {
                let peer = &mut self.peers[number];
                assert!(peer.at_work.remove(&request).is_some(), "abandoned without work");
                peer.server.abandoned(request, self.now);
            }
            ServerEvent::Drained if self.drained => {}
            ServerEvent::Drained => {
                // It stopped in the middle of its life, and begins another one.
                let peer = &mut self.peers[number];
                assert!(std::mem::take(&mut peer.stopping), "drained without having been asked");
                register(&mut peer.server);
                self.note(("start", number));
            }
            other => panic!("an event that the world does not know: {other:?}"),
        }
    }
}

fn lost(why: &str) -> StreamEvent {
    StreamEvent::Failed(StreamError::Lost(Arc::from(why)))
}

/// What the handler of a peer answers: no other peer and no other request gives the same.
pub(super) fn answer_to(peer: usize, body: &Bytes) -> Bytes {
    std::iter::once(peer as u8).chain(body.iter().rev().copied()).collect()
}

pub(super) fn number_in(body: &Bytes) -> u64 {
    body.first_chunk().map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes))
}
