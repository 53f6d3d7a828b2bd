//! Arbitrary requests, events, answers and time against a server.

mod operation;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use pointsub_core::wire::{Decoder, Flags, Kind, Outbox, tag};
use pointsub_core::{
    Body, Format, InboundId, Server, ServerConfig, ServerEvent, ServerInput, ServerOutput, Status,
    StatusCode, StreamError, StreamEvent, StreamId, StreamOp, Timestamp,
};

use self::operation::Op;
use self::stream::Stream;
use super::client::pick;
use super::{LIMIT, MAX_OPS, MAX_OUTPUTS, body, header, kind, native, peer, protocol, take};

struct World {
    server: Server,
    now: Timestamp,
    streams: BTreeMap<StreamId, Stream>,
    order: Vec<StreamId>,
    /// Requests that a handler is at work on, and whether it was told to stop.
    at_work: BTreeMap<InboundId, bool>,
    all: Vec<InboundId>,
    /// Requests that ended since the outputs were looked at last.
    just_ended: BTreeSet<InboundId>,
    bytes: usize,
    draining: bool,
}

const MAX_CONCURRENT: usize = 4;

fn config() -> ServerConfig {
    ServerConfig::default()
        .with_max_block_size(LIMIT)
        .with_max_concurrent_requests(MAX_CONCURRENT)
        .with_max_in_flight(3)
        .with_max_memory(4 * LIMIT)
        .with_max_memory_per_peer(3 * LIMIT)
        .with_max_memory_per_stream(2 * LIMIT)
}

/// Any sequence of requests, events, answers and times against a server.
pub fn server_inputs(data: &[u8]) {
    let Ok(ops) = Vec::<Op>::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let mut world = World {
        server: Server::new(config()).expect("a valid configuration"),
        now: Timestamp::ZERO,
        streams: BTreeMap::new(),
        order: Vec::new(),
        at_work: BTreeMap::new(),
        all: Vec::new(),
        just_ended: BTreeSet::new(),
        bytes: 0,
        draining: false,
    };
    for number in 0..2 {
        world.server.register(&protocol(number)).expect("not registered yet");
    }
    for op in ops.iter().take(MAX_OPS) {
        world.step(op);
    }
    world.end();
}

