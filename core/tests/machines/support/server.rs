//! A [`Server`] on a script.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use pointsub_core::endpoint::StreamKey;
use pointsub_core::{
    Body, Format, InboundId, ProtocolName, Server, ServerConfig, ServerEvent, ServerInput,
    ServerOutput, ServerStats, Status, StatusCode, StreamError, StreamEvent, StreamId, StreamOp,
    Timestamp,
};

use super::wire::{self, Wire};
use super::{Io, PROTOCOL, join, just_before, ms, next, peer, server_settings};

/// See the [module](super).
pub(crate) struct ServerScript {
    pub(crate) server: Server,
    pub(crate) now: Timestamp,
    config: ServerConfig,
    ticked: Option<Timestamp>,
    requests: VecDeque<ServerEvent>,
    abandons: VecDeque<InboundId>,
    /// Raw streams to be reset.
    hung_up: VecDeque<StreamKey>,
    drained: usize,
    streams: BTreeMap<StreamId, Io>,
    native: BTreeSet<StreamId>,
    /// What was told of the load. Answers are compared without it, unless it is what a test is
    /// about.
    loads: Vec<(u64, u16)>,
}

impl ServerScript {
    /// A server with [`PROTOCOL`] registered.
    pub(crate) fn new(config: ServerConfig) -> Self {
        let mut server = Server::new(config.clone()).expect("a valid config");
        server.register(&name(PROTOCOL)).expect("registered");
        Self {
            server,
            now: ms(0),
            config,
            ticked: None,
            requests: VecDeque::new(),
            abandons: VecDeque::new(),
            hung_up: VecDeque::new(),
            drained: 0,
            streams: BTreeMap::new(),
            native: BTreeSet::new(),
            loads: Vec::new(),
        }
    }

    /// A server with one native stream, whose SETTINGS are out.
    #[track_caller]
    pub(crate) fn native(config: ServerConfig) -> (Self, StreamId) {
        let mut s = Self::new(config);
        let stream = s.accept_native();
        (s, stream)
    }

    /// A server with one plain stream.
    pub(crate) fn plain(config: ServerConfig) -> (Self, StreamId) {
        let mut s = Self::new(config);
        let stream = s.accept(Format::Plain);
        (s, stream)
    }

    /// What this server announces.
    pub(crate) fn settings(&self) -> Wire {
        let config = &self.config;
        server_settings(
            config.max_block_size(),
            config.max_in_flight() as u32,
            config.max_calls() as u32,
        )
    }

    // Time.

    /// Goes on to `millis`, as a driver would: with timers at their times. They must not have
    /// anything to say; use [`expires_at`](Self::expires_at) if one has.
    #[track_caller]
    pub(crate) fn at(&mut self, millis: u64) {
        self.run_to(ms(millis));
    }

    /// At `millis`, and not a nanosecond earlier, a timer is due.
    #[track_caller]
    pub(crate) fn expires_at(&mut self, millis: u64) {
        self.run_to(just_before(ms(millis)));
        self.expect_wait(millis);
        self.now = ms(millis);
        self.timeout();
    }

