//! Arbitrary answers, events and time against a client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use pointsub_core::wire::{Decoder, Frame, Kind, tag};
use pointsub_core::{
    Body, Client, ClientConfig, ClientEvent, ClientInput, ClientOutput, Format, RequestId,
    StreamError, StreamEvent, StreamId, StreamOp, Timestamp,
};

use super::{LIMIT, MAX_OPS, MAX_OUTPUTS, body, header, kind, native, peer, protocol, take};

#[derive(Debug, Arbitrary)]
enum Op {
    Send {
        peer: u8,
        protocol: u8,
        len: u32,
        compress: bool,
        deadline: Option<u16>,
    },
    Cancel(u8),
    Open(u8, Outcome),
    Answer {
        stream: u8,
        nth: u8,
        status: Option<u8>,
        flags: u8,
        len: u32,
    },
    Settings {
        stream: u8,
        max_body: u32,
        max_in_flight: u32,
    },
    Drained {
        stream: u8,
        nth: u8,
    },
    Other {
        stream: u8,
        kind: u8,
        flags: u8,
        id: u64,
    },
    Announce {
        stream: u8,
        nth: u8,
        kind: u8,
        body: u32,
    },
    Bytes(u8, Vec<u8>),
    Fill(u8, u16),
    Filled(u8, u16),
    Written(u8),
    Finished(u8),
    Failed(u8),
    /// Time passes, and the client is told.
    Advance(u32),
    /// Time passes.
    Later(u32),
    Timeout,
    /// The client is told of a time that is over.
    Earlier(u32),
    Poll,
    Drain,
    Close,
}

#[derive(Debug, Arbitrary)]
enum Outcome {
    Native,
    Plain,
    Unreachable,
    Unsupported,
    Lost,
}

/// What the world knows of one stream.
#[derive(Debug)]
struct Stream {
    state: State,
    writing: bool,
    /// Reads what the client writes.
    decoder: Decoder,
    /// Wire ids of the requests that came.
    ids: Vec<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Opening,
    Open(Format),
    /// The client did its last operation.
    Ended,
    /// The world ended it.
    Gone,
}

#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Pending,
    Done,
    Cancelled,
}

struct World {
    client: Client,
    now: Timestamp,
    streams: BTreeMap<StreamId, Stream>,
    order: Vec<StreamId>,
    requests: BTreeMap<RequestId, Fate>,
    sent: Vec<RequestId>,
    /// Bytes that went in, for the bound on what is held.
    bytes: usize,
    drained: usize,
    closing: bool,
}

fn config() -> ClientConfig {
    ClientConfig::default()
        .with_max_block_size(LIMIT)
        .with_max_idle_streams(2)
        .with_max_streams_per_peer(3)
        .with_max_bulk_streams(1)
        .with_max_in_flight(4)
        .with_max_pending(6)
}

/// Any sequence of requests, events and times against a client.
pub fn client_inputs(data: &[u8]) {
    let Ok(ops) = Vec::<Op>::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let mut world = World {
        client: Client::new(config(), Some(peer(9)), 0).expect("a valid configuration"),
        now: Timestamp::ZERO,
        streams: BTreeMap::new(),
        order: Vec::new(),
        requests: BTreeMap::new(),
        sent: Vec::new(),
        bytes: 0,
        drained: 0,
        closing: false,
    };
    for op in ops.iter().take(MAX_OPS) {
        world.step(op);
    }
    world.end();
}

