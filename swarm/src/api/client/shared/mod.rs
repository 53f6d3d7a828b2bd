//! Where callers, streams and the swarm meet: the dispatcher behind a short lock.
//!
//! A call on a warm stream never visits the swarm's task. Callers put a request in, the task of
//! the stream's connection takes a batch of commands out, and reports a batch of outcomes.

mod directives;
mod effects;
mod mailbox;
mod raw;

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::channel::oneshot;
use futures::task::AtomicWaker;
use libp2p_swarm::ConnectionId;
use parking_lot::{Mutex, RwLock};
use pointsub_core::connection::{ClientStream, Report, StreamCommand};
use pointsub_core::endpoint::Dispatcher;
use pointsub_core::endpoint::closest::Point;
use pointsub_core::{
    Body, CallOptions, ClientConfig, ClientStats, ClosestId, ClosestOptions, DialId, Format,
    Headers, PeerId, ProtocolName, RequestId, SendError, StreamError, StreamId, Timestamp,
};
use slotmap::SecondaryMap;

pub(crate) use effects::{Answered, Outcome};
use effects::{ClosestOutcome, DialOutcome, Effects};
use mailbox::Mailbox;

use super::compression::Compression;
use super::expiry::Deadlines;
use super::local::Local;
use super::policy::Policies;
use super::ticket::{OpenTicket, Opener, Wanted};
use crate::api::calls::openings::Openings;
use crate::api::message::Request;
use crate::api::raw::CancelHandle;
use crate::clock::Clock;
use crate::connection::buffers;
use crate::discovery::shared::Discovery;
use crate::telemetry::{Attempts, CallSpans, Telemetry};
use crate::timer::Timer;
use crate::{notify, peer};

#[derive(Debug)]
pub(crate) struct ClientShared {
    pub(crate) clock: Clock,
    pub(crate) config: ClientConfig,
    /// Read at each call, written while the client is being built.
    pub(super) policies: RwLock<Policies>,
    pub(super) deadlines: Arc<Deadlines>,
    pub(crate) local: libp2p_identity::PeerId,
    /// Who answers instead of a network.
    pub(super) answers: Option<Local>,
    state: Mutex<State>,
    /// Who is told of calls.
    pub(crate) telemetry: Telemetry,
    /// Of calls under way, as far as anybody wants spans.
    pub(crate) spans: CallSpans,
    pub(crate) compression: Compression,
    /// Calls that are not accepted.
    pub(crate) openings: Openings,
    /// Servers that nobody has named.
    pub(crate) discovery: Discovery,
    /// The task that polls the behaviour.
    swarm: AtomicWaker,
}

#[derive(Debug)]
struct State {
    dispatcher: Dispatcher,
    mailboxes: SecondaryMap<StreamId, Mailbox>,
    waiters: SecondaryMap<RequestId, oneshot::Sender<Outcome>>,
    closest_waiters: SecondaryMap<ClosestId, oneshot::Sender<ClosestOutcome>>,
    dial_waiters: SecondaryMap<DialId, oneshot::Sender<DialOutcome>>,
    /// Raw streams that are open.
    cancel_handles: SecondaryMap<DialId, Arc<CancelHandle>>,
    opens: VecDeque<OpenCommand>,
    drained: Vec<oneshot::Sender<()>>,
    /// The deadline that the behaviour knows of.
    swarm_due: Option<Timestamp>,
}

/// What the dispatcher wants of the swarm.
#[derive(Debug)]
pub(crate) enum OpenCommand {
    Open(OpenTicket),
    Abandon(Wanted),
}

impl ClientShared {
    pub(crate) fn new(
        config: ClientConfig,
        local: libp2p_identity::PeerId,
        clock: Clock,
    ) -> Arc<Self> {
        Self::answered_by(config, local, clock, None)
    }

    /// A client whose requests are answered without a network, if there is somebody who does.
    pub(super) fn answered_by(
        config: ClientConfig,
        local: libp2p_identity::PeerId,
        clock: Clock,
        answers: Option<Local>,
    ) -> Arc<Self> {
        Arc::new(Self {
            policies: RwLock::default(),
            deadlines: Deadlines::new(clock.clone()),
            clock,
            config: config.clone(),
            local,
            answers,
            state: Mutex::new(State {
                dispatcher: Dispatcher::new(config, Some(peer::to_core(&local)), seed()),
                mailboxes: SecondaryMap::new(),
                waiters: SecondaryMap::new(),
                closest_waiters: SecondaryMap::new(),
                dial_waiters: SecondaryMap::new(),
                cancel_handles: SecondaryMap::new(),
                opens: VecDeque::new(),
                drained: Vec::new(),
                swarm_due: None,
            }),
            telemetry: Telemetry::default(),
            spans: CallSpans::default(),
            compression: Compression::default(),
            openings: Openings::default(),
            discovery: Discovery::new(local),
            swarm: AtomicWaker::new(),
        })
    }

