//! Streams kept for reuse: when to open one, which to use, when to close it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::directive::Directive;
use super::dispatch::{Dispatcher, Place, Stopping, Timer};
use super::memory::Habit;
use super::route::{PeerKey, RouteKey};
use crate::error::{Cause, Delivery, Phase, RequestError, StreamError};
use crate::frame::{Format, Settings};
use crate::id::{RequestId, StreamId};
use crate::time::Timestamp;

/// How long no further stream is opened after an open failed while other streams exist.
const REST: Duration = Duration::from_millis(100);

/// A plain peer that has not closed a stream for this long after its first answer keeps it.
const PROBE: Duration = Duration::from_millis(50);

/// Which formats to propose on a new stream, in this order, in one negotiation.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Offer {
    /// Nothing is known about the peer: native, then plain.
    Both,
    /// The one that worked before.
    Only(Format),
}

#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) peer: PeerKey,
    pub(super) route: RouteKey,
    pub(super) state: State,
    pub(super) format: Format,
    pub(super) offer: Offer,
    pub(super) in_flight: usize,
    pub(super) capacity: usize,
    /// Whether the peer has said how much it takes.
    pub(super) capacity_known: bool,
    /// Carries a large body now.
    pub(super) bulk: bool,
    /// A request timed out here and there was no sign of life since, or the stream is on probe.
    pub(super) suspect: bool,
    /// When its timer for being idle runs out.
    pub(super) watched_until: Timestamp,
    /// When it last fell idle.
    pub(super) idle_since: Timestamp,
    pub(super) answered: u64,
}

/// ```text
///  Opening ──▶ Ready ──draining, failing or expired──▶ Leaving ──▶ (removed)
///     └───────────────failed or abandoned──────────────────────────▲
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Opening { due: Timestamp },
    Ready,
    Leaving,
}

impl Pooled {
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.state, State::Opening { .. })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Whether it counts against the cap on idle streams.
    pub(super) fn is_idle(&self) -> bool {
        self.is_ready() && self.in_flight == 0
    }

    pub(super) fn can_take(&self, bulk: bool) -> bool {
        let alone = bulk || self.format == Format::Plain;
        let room = if alone { self.in_flight == 0 } else { self.in_flight < self.capacity };
        room && self.is_ready() && !self.suspect && !self.bulk
    }
}

impl Dispatcher {
    /// A stream was opened and negotiated.
    ///
    /// Returns whether it is still wanted; if not, reset it.
    pub fn opened(&mut self, stream: StreamId, format: Format, now: Timestamp) -> bool {
        self.now = self.now.max(now);
        let Some(&Pooled { route, state: State::Opening { due }, .. }) = self.streams.get(stream)
        else {
            return false;
        };
        self.timers.remove(&(due, Timer::Opening(stream)));
        let idle_since = self.now;
        if let Some(pooled) = self.streams.get_mut(stream) {
            pooled.state = State::Ready;
            pooled.format = format;
            pooled.idle_since = idle_since;
            if format == Format::Native {
                let assumed = Settings::ASSUMED.max_in_flight as usize;
                pooled.capacity = self.config.max_in_flight.min(assumed);
            } else {
                pooled.capacity_known = true;
            }
        }
        self.count_idle(stream);
        self.watch_idle(stream, idle_since + self.config.idle_conn_timeout);
        if let Some(route) = self.routes.get_mut(route) {
            route.opening -= 1;
            route.streams.push(stream);
            self.memory.learn_format(route.name.peer, format);
        }
        self.serve(route);
        self.trim_idle();
        self.close_if_stopping(stream);
        true
    }

    /// A stream could not be opened.
    pub fn open_failed(&mut self, stream: StreamId, error: StreamError, now: Timestamp) {
        self.now = self.now.max(now);
        let opening = self.streams.get(stream).is_some_and(|pooled| pooled.is_opening());
        if opening {
            self.fail_open(stream, error.into());
        }
    }