impl World {
    fn step(&mut self, op: &Op) {
        match *op {
            Op::Accept { peer: from, protocol: under, native } => {
                let format = if native { Format::Native } else { Format::Plain };
                let (from, under) = (peer(from % 3), protocol(under % 3));
                let id = self.server.accept(from, &under, format, self.now);
                let stream = Stream {
                    format,
                    ended: false,
                    gone: false,
                    writing: false,
                    decoder: Decoder::new(format, LIMIT),
                    last_id: 0,
                    ids: BTreeSet::new(),
                    wild: false,
                    answered: BTreeSet::new(),
                    answers: 0,
                    requests: 0,
                    drain: None,
                };
                assert!(self.streams.insert(id, stream).is_none(), "a stream came twice");
                self.order.push(id);
            }
            Op::Request { stream, step, len, timeout, flags, field } => {
                let Some((id, format)) = self.open_stream(stream) else { return };
                let bytes = if format == Format::Plain {
                    let mut outbox = Outbox::default();
                    outbox.plain(body(len));
                    super::written(&mut outbox)
                } else {
                    let wire_id = self.next_id(id, step);
                    native(Kind::Request, flags, wire_id, body(len), |head| {
                        if let Some(timeout) = timeout {
                            head.u32(tag::TIMEOUT, timeout.into());
                        }
                        if flags & Flags::COMPRESSED.0 != 0 {
                            head.u32(tag::SIZE, len % 512);
                        }
                        if let Some(tag) = field {
                            head.bytes(tag, b"");
                        }
                    })
                };
                self.receive(id, bytes);
            }
            Op::Compressed { stream, step, size, ref bytes } => {
                let Some((id, _)) = self.open_stream(stream) else { return };
                let wire_id = self.next_id(id, step);
                let (flags, body) = (Flags::COMPRESSED.0, Bytes::copy_from_slice(bytes));
                let bytes = native(Kind::Request, flags, wire_id, body, |head| {
                    head.u32(tag::SIZE, size % (2 * LIMIT as u32));
                });
                self.receive(id, bytes);
            }
            Op::Announce { stream, step, kind, body } => {
                let Some((id, _)) = self.open_stream(stream) else { return };
                let wire_id = self.next_id(id, step);
                self.receive(id, header(kind, 0, wire_id, 0, body % (2 * LIMIT as u32)));
            }
            Op::Cancel { stream, nth } => {
                let Some((id, _)) = self.open_stream(stream) else { return };
                let ids: Vec<u64> = self.streams[&id].ids.iter().copied().collect();
                let wire_id = pick(&ids, nth).copied().unwrap_or(0);
                self.receive(id, native(Kind::Cancel, 0, wire_id, Bytes::new(), |_| {}));
            }
            Op::Settings { stream, max_body } => {
                let Some((id, _)) = self.open_stream(stream) else { return };
                let bytes = native(Kind::Settings, 0, 0, Bytes::new(), |head| {
                    head.u32(tag::MAX_BODY, max_body);
                });
                self.receive(id, bytes);
            }
            Op::Other { stream, kind: number, flags, id: wire_id } => {
                let Some((id, _)) = self.open_stream(stream) else { return };
                self.stream(id).ids.insert(wire_id);
                self.receive(id, native(kind(number), flags, wire_id, Bytes::new(), |_| {}));
            }
            Op::Bytes(nth, ref bytes) => {
                let Some((id, _)) = self.open_stream(nth) else { return };
                self.stream(id).wild = true;
                self.receive(id, Bytes::copy_from_slice(bytes));
            }
            Op::Fill(nth, len) => {
                let Some((id, _)) = self.open_stream(nth) else { return };
                let Some(space) = self.server.space(id) else { return };
                assert!(!space.is_empty(), "space for nothing");
                let n = space.len().min(usize::from(len));
                space[..n].fill(b'x');
                self.bytes += n;
                self.event(id, StreamEvent::Filled(n));
            }
            // More than was asked for, or without being asked.
            Op::Filled(nth, n) => {
                self.bytes += usize::from(n);
                if let Some(&id) = pick(&self.order, nth) {
                    self.stream(id).wild = true;
                    self.event(id, StreamEvent::Filled(n.into()));
                }
            }
            Op::Written(nth) => {
                if let Some(&id) = pick(&self.order, nth) {
                    self.stream(id).writing = false;
                    self.event(id, StreamEvent::Written);
                }
            }
            Op::Finished(nth) => self.any_event(nth, StreamEvent::Finished),
            Op::Failed(nth) => {
                if let Some((id, _)) = self.open_stream(nth) {
                    self.fail_stream(id);
                }
            }
            Op::Answer { nth, len, compress } => {
                let Some(&id) = pick(&self.all, nth) else { return };
                let body = body(len);
                self.bytes += body.len() + 64;
                let body = if compress { Body::compressed(body) } else { body.into() };
                self.ended(id);
                self.server.respond(id, Ok(body), self.now);
            }
            Op::Refuse { nth, code, message, detail } => {
                let Some(&id) = pick(&self.all, nth) else { return };
                let code = match code {
                    0..10 => StatusCode::Application(detail),
                    10..20 => StatusCode::Busy,
                    20..30 => StatusCode::Draining,
                    code => StatusCode::Unknown(code),
                };
                let mut status = Status::new(code, "ä".repeat(message.into()));
                status.detail = body(detail);
                status.retry_after =
                    (detail % 2 == 0).then(|| Duration::from_micros(detail.into()));
                self.bytes += status.detail.len() + 2048;
                self.ended(id);
                self.server.respond::<Body>(id, Err(status), self.now);
            }
            Op::Abandoned(nth) => {
                let Some(&id) = pick(&self.all, nth) else { return };
                self.bytes += 64;
                self.ended(id);
                self.server.abandoned(id, self.now);
            }
            Op::Advance(micros) => {
                self.drain_outputs();
                self.later(micros);
                self.server.handle_input(ServerInput::Timeout, self.now);
                let due = self.drain_outputs();
                assert!(due.is_none_or(|due| due > self.now), "{due:?} is over at {:?}", self.now);
            }
            Op::Later(micros) => self.later(micros),
            Op::Timeout => self.server.handle_input(ServerInput::Timeout, self.now),
            Op::Earlier(micros) => {
                let nanos = self.now.as_nanos().saturating_sub(1000 * u64::from(micros));
                self.server.handle_input(ServerInput::Timeout, Timestamp::from_nanos(nanos));
            }
            Op::Poll => drop(self.drain_outputs()),
            Op::Register(number) => {
                let registered = self.server.register(&protocol(number % 3)).is_ok();
                assert!(!(registered && self.draining), "registered while stopping");
                assert!(!registered || self.server.is_running(), "registered and not running");
            }
            Op::Unregister(number) => {
                self.server.unregister(protocol(number % 3).as_str());
            }
            Op::Drain(micros) => {
                let deadline = self.now + Duration::from_micros(u64::from(micros));
                self.server.drain(deadline, self.now);
                self.draining = true;
            }
        }
    }

