//! The server: answers leave in batches, so that the peer has work while the next ones are made.

use bytes::Bytes;
use pointsub_core::{
    Format, ProtocolName, Server, ServerConfig, ServerEvent, ServerInput, ServerOutput,
    StreamEvent, StreamId, StreamOp, Timestamp,
};

use crate::support::wire;
use crate::support::{PROTOCOL, peer, request};

const NOW: Timestamp = Timestamp::ZERO;

/// A server that answers whatever it is handed, at once.
struct Prompt {
    server: Server,
    stream: StreamId,
    last_id: u64,
}

impl Prompt {
    fn new() -> Self {
        let mut server = Server::new(ServerConfig::default()).expect("valid");
        let protocol = ProtocolName::new(PROTOCOL).expect("a name");
        server.register(&protocol).expect("the first");
        let stream = server.accept(peer(1), &protocol, Format::Native, NOW);
        let mut prompt = Self { server, stream, last_id: 0 };
        assert_eq!(prompt.run(true), [1], "the SETTINGS");
        prompt
    }

    fn event(&mut self, event: StreamEvent) {
        self.server.handle_input(ServerInput::Stream(self.stream, event), NOW);
    }

    /// So many requests arrive in one piece.
    fn receives(&mut self, count: u64) {
        let ids = self.last_id + 1..=self.last_id + count;
        self.last_id += count;
        self.event(StreamEvent::Received(ids.flat_map(|id| request(id, "?").bytes()).collect()));
    }

    /// Until there is nothing left to do, with each write confirmed at once or never. How many
    /// answers each of them had.
    fn run(&mut self, confirm: bool) -> Vec<usize> {
        let mut writes = Vec::new();
        loop {
            match self.server.poll_output() {
                ServerOutput::Event(ServerEvent::Request { request, .. }) => {
                    self.server.respond(request, Ok(Bytes::from_static(b"!")), NOW);
                }
                ServerOutput::Stream(_, StreamOp::Write(bytes)) => {
                    writes.push(wire::parse(&bytes).len());
                    if confirm {
                        self.event(StreamEvent::Written);
                    }
                }
                ServerOutput::Wait(_) => return writes,
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn what_came_together_is_answered_in_batchs_that_grow() {
    let mut prompt = Prompt::new();
    prompt.receives(1);
    assert_eq!(prompt.run(true), [1]);
    for _ in 0..2 {
        // Each batch begins anew: its first answers are those that the peer waits for.
        prompt.receives(64);
        assert_eq!(prompt.run(true), [4, 8, 16, 32, 4]);
    }
    prompt.receives(256);
    assert_eq!(prompt.run(true), [4, 8, 16, 32, 64, 64, 64, 4]);
}

#[test]
fn a_write_under_way_keeps_nothing_from_being_answered() {
    let mut prompt = Prompt::new();
    prompt.receives(256);
    assert_eq!(prompt.run(false), [4]);
    assert!(prompt.server.wants_read(prompt.stream), "it looked at all of them");
    prompt.event(StreamEvent::Written);
    assert_eq!(prompt.run(true), [252]);
}