    /// A stream that can take a request now: for a small one the oldest, for a large one the
    /// newest that is free, so that the two keep out of each other's way.
    pub(super) fn pick(&self, route: RouteKey, bulk: bool) -> Option<StreamId> {
        let route = self.routes.get(route)?;
        let usable = |id: &&StreamId| self.streams.get(**id).is_some_and(|s| s.can_take(bulk));
        if !bulk {
            return route.streams.iter().find(usable).copied();
        }
        let free = route.streams.iter().rev().find(usable).copied()?;
        let native = self.streams[free].format == Format::Native;
        (!native || route.bulk_streams < self.config.max_bulk_streams).then_some(free)
    }

    pub(super) fn assign(&mut self, stream: StreamId, id: RequestId) {
        let (Some(pooled), Some(request)) =
            (self.streams.get_mut(stream), self.requests.get_mut(id))
        else {
            return;
        };
        if pooled.in_flight == 0 {
            self.idle -= 1;
            self.peers[pooled.peer].idle -= 1;
        }
        pooled.in_flight += 1;
        self.stats.reused += u64::from(pooled.answered > 0);
        if request.bulk {
            pooled.bulk = true;
            if let Some(route) = self.routes.get_mut(pooled.route) {
                route.bulk_streams += 1;
            }
        }
        request.place = Place::On(stream);
        request.attempts += 1;
        self.directives.push_back(Directive::Start {
            stream,
            request: id,
            body: request.body.clone(),
            deadline: request.deadline,
        });
    }

    /// Opens as many streams as the waiting requests need and the caps allow.
    pub(super) fn open_needed(&mut self, key: RouteKey) {
        let Some(route) = self.routes.get(key) else { return };
        let (small, bulk) = (route.small.live, route.bulk.live);
        if small + bulk == 0 || route.rests_until.is_some() {
            return;
        }
        let format = self.memory.format(&route.name.peer);
        let wanted = match format {
            None => 1,
            Some(Format::Plain) => small + bulk,
            Some(Format::Native) => {
                let streams = route.streams.iter().filter_map(|id| self.streams.get(*id));
                // The peer is about to say how much more it takes on that one.
                let undecided = streams.into_iter().any(|s| !s.capacity_known && !s.suspect);
                let each = self.config.max_in_flight.min(Settings::ASSUMED.max_in_flight as usize);
                let for_small = if undecided { 0 } else { small.div_ceil(each) };
                let for_bulk = self.config.max_bulk_streams.saturating_sub(route.bulk_streams);
                for_small + bulk.min(for_bulk)
            }
        };
        let missing = wanted.saturating_sub(route.opening);
        let peer = route.peer;
        let room = self.config.max_streams_per_peer.saturating_sub(self.peers[peer].streams);
        for _ in 0..missing.min(room) {
            self.open(key, format);
        }
        // Idle streams of other protocols make room; the open follows when they are gone.
        for _ in self.peers[peer].leaving..missing.saturating_sub(room) {
            let other = |s: &Pooled| s.peer == peer && s.route != key && s.is_idle();
            let idle = self.streams.iter().filter(|(_, pooled)| other(pooled));
            match idle.min_by_key(|(id, s)| (s.idle_since, *id)).map(|(id, _)| id) {
                Some(idle) if self.peers[peer].idle > 0 => self.close_stream(idle),
                _ => break,
            }
        }
    }

    pub(super) fn open(&mut self, key: RouteKey, format: Option<Format>) {
        let Some(route) = self.routes.get_mut(key) else { return };
        route.opening += 1;
        self.peers[route.peer].streams += 1;
        let peer_key = route.peer;
        let (peer, protocol) = (route.name.peer, route.name.protocol.clone());
        let due = self.now + self.config.connect_timeout;
        let offer = format.map_or(Offer::Both, Offer::Only);
        let stream = self.streams.insert(Pooled {
            peer: peer_key,
            route: key,
            state: State::Opening { due },
            format: Format::Plain,
            offer,
            in_flight: 0,
            capacity: 1,
            capacity_known: false,
            bulk: false,
            suspect: false,
            watched_until: self.now,
            idle_since: self.now,
            answered: 0,
        });
        self.stats.opens += 1;
        self.timers.insert((due, Timer::Opening(stream)));
        self.directives.push_back(Directive::Open { stream, peer, protocol, offer });
    }