impl World {
    fn step(&mut self, op: &Op) {
        match *op {
            Op::Send { peer: to, protocol: under, len, compress, deadline } => {
                let body = body(len);
                let (len, protocol) = (body.len(), protocol(under % 2));
                let body = if compress { Body::compressed(body) } else { body.into() };
                let deadline =
                    deadline.map(|millis| self.now + Duration::from_millis(u64::from(millis)));
                let to = peer(to % 3);
                let sent = self.client.send(&to, protocol.as_str(), body, deadline, self.now);
                if let Ok(id) = sent {
                    assert!(len <= LIMIT && !self.closing, "a request that must be refused");
                    assert!(self.requests.insert(id, Fate::Pending).is_none(), "an id came twice");
                    self.sent.push(id);
                    self.bytes += len + 64;
                }
            }
            Op::Cancel(nth) => {
                let Some(&id) = pick(&self.sent, nth) else { return };
                let before = self.client.stats().cancelled;
                self.client.cancel(id, self.now);
                // Otherwise its outcome was decided before.
                if self.client.stats().cancelled > before {
                    let fate = self.requests.insert(id, Fate::Cancelled);
                    assert_eq!(fate, Some(Fate::Pending), "cancelled after its outcome");
                    self.bytes += 64;
                }
            }
            Op::Open(nth, ref outcome) => self.open(nth, outcome),
            Op::Answer { stream, nth, status, flags, len } => {
                let Some((id, format)) = self.open_stream(stream) else { return };
                let bytes = if format == Format::Plain {
                    let mut outbox = pointsub_core::wire::Outbox::default();
                    outbox.plain(body(len));
                    super::written(&mut outbox)
                } else {
                    let Some(&wire_id) = pick(&self.streams[&id].ids, nth) else { return };
                    native(Kind::Response, flags, wire_id, body(len), |head| {
                        if let Some(status) = status {
                            head.u8(tag::STATUS, status);
                        }
                        if flags & 1 != 0 {
                            head.u32(tag::SIZE, len % 512);
                        }
                    })
                };
                self.receive(id, bytes);
            }
            Op::Settings { stream, max_body, max_in_flight } => {
                let Some((id, _)) = self.open_stream(stream) else { return };
                let bytes = native(Kind::Settings, 0, 0, Bytes::new(), |head| {
                    head.u32(tag::MAX_BODY, max_body);
                    head.u32(tag::MAX_IN_FLIGHT, max_in_flight % 8);
                });
                self.receive(id, bytes);
            }
            Op::Drained { stream, nth } => {
                let Some((id, _)) = self.open_stream(stream) else { return };
                let last = pick(&self.streams[&id].ids, nth).copied().unwrap_or(0);
                self.receive(id, native(Kind::Drain, 0, last, Bytes::new(), |_| {}));
            }
            Op::Other { stream, kind: number, flags, id: wire_id } => {
                let Some((id, _)) = self.open_stream(stream) else { return };
                let bytes = native(kind(number), flags, wire_id, Bytes::new(), |_| {});
                self.receive(id, bytes);
            }
            Op::Announce { stream, nth, kind, body } => {
                let Some((id, _)) = self.open_stream(stream) else { return };
                let wire_id = pick(&self.streams[&id].ids, nth).copied().unwrap_or(0);
                let body = body % (2 * LIMIT as u32);
                self.receive(id, header(kind, 0, wire_id, 0, body));
            }
            Op::Bytes(nth, ref bytes) => {
                if let Some((id, _)) = self.open_stream(nth) {
                    self.receive(id, Bytes::copy_from_slice(bytes));
                }
            }
            Op::Fill(nth, len) => {
                let Some((id, _)) = self.open_stream(nth) else { return };
                let Some(space) = self.client.space(id) else { return };
                assert!(!space.is_empty(), "space for nothing");
                let n = space.len().min(usize::from(len));
                space[..n].fill(b'x');
                self.bytes += n;
                self.event(id, StreamEvent::Filled(n));
            }
            // More than was asked for, or without being asked.
            Op::Filled(nth, n) => {
                self.bytes += usize::from(n);
                self.any_event(nth, StreamEvent::Filled(n.into()));
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
            Op::Advance(micros) => {
                self.drain_outputs();
                self.later(micros);
                self.client.handle_input(ClientInput::Timeout, self.now);
                let due = self.drain_outputs();
                assert!(due.is_none_or(|due| due > self.now), "{due:?} is over at {:?}", self.now);
            }
            Op::Later(micros) => self.later(micros),
            Op::Timeout => self.client.handle_input(ClientInput::Timeout, self.now),
            Op::Earlier(micros) => {
                let nanos = self.now.as_nanos().saturating_sub(1000 * u64::from(micros));
                self.client.handle_input(ClientInput::Timeout, Timestamp::from_nanos(nanos));
            }
            Op::Poll => drop(self.drain_outputs()),
            Op::Drain => {
                self.client.drain(self.now);
                self.closing = true;
            }
            Op::Close => {
                self.client.close(self.now);
                self.closing = true;
            }
        }
    }

    fn later(&mut self, micros: u32) {
        self.now = self.now + Duration::from_micros(u64::from(micros));
    }

    fn open(&mut self, nth: u8, outcome: &Outcome) {
        let Some(&id) = pick(&self.order, nth) else { return };
        if self.stream(id).state != State::Opening {
            return;
        }
        let why = || Arc::from("fuzz");
        let input = match outcome {
            Outcome::Native | Outcome::Plain => {
                let native = matches!(outcome, Outcome::Native);
                let format = if native { Format::Native } else { Format::Plain };
                let stream = self.stream(id);
                stream.state = State::Open(format);
                stream.decoder = Decoder::new(format, LIMIT);
                self.bytes += 64;
                ClientInput::Opened(id, format)
            }
            Outcome::Unreachable => ClientInput::OpenFailed(id, StreamError::Unreachable(why())),
            Outcome::Unsupported => ClientInput::OpenFailed(id, StreamError::Unsupported),
            Outcome::Lost => ClientInput::OpenFailed(id, StreamError::Lost(why())),
        };
        if matches!(input, ClientInput::OpenFailed(..)) {
            self.stream(id).state = State::Gone;
        }
        self.client.handle_input(input, self.now);
    }

    fn stream(&mut self, id: StreamId) -> &mut Stream {
        self.streams.get_mut(&id).expect("a stream that the client named")
    }

    /// The stream, if it is open as far as the world knows.
    fn open_stream(&self, nth: u8) -> Option<(StreamId, Format)> {
        let id = *pick(&self.order, nth)?;
        match self.streams[&id].state {
            State::Open(format) => Some((id, format)),
            _ => None,
        }
    }

    fn receive(&mut self, id: StreamId, bytes: Bytes) {
        self.bytes += bytes.len();
        self.event(id, StreamEvent::Received(bytes));
    }

    fn event(&mut self, id: StreamId, event: StreamEvent) {
        self.client.handle_input(ClientInput::Stream(id, event), self.now);
    }

    /// Something happens to a stream, perhaps to one that is gone.
    fn any_event(&mut self, nth: u8, event: StreamEvent) {
        if let Some(&id) = pick(&self.order, nth) {
            self.event(id, event);
        }
    }

    fn fail_stream(&mut self, id: StreamId) {
        self.stream(id).state = State::Gone;
        self.event(id, StreamEvent::Failed(StreamError::Lost(Arc::from("fuzz"))));
    }

    /// Does what the client wants done, and checks it.
    fn drain_outputs(&mut self) -> Option<Timestamp> {
        for _ in 0..MAX_OUTPUTS {
            match self.client.poll_output() {
                ClientOutput::Open { stream, .. } => {
                    let decoder = Decoder::new(Format::Plain, LIMIT);
                    let ids = Vec::new();
                    let new = Stream { state: State::Opening, writing: false, decoder, ids };
                    assert!(self.streams.insert(stream, new).is_none(), "a stream came twice");
                    self.order.push(stream);
                }
                ClientOutput::Abandon(stream) => {
                    // Its outcome may still be reported.
                    self.stream(stream);
                }
                ClientOutput::Dial { .. }
                | ClientOutput::AbandonDial(_)
                | ClientOutput::HangUp(_) => panic!("nobody dialled"),
                ClientOutput::Stream(stream, op) => self.operate(stream, op),
                ClientOutput::Event(event) => self.tell(event),
                ClientOutput::Wait(due) => {
                    self.check();
                    return due;
                }
            }
        }
        panic!("the output does not end");
    }

    fn operate(&mut self, id: StreamId, op: StreamOp) {
        let stream = self.stream(id);
        match op {
            StreamOp::Write(bytes) => {
                assert!(matches!(stream.state, State::Open(_)), "a write on no stream");
                assert!(!stream.writing, "two writes at a time");
                assert!(!bytes.is_empty(), "an empty write");
                stream.writing = true;
                stream.decoder.push(bytes);
                let mut frames: Vec<Frame> = Vec::new();
                assert_eq!(take(&mut stream.decoder, &mut frames), Ok(()), "the client's frames");
                let requests = frames.iter().filter(|f| f.header.kind == Some(Kind::Request));
                for id in requests.map(|frame| frame.header.id) {
                    assert!(stream.ids.last().is_none_or(|last| *last < id), "ids increase");
                    stream.ids.push(id);
                }
            }
            StreamOp::Finish => {
                assert!(matches!(stream.state, State::Open(_)), "the end of no stream");
                assert!(!stream.writing, "the end inside a write");
                assert!(!stream.decoder.mid_frame(), "the end inside a frame");
                stream.state = State::Ended;
            }
            StreamOp::Reset => {
                // The order may have been given before the client heard that the stream is gone.
                let live = matches!(stream.state, State::Open(_) | State::Gone);
                assert!(live, "the reset of no stream");
                stream.state = State::Ended;
            }
        }
    }

    fn tell(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Response { request, payload } => {
                assert!(payload.len() <= LIMIT, "a response beyond the limit");
                drop(payload.into_bytes());
                let fate = self.requests.insert(request, Fate::Done);
                assert_eq!(fate, Some(Fate::Pending), "a second outcome");
            }
            ClientEvent::Failed { request, .. } => {
                let fate = self.requests.insert(request, Fate::Done);
                assert_eq!(fate, Some(Fate::Pending), "a second outcome");
            }
            ClientEvent::Drained => {
                assert!(self.closing, "drained without being asked");
                self.drained += 1;
            }
            other => panic!("unknown event {other:?}"),
        }
    }

