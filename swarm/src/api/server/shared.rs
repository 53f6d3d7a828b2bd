//! Where handlers, streams and the swarm meet on the serving side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use futures::FutureExt;
use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select};
use futures::task::AtomicWaker;
use libp2p_identity::PeerId;
use libp2p_swarm::Stream;
use parking_lot::Mutex;
use pointsub_core::connection::{ServerReport, ServerStream};
use pointsub_core::endpoint::{
    Admission, Lifecycle, Notice, Origin, RegisterError, Stopped, StreamKey,
};
use pointsub_core::wire::compress::Gains;
use pointsub_core::{Format, ProtocolName, ServerConfig};
use slotmap::SecondaryMap;

use super::error_log::ErrorLog;
use super::gate::Rules;
use super::handler::Handler;
use super::mailbox::{Command, Mailbox};
use super::semaphore::Semaphore;
use crate::api::raw::{CancelHandle, Place, RawStream};
use crate::clock::Clock;
use crate::connection::buffers;
use crate::connection::negotiation::{Speaks, WireName};
use crate::telemetry::Telemetry;

/// How many bytes of the requests that follow an admitted one a stream may hold before it has to ask
/// for room. They count in the budgets meanwhile.
const ALLOWANCE: usize = 64 * 1024;

/// So long before the end of a stop's grace, or a tenth of it before if that is less, calls that are left
/// are ended: their clients are told that the server is draining.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(crate) struct ServerShared {
    pub(crate) local: PeerId,
    pub(crate) clock: Clock,
    pub(crate) config: ServerConfig,
    /// Of handlers with large bodies.
    pub(crate) semaphore: Arc<Semaphore>,
    /// What compression of answers is worth.
    pub(crate) gains: Mutex<Gains>,
    /// Of errors whose texts callers do not get.
    pub(crate) error_log: Arc<ErrorLog>,
    /// Held for fractions of a microsecond, never while a handler runs.
    pub(crate) state: Mutex<State>,
    /// Who is told of requests.
    pub(crate) telemetry: Telemetry,
    /// Who may come. Never asked while anything is locked.
    pub(crate) rules: Rules,
    /// A task looks for raw streams that are idle.
    pub(super) watches_raws: AtomicBool,
    /// The server stops: others are to be told that it serves nothing.
    withdrawn: AtomicBool,
    /// How often the names to listen for have changed.
    changes: AtomicU64,
    /// The task that polls the behaviour.
    swarm: AtomicWaker,
}

pub(crate) struct State {
    pub(crate) admission: Admission,
    /// Of every protocol that admission control knows.
    services: BTreeMap<ProtocolName, Service>,
    /// The next listener's.
    listening: u64,
    /// Both names of every protocol, as negotiated; made anew at each change.
    names: Arc<[WireName]>,
    /// The streams that are served; not those that are only told that they are not.
    pub(super) mailboxes: SecondaryMap<StreamKey, Arc<Mailbox>>,
    /// Raw streams that are open, accepted or waiting for that.
    pub(super) cancel_handles: SecondaryMap<StreamKey, Arc<CancelHandle>>,
    /// What the behaviour is to do about peers.
    pub(super) notices: Vec<Notice>,
    /// The rules have changed, and connections are to be looked at.
    pub(super) rechecks: bool,
    /// Who waits until no stream is left.
    stopping: Vec<oneshot::Sender<Stopped>>,
    lifecycle: Lifecycle,
}

/// What becomes of a protocol's streams.
enum Service {
    /// Their requests are answered.
    Handler(Arc<dyn Handler>),
    /// They are handed on as they are.
    Listener(Listening, mpsc::UnboundedSender<RawStream>),
}

impl Service {
    const fn is_handler(&self) -> bool {
        matches!(self, Self::Handler(_))
    }
}

/// One listener, told apart from others that listened for the same protocol before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listening(u64);

/// A stream that was taken on.
pub(crate) struct Accepted {
    pub(crate) machine: ServerStream,
    pub(crate) key: StreamKey,
    /// Who answers its requests; nobody if it is refused.
    pub(crate) handler: Option<Arc<dyn Handler>>,
    pub(crate) mailbox: Arc<Mailbox>,
}

