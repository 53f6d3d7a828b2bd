//! A client and the server of its peers in memory, with nothing between them: what the machines
//! themselves cost, to be counted and timed.

use std::collections::VecDeque;

use bytes::Bytes;
use pointsub_core::{
    Client, ClientConfig, ClientEvent, ClientInput, ClientOutput, Format, InboundId, Payload,
    PeerId, ProtocolName, Server, ServerConfig, ServerEvent, ServerInput, ServerOutput,
    StreamEvent, StreamId, StreamOp, Timestamp,
};
use slotmap::SecondaryMap;

const PROTOCOL: &str = "/echo";

/// A client, and one server that plays all of its peers and sends back what it gets.
#[derive(Debug)]
pub struct Pair {
    client: Client,
    server: Server,
    format: Format,
    peers: Vec<PeerId>,
    /// The name at the server of a stream of the client's, and the other way round.
    at_server: SecondaryMap<StreamId, StreamId>,
    at_client: SecondaryMap<StreamId, StreamId>,
    /// What the client has done to streams and the server is yet to hear.
    wire: VecDeque<(StreamId, StreamEvent)>,
    /// What the server is asked and is yet to answer.
    asked: Vec<(InboundId, Payload)>,
    sent: usize,
    answered: usize,
}

impl Pair {
    /// Both machines, with a stream to each of so many peers. Nothing is compressed, and no limit
    /// is in the way of 100 000 requests.
    #[must_use]
    pub fn new(peers: usize, format: Format) -> Self {
        let client = ClientConfig::default()
            .with_max_in_flight(65_536)
            .with_max_pending(1_048_576)
            .with_max_idle_streams(100_000)
            .with_compression(false);
        let server = ServerConfig::default()
            .with_max_in_flight(65_536)
            .with_max_concurrent_requests(1_000_000)
            .with_compression(false);
        let mut server = Server::new(server).expect("these options agree");
        server.register(&ProtocolName::new(PROTOCOL).expect("a usable name")).expect("the first");
        let mut pair = Self {
            client: Client::new(client, None, 0).expect("these options agree"),
            server,
            format,
            peers: (0..peers).map(peer).collect(),
            at_server: SecondaryMap::new(),
            at_client: SecondaryMap::new(),
            wire: VecDeque::new(),
            asked: Vec::new(),
            sent: 0,
            answered: 0,
        };
        for _ in 0..peers {
            pair.send(Bytes::new(), Timestamp::ZERO);
        }
        pair.settle(Timestamp::ZERO);
        pair
    }

    /// Sends a request to the next peer.
    ///
    /// # Panics
    ///
    /// The client refuses it.
    pub fn send(&mut self, body: Bytes, now: Timestamp) {
        let peer = &self.peers[self.sent % self.peers.len()];
        self.client.send(peer, PROTOCOL, body, None, now).expect("there is room");
        self.sent += 1;
    }

    /// Both ends do what there is to do, the client first. Returns how many requests were answered.
    ///
    /// # Panics
    ///
    /// None was, or anything else happened than that requests are answered.
    pub fn turn(&mut self, now: Timestamp) -> usize {
        self.ask(now);
        let answers = self.answer(now);
        assert!(answers > 0, "the machines stand still");
        answers
    }

    /// Requests go from the client to the server.
    pub fn ask(&mut self, now: Timestamp) {
        self.client_acts(now);
        while let Some((stream, event)) = self.wire.pop_front() {
            if !self.server.wants_read(stream) {
                self.answer(now);
            }
            self.server.handle_input(ServerInput::Stream(stream, event), now);
        }
        self.server_acts(now);
    }

    /// Their answers go back. Returns how many arrived.
    pub fn answer(&mut self, now: Timestamp) -> usize {
        let answered = self.answered;
        self.server_acts(now);
        for (request, payload) in self.asked.drain(..) {
            let body = payload.into_bytes().expect("it was not compressed");
            self.server.respond(request, Ok(body), now);
        }
        self.server_acts(now);
        self.client_acts(now);
        self.answered - answered
    }

    /// Has all requests answered.
    pub fn settle(&mut self, now: Timestamp) {
        while self.answered < self.sent {
            self.turn(now);
        }
    }

    /// Tells both ends what time it is.
    pub fn tick(&mut self, now: Timestamp) {
        self.client.handle_input(ClientInput::Timeout, now);
        self.server.handle_input(ServerInput::Timeout, now);
    }

    fn client_acts(&mut self, now: Timestamp) {
        loop {
            match self.client.poll_output() {
                ClientOutput::Stream(stream, StreamOp::Write(bytes)) => {
                    let written = StreamEvent::Received(bytes);
                    self.wire.push_back((self.at_server[stream], written));
                    let written = ClientInput::Stream(stream, StreamEvent::Written);
                    self.client.handle_input(written, now);
                }
                // It keeps only so many idle streams to a peer.
                ClientOutput::Stream(stream, StreamOp::Finish) => {
                    self.wire.push_back((self.at_server[stream], StreamEvent::Finished));
                }
                ClientOutput::Event(ClientEvent::Response { .. }) => self.answered += 1,
                ClientOutput::Open { stream, peer, protocol, .. } => {
                    let there = self.server.accept(peer, &protocol, self.format, now);
                    self.at_server.insert(stream, there);
                    self.at_client.insert(there, stream);
                    self.client.handle_input(ClientInput::Opened(stream, self.format), now);
                }
                ClientOutput::Wait(_) => return,
                other => panic!("the client was not to do this: {other:?}"),
            }
        }
    }

    fn server_acts(&mut self, now: Timestamp) {
        loop {
            match self.server.poll_output() {
                ServerOutput::Event(ServerEvent::Request { request, payload, .. }) => {
                    self.asked.push((request, payload));
                }
                ServerOutput::Stream(stream, StreamOp::Write(bytes)) => {
                    let there = self.at_client[stream];
                    let read = ClientInput::Stream(there, StreamEvent::Received(bytes));
                    self.client.handle_input(read, now);
                    let written = ServerInput::Stream(stream, StreamEvent::Written);
                    self.server.handle_input(written, now);
                }
                ServerOutput::Stream(_, StreamOp::Finish) => {}
                ServerOutput::Wait(_) => return,
                other => panic!("the server was not to do this: {other:?}"),
            }
        }
    }
}

/// As long as a peer id is, and different in all of the bytes at its end.
fn peer(number: usize) -> PeerId {
    let hash = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let bytes: Vec<u8> = [0, 36, 8, 1, 18, 32].into_iter().chain(hash.repeat(4)).collect();
    PeerId::from_bytes(&bytes).expect("it has the form of a peer id")
}