    fn later(&mut self, micros: u32) {
        self.now = self.now + Duration::from_micros(u64::from(micros));
    }

    fn stream(&mut self, id: StreamId) -> &mut Stream {
        self.streams.get_mut(&id).expect("a stream that the server named")
    }

    /// The stream, if it is open as far as the world knows.
    fn open_stream(&self, nth: u8) -> Option<(StreamId, Format)> {
        let id = *pick(&self.order, nth)?;
        let stream = &self.streams[&id];
        (!stream.ended && !stream.gone).then_some((id, stream.format))
    }

    /// The next id on a stream: 0 steps repeat the last one, which is an offence.
    fn next_id(&mut self, id: StreamId, step: u8) -> u64 {
        let stream = self.stream(id);
        stream.last_id += u64::from(step);
        stream.ids.insert(stream.last_id);
        stream.last_id
    }

    fn receive(&mut self, id: StreamId, bytes: Bytes) {
        // Every request may cause an answer that is longer.
        self.bytes += 16 * bytes.len();
        self.event(id, StreamEvent::Received(bytes));
    }

    fn event(&mut self, id: StreamId, event: StreamEvent) {
        self.server.handle_input(ServerInput::Stream(id, event), self.now);
    }

    /// Something happens to a stream, perhaps to one that is gone.
    fn any_event(&mut self, nth: u8, event: StreamEvent) {
        if let Some(&id) = pick(&self.order, nth) {
            self.event(id, event);
        }
    }

    fn fail_stream(&mut self, id: StreamId) {
        self.stream(id).gone = true;
        self.event(id, StreamEvent::Failed(StreamError::Lost(Arc::from("fuzz"))));
    }

    fn ended(&mut self, id: InboundId) {
        if self.at_work.remove(&id).is_some() {
            self.just_ended.insert(id);
        }
    }

    /// Does what the server wants done, and checks it.
    fn drain_outputs(&mut self) -> Option<Timestamp> {
        for _ in 0..MAX_OUTPUTS {
            match self.server.poll_output() {
                ServerOutput::HangUp(_) => panic!("nobody dialled"),
                ServerOutput::Stream(stream, op) => self.operate(stream, op),
                ServerOutput::Event(event) => self.tell(event),
                ServerOutput::Wait(due) => {
                    self.just_ended.clear();
                    self.check();
                    return due;
                }
            }
        }
        panic!("the output does not end");
    }