impl ServerShared {
    pub(crate) fn new(config: ServerConfig, local: PeerId, clock: Clock) -> Arc<Self> {
        let state = Mutex::new(State {
            admission: Admission::new(&config),
            services: BTreeMap::new(),
            listening: 0,
            names: Arc::default(),
            mailboxes: SecondaryMap::new(),
            cancel_handles: SecondaryMap::new(),
            notices: Vec::new(),
            rechecks: false,
            stopping: Vec::new(),
            lifecycle: Lifecycle::default(),
        });
        let (semaphore, swarm) = (Semaphore::new(), AtomicWaker::new());
        let error_log = Arc::new(ErrorLog::new(config.error_texts(), clock.clone()));
        Arc::new(Self {
            local,
            clock,
            config,
            semaphore,
            gains: Mutex::default(),
            error_log,
            state,
            telemetry: Telemetry::default(),
            rules: Rules::default(),
            watches_raws: AtomicBool::new(false),
            withdrawn: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            swarm,
        })
    }

    pub(crate) fn register(
        &self,
        protocol: &ProtocolName,
        handler: Arc<dyn Handler>,
    ) -> Result<(), RegisterError> {
        self.serve(protocol, |_| Service::Handler(handler))
    }

    pub(crate) fn listen(
        &self,
        protocol: &ProtocolName,
        sender: mpsc::UnboundedSender<RawStream>,
    ) -> Result<Listening, RegisterError> {
        let mut listening = Listening(0);
        self.serve(protocol, |state| {
            state.listening += 1;
            listening = Listening(state.listening);
            Service::Listener(listening, sender)
        })?;
        Ok(listening)
    }

    fn serve(
        &self,
        protocol: &ProtocolName,
        service: impl FnOnce(&mut State) -> Service,
    ) -> Result<(), RegisterError> {
        let mut state = self.state.lock();
        if state.lifecycle.ends() {
            return Err(RegisterError::Closed);
        }
        state.admission.register(protocol)?;
        let service = service(&mut state);
        state.services.insert(protocol.clone(), service);
        state.rebuild_names();
        self.changes.fetch_add(1, Ordering::Release);
        drop(state);
        self.swarm.wake();
        Ok(())
    }

    /// A listener is gone; the protocol may be served by another one already.
    pub(crate) fn unlisten(&self, protocol: &ProtocolName, listening: Listening) {
        let is_this =
            |service: &Service| matches!(service, Service::Listener(l, _) if *l == listening);
        if self.state.lock().services.get(protocol).is_some_and(is_this) {
            self.unregister(protocol);
        }
    }

    /// The names of all protocols that are registered.
    pub(crate) fn protocols(&self) -> Vec<ProtocolName> {
        self.state.lock().services.keys().cloned().collect()
    }

    /// The names of those that have a handler.
    pub(crate) fn served(&self) -> Vec<ProtocolName> {
        let state = self.state.lock();
        let handled = state.services.iter().filter(|(_, service)| service.is_handler());
        handled.map(|(protocol, _)| protocol.clone()).collect()
    }

    pub(crate) fn unregister(&self, protocol: &ProtocolName) -> bool {
        let mut state = self.state.lock();
        let known = state.admission.unregister(protocol.as_str());
        let service = state.services.remove(protocol);
        state.rebuild_names();
        self.changes.fetch_add(1, Ordering::Release);
        // What a handler owns may ask the server something as it is dropped.
        drop(state);
        drop(service);
        self.swarm.wake();
        known
    }

