//! A [`Client`] on a script.

mod expect;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::support::wire::Wire;
use crate::support::{
    Io, PROTOCOL, id, join, just_before, ms, peer, plain, request, response, settings,
};
use bytes::Bytes;
use pointsub_core::endpoint::Offer;
use pointsub_core::endpoint::closest::{AddNodeError, Point};
use pointsub_core::{
    Body, Cause, Client, ClientConfig, ClientEvent, ClientInput, ClientOutput, ClosestId,
    ClosestOptions, Format, PeerId, ProtocolName, RequestId, SendError, StreamError, StreamEvent,
    StreamId, Timestamp,
};

/// See the [module](crate::support).
pub(crate) struct ClientScript {
    pub(crate) client: Client,
    pub(crate) now: Timestamp,
    config: ClientConfig,
    ticked: Option<Timestamp>,
    opens: VecDeque<(StreamId, PeerId, String, Offer)>,
    abandons: VecDeque<StreamId>,
    /// What is to be done about raw streams.
    raws: VecDeque<ClientOutput>,
    events: VecDeque<ClientEvent>,
    streams: BTreeMap<StreamId, Io>,
    decided: BTreeSet<RequestId>,
    calls_decided: BTreeSet<ClosestId>,
}

impl ClientScript {
    /// A client of peer 0.
    pub(crate) fn new(config: ClientConfig) -> Self {
        let client = Client::new(config.clone(), Some(peer(0)), 0).expect("a valid config");
        Self {
            client,
            now: ms(0),
            config,
            ticked: None,
            opens: VecDeque::new(),
            abandons: VecDeque::new(),
            raws: VecDeque::new(),
            events: VecDeque::new(),
            streams: BTreeMap::new(),
            decided: BTreeSet::new(),
            calls_decided: BTreeSet::new(),
        }
    }

    /// A client with one idle native stream, on which request `id(1, 0)` was answered. The next
    /// request will be `id(2, 0)`.
    #[track_caller]
    pub(crate) fn native(config: ClientConfig) -> (Self, StreamId) {
        let mut c = Self::new(config);
        let first = c.send("first");
        let s = c.expect_open(Offer::Both);
        c.opened(s, Format::Native);
        c.expect_sent(s, [c.settings(), request(id(1, 0), "first")]);
        c.receives(s, [settings(32 << 20, 1024), response(id(1, 0), "done")]);
        c.expect_response(first, "done");
        (c, s)
    }

    /// A client with one idle plain stream, on which a request was answered, and whose peer is
    /// known to keep its streams.
    #[track_caller]
    pub(crate) fn plain(config: ClientConfig) -> (Self, StreamId) {
        let mut c = Self::new(config);
        c.now = Timestamp::from_nanos(ms(0).as_nanos() - 60_000_000);
        let first = c.send("first");
        let s = c.expect_open(Offer::Both);
        c.opened(s, Format::Plain);
        c.expect_sent(s, [plain("first")]);
        c.receives(s, [plain("done")]);
        c.expect_response(first, "done");
        c.at(0);
        (c, s)
    }

    /// What this client announces.
    pub(crate) fn settings(&self) -> Wire {
        settings(self.config.max_block_size(), self.config.max_in_flight() as u32)
    }

