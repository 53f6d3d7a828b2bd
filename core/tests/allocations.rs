//! Once warm, small requests cost no allocation, at neither end. A program of its own, since it
//! counts those of its allocator.

use bytes::Bytes;
use pointsub_core::{
    Client, ClientConfig, ClientEvent, ClientInput, ClientOutput, Format, PeerId, ProtocolName,
    Server, ServerConfig, ServerEvent, ServerInput, ServerOutput, StreamEvent, StreamId, StreamOp,
    Timestamp,
};

const PROTOCOL: &str = "/echo";

/// A client and a server; what one writes is read by the other.
struct Pair {
    client: Client,
    server: Server,
    peer: PeerId,
    /// The names of each stream at client and server.
    streams: Vec<(StreamId, StreamId)>,
    format: Format,
    answers: usize,
}

impl Pair {
    fn new(format: Format) -> Self {
        let (client, server) = (ClientConfig::default(), ServerConfig::default());
        let mut server = Server::new(server).expect("defaults");
        server.register(&ProtocolName::new(PROTOCOL).expect("a usable name")).expect("first");
        let peer = PeerId::from_bytes(&[0, 36, 8, 1]).expect("a peer id");
        let client = Client::new(client, None, 0).expect("defaults");
        Self { client, server, peer, streams: Vec::new(), format, answers: 0 }
    }

    /// Sends so many requests at once, and has them answered.
    fn round(&mut self, requests: usize, now: Timestamp) {
        for _ in 0..requests {
            let body = Bytes::from_static(&[7; 32]);
            self.client.send(&self.peer, PROTOCOL, body, None, now).expect("accepted");
        }
        self.client.handle_input(ClientInput::Timeout, now);
        self.server.handle_input(ServerInput::Timeout, now);
        let answers = self.answers + requests;
        while self.answers < answers {
            self.client_acts(now);
            self.server_acts(now);
        }
    }

    fn at_server(&self, stream: StreamId) -> StreamId {
        self.streams.iter().find(|(here, _)| *here == stream).expect("it is open").1
    }

    fn at_client(&self, stream: StreamId) -> StreamId {
        self.streams.iter().find(|(_, there)| *there == stream).expect("it is open").0
    }

    fn client_acts(&mut self, now: Timestamp) {
        loop {
            match self.client.poll_output() {
                ClientOutput::Stream(stream, StreamOp::Write(bytes)) => {
                    let there = self.at_server(stream);
                    let read = StreamEvent::Received(bytes);
                    self.server.handle_input(ServerInput::Stream(there, read), now);
                    let written = ClientInput::Stream(stream, StreamEvent::Written);
                    self.client.handle_input(written, now);
                }
                ClientOutput::Event(ClientEvent::Response { .. }) => self.answers += 1,
                ClientOutput::Open { stream, peer, protocol, .. } => {
                    let there = self.server.accept(peer, &protocol, self.format, now);
                    self.streams.push((stream, there));
                    self.client.handle_input(ClientInput::Opened(stream, self.format), now);
                }
                ClientOutput::Stream(stream, StreamOp::Finish) => {
                    let there = self.at_server(stream);
                    let end = StreamEvent::Finished;
                    self.server.handle_input(ServerInput::Stream(there, end), now);
                }
                ClientOutput::Wait(_) => return,
                other => panic!("{other:?}"),
            }
        }
    }

    fn server_acts(&mut self, now: Timestamp) {
        loop {
            match self.server.poll_output() {
                ServerOutput::Event(ServerEvent::Request { request, payload, .. }) => {
                    let body = payload.into_bytes().expect("it was not compressed");
                    self.server.respond(request, Ok(body), now);
                }
                ServerOutput::Stream(stream, StreamOp::Write(bytes)) => {
                    let there = self.at_client(stream);
                    let read = StreamEvent::Received(bytes);
                    self.client.handle_input(ClientInput::Stream(there, read), now);
                    let written = ServerInput::Stream(stream, StreamEvent::Written);
                    self.server.handle_input(written, now);
                }
                ServerOutput::Stream(_, StreamOp::Finish) => {}
                ServerOutput::Wait(_) => return,
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Allocations of a thousand rounds, after as many to grow warm.
fn allocations(format: Format, requests: usize) -> u64 {
    let mut pair = Pair::new(format);
    let mut now = Timestamp::ZERO;
    let mut rounds = |pair: &mut Pair| {
        for _ in 0..1000 {
            now = now + std::time::Duration::from_millis(1);
            pair.round(requests, now);
        }
    };
    let cold = allocation_counter::measure(|| rounds(&mut pair)).count_total;
    assert!(cold > 0, "they are counted");
    allocation_counter::measure(|| rounds(&mut pair)).count_total
}

#[test]
fn warm_requests_cost_no_allocation() {
    for requests in [1, 8, 64] {
        assert_eq!(allocations(Format::Native, requests), 0, "native, {requests} at once");
    }
    assert_eq!(allocations(Format::Plain, 1), 0, "plain");
}
