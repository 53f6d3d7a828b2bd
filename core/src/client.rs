//! The client: requests in, streams driven, outcomes out.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;

use crate::config::{ClientConfig, ConfigError};
use crate::connection::{ClientStream, StreamEvent, StreamOp};
use crate::endpoint::closest::{AddNodeError, Node, Point, Strategy};
use crate::endpoint::{
    CallOptions, ClientEvent, ClientStats, ClosestOptions, DialId, Directive, Dispatcher, Offer,
    RetryPolicy, StreamInfo, StreamTimers,
};
use crate::error::{SendError, StreamError};
use crate::hash::FixedState;
use crate::id::{ClosestId, PeerId, ProtocolName, RequestId, StreamId};
use crate::time::{Timestamp, earliest};
use crate::wire::Format;
use crate::wire::compress::Body;

/// The client machine: a [`Dispatcher`] and the [`ClientStream`]s it directs, behind one input
/// and one ordered output.
///
/// See the [crate documentation](crate) for the loop that drives it.
#[derive(Debug)]
pub struct Client {
    dispatcher: Dispatcher,
    /// By name, and not by slot: one that is still being closed keeps its place although the dispatcher
    /// has given its slot to another one.
    streams: HashMap<StreamId, Driven, FixedState>,
    /// Streams that were touched since the last drain.
    touched: VecDeque<StreamId>,
    timers: StreamTimers,
    outputs: VecDeque<ClientOutput>,
    now: Timestamp,
    /// When time was last let pass.
    ticked: Timestamp,
    /// The dispatcher is done; the last operations on streams may still be under way.
    drained: bool,
}

#[derive(Debug)]
struct Driven {
    machine: ClientStream,
    touched: bool,
    timer: Option<Timestamp>,
}

/// What happened outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientInput {
    /// The answer to [`ClientOutput::Open`]: the stream is there and speaks this format.
    Opened(StreamId, Format),
    /// The answer to [`ClientOutput::Open`]: there will be no such stream.
    OpenFailed(StreamId, StreamError),
    /// The answer to [`ClientOutput::Dial`]: the raw stream is there.
    Dialed(DialId),
    /// The answer to [`ClientOutput::Dial`]: there will be no such stream.
    DialFailed(DialId, StreamError),
    /// Something happened on a stream.
    Stream(StreamId, StreamEvent),
    /// Time has passed.
    Timeout,
}

/// What is to be done outside. Exhaustive on purpose: a new duty must not go unnoticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientOutput {
    /// Connect if need be, open a stream and negotiate one of the offered formats; answer with
    /// [`ClientInput::Opened`] or [`ClientInput::OpenFailed`].
    Open {
        /// The name the stream will have.
        stream: StreamId,
        /// To whom.
        peer: PeerId,
        /// For which protocol.
        protocol: ProtocolName,
        /// In which formats.
        offer: Offer,
    },
    /// Nobody waits for this open any more; its outcome need not be reported.
    Abandon(StreamId),
    /// Do this on a stream.
    Stream(StreamId, StreamOp),
    /// Connect if need be and open a raw stream; answer with [`ClientInput::Dialed`] or
    /// [`ClientInput::DialFailed`].
    Dial {
        /// The name the stream will have.
        dial: DialId,
        /// To whom.
        peer: PeerId,
        /// For which protocol.
        protocol: ProtocolName,
    },
    /// Nobody waits for this raw stream any more; its outcome need not be reported.
    AbandonDial(DialId),
    /// Reset a raw stream, or drop it if it has just come.
    HangUp(DialId),
    /// Tell the application.
    Event(ClientEvent),
    /// Nothing is left to do until there is input, or until this time, when there may be
    /// something; `None` if time alone changes nothing.
    Wait(Option<Timestamp>),
}

