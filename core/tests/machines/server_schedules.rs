//! The server: whatever happens in whatever order, its counters add up and come back to zero.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::{KIB, body, cancel, check_counters, peer, plain, request};
use bytes::Bytes;
use pointsub_core::endpoint::LimitPolicy;
use pointsub_core::{
    Body, Format, InboundId, ProtocolName, Server, ServerConfig, ServerEvent, ServerInput,
    ServerOutput, ServerStats, Status, StatusCode, StreamError, StreamEvent, StreamId, StreamOp,
    Timestamp,
};

const BLOCK: usize = 100 * KIB;

/// xorshift64*: the same on every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    /// Mostly small, at times large.
    fn len(&mut self) -> usize {
        match self.below(10) {
            0 => self.below(BLOCK + 100),
            1..4 => self.below(10_000),
            _ => self.below(100),
        }
    }
}

struct Stream {
    format: Format,
    next_id: u64,
    /// What the peer has sent and the server has not read.
    unread: Vec<u8>,
    writing: bool,
}

struct World {
    rng: Random,
    server: Server,
    budget: u64,
    now: Timestamp,
    streams: BTreeMap<StreamId, Stream>,
    /// Requests that a handler is at work on.
    at_work: Vec<InboundId>,
    draining: bool,
}

fn name(n: usize) -> ProtocolName {
    ProtocolName::new(["/a", "/b", "/c"][n]).expect("a name")
}