    pub(super) fn fail_open(&mut self, stream: StreamId, cause: Cause) {
        let Some(Pooled { route: key, state: State::Opening { due }, offer, .. }) =
            self.streams.remove(stream)
        else {
            return;
        };
        self.timers.remove(&(due, Timer::Opening(stream)));
        let Some(route) = self.routes.get_mut(key) else { return };
        route.opening -= 1;
        let peer = route.peer;
        self.peers[peer].streams -= 1;
        if cause == Cause::Unsupported && offer != Offer::Both {
            // The peer changed, or never spoke this protocol: ask it again from the beginning.
            self.memory.forget(&route.name.peer);
        } else if route.streams.is_empty() && route.opening == 0 {
            let waiting = route.small.ids.drain(..).chain(route.bulk.ids.drain(..));
            let waiting: Vec<RequestId> = waiting.collect();
            for id in waiting {
                if self.requests.get(id).is_some_and(|r| r.place == Place::Waiting) {
                    let unsent = Delivery::NotProcessed;
                    self.fail_try(id, RequestError::new(cause.clone(), Phase::Connect, unsent));
                }
            }
        } else if route.rests_until.is_none() {
            let until = self.now + REST;
            route.rests_until = Some(until);
            self.timers.insert((until, Timer::Rest(key)));
        }
        self.forget_if_unused(key);
        self.open_needed_of(peer);
        self.finish_drain();
    }

    /// One request less on a stream.
    pub(super) fn vacate(&mut self, stream: StreamId) {
        let Some(pooled) = self.streams.get_mut(stream) else { return };
        pooled.in_flight = pooled.in_flight.saturating_sub(1);
        let key = pooled.route;
        if core::mem::take(&mut pooled.bulk)
            && let Some(route) = self.routes.get_mut(key)
        {
            route.bulk_streams -= 1;
        }
        if pooled.is_idle() {
            pooled.idle_since = self.now;
            self.count_idle(stream);
            self.probe(stream);
        }
        self.serve(key);
        // At the cap, a stream that nobody needs here is one that another protocol may wait for.
        if let Some(peer) = self.streams.get(stream).filter(|s| s.is_idle()).map(|s| s.peer)
            && self.peers[peer].streams >= self.config.max_streams_per_peer
        {
            self.open_needed_of(peer);
        }
        self.trim_idle();
        self.close_if_stopping(stream);
    }

    /// Puts no second request on a plain stream before it is known that the peer keeps it: it
    /// would be lost, and nobody could say whether it was processed.
    fn probe(&mut self, stream: StreamId) {
        let Some(pooled) = self.streams.get_mut(stream) else { return };
        let peer = &mut self.peers[pooled.peer];
        if pooled.format == Format::Native || self.memory.habit(&peer.id) == Habit::Keeps {
            return;
        }
        if self.memory.expect_close(&peer.id) || peer.probe.is_some() {
            self.close_stream(stream);
            return;
        }
        peer.probe = Some(stream);
        pooled.suspect = true;
        self.timers.insert((self.now + PROBE, Timer::Probe(stream)));
    }

    /// What a peer did with the stream on probe is known.
    pub(super) fn end_probe(&mut self, stream: StreamId, habit: Habit) {
        let Some(pooled) = self.streams.get_mut(stream) else { return };
        let peer = &mut self.peers[pooled.peer];
        if peer.probe == Some(stream) {
            peer.probe = None;
            pooled.suspect = false;
            self.timers.remove(&(pooled.idle_since + PROBE, Timer::Probe(stream)));
            self.memory.learn_habit(&peer.id, habit);
            for route in peer.routes.clone() {
                self.serve(route);
            }
        }
    }

    /// Closes the streams that are idle for the longest time, beyond the cap.
    pub(super) fn trim_idle(&mut self) {
        while self.idle > self.config.max_idle_conns {
            let idle = self.streams.iter().filter(|(_, pooled)| pooled.is_idle());
            let oldest = idle.min_by_key(|(id, s)| (s.idle_since, *id)).map(|(id, _)| id);
            let Some(oldest) = oldest else { return };
            self.close_stream(oldest);
        }
    }

