//! Which request goes on which stream: routes, pool, waiting requests, opens.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;

use hashbrown::HashMap;
use slotmap::SlotMap;

use super::closest::{Directory, Search};
use super::dial::{DialId, Dialled};
use super::directive::{CallOptions, ClientEvent, ClientStats, Directive};
use super::memory::{Habit, PeerMemory};
use super::pool::{Offer, Pooled};
use super::retry::{Backoff, Budget, RetryPolicy};
use super::route::{PeerKey, PeerUse, Route, RouteKey, RouteName};
use super::stopping::Stopping;
use crate::config::ClientConfig;
use crate::connection::{self, Report};
use crate::error::{Cause, Delivery, Phase, RequestError, SendError, StatusCode};
use crate::hash::FixedState;
use crate::id::{ClosestId, PeerId, RequestId, StreamId};
use crate::rng::Rng;
use crate::time::Timestamp;
use crate::wire::Format;
use crate::wire::compress::{Body, Payload};

/// Bodies above this size travel on a stream that carries nothing else meanwhile, so that small
/// requests never wait behind them.
pub const BULK: usize = 64 * 1024;

/// The client's policy: it owns no bytes and no stream, and decides for all of them.
///
/// Small things come in (a request, a [`Report`], the outcome of an open), and [`Directive`]s
/// come out, to be carried out in order. [`Client`](crate::client::Client) does so for a custom event
/// loop; the libp2p half does so with its streams in the tasks of their connections.
#[derive(Debug)]
pub struct Dispatcher {
    pub(super) config: ClientConfig,
    pub(super) local: Option<PeerId>,
    pub(super) routes: SlotMap<RouteKey, Route>,
    pub(super) by_name: HashMap<RouteName, RouteKey, FixedState>,
    pub(super) peers: SlotMap<PeerKey, PeerUse>,
    pub(super) by_peer: HashMap<PeerId, PeerKey, FixedState>,
    pub(super) memory: PeerMemory,
    pub(super) streams: SlotMap<StreamId, Pooled>,
    pub(super) requests: SlotMap<RequestId, Request>,
    pub(super) timers: BTreeSet<(Timestamp, Timer)>,
    pub(super) directives: VecDeque<Directive>,
    pub(super) waiting: usize,
    pub(super) idle: usize,
    /// Streams about to be gone.
    pub(super) leaving: usize,
    /// Routes for which `max_total_conns` leaves no room, in the order in which they found out.
    pub(super) starved: VecDeque<RouteKey>,
    pub(super) seq: u64,
    pub(super) stopping: Stopping,
    pub(super) directory: Directory,
    pub(super) calls: SlotMap<ClosestId, Search>,
    pub(super) dials: SlotMap<DialId, Dialled>,
    pub(super) retry_policy: Arc<dyn RetryPolicy>,
    pub(super) budget: Budget,
    pub(super) rng: Rng,
    pub(super) stats: ClientStats,
    pub(super) now: Timestamp,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) route: RouteKey,
    pub(super) body: Body,
    pub(super) deadline: Option<Timestamp>,
    pub(super) bulk: bool,
    /// The call to the closest node that it is a try of.
    pub(super) call: Option<ClosestId>,
    pub(super) place: Place,
    pub(super) idempotent: bool,
    pub(super) seq: u64,
    /// On how many streams it was tried.
    pub(super) attempts: u32,
    /// How often it was put back because a stream had let it down.
    pub(super) moves: u32,
    /// How often it was tried again.
    pub(super) retries: u32,
    /// Whether a handler may have seen an earlier try.
    pub(super) delivery: Delivery,
    /// The signs of life that its stream had given when it was put there.
    pub(super) signs: u64,
}

/// ```text
///  Waiting ──assigned──▶ On ──answered or failed──▶ (removed)
///     ▲  ▲──────moved─────┘ └──tried again──▶ Resting
///     └───────────────────────────────────────────┘
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In its route's queue.
    Waiting,
    On(StreamId),
    /// Until it is tried again; `None` until the retry policy has said when, or that it fails.
    Resting {
        until: Option<Timestamp>,
    },
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Opening(StreamId),
    Waiting(RequestId),
    Idle(StreamId),
    Rest(RouteKey),
    Probe(StreamId),
    Retry(RequestId),
    Call(ClosestId),
    Dialling(DialId),
}

