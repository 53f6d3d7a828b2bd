//! The server: streams accepted, requests out to handlers, answers in.

mod driven;

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use slotmap::SlotMap;

use self::driven::Driven;
use crate::config::{ConfigError, ServerConfig};
use crate::connection::{CallId, ServerStream, ServerStreamEvent, StreamEvent, StreamOp};
use crate::endpoint::{
    Admission, Lifecycle, Notice, Origin, RateLimit, RateScope, RegisterError, ServerStats,
    StreamInfo, StreamKey, StreamTimers,
};
use crate::error::Status;
use crate::id::{PeerId, ProtocolName, StreamId};
use crate::time::Timestamp;
use crate::wire::Format;
use crate::wire::compress::{Body, Payload};

/// The server machine: [`Admission`] control and the [`ServerStream`]s with one input and one ordered output: whatever a stream
/// asks is answered at once.
///
/// See the [crate documentation](crate) for the loop that drives it.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    admission: Admission,
    streams: SlotMap<StreamId, Driven>,
    touched: VecDeque<StreamId>,
    /// Streams that may have news for admission control. They report before anybody else is let in.
    reporting: Vec<StreamId>,
    timers: StreamTimers,
    outputs: VecDeque<ServerOutput>,
    /// Raw streams that are open.
    raws: BTreeSet<StreamKey>,
    lifecycle: Lifecycle,
    now: Timestamp,
    /// When time was last let pass.
    ticked: Timestamp,
}

/// A request as the server names it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundId {
    stream: StreamId,
    call: CallId,
}

impl InboundId {
    /// The name of a request for whoever drives the parts of a server: the driver names the stream, and
    /// its [`ServerStream`] the call.
    #[must_use]
    pub const fn new(stream: StreamId, call: CallId) -> Self {
        Self { stream, call }
    }

    /// The stream on which it came.
    #[must_use]
    pub const fn stream(self) -> StreamId {
        self.stream
    }

    /// What its stream calls it.
    #[must_use]
    pub const fn call(self) -> CallId {
        self.call
    }
}

/// What happened outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerInput {
    /// Something happened on a stream.
    Stream(StreamId, StreamEvent),
    /// Time has passed.
    Timeout,
}

/// What is to be done outside. Exhaustive on purpose: a new duty must not go unnoticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerOutput {
    /// Do this on a stream.
    Stream(StreamId, StreamOp),
    /// Reset a raw stream: the server stops, and does not wait for it any longer.
    HangUp(StreamKey),
    /// Tell the application.
    Event(ServerEvent),
    /// Nothing is left to do until there is input, or until this time, when there may be
    /// something; `None` if time alone changes nothing.
    Wait(Option<Timestamp>),
}

/// What a server tells the application.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// Handle this and call [`Server::respond`], once.
    Request {
        /// Names the request.
        request: InboundId,
        /// Who asks.
        peer: PeerId,
        /// Under which protocol.
        protocol: ProtocolName,
        /// The body, perhaps compressed.
        payload: Payload,
        /// When the caller stops waiting, if it said so.
        deadline: Option<Timestamp>,
    },
    /// Nobody waits for this request any more: stop working on it and call
    /// [`Server::abandoned`].
    Abandon {
        /// The request.
        request: InboundId,
    },
    /// After [`Server::drain`]: no request and no stream is left. From now on protocols can be
    /// registered again.
    Drained,
}