    pub(super) fn expire_idle(&mut self, stream: StreamId) {
        let Some(pooled) = self.streams.get(stream).filter(|s| s.is_ready()) else { return };
        let timeout = self.config.idle_conn_timeout;
        let since = if pooled.is_idle() { pooled.idle_since } else { self.now };
        if since + timeout <= self.now {
            self.close_stream(stream);
        } else {
            self.watch_idle(stream, since + timeout);
        }
    }

    /// Looks at `due` whether a stream is idle for too long. It is not moved when the stream is
    /// used, but set again if it comes too early.
    fn watch_idle(&mut self, stream: StreamId, due: Timestamp) {
        if let Some(pooled) = self.streams.get_mut(stream) {
            pooled.watched_until = due;
            self.timers.insert((due, Timer::Idle(stream)));
        }
    }

    pub(super) fn close_if_stopping(&mut self, stream: StreamId) {
        let idle = self.streams.get(stream).is_some_and(Pooled::is_idle);
        if self.stopping != Stopping::No && idle {
            self.close_stream(stream);
        }
    }

    pub(super) fn close_stream(&mut self, stream: StreamId) {
        if self.streams.get(stream).is_some_and(Pooled::is_ready) {
            self.leave(stream);
            self.directives.push_back(Directive::Close { stream });
        }
    }

    /// A stream has fallen idle.
    fn count_idle(&mut self, stream: StreamId) {
        self.idle += 1;
        self.peers[self.streams[stream].peer].idle += 1;
    }

    /// Puts no further requests on a stream.
    pub(super) fn leave(&mut self, stream: StreamId) {
        let Some(pooled) = self.streams.get_mut(stream).filter(|s| s.is_ready()) else { return };
        let peer = &mut self.peers[pooled.peer];
        if pooled.in_flight == 0 {
            self.idle -= 1;
            peer.idle -= 1;
        }
        peer.leaving += 1;
        if peer.probe == Some(stream) {
            peer.probe = None;
            self.timers.remove(&(pooled.idle_since + PROBE, Timer::Probe(stream)));
        }
        self.timers.remove(&(pooled.watched_until, Timer::Idle(stream)));
        pooled.state = State::Leaving;
        if let Some(route) = self.routes.get_mut(pooled.route) {
            route.streams.retain(|id| *id != stream);
        }
    }

    /// A stream that was leaving is gone.
    pub(super) fn remove_stream(&mut self, stream: StreamId) {
        let Some(pooled) = self.streams.remove(stream) else { return };
        if pooled.bulk
            && let Some(route) = self.routes.get_mut(pooled.route)
        {
            route.bulk_streams -= 1;
        }
        let peer = &mut self.peers[pooled.peer];
        peer.streams -= 1;
        peer.leaving -= 1;
        if pooled.in_flight > 0 {
            self.rescue(stream);
        }
        self.serve(pooled.route);
        self.forget_if_unused(pooled.route);
        self.forget_peer_if_unused(pooled.peer);
        self.open_needed_of(pooled.peer);
    }

    /// Requests that were put on a stream when it had closed already: it reported all others.
    fn rescue(&mut self, stream: StreamId) {
        let on_it = self.requests.iter().filter(|(_, r)| r.place == Place::On(stream));
        let mut stranded: Vec<(u64, RequestId)> = on_it.map(|(id, r)| (r.seq, id)).collect();
        // Each goes to the front of its queue, so the oldest goes last.
        stranded.sort_unstable_by(|a, b| b.cmp(a));
        for (_, id) in stranded {
            if let Some(request) = self.requests.get_mut(id) {
                // It was never tried here.
                request.attempts -= 1;
            }
            if !self.requeue(id, Delivery::NotProcessed) {
                let cause = Cause::Lost(Arc::from("the stream was closing"));
                let unsent = Delivery::NotProcessed;
                self.fail_try(id, RequestError::new(cause, Phase::Connect, unsent));
            }
        }
    }

    /// One stream less to a peer: requests of all its protocols may have waited for that.
    fn open_needed_of(&mut self, peer: PeerKey) {
        let routes = self.peers.get(peer).map(|peer| peer.routes.clone()).unwrap_or_default();
        for route in routes {
            self.open_needed(route);
        }
    }
}