    fn operate(&mut self, id: StreamId, op: StreamOp) {
        let stream = self.stream(id);
        assert!(!stream.ended, "{op:?} after the end");
        assert!(!stream.gone, "{op:?} on a stream that is gone");
        match op {
            StreamOp::Write(bytes) => {
                assert!(!stream.writing, "two writes at a time");
                assert!(!bytes.is_empty(), "an empty write");
                stream.writing = true;
                stream.decoder.push(bytes);
                let mut frames = Vec::new();
                assert_eq!(take(&mut stream.decoder, &mut frames), Ok(()), "the server's frames");
                for frame in &frames {
                    stream.read(frame);
                }
            }
            StreamOp::Finish => {
                assert!(!stream.writing, "the end inside a write");
                assert!(!stream.decoder.mid_frame(), "the end inside a frame");
                stream.ended = true;
            }
            StreamOp::Reset => stream.ended = true,
        }
    }

    fn tell(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Request { request, payload, .. } => {
                assert!(payload.len() <= LIMIT, "a request beyond the limit");
                drop(payload.into_bytes());
                assert!(!self.all.contains(&request), "a request came twice");
                self.all.push(request);
                self.at_work.insert(request, false);
                let stream = self.stream(request.stream());
                stream.requests += 1;
                if stream.format == Format::Plain {
                    let others = self.at_work.keys().filter(|r| r.stream() == request.stream());
                    assert_eq!(others.count(), 1, "two plain requests at a time");
                }
            }
            ServerEvent::Abandon { request } => match self.at_work.get_mut(&request) {
                Some(told) => assert!(!core::mem::replace(told, true), "told to stop twice"),
                None => assert!(self.just_ended.contains(&request), "told to stop after its end"),
            },
            ServerEvent::Drained => {
                assert!(self.draining, "drained without being asked");
                assert!(self.at_work.is_empty(), "drained while at work");
                assert!(!self.server.is_running(), "drained and running");
                self.draining = false;
            }
            other => panic!("unknown event {other:?}"),
        }
    }

    fn check(&self) {
        let stats = self.server.stats();
        assert_eq!(stats.started, stats.ok + stats.failed + stats.abandoned + stats.in_flight);
        assert_eq!(stats.started, self.all.len() as u64);
        assert_eq!(stats.in_flight, self.at_work.len() as u64);
        assert!(self.at_work.len() <= MAX_CONCURRENT, "more than allowed");
        assert!(stats.busy <= stats.refused, "busy without being refused");
        let streams = self.server.streams(self.now);
        assert_eq!(stats.streams, streams.len() as u64);
        let in_flight: usize = streams.iter().map(|stream| stream.in_flight).sum();
        assert_eq!(stats.in_flight, in_flight as u64);
        let memory: usize = streams.iter().map(|stream| stream.memory).sum();
        assert_eq!(stats.memory, memory as u64);
        let bound = 8 * self.bytes + 64 * 1024 * self.order.len();
        assert!(self.server.buffered() <= bound, "too much memory");
    }

    /// Ends everything: then nothing is left.
    fn end(mut self) {
        self.drain_outputs();
        self.server.drain(self.now, self.now);
        self.draining = true;
        self.drain_outputs();
        for id in self.order.clone() {
            if !self.stream(id).ended && !self.stream(id).gone {
                self.fail_stream(id);
            }
        }
        self.drain_outputs();
        for id in core::mem::take(&mut self.at_work).into_keys() {
            self.just_ended.insert(id);
            self.server.abandoned(id, self.now);
        }
        self.drain_outputs();
        self.server.handle_input(ServerInput::Timeout, self.now);
        let due = self.drain_outputs();
        assert!(!self.draining, "not drained");
        let stats = self.server.stats();
        assert_eq!((stats.in_flight, stats.streams, stats.memory), (0, 0, 0), "left over");
        assert_eq!(self.server.buffered(), 0, "bytes are left");
        assert_eq!(due, None, "a timer is left");
    }
}