fn server(rng: &mut Random) -> (Server, u64) {
    let policies =
        [LimitPolicy::Fixed, LimitPolicy::LOAD_FACTOR, LimitPolicy::AIMD, LimitPolicy::GRADIENT];
    let stream = BLOCK + rng.below(BLOCK);
    let memory = stream + rng.below(3 * BLOCK);
    let config = ServerConfig::default()
        .with_max_block_size(BLOCK)
        .with_max_concurrent_requests(1 + rng.below(12))
        .with_max_in_flight(1 + rng.below(6))
        .with_limit_policy(policies[rng.below(4)])
        .with_limit_window(Duration::from_millis(1 + rng.below(100) as u64))
        .with_read_timeout(Duration::from_millis(50))
        .with_write_timeout(Duration::from_millis(50))
        .with_cleanup_interval(Duration::from_millis(100))
        .with_max_memory(memory)
        .with_max_memory_per_stream(stream);
    let mut server = Server::new(config).expect("valid");
    for n in 0..2 {
        server.register(&name(n)).expect("the first of its name");
    }
    (server, memory as u64)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Random::new(seed);
        let (server, budget) = server(&mut rng);
        let now = Timestamp::from_nanos(1);
        let (streams, at_work) = (BTreeMap::new(), Vec::new());
        Self { rng, server, budget, now, streams, at_work, draining: false }
    }

    fn event(&mut self, stream: StreamId, event: StreamEvent) {
        self.server.handle_input(ServerInput::Stream(stream, event), self.now);
    }

    fn any_stream(&mut self) -> Option<StreamId> {
        let nth = self.rng.below(self.streams.len().max(1));
        self.streams.keys().nth(nth).copied()
    }

    fn step(&mut self) {
        match self.rng.below(24) {
            0..3 => self.accept(),
            3..8 => self.send(),
            8..13 => self.deliver(),
            13..17 => self.end_a_handler(),
            17..19 => self.confirm_a_write(),
            19 => self.end_a_stream(),
            20..22 => {
                self.now = self.now + Duration::from_micros(self.rng.below(20_000) as u64);
                self.server.handle_input(ServerInput::Timeout, self.now);
            }
            22 => {
                let protocol = name(self.rng.below(3));
                if self.rng.below(3) == 0 {
                    self.server.unregister(protocol.as_str());
                } else {
                    let registered = self.server.register(&protocol);
                    assert!(registered.is_err() || !self.draining);
                }
            }
            _ if self.rng.below(8) == 0 => {
                let grace = Duration::from_millis(self.rng.below(100) as u64);
                self.server.drain(self.now + grace, self.now);
                self.draining = true;
            }
            _ => {}
        }
        if self.rng.below(4) > 0 {
            self.settle();
        }
    }

    fn accept(&mut self) {
        let format = [Format::Native, Format::Plain][self.rng.below(2)];
        let (from, protocol) = (peer(self.rng.below(3) as u8), name(self.rng.below(3)));
        let stream = self.server.accept(from, &protocol, format, self.now);
        let new = Stream { format, next_id: 1, unread: Vec::new(), writing: false };
        self.streams.insert(stream, new);
    }

    /// A peer sends a request, or a cancellation.
    fn send(&mut self) {
        let Some(id) = self.any_stream() else { return };
        let (len, kind, millis) = (self.rng.len(), self.rng.below(12), self.rng.below(30));
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let frame = match (stream.format, kind) {
            (Format::Plain, _) => plain(body(len)),
            (_, 0..2) => cancel(stream.next_id - 1),
            (_, 2) => request(stream.next_id, body(len)).timeout(millis as u32),
            (_, 3) => {
                let deflated = miniz_oxide::deflate::compress_to_vec(&body(len), 1);
                request(stream.next_id, deflated).compressed(len as u32)
            }
            _ => request(stream.next_id, body(len)),
        };
        stream.next_id += 1;
        stream.unread.extend_from_slice(&frame.bytes());
    }

    /// Some of what a peer has sent arrives, if the server reads.
    fn deliver(&mut self) {
        let Some(id) = self.any_stream() else { return };
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.unread.is_empty() || !self.server.wants_read(id) {
            return;
        }
        let part = 1 + self.rng.below(stream.unread.len());
        let take = if self.rng.below(2) == 0 { stream.unread.len() } else { part };
        if let Some(space) = self.server.space(id) {
            let take = take.min(space.len());
            space[..take].copy_from_slice(&stream.unread[..take]);
            stream.unread.drain(..take);
            return self.event(id, StreamEvent::Filled(take));
        }
        let bytes: Vec<u8> = stream.unread.drain(..take.min(64 * KIB)).collect();
        self.event(id, StreamEvent::Received(bytes.into()));
    }

    fn end_a_handler(&mut self) {
        if self.at_work.is_empty() {
            return;
        }
        let call = self.at_work.swap_remove(self.rng.below(self.at_work.len()));
        match self.rng.below(6) {
            0 => self.server.abandoned(call, self.now),
            1 => {
                let mut status = Status::new(StatusCode::Application(1), "as asked");
                status.detail = body(self.rng.len());
                self.server.respond::<Bytes>(call, Err(status), self.now);
            }
            2 => self.server.respond(call, Ok(Body::compressed(body(self.rng.len()))), self.now),
            _ => self.server.respond(call, Ok(body(self.rng.len())), self.now),
        }
    }

    fn confirm_a_write(&mut self) {
        let Some(id) = self.any_stream() else { return };
        let writing = self.streams.get_mut(&id).map(|stream| &mut stream.writing);
        if writing.is_some_and(std::mem::take) {
            self.event(id, StreamEvent::Written);
        }
    }

    fn end_a_stream(&mut self) {
        let Some(id) = self.any_stream() else { return };
        if self.rng.below(2) == 0 {
            self.event(id, StreamEvent::Finished);
        } else {
            self.streams.remove(&id);
            self.event(id, StreamEvent::Failed(StreamError::Lost("broken".into())));
        }
    }

    /// Does what the server wants done, and checks what holds at every instant.
    fn settle(&mut self) {
        loop {
            match self.server.poll_output() {
                ServerOutput::Stream(id, StreamOp::Write(_)) => {
                    let stream = self.streams.get_mut(&id).expect("a stream that is open");
                    assert!(!std::mem::replace(&mut stream.writing, true), "two writes");
                }
                ServerOutput::Stream(id, _) => drop(self.streams.remove(&id)),
                ServerOutput::Event(ServerEvent::Request { request, payload, .. }) => {
                    payload.into_bytes().expect("sound");
                    self.at_work.push(request);
                }
                ServerOutput::Event(ServerEvent::Drained) => {
                    assert!(std::mem::take(&mut self.draining), "drained without being asked");
                }
                ServerOutput::HangUp(_) => panic!("there are no raw streams here"),
                ServerOutput::Event(_) => {}
                ServerOutput::Wait(_) => break,
            }
            // Some that have arrived got their places with another one, and come next: no more than
            // are at work.
            let at_work = self.at_work.len() as u64;
            let stats = self.check();
            assert!((at_work..=2 * at_work).contains(&stats.in_flight), "{at_work}: {stats:?}");
        }
        let stats = self.check();
        assert_eq!(stats.in_flight, self.at_work.len() as u64, "handlers at work");
    }

    fn check(&self) -> ServerStats {
        let stats = check_counters(&self.server, self.now);
        // Beside the budget: for each stream a small request that is arriving, and frames that
        // are never refused.
        let slack = stats.streams * 80 * KIB as u64;
        assert!(stats.memory <= self.budget + slack, "{stats:?} of {}", self.budget);
        stats
    }

    fn end(mut self) -> [u64; 3] {
        self.settle();
        for stream in std::mem::take(&mut self.streams).into_keys() {
            self.event(stream, StreamEvent::Failed(StreamError::Lost("the end".into())));
        }
        self.settle();
        for call in std::mem::take(&mut self.at_work) {
            self.server.abandoned(call, self.now);
        }
        self.settle();
        let stats = self.server.stats();
        assert_eq!((stats.in_flight, stats.streams, stats.memory), (0, 0, 0), "{stats:?}");
        assert_eq!(stats.load, 0);
        assert_eq!(self.server.buffered(), 0);
        assert_eq!(stats.started, stats.ok + stats.failed + stats.abandoned);
        [stats.ok, stats.failed, stats.busy]
    }
}

/// S8, S9, S18, S19, S21: after any schedule of streams, requests, answers, cancellations,
/// timeouts, broken streams and drains, what was counted up was counted down again; and the
/// counters agree with each other at every step on the way.
#[test]
fn after_any_schedule_the_counters_are_back_at_zero() {
    let mut sum = [0; 3];
    for seed in 0..400 {
        let mut world = World::new(seed);
        for _ in 0..300 {
            world.step();
        }
        let counted = world.end();
        (0..3).for_each(|n| sum[n] += counted[n]);
    }
    assert!(sum.iter().all(|count| *count > 400), "too little happens: {sum:?}");
}