    #[track_caller]
    fn run_to(&mut self, end: Timestamp) {
        assert!(end >= self.now, "time runs forwards");
        while let Some(due) = self.pump().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.timeout();
            self.expect_quiet();
        }
        self.now = end;
        self.timeout();
        self.expect_quiet();
    }

    /// Lets time pass, whether or not something is due.
    pub(crate) fn timeout(&mut self) {
        self.server.handle_input(ServerInput::Timeout, self.now);
        self.ticked = Some(self.now);
    }

    // Inputs.

    pub(crate) fn accept(&mut self, format: Format) -> StreamId {
        self.accept_for(PROTOCOL, format)
    }

    /// Accepts a native stream and writes the SETTINGS.
    #[track_caller]
    pub(crate) fn accept_native(&mut self) -> StreamId {
        let stream = self.accept(Format::Native);
        self.expect_sent(stream, [self.settings()]);
        stream
    }

    pub(crate) fn accept_for(&mut self, protocol: &str, format: Format) -> StreamId {
        self.accept_from(1, protocol, format)
    }

    /// Peer number `n` opens a stream.
    pub(crate) fn accept_from(&mut self, n: u8, protocol: &str, format: Format) -> StreamId {
        let stream = self.server.accept(peer(n), &name(protocol), format, self.now);
        if format == Format::Native {
            self.native.insert(stream);
        }
        stream
    }

    /// Peer number `n` opens a native stream, and the SETTINGS are written.
    #[track_caller]
    pub(crate) fn native_from(&mut self, n: u8, protocol: &str) -> StreamId {
        let stream = self.accept_from(n, protocol, Format::Native);
        self.expect_sent(stream, [self.settings()]);
        stream
    }

    pub(crate) fn register(&mut self, protocol: &str) {
        self.server.register(&name(protocol)).expect("registered");
    }

    pub(crate) fn respond(&mut self, request: InboundId, body: impl Into<Bytes>) {
        self.server.respond(request, Ok(body.into()), self.now);
    }

    pub(crate) fn respond_body(&mut self, request: InboundId, body: Body) {
        self.server.respond(request, Ok(body), self.now);
    }

    pub(crate) fn fail(&mut self, request: InboundId, code: StatusCode) {
        self.fail_with(request, Status::new(code, ""));
    }

    pub(crate) fn fail_with(&mut self, request: InboundId, status: Status) {
        self.server.respond::<Bytes>(request, Err(status), self.now);
    }

    pub(crate) fn abandoned(&mut self, request: InboundId) {
        self.server.abandoned(request, self.now);
    }

    /// Drains until `millis` at the latest.
    pub(crate) fn drain(&mut self, millis: u64) {
        self.server.drain(ms(millis), self.now);
    }

    fn event(&mut self, stream: StreamId, event: StreamEvent) {
        self.server.handle_input(ServerInput::Stream(stream, event), self.now);
    }

    /// Frames arrive, all at once.
    pub(crate) fn receives<const N: usize>(&mut self, stream: StreamId, frames: [Wire; N]) {
        self.receives_bytes(stream, join(frames));
    }

    pub(crate) fn receives_bytes(&mut self, stream: StreamId, bytes: impl Into<Bytes>) {
        self.event(stream, StreamEvent::Received(bytes.into()));
    }

    /// So many bytes are read straight to where they belong.
    #[track_caller]
    pub(crate) fn fills(&mut self, stream: StreamId, n: usize) {
        self.pump();
        let space = self.server.space(stream).expect("a large body");
        space[..n].fill(7);
        self.event(stream, StreamEvent::Filled(n));
    }

    /// The outstanding write was taken.
    #[track_caller]
    pub(crate) fn written(&mut self, stream: StreamId) {
        self.pump();
        let io = self.streams.get_mut(&stream).expect("a stream that writes");
        assert!(io.outstanding && io.write.is_none(), "expect_write comes first");
        io.outstanding = false;
        self.event(stream, StreamEvent::Written);
    }

    /// The peer closes its half.
    pub(crate) fn finishes(&mut self, stream: StreamId) {
        self.event(stream, StreamEvent::Finished);
    }

    /// The stream breaks.
    pub(crate) fn breaks(&mut self, stream: StreamId) {
        self.event(stream, StreamEvent::Failed(StreamError::Lost("broken".into())));
        // The transport reports nothing after that, and takes nothing.
        self.streams.entry(stream).or_default().ended = true;
    }

    // Outputs.

    /// A request without a deadline.
    #[track_caller]
    pub(crate) fn expect_request(&mut self, body: impl Into<Bytes>) -> InboundId {
        self.expect_request_until(None, body)
    }

    #[track_caller]
    pub(crate) fn expect_request_until(
        &mut self,
        millis: Option<u64>,
        body: impl Into<Bytes>,
    ) -> InboundId {
        self.pump();
        match next(&mut self.requests, "a request") {
            ServerEvent::Request { request, peer: from, protocol, payload, deadline } => {
                assert_eq!((from, protocol.as_str()), (peer(1), PROTOCOL));
                assert_eq!(deadline, millis.map(ms), "the request's deadline");
                assert_eq!(payload.into_bytes(), Ok(body.into()));
                request
            }
            other => panic!("{other:?} instead of a request"),
        }
    }

    /// How many requests are handed out now, whatever they are.
    pub(crate) fn take_requests(&mut self) -> Vec<InboundId> {
        self.pump();
        let id = |event| match event {
            ServerEvent::Request { request, .. } => Some(request),
            _ => None,
        };
        self.requests.drain(..).filter_map(id).collect()
    }

    /// The requests whose handlers are told to stop now, whatever they are.
    pub(crate) fn take_abandons(&mut self) -> Vec<InboundId> {
        self.pump();
        self.abandons.drain(..).collect()
    }

    #[track_caller]
    pub(crate) fn expect_event(&mut self) -> ServerEvent {
        self.pump();
        next(&mut self.requests, "a request")
    }

    #[track_caller]
    pub(crate) fn expect_abandon(&mut self, request: InboundId) {
        self.pump();
        assert_eq!(next(&mut self.abandons, "an abandoned request"), request);
    }

    #[track_caller]
    pub(crate) fn expect_hang_up(&mut self, raw: StreamKey) {
        self.pump();
        assert_eq!(next(&mut self.hung_up, "a raw stream to reset"), raw);
    }

    #[track_caller]
    pub(crate) fn expect_drained(&mut self) {
        self.pump();
        assert_eq!(std::mem::take(&mut self.drained), 1, "times drained");
    }

    /// One write of exactly these frames; it stays outstanding.
    #[track_caller]
    pub(crate) fn expect_write<const N: usize>(&mut self, stream: StreamId, frames: [Wire; N]) {
        self.pump();
        let write = self.streams.get_mut(&stream).and_then(|io| io.write.take());
        let (write, wanted) = (self.without_load(stream, &write.expect("a write")), join(frames));
        assert!(
            write == wanted,
            "{:?}\n instead of {:?}",
            wire::parse(&write),
            wire::parse(&wanted)
        );
    }

    /// One write, whatever it is; it stays outstanding.
    #[track_caller]
    pub(crate) fn expect_some_write(&mut self, stream: StreamId) -> Bytes {
        self.pump();
        let write = self.streams.get_mut(&stream).and_then(|io| io.write.take());
        write.expect("a write")
    }

    /// Takes whatever is written, and confirms it.
    pub(crate) fn flush(&mut self, stream: StreamId) {
        loop {
            self.pump();
            let Some(io) = self.streams.get_mut(&stream) else { return };
            if io.write.take().is_none() {
                return;
            }
            io.outstanding = false;
            self.event(stream, StreamEvent::Written);
        }
    }

    /// Exactly these frames, in as many writes as it takes, each confirmed at once.
    #[track_caller]
    pub(crate) fn expect_sent<const N: usize>(&mut self, stream: StreamId, frames: [Wire; N]) {
        self.expect_sent_after(Bytes::new(), stream, frames);
    }

    /// The same when the test has taken the first write already, as these bytes.
    #[track_caller]
    pub(crate) fn expect_sent_after<const N: usize>(
        &mut self,
        first: Bytes,
        stream: StreamId,
        frames: [Wire; N],
    ) {
        let wanted = join(frames);
        let (mut raw, mut sent) = (first.to_vec(), Bytes::new());
        let known = self.loads.len();
        loop {
            self.pump();
            let Some(io) = self.streams.get_mut(&stream) else { break };
            let Some(write) = io.write.take() else { break };
            raw.extend_from_slice(&write);
            io.outstanding = false;
            self.event(stream, StreamEvent::Written);
            self.loads.truncate(known);
            sent = self.without_load(stream, &raw);
            if sent.len() >= wanted.len() {
                break;
            }
        }
        assert!(sent == wanted, "{:?}\n instead of {:?}", wire::parse(&sent), wire::parse(&wanted));
    }

    /// The loads that were told since this was asked last, each with the id of its answer.
    pub(crate) fn loads(&mut self) -> Vec<(u64, u16)> {
        std::mem::take(&mut self.loads)
    }

    fn without_load(&mut self, stream: StreamId, bytes: &[u8]) -> Bytes {
        if !self.native.contains(&stream) {
            return Bytes::copy_from_slice(bytes);
        }
        let (bytes, loads) = wire::without_load(bytes);
        self.loads.extend(loads);
        bytes
    }

    #[track_caller]
    pub(crate) fn expect_finish(&mut self, stream: StreamId) {
        self.expect_end(stream, StreamOp::Finish);
    }

    #[track_caller]
    pub(crate) fn expect_reset(&mut self, stream: StreamId) {
        self.expect_end(stream, StreamOp::Reset);
    }

    #[track_caller]
    fn expect_end(&mut self, stream: StreamId, end: StreamOp) {
        self.pump();
        let got = self.streams.get_mut(&stream).and_then(|io| io.end.take());
        assert_eq!(got, Some(end));
    }

    /// Whether the server reads from the stream.
    #[track_caller]
    pub(crate) fn expect_reading(&mut self, stream: StreamId, reading: bool) {
        self.pump();
        assert_eq!(self.server.wants_read(stream), reading, "reads");
    }

    /// Nothing to do until `millis`.
    #[track_caller]
    pub(crate) fn expect_wait(&mut self, millis: u64) {
        self.expect_quiet();
        assert_eq!(self.pump(), Some(ms(millis)), "the next timer");
    }

    /// Nothing to do ever.
    #[track_caller]
    pub(crate) fn expect_rest(&mut self) {
        self.expect_quiet();
        assert_eq!(self.pump(), None, "the next timer");
    }

    /// Nothing to do that was not expected.
    #[track_caller]
    pub(crate) fn expect_quiet(&mut self) {
        self.pump();
        let left = self.leftovers();
        assert!(left.is_empty(), "unexpected: {left:#?}");
    }

    pub(crate) fn stats(&mut self) -> ServerStats {
        self.pump();
        self.server.stats()
    }

    fn leftovers(&self) -> Vec<String> {
        let requests = self.requests.iter().map(|event| format!("{event:?}"));
        let abandons = self.abandons.iter().map(|request| format!("abandon {request:?}"));
        let drained = (0..self.drained).map(|_| "drained".to_owned());
        let ops = self.streams.iter().flat_map(|(stream, io)| {
            io.leftovers().into_iter().map(move |op| format!("{stream:?}: {op}"))
        });
        let hung_up = self.hung_up.iter().map(|raw| format!("hang up {raw:?}"));
        requests.chain(abandons).chain(hung_up).chain(drained).chain(ops).collect()
    }

    /// Takes outputs until there is nothing left to do; until when.
    #[track_caller]
    fn pump(&mut self) -> Option<Timestamp> {
        let wait = loop {
            match self.server.poll_output() {
                ServerOutput::Stream(stream, op) => {
                    self.streams.entry(stream).or_default().take(op);
                }
                ServerOutput::HangUp(raw) => self.hung_up.push_back(raw),
                ServerOutput::Event(ServerEvent::Abandon { request }) => {
                    self.abandons.push_back(request);
                }
                ServerOutput::Event(ServerEvent::Drained) => self.drained += 1,
                ServerOutput::Event(event) => self.requests.push_back(event),
                ServerOutput::Wait(wait) => break wait,
            }
        };
        if let (Some(wait), Some(ticked)) = (wait, self.ticked) {
            assert!(wait > ticked, "a deadline at {wait} after a tick at {ticked}");
        }
        check_counters(&self.server, self.now);
        wait
    }
}

impl Drop for ServerScript {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.expect_quiet();
        }
    }
}

/// What holds of a server's counters at every instant.
#[track_caller]
pub(crate) fn check_counters(server: &Server, now: Timestamp) -> ServerStats {
    let stats = server.stats();
    let ended = stats.ok + stats.failed + stats.abandoned;
    assert_eq!(stats.started, ended + stats.in_flight, "{stats:?}");
    let streams = server.streams(now);
    let in_flight: usize = streams.iter().map(|stream| stream.in_flight).sum();
    let memory: usize = streams.iter().map(|stream| stream.memory).sum();
    assert_eq!(stats.streams, streams.len() as u64, "{stats:?}");
    assert_eq!((stats.in_flight, stats.memory), (in_flight as u64, memory as u64), "{stats:?}");
    assert!(stats.busy <= stats.refused && stats.streams <= stats.streams_total, "{stats:?}");
    stats
}

fn name(protocol: &str) -> ProtocolName {
    ProtocolName::new(protocol).expect("a protocol name")
}