impl Client {
    /// A client for the peer `local`, to which no request can be sent. `seed` decides the jitter
    /// of its pauses: equal seeds and inputs give equal outputs.
    ///
    /// # Errors
    /// [`ConfigError`] if an option is outside its range.
    pub fn new(
        config: ClientConfig,
        local: Option<PeerId>,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            dispatcher: Dispatcher::new(config, local, seed),
            streams: HashMap::default(),
            touched: VecDeque::new(),
            timers: StreamTimers::default(),
            outputs: VecDeque::new(),
            now: Timestamp::ZERO,
            ticked: Timestamp::ZERO,
            drained: false,
        })
    }

    /// Accepts a request for a peer. Exactly one [`ClientEvent::Response`] or
    /// [`ClientEvent::Failed`] follows for it, unless it is cancelled. A failed try is repeated as
    /// the [`RetryPolicy`] says.
    ///
    /// # Errors
    /// [`SendError`] if it is not accepted; nothing was sent then.
    pub fn send(
        &mut self,
        peer: &PeerId,
        protocol: &str,
        body: impl Into<Body>,
        options: impl Into<CallOptions>,
        now: Timestamp,
    ) -> Result<RequestId, SendError> {
        self.now = self.now.max(now);
        self.dispatcher.send(peer, protocol, body.into(), options.into(), now)
    }

    /// Replaces the retry policy.
    pub fn set_retry_policy(&mut self, policy: impl RetryPolicy + 'static) {
        self.dispatcher.set_retry_policy(Arc::new(policy));
    }

    /// Sets a retry policy for the requests of one protocol, in place of the one for all others.
    pub fn set_protocol_retry_policy(
        &mut self,
        protocol: ProtocolName,
        policy: impl RetryPolicy + 'static,
    ) {
        self.dispatcher.set_protocol_retry_policy(protocol, Arc::new(policy));
    }

    /// Gives up a request; the server is told. No event follows for it, unless its outcome was
    /// decided before.
    pub fn cancel(&mut self, request: RequestId, now: Timestamp) {
        self.now = self.now.max(now);
        self.dispatcher.cancel(request, now);
    }

    /// Adds a server to those that [`send_closest`](Self::send_closest) chooses from. Returns
    /// `false`, and changes nothing, if it is there already.
    ///
    /// # Errors
    /// [`AddNodeError`] if it is the own peer, or one more than
    /// [`MAX_NODES`](crate::endpoint::closest::MAX_NODES) of a protocol.
    pub fn add_server_node(
        &mut self,
        protocol: &ProtocolName,
        peer: PeerId,
        now: Timestamp,
    ) -> Result<bool, AddNodeError> {
        self.dispatcher.add_server_node(protocol, peer, now)
    }

    /// Removes a server and what is known of it. Returns `false` if it is not there.
    pub fn remove_server_node(&mut self, protocol: &str, peer: &PeerId) -> bool {
        self.dispatcher.remove_server_node(protocol, peer)
    }

    /// The servers of a protocol and what is known of each, in the order in which they were added.
    pub fn server_nodes(&self, protocol: &str) -> impl Iterator<Item = &Node> + use<'_> {
        self.dispatcher.server_nodes(protocol)
    }

    /// Removes all servers of a protocol.
    pub fn clear_server_nodes(&mut self, protocol: &str) {
        self.dispatcher.clear_server_nodes(protocol);
    }

    /// Whether a request can go to a server of the protocol.
    #[must_use]
    pub fn has_available_nodes(&self, protocol: &str, now: Timestamp) -> bool {
        self.dispatcher.has_available_nodes(protocol, now)
    }

    /// Replaces the strategy that chooses among the servers.
    pub fn set_strategy(&mut self, strategy: impl Strategy + 'static) {
        self.dispatcher.set_strategy(Arc::new(strategy));
    }

    /// Sets a strategy for the nodes of one protocol, in place of the one for all others.
    pub fn set_protocol_strategy(
        &mut self,
        protocol: ProtocolName,
        strategy: impl Strategy + 'static,
    ) {
        self.dispatcher.set_protocol_strategy(protocol, Arc::new(strategy));
    }

    /// Says whether there is a connection to a peer.
    pub fn set_online(&mut self, peer: PeerId, online: bool) {
        self.dispatcher.set_online(peer, online);
    }

    /// Sends a request to the closest usable server of the protocol, and to the next one if that
    /// fails. Exactly one [`ClientEvent::Closest`] follows, unless it is cancelled. `key` decides
    /// the distance; normally it is [`Point::of_key`] of the body.
    ///
    /// # Errors
    /// [`SendError`] if it is not accepted; nothing was sent then.
    pub fn send_closest(
        &mut self,
        protocol: &str,
        key: Point,
        body: impl Into<Body>,
        options: ClosestOptions,
        now: Timestamp,
    ) -> Result<ClosestId, SendError> {
        self.now = self.now.max(now);
        self.dispatcher.send_closest(protocol, key, body.into(), options, now)
    }

    /// Gives up a call to the closest node.
    pub fn cancel_closest(&mut self, call: ClosestId, now: Timestamp) {
        self.now = self.now.max(now);
        self.dispatcher.cancel_closest(call, now);
    }

    /// Opens a raw stream to a peer, for bytes in a format of the application's. Exactly one
    /// [`ClientEvent::Dialed`] or [`ClientEvent::DialFailed`] follows, unless it is hung up
    /// before. Its bytes do not pass through this machine, which only counts and times it.
    ///
    /// # Errors
    /// [`SendError`] if it is not accepted.
    pub fn dial(
        &mut self,
        peer: &PeerId,
        protocol: &str,
        deadline: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<DialId, SendError> {
        self.now = self.now.max(now);
        self.dispatcher.dial(peer, protocol, deadline, now)
    }

    /// Says that a raw stream is no longer used, or no longer waited for.
    pub fn hang_up(&mut self, dial: DialId, now: Timestamp) {
        self.now = self.now.max(now);
        self.dispatcher.hang_up(dial, now);
    }

    /// Takes in what happened. What concerns a stream or request that is gone is ignored.
    pub fn handle_input(&mut self, input: ClientInput, now: Timestamp) {
        self.now = self.now.max(now);
        match input {
            ClientInput::Opened(stream, format) => {
                if self.dispatcher.opened(stream, format, now) {
                    let machine = ClientStream::new(format, self.dispatcher.config(), self.now);
                    self.streams.insert(stream, Driven { machine, touched: true, timer: None });
                    self.touched.push_back(stream);
                } else {
                    self.outputs.push_back(ClientOutput::Stream(stream, StreamOp::Reset));
                }
            }
            ClientInput::OpenFailed(stream, error) => {
                self.dispatcher.open_failed(stream, error, now);
            }
            ClientInput::Dialed(dial) => {
                if !self.dispatcher.dialed(dial, now) {
                    self.outputs.push_back(ClientOutput::HangUp(dial));
                }
            }
            ClientInput::DialFailed(dial, error) => self.dispatcher.dial_failed(dial, error, now),
            ClientInput::Stream(stream, event) => {
                self.on_stream(stream, |machine, now| machine.handle(event, now));
            }
            ClientInput::Timeout => {
                self.ticked = self.now;
                self.dispatcher.handle_timeout(now);
                while let Some(stream) = self.timers.pop_due(self.now) {
                    if let Some(driven) = self.streams.get_mut(&stream) {
                        driven.timer = None;
                    }
                    self.on_stream(stream, ClientStream::handle_timeout);
                }
            }
        }
    }

    /// The next thing to do. Call until it returns [`ClientOutput::Wait`].
    #[must_use]
    pub fn poll_output(&mut self) -> ClientOutput {
        if self.outputs.is_empty() {
            self.settle();
        }
        self.outputs.pop_front().unwrap_or_else(|| {
            ClientOutput::Wait(earliest(self.timers.next(), self.dispatcher.next_deadline()))
        })
    }

    /// Puts no further requests on a stream, and closes it when those on it have ended. To be said
    /// of streams on a connection when there is a better one to the same peer.
    pub fn retire(&mut self, stream: StreamId, now: Timestamp) {
        self.now = self.now.max(now);
        self.dispatcher.retire(stream, now);
    }

    /// Whether bytes of a stream are wanted.
    #[must_use]
    pub fn wants_read(&self, stream: StreamId) -> bool {
        self.streams.get(&stream).is_some_and(|driven| driven.machine.wants_read())
    }

    /// Where the next bytes of a large answer can be read to without a copy; report them with
    /// [`StreamEvent::Filled`].
    pub fn space(&mut self, stream: StreamId) -> Option<&mut [u8]> {
        self.streams.get_mut(&stream)?.machine.space()
    }

    /// Accepts no further requests and lets those under way end; [`ClientEvent::Drained`] follows.
    pub fn drain(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.dispatcher.drain(now);
    }

    /// Fails what is under way and closes every stream; [`ClientEvent::Drained`] follows.
    pub fn close(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.dispatcher.close(now);
    }

    /// One entry for each open stream, as things stand at `now`.
    #[doc(alias = "connections_info")]
    #[must_use]
    pub fn streams(&self, now: Timestamp) -> Vec<StreamInfo> {
        self.dispatcher.streams(now)
    }

    /// Counters so far.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.dispatcher.stats()
    }

    /// Bytes held for incomplete answers and unwritten requests.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.streams.values().map(|driven| driven.machine.buffered()).sum()
    }

    /// Lets something happen to a stream, and the dispatcher know what came of it.
    fn on_stream(&mut self, stream: StreamId, f: impl FnOnce(&mut ClientStream, Timestamp)) {
        let now = self.now;
        let Some(driven) = self.streams.get_mut(&stream) else { return };
        f(&mut driven.machine, now);
        if !core::mem::replace(&mut driven.touched, true) {
            self.touched.push_back(stream);
        }
        while let Some(report) = driven.machine.poll_report() {
            self.dispatcher.report(stream, report, now);
        }
    }

    /// Carries out what the dispatcher decided, then collects what the streams want done: what
    /// was decided together is written together.
    fn settle(&mut self) {
        loop {
            while let Some(directive) = self.dispatcher.poll_directive() {
                self.direct(directive);
            }
            // What was decided after the last tick may have been due at it already.
            if self.dispatcher.next_deadline().is_some_and(|due| due <= self.ticked) {
                self.dispatcher.handle_timeout(self.ticked);
                continue;
            }
            let overdue = self.touched.iter().copied().find(|stream| {
                let due = self.streams.get(stream).and_then(|s| s.machine.next_deadline());
                due.is_some_and(|due| due <= self.ticked)
            });
            match overdue {
                Some(stream) => self.on_stream(stream, ClientStream::handle_timeout),
                None => break,
            }
        }
        while let Some(stream) = self.touched.pop_front() {
            self.collect(stream);
        }
        if self.streams.is_empty() && core::mem::take(&mut self.drained) {
            self.outputs.push_back(ClientOutput::Event(ClientEvent::Drained));
        }
    }

    fn direct(&mut self, directive: Directive) {
        match directive {
            Directive::Open { stream, peer, protocol, offer } => {
                self.outputs.push_back(ClientOutput::Open { stream, peer, protocol, offer });
            }
            Directive::Abandon { stream } => {
                self.outputs.push_back(ClientOutput::Abandon(stream));
            }
            Directive::Command { stream, command } => {
                self.on_stream(stream, |machine, now| machine.carry_out(command, now));
            }
            Directive::Dial { dial, peer, protocol } => {
                self.outputs.push_back(ClientOutput::Dial { dial, peer, protocol });
            }
            Directive::AbandonDial { dial } => {
                self.outputs.push_back(ClientOutput::AbandonDial(dial));
            }
            Directive::Ask(question) => self.dispatcher.decided(question.decide(), self.now),
            Directive::HangUp { dial } => self.outputs.push_back(ClientOutput::HangUp(dial)),
            Directive::Event(ClientEvent::Drained) => self.drained = true,
            Directive::Event(event) => self.outputs.push_back(ClientOutput::Event(event)),
        }
    }

    fn collect(&mut self, stream: StreamId) {
        let Some(driven) = self.streams.get_mut(&stream) else { return };
        driven.touched = false;
        while let Some(op) = driven.machine.poll_op() {
            self.outputs.push_back(ClientOutput::Stream(stream, op));
        }
        if driven.machine.is_ended() {
            self.timers.remove(stream, driven.timer);
            self.streams.remove(&stream);
        } else {
            self.timers.update(stream, &mut driven.timer, driven.machine.next_deadline());
        }
    }
}
