//! The machines alone: a client and a server in memory, on one thread.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pointsub_core::{
    Client, ClientConfig, ClientEvent, ClientInput, ClientOutput, Format, PeerId, ProtocolName,
    Server, ServerConfig, ServerEvent, ServerInput, ServerOutput, StreamEvent, StreamId, StreamOp,
    Timestamp,
};
use slotmap::SecondaryMap;

use crate::contender::Failure;
use crate::options::Options;
use crate::sample::Spread;

const IN_FLIGHT: [usize; 3] = [1, 1000, 100_000];
const PEERS: [usize; 2] = [1, 1000];
const BODY: &[u8] = &[7; 32];

/// What requests cost with so many of them under way.
#[derive(Debug)]
pub(crate) struct Core {
    /// How many requests are under way.
    pub(crate) in_flight: usize,
    /// Nanoseconds for a request and its answer, at both ends, with 1 and with 1000 peers.
    pub(crate) nanos: [Spread; 2],
    /// How much more it is with 1000 peers, round by round.
    pub(crate) ratio: Spread,
}

/// Measures.
pub(crate) fn run(options: &Options) -> Result<Vec<Core>, Failure> {
    eprintln!("core");
    let (rounds, millis) = if options.quick { (3, 60) } else { (5, 200) };
    let time = Duration::from_millis(millis);
    let mut rows = Vec::new();
    for in_flight in IN_FLIGHT {
        let mut worlds = [World::new(PEERS[0])?, World::new(PEERS[1])?];
        for world in &mut worlds {
            world.fill(in_flight)?;
            world.run(time / 2)?;
        }
        let [mut one, mut many] = worlds;
        let mut found = Vec::new();
        for _ in 0..rounds {
            found.push([one.run(time)?, many.run(time)?]);
        }
        let spread = |figure: fn(&[f64; 2]) -> f64| {
            Spread::of(found.iter().map(figure)).expect("there is at least one round")
        };
        rows.push(Core {
            in_flight,
            nanos: [spread(|nanos| nanos[0]), spread(|nanos| nanos[1])],
            ratio: spread(|nanos| nanos[1] / nanos[0]),
        });
    }
    Ok(rows)
}

/// A client, and one server that plays all of its peers.
struct World {
    client: Client,
    server: Server,
    peers: Vec<PeerId>,
    protocol: ProtocolName,
    /// The name at the server of a stream of the client's, and the other way round.
    at_server: SecondaryMap<StreamId, StreamId>,
    at_client: SecondaryMap<StreamId, StreamId>,
    /// What the client has done to streams and the server is yet to hear.
    wire: VecDeque<(StreamId, StreamEvent)>,
    start: Instant,
    now: Timestamp,
    sent: usize,
    answered: usize,
}

impl World {
    fn new(peers: usize) -> Result<Self, Failure> {
        let client = ClientConfig::default()
            .with_max_in_flight(65_536)
            .with_max_pending(1_048_576)
            .with_max_idle_conns(100_000)
            .with_compression(false);
        let server = ServerConfig::default()
            .with_max_in_flight(65_536)
            .with_max_concurrent_conns(1_000_000)
            .with_compression(false);
        let mut world = Self {
            client: Client::new(client, None, 0)?,
            server: Server::new(server)?,
            peers: (0..peers).map(peer).collect::<Result<_, _>>()?,
            protocol: ProtocolName::new("/echo")?,
            at_server: SecondaryMap::new(),
            at_client: SecondaryMap::new(),
            wire: VecDeque::new(),
            start: Instant::now(),
            now: Timestamp::ZERO,
            sent: 0,
            answered: 0,
        };
        world.server.register(&world.protocol)?;
        // Each peer is spoken to once, so that streams are there.
        for _ in 0..peers {
            world.send()?;
        }
        while world.answered < world.sent {
            world.turn(false)?;
        }
        Ok(world)
    }

    fn fill(&mut self, in_flight: usize) -> Result<(), Failure> {
        (0..in_flight).try_for_each(|_| self.send())
    }