    /// Whether the server has begun to stop since this was asked last.
    pub(crate) fn take_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire) && self.withdrawn.swap(false, Ordering::AcqRel)
    }

    /// The names to listen for now.
    pub(crate) fn names(&self) -> Arc<[WireName]> {
        self.state.lock().names.clone()
    }

    /// How often [`names`](Self::names) has changed. Connections look at it for each stream, so it takes
    /// no lock.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(super) fn wake_swarm(&self) {
        self.swarm.wake();
    }

    pub(crate) fn register_swarm(&self, waker: &Waker) {
        self.swarm.register(waker);
    }

    /// Takes on a stream; refuses it if its connection has too many or nobody serves the protocol.
    pub(crate) fn accept(
        &self,
        (peer, origin): (&PeerId, Origin),
        protocol: &ProtocolName,
        format: Format,
        has_room: bool,
    ) -> Accepted {
        let (now, mailbox) = (self.clock.now(), Arc::<Mailbox>::default());
        let origin = origin.trusted(self.rules.get().trusts(peer));
        let denied = if has_room { self.denial(peer, protocol) } else { None };
        let is_told = denied.is_none() || format == Format::Native;
        let mut machine = ServerStream::new(format, &self.config, now)
            .with_buffers(buffers::shared())
            .with_allowance(ALLOWANCE);
        if let Some(status) = denied {
            machine = machine.with_denial(status);
        }
        let mut state = self.state.lock();
        if !is_told {
            state.admission.note_denied();
        }
        let handler = match state.services.get(protocol) {
            Some(Service::Handler(handler)) if has_room => Some(handler.clone()),
            _ => None,
        };
        let served = handler.is_some();
        if handler.as_ref().is_none_or(|handler| handler.calls().is_none()) {
            machine = machine.without_calls();
        }
        let (key, verdict) = state.admission.open(origin, protocol, format, served, now);
        if served {
            state.mailboxes.insert(key, mailbox.clone());
        }
        drop(state);
        machine.handle_verdict(verdict, now);
        Accepted { machine, key, handler, mailbox }
    }

    /// Ends an idle one of these streams, if there is one, in favour of another.
    pub(crate) fn make_room(&self, among: impl IntoIterator<Item = StreamKey>) -> bool {
        let mut state = self.state.lock();
        let key = state.admission.make_room(among);
        let mailbox = key.and_then(|key| state.mailboxes.get(key).cloned());
        drop(state);
        mailbox.inspect(|mailbox| mailbox.push(Command::Drain { stop: false })).is_some()
    }

    /// Whether a request is at work on one of these streams.
    pub(crate) fn is_at_work(&self, among: impl IntoIterator<Item = StreamKey>) -> bool {
        self.state.lock().admission.is_at_work(among)
    }

    /// Forgets a stream whose handlers have been stopped. It is `unconfirmed` if it should have told
    /// that its peer has got everything, and did not.
    pub(crate) fn close(&self, key: StreamKey, report: ServerReport, unconfirmed: bool) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.admission.close(key, report, now);
        state.mailboxes.remove(key);
        if unconfirmed {
            state.lifecycle.note_unconfirmed();
        }
        state.finish_stop();
        let has_news = state.admission.has_news();
        drop(state);
        if has_news {
            self.attend();
        }
    }

    /// Takes on a raw stream, or drops it, which resets it. `share` is one of its connection.
    pub(crate) fn accept_raw(
        self: &Arc<Self>,
        io: Stream,
        (peer, origin): (PeerId, Origin),
        protocol: &ProtocolName,
        share: Arc<()>,
    ) {
        let (now, cancel) = (self.clock.now(), Arc::<CancelHandle>::default());
        let origin = origin.trusted(self.rules.get().trusts(&peer));
        if self.denial(&peer, protocol).is_some() {
            return self.state.lock().admission.note_denied();
        }
        self.watch_raw_streams();
        let mut state = self.state.lock();
        let State { admission, services, cancel_handles, .. } = &mut *state;
        let Some(Service::Listener(_, listener)) = services.get(protocol) else { return };
        let Ok(key) = admission.accept_raw(origin, protocol, now) else { return };
        cancel_handles.insert(key, cancel.clone());
        let listener = listener.clone();
        drop(state);
        let shared = self.clone();
        let place = Place::new(self.clock.clone(), share, move || shared.close_raw(key));
        let stream = RawStream::new(io, place, self.local, peer, protocol.clone(), cancel);
        // If nobody listens any more, dropping the stream closes it.
        let _gone = listener.unbounded_send(stream);
    }

    /// A raw stream was dropped by whoever had it.
    pub(crate) fn close_raw(&self, key: StreamKey) {
        let now = self.clock.now();
        let state = &mut *self.state.lock();
        if state.cancel_handles.remove(key).is_some() {
            state.admission.close_raw(key, now);
            state.finish_stop();
        }
    }

    /// Lets no further request in, and cuts off after `grace` what is at work then. The receiver hears
    /// when no stream is left, and the server can serve again unless this is its `end`.
    ///
    /// The names of what was served stay announced, so that whoever opens a stream is told that the
    /// server stops, and tries again later or elsewhere.
    pub(crate) fn stop(self: &Arc<Self>, grace: Duration, end: bool) -> oneshot::Receiver<Stopped> {
        let (sender, receiver) = oneshot::channel();
        let (guard, guarded) = oneshot::channel();
        let mut state = self.state.lock();
        let (due, abandoned) = (self.clock.now() + grace, state.admission.stats().abandoned);
        state.lifecycle.stop(due, end, abandoned);
        state.admission.drain();
        let services = std::mem::take(&mut state.services);
        state.stopping.extend([sender, guard]);
        let mailboxes = state.mailboxes();
        state.finish_stop();
        drop(state);
        drop(services);
        mailboxes.iter().for_each(|mailbox| mailbox.push(Command::Drain { stop: true }));
        self.withdrawn.store(true, Ordering::Release);
        self.swarm.wake();
        // Whoever asked for it may not wait for its end.
        let (shared, clock) = (Arc::downgrade(self), self.clock.clone());
        let calls_due = self.clock.now() + (grace - LAST_WORDS.min(grace / 10));
        self.clock.spawn(
            "pointsub server",
            async move {
                let Either::Right(((), guarded)) =
                    select(guarded, clock.sleep_until(calls_due)).await
                else {
                    return;
                };
                if let Some(shared) = shared.upgrade() {
                    shared.end_calls();
                }
                if let Either::Right(_) = select(guarded, clock.sleep_until(due)).await
                    && let Some(shared) = shared.upgrade()
                {
                    shared.end_grace();
                }
            }
            .boxed(),
        );
        receiver
    }

    /// Calls that are left end, and their clients are told why while there is time for that.
    fn end_calls(&self) {
        let mailboxes = self.state.lock().mailboxes();
        mailboxes.iter().for_each(|mailbox| mailbox.push(Command::EndCalls));
    }

    /// The node is gone: nothing is served any more, and nobody waits.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        let abandoned = state.admission.stats().abandoned;
        state.lifecycle.stop(self.clock.now(), true, abandoned);
        state.admission.drain();
        let services = std::mem::take(&mut state.services);
        state.names = Arc::default();
        drop(state);
        // Handlers, which may hold the server, and listeners, which wait for streams.
        drop(services);
        self.end_grace();
    }

    /// Cuts off what is still at work, if the grace of a stop is over. A stop that has come to its end has
    /// none: what is at work now is not for it to cut off.
    fn end_grace(&self) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        if !state.lifecycle.handle_timeout(now) {
            return;
        }
        let mailboxes = state.mailboxes();
        let cancel_handles: Vec<(StreamKey, Arc<CancelHandle>)> =
            state.cancel_handles.drain().collect();
        for (key, _) in &cancel_handles {
            state.admission.close_raw(*key, now);
        }
        state.finish_stop();
        drop(state);
        mailboxes.iter().for_each(|mailbox| mailbox.push(Command::Reset));
        cancel_handles.iter().for_each(|(_, cancel)| cancel.hang_up());
    }
}