    pub(crate) fn send(
        self: &Arc<Self>,
        peer: &PeerId,
        protocol: &str,
        body: Body,
        options: CallOptions,
        now: Timestamp,
    ) -> Result<(RequestId, oneshot::Receiver<Outcome>), SendError> {
        let (sender, receiver) = oneshot::channel();
        let id = self.update(|state| {
            let id = state.dispatcher.send(peer, protocol, body, options, now)?;
            state.waiters.insert(id, sender);
            Ok::<_, SendError>(id)
        })?;
        Ok((id, receiver))
    }

    /// A stream for requests is there. Returns its machine, if anybody still wants it.
    pub(crate) fn opened(
        self: &Arc<Self>,
        stream: StreamId,
        format: Format,
        connection: Option<ConnectionId>,
        relayed: bool,
    ) -> Option<ClientStream> {
        let now = self.clock.now();
        self.update(|state| {
            state.mailboxes.insert(stream, Mailbox::new(connection));
            if state.dispatcher.opened(stream, format, now) {
                let machine = ClientStream::new(format, state.dispatcher.config(), now);
                Some(machine.with_buffers(buffers::shared()).with_relay(relayed))
            } else {
                state.mailboxes.remove(stream);
                None
            }
        })
    }

    /// There is a better connection than that of these streams: they take no further requests.
    pub(crate) fn retire(self: &Arc<Self>, streams: impl IntoIterator<Item = StreamId>) {
        let now = self.clock.now();
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        for stream in streams {
            state.dispatcher.retire(stream, now);
        }
        state.apply(self, &mut effects);
        drop(state);
        self.fire(effects);
    }

    /// There is a better connection than this one.
    pub(crate) fn retire_connection(self: &Arc<Self>, connection: ConnectionId) {
        let state = self.state.lock();
        let on_it = state.mailboxes.iter().filter(|(_, mailbox)| mailbox.is_on(connection));
        let streams: Vec<StreamId> = on_it.map(|(stream, _)| stream).collect();
        drop(state);
        self.retire(streams);
    }

    pub(crate) fn cancel(self: &Arc<Self>, request: RequestId) {
        let now = self.clock.now();
        self.update(|state| {
            state.waiters.remove(request);
            state.dispatcher.cancel(request, now);
        });
    }

    /// The deadline of a request has passed, and nobody has said so.
    pub(crate) fn expire(self: &Arc<Self>, request: RequestId) {
        let now = self.clock.now();
        self.update(|State { dispatcher, mailboxes, .. }| {
            let begun = |stream| {
                !mailboxes.get(stream).is_some_and(|mailbox: &Mailbox| mailbox.has(request))
            };
            dispatcher.expire(request, begun, now);
        });
    }

    pub(crate) fn expire_closest(self: &Arc<Self>, call: ClosestId) {
        let now = self.clock.now();
        self.update(|state| state.dispatcher.expire_closest(call, now));
    }

    pub(crate) fn send_closest(
        self: &Arc<Self>,
        protocol: &str,
        key: Point,
        body: Body,
        options: ClosestOptions,
    ) -> Result<(ClosestId, oneshot::Receiver<ClosestOutcome>), SendError> {
        let now = self.clock.now();
        let (sender, receiver) = oneshot::channel();
        let id = self.update(|state| {
            let id = state.dispatcher.send_closest(protocol, key, body, options, now)?;
            state.closest_waiters.insert(id, sender);
            Ok::<_, SendError>(id)
        })?;
        Ok((id, receiver))
    }

    pub(crate) fn cancel_closest(self: &Arc<Self>, call: ClosestId) {
        let now = self.clock.now();
        self.update(|state| {
            state.closest_waiters.remove(call);
            state.dispatcher.cancel_closest(call, now);
        });
    }

    /// Asks or tells the dispatcher something that leads to no directive.
    pub(crate) fn with_dispatcher<T>(&self, f: impl FnOnce(&mut Dispatcher) -> T) -> T {
        f(&mut self.state.lock().dispatcher)
    }

    /// The behaviour has something to do.
    pub(crate) fn wake_swarm(&self) {
        self.swarm.wake();
    }

    /// Whether somebody answers instead of a network.
    pub(crate) fn is_local(&self) -> bool {
        self.answers.is_some()
    }

    /// A request for whoever answers instead of a network, unless the client is closed.
    pub(super) fn local_request(
        &self,
        protocol: ProtocolName,
        body: Bytes,
        headers: Headers,
    ) -> Result<Request, SendError> {
        let Headers { method, metadata } = headers;
        match self.state.lock().dispatcher.is_drained() {
            true => Err(SendError::Closed),
            false => {
                let request = Request::new(self.local, protocol, body);
                Ok(Request { method, metadata, ..request })
            }
        }
    }