impl Server {
    /// A server without protocols.
    ///
    /// # Errors
    /// [`ConfigError`] if an option is outside its range.
    pub fn new(config: ServerConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            admission: Admission::new(&config),
            config,
            streams: SlotMap::with_key(),
            touched: VecDeque::new(),
            reporting: Vec::new(),
            timers: StreamTimers::default(),
            outputs: VecDeque::new(),
            raws: BTreeSet::new(),
            lifecycle: Lifecycle::default(),
            now: Timestamp::ZERO,
            ticked: Timestamp::ZERO,
        })
    }

    /// Registers a protocol.
    ///
    /// # Errors
    /// [`RegisterError`] if it is registered already, or the server is stopping.
    pub fn register(&mut self, protocol: &ProtocolName) -> Result<(), RegisterError> {
        self.admission.register(protocol)
    }

    /// Unregisters a protocol; requests at work are finished. Returns whether it was registered.
    pub fn unregister(&mut self, protocol: &str) -> bool {
        self.admission.unregister(protocol)
    }

    /// Takes a stream that a peer opened and negotiated. A stream for a protocol that is not
    /// registered, or that comes while the server stops, is told so and closed.
    pub fn accept(
        &mut self,
        origin: impl Into<Origin>,
        protocol: &ProtocolName,
        format: Format,
        now: Timestamp,
    ) -> StreamId {
        self.now = self.now.max(now);
        let mut machine = ServerStream::new(format, &self.config, self.now).without_calls();
        let origin = origin.into();
        let (key, verdict) = self.admission.open(origin, protocol, format, true, self.now);
        machine.handle_verdict(verdict, self.now);
        let (peer, protocol) = (origin.peer, protocol.clone());
        let (touched, reporting, ticked) = (true, false, self.ticked);
        let mut driven =
            Driven { machine, key, peer, protocol, touched, reporting, timer: None, ticked };
        driven.exchange(&mut self.admission, self.now);
        let stream = self.streams.insert(driven);
        self.touched.push_back(stream);
        stream
    }

    /// Takes in what happened. What concerns a stream that is gone is ignored.
    pub fn handle_input(&mut self, input: ServerInput, now: Timestamp) {
        self.now = self.now.max(now);
        match input {
            ServerInput::Stream(stream, event) => {
                // Bytes alone change nothing for others before they are looked at.
                if matches!(event, StreamEvent::Received(_) | StreamEvent::Filled(_)) {
                    self.touch(stream, |machine, now| machine.handle(event, now));
                } else {
                    self.on_stream(stream, |machine, now| machine.handle(event, now));
                }
            }
            ServerInput::Timeout => {
                self.ticked = self.now;
                if self.lifecycle.handle_timeout(self.now) {
                    self.hang_up_raws();
                    let streams: Vec<StreamId> = self.streams.keys().collect();
                    for stream in streams {
                        self.on_stream(stream, |machine, _| machine.reset());
                    }
                }
                while let Some(stream) = self.timers.pop_due(self.now) {
                    if let Some(driven) = self.streams.get_mut(stream) {
                        driven.timer = None;
                    }
                    self.on_stream(stream, ServerStream::handle_timeout);
                }
            }
        }
    }

    /// Answers a request, with a body or with a failure. An answer for which nobody waits any
    /// more is dropped.
    pub fn respond<B: Into<Body>>(
        &mut self,
        request: InboundId,
        answer: Result<B, Status>,
        now: Timestamp,
    ) {
        self.now = self.now.max(now);
        let answer = answer.map(Into::into);
        self.on_handler(request.stream, |machine, now| {
            machine.respond(request.call, answer, now);
        });
    }

    /// Says that work on an abandoned request has stopped.
    pub fn abandoned(&mut self, request: InboundId, now: Timestamp) {
        self.now = self.now.max(now);
        self.on_handler(request.stream, |machine, now| {
            machine.abandoned(request.call, now);
        });
    }

    /// The next thing to do. Call until it returns [`ServerOutput::Wait`].
    ///
    /// A request is let in when it is returned here, and with it so many of those that have arrived
    /// behind it on its stream as are at work on that: what is answered between two calls never counts
    /// as more than one at work.
    #[must_use]
    pub fn poll_output(&mut self) -> ServerOutput {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            self.report();
            if self.admission.has_stalled() {
                self.reset_stalled();
            }
            let Some(stream) = self.touched.pop_front() else { break };
            if let Some(event) = self.next_event(stream) {
                // Other streams come before its next one.
                self.touched.push_back(stream);
                return ServerOutput::Event(event);
            }
            self.collect(stream);
        }
        if self.lifecycle.is_stopping() && self.streams.is_empty() && self.raws.is_empty() {
            self.lifecycle.finish(self.admission.stats().abandoned);
            self.admission.reopen();
            return ServerOutput::Event(ServerEvent::Drained);
        }
        ServerOutput::Wait(crate::time::earliest(
            self.timers.next(),
            self.lifecycle.next_deadline(),
        ))
    }

    /// Whether bytes of a stream are wanted now.
    #[must_use]
    pub fn wants_read(&self, stream: StreamId) -> bool {
        self.streams.get(stream).is_some_and(|driven| driven.machine.wants_read())
    }

    /// Where the next bytes of a large request can be read to without a copy; report them with
    /// [`StreamEvent::Filled`].
    pub fn space(&mut self, stream: StreamId) -> Option<&mut [u8]> {
        self.streams.get_mut(stream)?.machine.space()
    }

    /// Unregisters every protocol, takes no further requests, finishes those at work, and closes
    /// every stream; [`ServerEvent::Drained`] follows. What is still at work at `deadline` is cut
    /// off.
    pub fn drain(&mut self, deadline: Timestamp, now: Timestamp) {
        self.now = self.now.max(now);
        self.admission.drain();
        self.lifecycle.stop(deadline, false, self.admission.stats().abandoned);
        let streams: Vec<StreamId> = self.streams.keys().collect();
        for stream in streams {
            self.on_stream(stream, ServerStream::drain);
        }
    }

    /// The next thing to know about a peer as a whole. Ask when [`poll_output`](Self::poll_output) has
    /// nothing more.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.admission.poll_notice()
    }

    /// For how long a peer is kept out, if it is: see [`Admission::kept_out`].
    pub fn kept_out(&mut self, origin: impl Into<Origin>, now: Timestamp) -> Option<Duration> {
        self.now = self.now.max(now);
        self.admission.kept_out(origin, self.now)
    }

    /// Limits how much may come in a while: see [`Admission::set_rate_limit`].
    pub fn set_rate_limit(&mut self, scope: RateScope, limit: RateLimit) {
        self.admission.set_rate_limit(scope, limit);
    }

    /// Whether a protocol is registered and the server is not stopping.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.admission.is_running()
    }

    /// All open streams, in no particular order.
    #[doc(alias = "connections_info")]
    #[must_use]
    pub fn streams(&self, now: Timestamp) -> Vec<StreamInfo> {
        let now = self.now.max(now);
        let streams = self.streams.values();
        let streams = streams.map(|driven| (driven.key, driven.machine.last_active()));
        let raws = self.raws.iter().map(|key| (*key, Timestamp::ZERO));
        let info = |(key, active)| self.admission.stream_info(key, active, now);
        streams.chain(raws).filter_map(info).collect()
    }

    /// Counters so far.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.admission.stats()
    }

    /// Bytes held for incomplete requests and unwritten answers, and those not looked at.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.streams.values().map(|driven| driven.machine.buffered()).sum()
    }

    /// Does something to a stream, which reports that at once and is looked at soon.
    fn on_stream(&mut self, stream: StreamId, f: impl FnOnce(&mut ServerStream, Timestamp)) {
        self.touch(stream, f);
        if let Some(driven) = self.streams.get_mut(stream) {
            driven.exchange(&mut self.admission, self.now);
        }
    }

    /// The same for what ends a handler. Many end one after the other, so they are reported together,
    /// and before anybody else is let in.
    fn on_handler(&mut self, stream: StreamId, f: impl FnOnce(&mut ServerStream, Timestamp)) {
        self.touch(stream, f);
        let Some(driven) = self.streams.get_mut(stream) else { return };
        if driven.machine.is_asking() {
            driven.exchange(&mut self.admission, self.now);
        } else if !core::mem::replace(&mut driven.reporting, true) {
            self.reporting.push(stream);
        }
    }

    /// Does something to a stream, which is looked at soon.
    fn touch(&mut self, stream: StreamId, f: impl FnOnce(&mut ServerStream, Timestamp)) {
        let Some(driven) = self.streams.get_mut(stream) else { return };
        f(&mut driven.machine, self.now);
        if !core::mem::replace(&mut driven.touched, true) {
            self.touched.push_back(stream);
        }
    }

    /// Has streams report what has happened to them.
    fn report(&mut self) {
        while let Some(stream) = self.reporting.pop() {
            if let Some(driven) = self.streams.get_mut(stream) {
                driven.reporting = false;
                driven.exchange(&mut self.admission, self.now);
            }
        }
    }

    /// Gives up streams that hold memory which others lack.
    fn reset_stalled(&mut self) {
        for key in self.admission.take_stalled() {
            let found = self.streams.iter().find(|(_, driven)| driven.key == key);
            if let Some((stream, _)) = found {
                self.on_stream(stream, |machine, _| machine.reset());
            }
        }
    }

    /// What a stream has to tell next.
    fn next_event(&mut self, stream: StreamId) -> Option<ServerEvent> {
        let driven = self.streams.get_mut(stream)?;
        driven.catch_up(&mut self.admission, self.ticked, self.now);
        Some(match driven.poll_event(&mut self.admission, self.now)? {
            ServerStreamEvent::Request { call, payload, deadline } => ServerEvent::Request {
                request: InboundId { stream, call },
                peer: driven.peer,
                protocol: driven.protocol.clone(),
                payload,
                deadline,
            },
            ServerStreamEvent::Abandon { call } => {
                ServerEvent::Abandon { request: InboundId { stream, call } }
            }
        })
    }

    /// Takes what a stream that has no events wants done, and its timer.
    fn collect(&mut self, stream: StreamId) {
        let Some(driven) = self.streams.get_mut(stream) else { return };
        driven.take_ops(stream, &mut self.outputs);
        if driven.exchange(&mut self.admission, self.now) {
            driven.take_ops(stream, &mut self.outputs);
        }
        let mut due = driven.machine.next_deadline();
        if due.is_some_and(|due| due <= self.ticked) {
            // It has come up, or was postponed and is not any more, since time was last let pass.
            driven.machine.handle_timeout(self.ticked);
            driven.exchange(&mut self.admission, self.now);
            driven.take_ops(stream, &mut self.outputs);
            due = driven.machine.next_deadline();
        }
        driven.touched = driven.machine.has_event();
        if driven.touched {
            // What waited for room in the outbox is looked at now.
            self.touched.push_back(stream);
        }
        if driven.machine.is_ended() {
            self.timers.remove(stream, driven.timer);
            let report = driven.machine.close(self.now);
            self.admission.close(driven.key, report, self.now);
            self.streams.remove(stream);
        } else {
            self.timers.update(stream, &mut driven.timer, due);
        }
    }

    /// Lets in a raw stream that a peer opened and negotiated. It has a place among
    /// [`max_raw_streams`](crate::ServerConfig::max_raw_streams) until
    /// [`close_raw`](Self::close_raw). Its bytes do not pass through this machine.
    ///
    /// # Errors
    /// The [`Status`] that a request would be refused with. There is no way to tell the peer:
    /// reset the stream.
    pub fn accept_raw(
        &mut self,
        origin: impl Into<Origin>,
        protocol: &ProtocolName,
        now: Timestamp,
    ) -> Result<StreamKey, Status> {
        self.now = self.now.max(now);
        let key = self.admission.accept_raw(origin, protocol, self.now)?;
        self.raws.insert(key);
        Ok(key)
    }

    /// Says that a raw stream is not used any more. Unknown ones are ignored.
    pub fn close_raw(&mut self, key: StreamKey, now: Timestamp) {
        self.now = self.now.max(now);
        if self.raws.remove(&key) {
            self.admission.close_raw(key, self.now);
        }
    }

    /// A drain gives up on raw streams.
    fn hang_up_raws(&mut self) {
        let raws: Vec<StreamKey> = self.raws.iter().copied().collect();
        for key in raws {
            self.outputs.push_back(ServerOutput::HangUp(key));
            self.close_raw(key, self.now);
        }
    }
}