    /// Opens a native stream and settles on 1024 requests in flight.
    #[track_caller]
    pub(crate) fn opens_native(&mut self) -> StreamId {
        let s = self.expect_open(Offer::Only(Format::Native));
        self.opened(s, Format::Native);
        s
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

    /// Goes on until a timer has something to say, which is at `latest` at the latest; returns
    /// when that was, in milliseconds.
    #[track_caller]
    pub(crate) fn until(&mut self, latest: u64) -> u64 {
        loop {
            let due = self.pump().expect("a timer");
            assert!(due <= ms(latest), "nothing happens until {latest} ms");
            self.now = self.now.max(due);
            self.timeout();
            self.pump();
            if !self.leftovers().is_empty() {
                return self.now.since(ms(0)).as_millis() as u64;
            }
        }
    }

    /// Lets time pass, whether or not something is due.
    pub(crate) fn timeout(&mut self) {
        self.client.handle_input(ClientInput::Timeout, self.now);
        self.ticked = Some(self.now);
    }

    // Inputs.

    #[track_caller]
    pub(crate) fn send(&mut self, body: impl Into<Bytes>) -> RequestId {
        self.send_to(1, PROTOCOL, body)
    }

    /// Sends with a deadline.
    #[track_caller]
    pub(crate) fn send_until(&mut self, millis: u64, body: impl Into<Bytes>) -> RequestId {
        let body = Body::uncompressed(body.into());
        self.try_send(1, PROTOCOL, body, Some(ms(millis))).expect("accepted")
    }

    #[track_caller]
    pub(crate) fn send_to(&mut self, to: u8, protocol: &str, body: impl Into<Bytes>) -> RequestId {
        let body = Body::uncompressed(body.into());
        self.try_send(to, protocol, body, None).expect("accepted")
    }

    pub(crate) fn try_send(
        &mut self,
        to: u8,
        protocol: &str,
        body: Body,
        deadline: Option<Timestamp>,
    ) -> Result<RequestId, SendError> {
        self.client.send(&peer(to), protocol, body, deadline, self.now)
    }

    /// Adds peer number `n` to the nodes of [`PROTOCOL`].
    pub(crate) fn add_node(&mut self, n: u8) -> Result<bool, AddNodeError> {
        let protocol = ProtocolName::new(PROTOCOL).expect("a protocol name");
        self.client.add_server_node(&protocol, peer(n), self.now)
    }

    #[track_caller]
    pub(crate) fn send_closest(
        &mut self,
        body: &'static str,
        options: ClosestOptions,
    ) -> ClosestId {
        self.try_send_closest(body, options).expect("accepted")
    }

    pub(crate) fn try_send_closest(
        &mut self,
        body: &'static str,
        options: ClosestOptions,
    ) -> Result<ClosestId, SendError> {
        let key = Point::of_key(body.as_bytes());
        self.client.send_closest(PROTOCOL, key, Bytes::from(body), options, self.now)
    }

    pub(crate) fn cancel(&mut self, request: RequestId) {
        self.client.cancel(request, self.now);
    }

    pub(crate) fn drain(&mut self) {
        self.client.drain(self.now);
    }

    pub(crate) fn close(&mut self) {
        self.client.close(self.now);
    }

    pub(crate) fn opened(&mut self, stream: StreamId, format: Format) {
        self.client.handle_input(ClientInput::Opened(stream, format), self.now);
    }

    pub(crate) fn open_fails(&mut self, stream: StreamId, error: StreamError) {
        self.client.handle_input(ClientInput::OpenFailed(stream, error), self.now);
    }

    fn event(&mut self, stream: StreamId, event: StreamEvent) {
        self.client.handle_input(ClientInput::Stream(stream, event), self.now);
    }

    /// Frames arrive, all at once.
    pub(crate) fn receives<const N: usize>(&mut self, stream: StreamId, frames: [Wire; N]) {
        self.receives_bytes(stream, join(frames));
    }

    pub(crate) fn receives_bytes(&mut self, stream: StreamId, bytes: impl Into<Bytes>) {
        self.event(stream, StreamEvent::Received(bytes.into()));
    }

    /// Bytes are read straight to where the machine wants them.
    #[track_caller]
    pub(crate) fn fills(&mut self, stream: StreamId, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = self.client.space(stream).expect("space");
            let n = space.len().min(rest.len());
            space[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            self.event(stream, StreamEvent::Filled(n));
        }
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
        self.breaks_with(stream, StreamError::Lost("broken".into()));
    }

    pub(crate) fn breaks_with(&mut self, stream: StreamId, error: StreamError) {
        self.event(stream, StreamEvent::Failed(error));
        // The transport reports nothing after that, and takes nothing.
        self.streams.entry(stream).or_default().ended = true;
    }

    fn leftovers(&self) -> Vec<String> {
        let opens = self.opens.iter().map(|open| format!("open {open:?}"));
        let abandons = self.abandons.iter().map(|stream| format!("abandon {stream:?}"));
        let events = self.events.iter().map(|event| format!("{event:?}"));
        let ops = self.streams.iter().flat_map(|(stream, io)| {
            io.leftovers().into_iter().map(move |op| format!("{stream:?}: {op}"))
        });
        let raws = self.raws.iter().map(|output| format!("{output:?}"));
        opens.chain(abandons).chain(raws).chain(events).chain(ops).collect()
    }

    /// Takes outputs until there is nothing left to do; until when.
    #[track_caller]
    fn pump(&mut self) -> Option<Timestamp> {
        let wait = loop {
            match self.client.poll_output() {
                ClientOutput::Open { stream, peer, protocol, offer } => {
                    self.opens.push_back((stream, peer, protocol.as_str().to_owned(), offer));
                }
                ClientOutput::Abandon(stream) => self.abandons.push_back(stream),
                raw @ (ClientOutput::Dial { .. }
                | ClientOutput::AbandonDial(_)
                | ClientOutput::HangUp(_)) => self.raws.push_back(raw),
                ClientOutput::Stream(stream, op) => {
                    self.streams.entry(stream).or_default().take(op);
                }
                ClientOutput::Event(event) => {
                    if let ClientEvent::Response { request, .. }
                    | ClientEvent::Failed { request, .. } = &event
                    {
                        assert!(self.decided.insert(*request), "a second outcome: {event:?}");
                    }
                    if let ClientEvent::Closest { call, .. } = &event {
                        assert!(self.calls_decided.insert(*call), "a second outcome: {event:?}");
                    }
                    self.events.push_back(event);
                }
                ClientOutput::Wait(wait) => break wait,
            }
        };
        if let (Some(wait), Some(ticked)) = (wait, self.ticked) {
            assert!(wait > ticked, "a deadline at {wait} after a tick at {ticked}");
        }
        let stats = self.client.stats();
        assert_eq!(
            stats.started,
            stats.ok + stats.failed + stats.cancelled + stats.in_flight,
            "{stats:?}"
        );
        wait
    }
}

impl Drop for ClientScript {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.expect_quiet();
        }
    }
}

/// The options of a test that is not about retries.
pub(crate) fn without_retries() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

pub(crate) fn timed_out(millis: u64) -> Cause {
    Cause::TimedOut(Duration::from_millis(millis))
}

/// A native stream on which request `id(2, 0)`, "a", was written at `millis`.
#[track_caller]
pub(crate) fn asked_at(millis: u64, config: ClientConfig) -> (ClientScript, StreamId, RequestId) {
    let (mut c, s) = ClientScript::native(config);
    c.at(millis);
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    (c, s, a)
}