    /// Whether it makes sense to compress a body: [`Dispatcher::compresses`].
    pub(crate) fn compresses_for(
        &self,
        whom: Option<(&PeerId, &ProtocolName)>,
        len: usize,
    ) -> bool {
        let whom = whom.map(|(peer, protocol)| (peer, protocol.as_str()));
        self.state.lock().dispatcher.compresses(whom, len)
    }

    pub(crate) fn stats(&self) -> ClientStats {
        self.state.lock().dispatcher.stats()
    }

    /// Fails what is under way, closes every stream; the receiver hears when nothing is left.
    pub(crate) fn close(self: &Arc<Self>) -> oneshot::Receiver<()> {
        self.stop(Dispatcher::close)
    }

    /// Lets what is under way end, then closes; the receiver hears when nothing is left.
    pub(crate) fn drain(self: &Arc<Self>) -> oneshot::Receiver<()> {
        self.stop(Dispatcher::drain)
    }

    /// The swarm is gone: nothing can be sent or opened any more.
    pub(crate) fn abandon(self: &Arc<Self>) {
        let now = self.clock.now();
        let opens = self.update(|state| {
            state.dispatcher.close(now);
            std::mem::take(&mut state.opens)
        });
        // Dropped without the lock, because each of them takes it.
        drop(opens);
        self.discovery.end();
    }

    fn stop(
        self: &Arc<Self>,
        how: impl FnOnce(&mut Dispatcher, Timestamp),
    ) -> oneshot::Receiver<()> {
        let now = self.clock.now();
        let (sender, receiver) = oneshot::channel();
        self.update(|state| {
            state.drained.push(sender);
            how(&mut state.dispatcher, now);
            if state.dispatcher.is_drained() {
                notify(&mut state.drained);
            }
        });
        receiver
    }

    /// Takes what waits for a stream's driver, or a batch of it, and remembers how to wake it for
    /// more. Whether something is left.
    pub(crate) fn take_commands(
        &self,
        stream: StreamId,
        in_flight: usize,
        commands: &mut Vec<StreamCommand>,
        cx: &Context<'_>,
    ) -> bool {
        let mut state = self.state.lock();
        let Some(mailbox) = state.mailboxes.get_mut(stream) else { return false };
        mailbox.take_batch(in_flight, commands, cx)
    }

    /// Passes on what a stream reports, and takes what that leads to on the same stream.
    pub(crate) fn report(
        self: &Arc<Self>,
        stream: StreamId,
        machine: &mut ClientStream,
        commands: &mut Vec<StreamCommand>,
        mut attempts: Option<&mut Attempts>,
        now: Timestamp,
    ) {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        while let Some(report) = machine.poll_report() {
            let closed = report == Report::Closed;
            if let Some(attempts) = &mut attempts {
                attempts.note_report(&report, now);
            }
            state.dispatcher.report(stream, report, now);
            state.apply(self, &mut effects);
            if closed {
                state.mailboxes.remove(stream);
            }
        }
        if let Some(mailbox) = state.mailboxes.get_mut(stream) {
            mailbox.take_all(commands);
        }
        drop(state);
        self.fire(effects);
    }

    /// What the swarm is to do next. Also lets time pass for the dispatcher.
    pub(crate) fn poll_open(
        self: &Arc<Self>,
        timer: &mut Timer,
        cx: &mut Context<'_>,
    ) -> Poll<OpenCommand> {
        self.swarm.register(cx.waker());
        loop {
            let due = {
                let mut state = self.state.lock();
                if let Some(command) = state.opens.pop_front() {
                    return Poll::Ready(command);
                }
                state.swarm_due = state.dispatcher.next_deadline();
                state.swarm_due
            };
            if !timer.poll_due(due, cx) {
                return Poll::Pending;
            }
            let now = self.clock.now();
            self.update(|state| state.dispatcher.handle_timeout(now));
        }
    }

    fn update<T>(self: &Arc<Self>, f: impl FnOnce(&mut State) -> T) -> T {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        let result = f(&mut state);
        state.apply(self, &mut effects);
        drop(state);
        self.fire(effects);
        result
    }

    fn fire(self: &Arc<Self>, effects: Effects) {
        for question in effects.run(&self.swarm) {
            let decision = question.decide();
            let now = self.clock.now();
            self.update(|state| state.dispatcher.decided(decision, now));
        }
    }
}

impl Opener for ClientShared {
    fn open_failed(self: Arc<Self>, wanted: Wanted, error: StreamError) {
        let now = self.clock.now();
        self.update(|state| match wanted {
            Wanted::Pooled(stream) => state.dispatcher.open_failed(stream, error, now),
            Wanted::Raw(dial) => state.dispatcher.dial_failed(dial, error, now),
        });
    }
}

/// A number that differs from client to client, so that their retries do not coincide.
pub(in crate::api) fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