impl Dispatcher {
    /// A dispatcher for the peer `local`, to which no request can be sent. `seed` decides the
    /// jitter of its pauses.
    #[must_use]
    pub fn new(config: ClientConfig, local: Option<PeerId>, seed: u64) -> Self {
        let retry_policy =
            Backoff { max_retries: config.max_retries, interval: config.retry_interval };
        Self {
            retry_policy: Arc::new(retry_policy),
            budget: Budget::new(),
            rng: Rng::new(seed),
            config,
            local,
            routes: SlotMap::with_key(),
            by_name: HashMap::default(),
            peers: SlotMap::with_key(),
            by_peer: HashMap::default(),
            memory: PeerMemory::default(),
            streams: SlotMap::with_key(),
            requests: SlotMap::with_key(),
            timers: BTreeSet::new(),
            directives: VecDeque::new(),
            waiting: 0,
            idle: 0,
            leaving: 0,
            starved: VecDeque::new(),
            seq: 0,
            stopping: Stopping::No,
            directory: Directory::default(),
            calls: SlotMap::with_key(),
            dials: SlotMap::with_key(),
            stats: ClientStats::default(),
            now: Timestamp::ZERO,
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Counters so far.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        ClientStats {
            in_flight: self.requests.len() as u64,
            waiting: self.waiting as u64,
            streams: self.streams.len() as u64,
            raw_streams: self.dials.len() as u64,
            peers: self.peers.len() as u64,
            routes: self.routes.len() as u64,
            idle_streams: self.idle as u64,
            ..self.stats
        }
    }

    /// The format in which the peer is expected to serve a protocol, if that is known.
    #[must_use]
    pub fn format_of(&self, peer: &PeerId, protocol: &str) -> Option<Format> {
        self.memory.format(peer, protocol)
    }

    /// Accepts a request. Exactly one [`ClientEvent`] follows for it, unless it is cancelled.
    ///
    /// # Errors
    /// [`SendError`] if it is not accepted; nothing was sent then.
    pub fn send(
        &mut self,
        peer: &PeerId,
        protocol: &str,
        body: Body,
        options: CallOptions,
        now: Timestamp,
    ) -> Result<RequestId, SendError> {
        self.now = self.now.max(now);
        self.check(&body)?;
        if self.local.as_ref() == Some(peer) {
            return Err(SendError::SelfRequest);
        }
        self.accept(peer, protocol, body, options, None)
    }

    /// What can be said about a request before it is known to whom it goes.
    pub(super) fn check(&self, body: &Body) -> Result<(), SendError> {
        let (len, limit) = (body.raw().len(), self.config.max_block_size);
        match self.stopping {
            Stopping::Draining | Stopping::Drained => Err(SendError::Closed),
            Stopping::No if len > limit => Err(SendError::TooLarge { len, limit }),
            Stopping::No => Ok(()),
        }
    }

    pub(super) fn accept(
        &mut self,
        peer: &PeerId,
        protocol: &str,
        body: Body,
        options: CallOptions,
        call: Option<ClosestId>,
    ) -> Result<RequestId, SendError> {
        let route = self.route(peer, protocol)?;
        let bulk = body.raw().len() > BULK;
        let stream = self.pick(route, bulk);
        if stream.is_none() && self.waiting >= self.config.max_pending {
            self.forget_if_unused(route);
            return Err(SendError::Overloaded { limit: self.config.max_pending });
        }
        self.seq += 1;
        self.stats.started += 1;
        let seq = self.seq;
        let id = self.requests.insert(Request {
            route,
            body,
            deadline: options.deadline,
            bulk,
            call,
            place: Place::Waiting,
            idempotent: options.idempotent,
            seq,
            attempts: 0,
            moves: 0,
            retries: 0,
            delivery: Delivery::NotProcessed,
            signs: 0,
        });
        match stream {
            Some(stream) => self.assign(stream, id),
            None => {
                self.enqueue(id, false);
                self.open_needed(route);
            }
        }
        Ok(id)
    }

    /// Gives up a request: its caller does not wait any more. No event follows for it, unless its
    /// outcome was decided before. Unknown requests are ignored.
    pub fn cancel(&mut self, request: RequestId, now: Timestamp) {
        self.now = self.now.max(now);
        self.withdraw(request);
        self.finish_drain();
    }

    pub(super) fn withdraw(&mut self, request: RequestId) {
        let Some(ended) = self.remove_request(request) else { return };
        self.stats.cancelled += 1;
        if let Place::On(stream) = ended.place {
            self.directives.push_back(Directive::Cancel { stream, request });
        }
    }

    /// Takes in what a stream reports.
    pub fn report(&mut self, stream: StreamId, report: Report, now: Timestamp) {
        self.now = self.now.max(now);
        let Some(pooled) = self.streams.get_mut(stream) else { return };
        let route = pooled.route;
        match report {
            Report::Answered { request, answer, load } => {
                pooled.give_sign();
                pooled.answered += 1;
                if pooled.answered == 1
                    && let Some(route) = self.routes.get(route)
                {
                    self.memory.learn_format(&route.name, pooled.format);
                }
                if let Some(load) = load {
                    self.note_load(route, load);
                }
                match answer {
                    Ok(payload) => self.succeed(request, payload),
                    Err((status, delivery)) => {
                        let draining = status.code == StatusCode::Draining;
                        if !(draining && self.requeue(request, delivery)) {
                            let cause = Cause::Remote(status);
                            let error = RequestError::new(cause, Phase::Answer, delivery);
                            self.fail_try(request, error);
                        }
                    }
                }
                self.vacate(stream);
            }
            Report::Failed { request, error, place } => {
                let signs = self.requests.get(request).map(|request| request.signs);
                pooled.suspect |= match error.cause {
                    Cause::TimedOut(_) => true,
                    // A handler that is slow for its caller, where others are answered, is no sign.
                    Cause::Deadline => {
                        place != connection::Place::Free && signs == Some(pooled.signs)
                    }
                    _ => false,
                };
                let reused = pooled.answered > 0;
                let unsupported = error.cause == Cause::Unsupported;
                let guessed = unsupported && pooled.offer != Offer::Both;
                if unsupported && let Some(route) = self.routes.get(route) {
                    self.memory.doubt(&route.name);
                }
                let gone = place == connection::Place::Gone;
                if gone {
                    self.leave(stream);
                }
                // The stream had closed before the request was put on it.
                let untried = gone && error.phase == Phase::Connect && !unsupported;
                if let Some(request) = self.requests.get_mut(request).filter(|_| untried) {
                    request.attempts -= 1;
                }
                // A stream may end by chance in the middle of a large request, but not twice.
                let cut_short = matches!(error.cause, Cause::CutShort { .. });
                let again = cut_short && self.requests.get(request).is_some_and(|r| r.moves > 0);
                let moves = gone && (reused || guessed || untried) && !again;
                if !(moves && self.requeue(request, error.delivery)) {
                    self.fail_try(request, error);
                }
                if place != connection::Place::Taken {
                    self.vacate(stream);
                }
            }
            Report::Vacated => {
                pooled.give_sign();
                self.vacate(stream);
            }
            Report::Limit(limit) => {
                pooled.signs += 1;
                pooled.capacity_known = true;
                if pooled.format == Format::Native {
                    pooled.capacity = limit;
                }
                self.serve(route);
            }
            Report::Draining | Report::Retired => {
                pooled.drained |= report == Report::Draining;
                self.leave(stream);
                self.open_needed(route);
            }
            Report::Closed => {
                if self.streams.get(stream).is_some_and(Pooled::is_ready) {
                    self.end_probe(stream, Habit::CLOSES);
                }
                self.leave(stream);
                self.remove_stream(stream);
            }
        }
        self.finish_drain();
    }

    /// Lets time pass: gives up what took too long, closes what was idle too long.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while let Some(&(due, timer)) = self.timers.first().filter(|(due, _)| *due <= self.now) {
            self.timers.remove(&(due, timer));
            match timer {
                Timer::Opening(stream) => {
                    self.directives.push_back(Directive::Abandon { stream });
                    self.fail_open(stream, Cause::TimedOut(self.config.connect_timeout));
                }
                Timer::Waiting(request) => {
                    let unsent = Delivery::NotProcessed;
                    self.fail(request, RequestError::new(Cause::Deadline, Phase::Connect, unsent));
                }
                Timer::Idle(stream) => self.expire_idle(stream),
                Timer::Retry(request) => self.retry(request),
                Timer::Call(call) => self.call_due(call),
                Timer::Dialling(dial) => self.dial_due(dial),
                Timer::Probe(stream) => self.end_probe(stream, Habit::Keeps),
                Timer::Rest(route) => {
                    if let Some(route) = self.routes.get_mut(route) {
                        route.rests_until = None;
                    }
                    self.open_needed(route);
                }
            }
        }
        self.finish_drain();
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// The next thing to do.
    pub fn poll_directive(&mut self) -> Option<Directive> {
        self.directives.pop_front()
    }