impl std::fmt::Debug for ServerShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerShared").field("config", &self.config).finish_non_exhaustive()
    }
}

impl State {
    /// Makes the names anew.
    fn rebuild_names(&mut self) {
        const BOTH: [Speaks; 2] =
            [Speaks::Messages(Format::Native), Speaks::Messages(Format::Plain)];
        let names = self.services.iter().flat_map(|(protocol, service)| {
            let speaks: &[Speaks] = match service {
                Service::Handler(_) => &BOTH,
                Service::Listener(..) => &[Speaks::Raw],
            };
            speaks.iter().map(move |speaks| WireName::new(protocol, *speaks))
        });
        self.names = std::iter::once(WireName::mark()).chain(names).collect();
    }

    /// To be told something when the state is not locked any more: that wakes tasks.
    fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        self.mailboxes.values().cloned().collect()
    }

    fn finish_stop(&mut self) {
        if !(self.mailboxes.is_empty() && self.cancel_handles.is_empty()) {
            return;
        }
        let Some(stopped) = self.lifecycle.finish(self.admission.stats().abandoned) else { return };
        if !self.lifecycle.ends() {
            self.admission.reopen();
        }
        for waiting in self.stopping.drain(..) {
            let _gone = waiting.send(stopped);
        }
    }
}