    fn count(&self, fate: &Fate) -> u64 {
        self.requests.values().filter(|f| *f == fate).count() as u64
    }

    fn check(&self) {
        let stats = self.client.stats();
        assert_eq!(stats.started, stats.ok + stats.failed + stats.cancelled + stats.in_flight);
        assert_eq!(stats.started, self.requests.len() as u64);
        assert_eq!(stats.ok + stats.failed, self.count(&Fate::Done));
        assert_eq!(stats.cancelled, self.count(&Fate::Cancelled));
        assert_eq!(stats.in_flight, self.count(&Fate::Pending));
        assert!(stats.waiting <= stats.in_flight, "{stats:?}");
        assert!(stats.idle_streams <= stats.streams, "{stats:?}");
        assert!(stats.idle_streams <= 2, "{stats:?}");
        assert_eq!(stats.opens, self.order.len() as u64);
        let bound = 8 * self.bytes + 64 * 1024 * self.order.len();
        assert!(self.client.buffered() <= bound, "too much memory");
    }

    /// Ends everything: then every request has exactly one outcome.
    fn end(mut self) {
        self.drain_outputs();
        self.client.close(self.now);
        self.closing = true;
        self.drain_outputs();
        for id in self.order.clone() {
            match self.stream(id).state {
                State::Opening => {
                    let error = StreamError::Lost(Arc::from("fuzz"));
                    self.client.handle_input(ClientInput::OpenFailed(id, error), self.now);
                }
                State::Open(_) => self.fail_stream(id),
                State::Ended | State::Gone => {}
            }
        }
        // Timers of idle streams that are gone stay until they are due: no assertion on the time.
        self.drain_outputs();
        assert_eq!(self.count(&Fate::Pending), 0, "a request without outcome");
        assert_eq!(self.drained, 1, "drained once");
        let stats = self.client.stats();
        assert_eq!((stats.streams, stats.idle_streams, stats.in_flight), (0, 0, 0));
        assert_eq!(self.client.buffered(), 0, "bytes are left");
    }
}

pub(super) fn pick<T>(list: &[T], nth: u8) -> Option<&T> {
    // From the end: recent ones are more likely to live.
    list.iter().rev().nth(usize::from(nth) % list.len().clamp(1, 8))
}