    pub(super) fn succeed(&mut self, request: RequestId, payload: Payload) {
        let Some(ended) = self.remove_request(request) else { return };
        self.stats.ok += 1;
        self.budget.succeeded();
        match ended.call {
            Some(call) => self.node_answered(call, request, payload),
            None => self.tell(ClientEvent::Response { request, payload }),
        }
    }

    pub(super) fn fail(&mut self, request: RequestId, mut error: RequestError) {
        let Some(ended) = self.remove_request(request) else { return };
        error.attempts = ended.attempts;
        error.delivery = error.delivery.max(ended.delivery);
        self.stats.failed += 1;
        match ended.call {
            Some(call) => self.node_failed(call, request, error),
            None => self.tell(ClientEvent::Failed { request, error }),
        }
    }

    pub(super) fn tell(&mut self, event: ClientEvent) {
        self.directives.push_back(Directive::Event(event));
    }

    /// A request is over, and so is its route if it was the last there.
    pub(super) fn remove_request(&mut self, id: RequestId) -> Option<Request> {
        self.leave_place(id);
        let ended = self.requests.remove(id)?;
        if !matches!(ended.place, Place::On(_)) {
            self.forget_if_unused(ended.route);
        }
        Some(ended)
    }

    /// Takes a request from where it waits or rests.
    pub(super) fn leave_place(&mut self, id: RequestId) {
        let Some(request) = self.requests.get(id) else { return };
        match request.place {
            Place::Waiting => self.take_waiting(id),
            Place::Resting { until } => {
                if let Some(until) = until {
                    self.timers.remove(&(until, Timer::Retry(id)));
                }
                if let Some(route) = self.routes.get_mut(request.route) {
                    route.resting -= 1;
                }
            }
            Place::On(_) => {}
        }
    }
}