    /// Sends a request to the next peer.
    fn send(&mut self) -> Result<(), Failure> {
        let peer = &self.peers[self.sent % self.peers.len()];
        let body = Bytes::from_static(BODY);
        self.client.send(peer, self.protocol.as_str(), body, None, self.now)?;
        self.sent += 1;
        Ok(())
    }

    /// Lets requests be answered for a time, each followed by another. Returns what one took, in
    /// nanoseconds.
    fn run(&mut self, time: Duration) -> Result<f64, Failure> {
        let (start, answered) = (Instant::now(), self.answered);
        while start.elapsed() < time {
            self.turn(true)?;
        }
        Ok(start.elapsed().as_nanos() as f64 / (self.answered - answered) as f64)
    }

    /// Both ends do what there is to do, the client first.
    fn turn(&mut self, send: bool) -> Result<(), Failure> {
        let answered = self.answered;
        self.now = Timestamp::ZERO + self.start.elapsed();
        self.drain_client(send)?;
        while let Some((stream, event)) = self.wire.pop_front() {
            if !self.server.wants_read(stream) {
                self.drain_server()?;
            }
            self.server.handle_input(ServerInput::Stream(stream, event), self.now);
        }
        self.drain_server()?;
        self.drain_client(send)?;
        if self.answered == answered {
            return Err("the machines stand still".into());
        }
        Ok(())
    }

    fn drain_client(&mut self, send: bool) -> Result<(), Failure> {
        loop {
            match self.client.poll_output() {
                ClientOutput::Stream(stream, StreamOp::Write(bytes)) => {
                    let written = StreamEvent::Received(bytes);
                    self.wire.push_back((self.at_server[stream], written));
                    let written = ClientInput::Stream(stream, StreamEvent::Written);
                    self.client.handle_input(written, self.now);
                }
                // It keeps only so many idle streams to a peer.
                ClientOutput::Stream(stream, StreamOp::Finish) => {
                    self.wire.push_back((self.at_server[stream], StreamEvent::Finished));
                }
                ClientOutput::Event(ClientEvent::Response { payload, .. }) => {
                    if payload.len() != BODY.len() {
                        return Err("an answer is not what was sent".into());
                    }
                    self.answered += 1;
                    if send {
                        self.send()?;
                    }
                }
                ClientOutput::Open { stream, peer, protocol, .. } => {
                    let there = self.server.accept(peer, &protocol, Format::Native, self.now);
                    self.at_server.insert(stream, there);
                    self.at_client.insert(there, stream);
                    let opened = ClientInput::Opened(stream, Format::Native);
                    self.client.handle_input(opened, self.now);
                }
                ClientOutput::Wait(_) => return Ok(()),
                other => return Err(format!("the client was not to do this: {other:?}").into()),
            }
        }
    }

    fn drain_server(&mut self) -> Result<(), Failure> {
        loop {
            match self.server.poll_output() {
                ServerOutput::Event(ServerEvent::Request { request, payload, .. }) => {
                    let body = payload.into_bytes()?;
                    self.server.respond(request, Ok(body), self.now);
                }
                ServerOutput::Stream(stream, StreamOp::Write(bytes)) => {
                    let there = self.at_client[stream];
                    let read = ClientInput::Stream(there, StreamEvent::Received(bytes));
                    self.client.handle_input(read, self.now);
                    let written = ServerInput::Stream(stream, StreamEvent::Written);
                    self.server.handle_input(written, self.now);
                }
                ServerOutput::Stream(_, StreamOp::Finish) => {}
                ServerOutput::Wait(_) => return Ok(()),
                other => return Err(format!("the server was not to do this: {other:?}").into()),
            }
        }
    }
}

/// As long as a peer id is, and different in all of the bytes at its end.
fn peer(number: usize) -> Result<PeerId, Failure> {
    let hash = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let bytes: Vec<u8> = [0, 36, 8, 1, 18, 32].into_iter().chain(hash.repeat(4)).collect();
    Ok(PeerId::from_bytes(&bytes)?)
}
