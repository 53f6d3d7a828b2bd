//! What the dearest frame of each kind costs a server, in instructions, at the sizes that an attack can
//! bring about: counted and limited like [`instructions`](../instructions.rs).

// What the macros make is public and has no documentation.
#![allow(missing_docs, unreachable_pub)]

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use pointsub_core::endpoint::{GroupId, Origin, Quota, RateLimit, RateScope};
use pointsub_core::wire::{Flags, Kind, Outbox};
use pointsub_core::{
    Format, PeerId, ProtocolName, Server, ServerConfig, ServerInput, ServerOutput, StreamEvent,
    StreamId, StreamOp, Timestamp,
};

/// Frames of a measurement, which come at once.
const COUNT: u64 = 64;
/// Handlers that are at work on the stream meanwhile.
const AT_WORK: u64 = 800;
/// Peers that have a stream open, each of a network of its own.
const PEERS: u16 = 1000;
const ECHO: ProtocolName = ProtocolName::from_static("/echo/1");

/// So many instructions for all [`COUNT`], and up to 5 % more.
fn about(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::with_args(["--cache-sim=no"]);
    callgrind.hard_limits([(EventKind::Ir, instructions + instructions / 20)]);
    LibraryBenchmarkConfig::default().tool(callgrind).clone()
}

/// A server with many peers, one of which sends these frames.
struct Attack {
    server: Server,
    stream: StreamId,
    frames: Bytes,
}

/// What the frames are.
#[derive(Clone, Copy)]
enum Of {
    /// Requests that are served.
    Requests,
    /// The same where a rate limit holds.
    LimitedRequests,
    /// Requests beyond all that the peer may have.
    RefusedRequests,
    /// Requests whose time is over.
    LateRequests,
    /// Cancellations of what was never asked.
    Cancellations,
    /// Settings.
    Settings,
}

fn peer(n: u16) -> Origin {
    let [high, low] = n.to_be_bytes();
    let peer = PeerId::from_bytes(&[0, 36, 8, 1, high, low]).expect("a peer id");
    Origin::from(peer).within(GroupId::new(u64::from(n)), None)
}

fn attack(of: Of) -> Attack {
    let mut server = Server::new(ServerConfig::default()).expect("a valid config");
    server.register(&ECHO).expect("the first");
    for n in 1..PEERS {
        server.accept(peer(n), &ECHO, Format::Native, Timestamp::ZERO);
    }
    let stream = server.accept(peer(0), &ECHO, Format::Native, Timestamp::ZERO);
    let busy = match of {
        Of::RefusedRequests => 1024,
        _ => AT_WORK,
    };
    let mut attack = Attack { server, stream, frames: requests(1..=busy, None) };
    attack.receive();
    let from = 2000;
    attack.frames = match of {
        Of::Requests | Of::RefusedRequests => requests(from..from + COUNT, None),
        Of::LimitedRequests => {
            let quota = Quota::per_second(1_000_000);
            let limit = RateLimit::new().requests(quota).bytes(quota);
            attack.server.set_rate_limit(RateScope::EachPeerOf(ECHO), limit);
            requests(from..from + COUNT, None)
        }
        Of::LateRequests => requests(from..from + COUNT, Some(0)),
        Of::Cancellations => frames(Kind::Cancel, from..from + COUNT),
        Of::Settings => frames(Kind::Settings, (0..COUNT).map(|_| 0)),
    };
    attack
}

fn frames(kind: Kind, ids: impl IntoIterator<Item = u64>) -> Bytes {
    written(|outbox| {
        for id in ids {
            outbox.native(kind, Flags::default(), id, Bytes::new(), |_| {});
        }
    })
}

fn requests(ids: impl IntoIterator<Item = u64>, timeout: Option<u32>) -> Bytes {
    written(|outbox| {
        for id in ids {
            let body = Bytes::from_static(b"x");
            outbox.native(Kind::Request, Flags::default(), id, body, |head| {
                if let Some(timeout) = timeout {
                    head.u32(1, timeout);
                }
            });
        }
    })
}

fn written(put: impl FnOnce(&mut Outbox)) -> Bytes {
    let mut outbox = Outbox::new(64 * 1024);
    put(&mut outbox);
    let mut all = BytesMut::new();
    while let Some(bytes) = outbox.next_write() {
        all.extend_from_slice(&bytes);
    }
    all.freeze()
}

impl Attack {
    fn receive(&mut self) {
        let now = Timestamp::ZERO + Duration::from_secs(1);
        let event = StreamEvent::Received(self.frames.clone());
        self.server.handle_input(ServerInput::Stream(self.stream, event), now);
        loop {
            match self.server.poll_output() {
                ServerOutput::Stream(stream, StreamOp::Write(bytes)) => {
                    black_box(bytes);
                    let written = ServerInput::Stream(stream, StreamEvent::Written);
                    self.server.handle_input(written, now);
                }
                ServerOutput::Wait(_) => return,
                other => drop(black_box(other)),
            }
        }
    }
}

#[library_benchmark]
#[bench::requests(args = (Of::Requests), setup = attack, config = about(10_000_000))]
#[bench::limited(args = (Of::LimitedRequests), setup = attack, config = about(10_000_000))]
#[bench::refused(args = (Of::RefusedRequests), setup = attack, config = about(10_000_000))]
#[bench::late(args = (Of::LateRequests), setup = attack, config = about(10_000_000))]
#[bench::cancellations(args = (Of::Cancellations), setup = attack, config = about(10_000_000))]
#[bench::settings(args = (Of::Settings), setup = attack, config = about(10_000_000))]
fn frame(mut attack: Attack) -> Attack {
    attack.receive();
    attack
}

library_benchmark_group!(name = dearest, benchmarks = [frame]);
main!(library_benchmark_groups = [dearest]);
