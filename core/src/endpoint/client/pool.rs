//! Streams kept for reuse: when to open one, which to use, when to close it.

use alloc::vec::Vec;
use core::time::Duration;

use slotmap::SecondaryMap;

use super::directive::Directive;
use super::dispatch::{Dispatcher, Place, Timer};
use super::memory::Habit;
use super::route::{PeerKey, RouteKey};
use super::stopping::Stopping;
use crate::connection::closing;
use crate::endpoint::stream_info::ConnectionInfo;
use crate::error::{Delivery, Phase, RequestError};
use crate::id::{ProtocolName, RequestId, StreamId};
use crate::time::Timestamp;
use crate::wire::Format;

/// A plain peer that has not closed a stream for this long after its first answer keeps it.
const PROBE: Duration = Duration::from_millis(50);
/// How many requests a plain stream carries. A server of the Go library closes one after 10 000, and
/// a request that crosses with that is perhaps processed.
const MAX_PLAIN_USES: u64 = 9_000;

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
    pub(super) protocol: ProtocolName,
    pub(super) state: State,
    pub(super) format: Format,
    pub(super) offer: Offer,
    pub(super) in_flight: usize,
    pub(super) capacity: usize,
    /// Whether the peer has said how much it takes.
    pub(super) capacity_known: bool,
    /// The server takes no further requests on it.
    pub(super) drained: bool,
    /// Carries a large body now.
    pub(super) bulk: bool,
    /// A request timed out here, or its caller's deadline passed without any sign of life, and there
    /// was none since; or the stream is on probe.
    pub(super) suspect: bool,
    /// How often the peer has said anything.
    pub(super) signs: u64,
    /// When its timer for being idle runs out.
    pub(super) watched_until: Timestamp,
    /// When it last fell idle.
    pub(super) idle_since: Timestamp,
    pub(super) created: Timestamp,
    /// When a request was last put on it or left it.
    pub(super) last_active: Timestamp,
    pub(super) placed: u64,
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

    /// The peer has said something that only a living stream says.
    pub(super) fn give_sign(&mut self) {
        self.signs += 1;
        self.suspect = false;
    }

    pub(super) fn can_take(&self, bulk: bool) -> bool {
        let alone = bulk || self.format == Format::Plain;
        let room = if alone { self.in_flight == 0 } else { self.in_flight < self.capacity };
        room && self.is_ready() && !self.suspect && !self.bulk
    }
}

impl Dispatcher {
    /// A stream that can take a request now.
    ///
    /// A small one goes to the oldest native stream with room, so that surplus streams fall idle
    /// and expire; a large one to the newest that is free, so that the two keep out of each
    /// other's way. Of plain streams, the one that was used last: it is the least likely to have
    /// been closed, and the others expire.
    pub(super) fn pick(&self, route: RouteKey, bulk: bool) -> Option<StreamId> {
        let route = self.routes.get(route)?;
        if bulk && self.peers[route.peer].bulk >= self.config.max_bulk_streams {
            return None;
        }
        let usable = route.streams.iter().filter_map(|id| {
            let stream = self.streams.get(*id)?;
            (stream.can_take(bulk) && !self.is_stale(stream)).then_some((*id, stream))
        });
        let is_native = |(_, stream): &(StreamId, &Pooled)| stream.format == Format::Native;
        let native = match bulk {
            true => usable.clone().rev().find(is_native),
            false => usable.clone().find(is_native),
        };
        let plain = || usable.filter(|s| !is_native(s)).max_by_key(|(_, s)| s.idle_since);
        native.or_else(plain).map(|(id, _)| id)
    }

    /// Idle for too long, although no timer has said so yet: the clock may have stood still.
    fn is_stale(&self, stream: &Pooled) -> bool {
        stream.is_idle() && stream.idle_since + self.config.idle_conn_timeout <= self.now
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
        pooled.placed += 1;
        pooled.last_active = self.now;
        self.stats.placed += 1;
        self.stats.reused += u64::from(pooled.answered > 0);
        if request.bulk {
            pooled.bulk = true;
            self.peers[pooled.peer].bulk += 1;
        }
        request.place = Place::On(stream);
        request.signs = pooled.signs;
        request.attempts += 1;
        self.directives.push_back(Directive::Start {
            stream,
            request: id,
            body: request.body.clone(),
            deadline: request.deadline,
        });
    }

    /// Closes the stream that is idle for the longest time among those; whether there was one.
    pub(super) fn close_longest_idle(&mut self, of: impl Fn(&Pooled) -> bool) -> bool {
        if self.idle == 0 {
            return false;
        }
        let idle = self.streams.iter().filter(|(_, stream)| stream.is_idle() && of(stream));
        let longest = idle.min_by_key(|(id, stream)| (stream.idle_since, *id)).map(|(id, _)| id);
        if let Some(longest) = longest {
            self.close_stream(longest);
        }
        longest.is_some()
    }

    /// One request less on a stream.
    pub(super) fn vacate(&mut self, stream: StreamId) {
        let Some(pooled) = self.streams.get_mut(stream) else { return };
        pooled.in_flight = pooled.in_flight.saturating_sub(1);
        pooled.last_active = self.now;
        let (key, peer) = (pooled.route, pooled.peer);
        let was_bulk = core::mem::take(&mut pooled.bulk);
        self.peers[peer].bulk -= usize::from(was_bulk);
        if pooled.is_idle() {
            pooled.idle_since = self.now;
            let worn = pooled.format == Format::Plain && pooled.placed >= MAX_PLAIN_USES;
            self.count_idle(stream);
            self.probe(stream);
            if worn {
                self.close_stream(stream);
            }
        }
        if was_bulk {
            self.serve_bulk_of(peer);
        }
        self.serve(key);
        // At the cap, a stream that nobody needs here is one that another protocol may wait for.
        if let Some(peer) = self.streams.get(stream).filter(|s| s.is_idle()).map(|s| s.peer) {
            if self.peers[peer].streams >= self.config.max_streams_per_peer {
                self.open_needed_of(peer);
            }
            self.feed_starved();
        }
        self.trim_idle(stream);
        self.close_if_stopping(stream);
    }

    /// One entry for each open stream, as things stand at `now`. Takes time in proportion to streams
    /// and requests.
    #[must_use]
    pub fn connections_info(&self, now: Timestamp) -> Vec<ConnectionInfo> {
        let now = self.now.max(now);
        let mut memory: SecondaryMap<StreamId, usize> = SecondaryMap::new();
        for request in self.requests.values() {
            if let Place::On(stream) = request.place
                && let Some(held) = memory.entry(stream)
            {
                *held.or_default() += request.body.raw().len();
            }
        }
        let open = self.streams.iter().filter(|(_, stream)| !stream.is_opening());
        let info = open.filter_map(|(id, stream)| {
            Some(ConnectionInfo {
                peer: self.peers.get(stream.peer)?.id,
                protocol: stream.protocol.clone(),
                format: Some(stream.format),
                created: stream.created,
                last_active: stream.last_active,
                idle: now.since(stream.last_active),
                requests: stream.placed,
                in_flight: stream.in_flight,
                memory: memory.get(id).copied().unwrap_or(0),
            })
        });
        info.chain(self.dials_info(now)).collect()
    }

    /// Puts no second request on a plain stream before it is known that the peer keeps it: it
    /// would be lost, and nobody could say whether it was processed.
    fn probe(&mut self, stream: StreamId) {
        let Some(pooled) = self.streams.get_mut(stream) else { return };
        let peer = &mut self.peers[pooled.peer];
        let known = pooled.format == Format::Native || self.memory.habit(&peer.id) == Habit::Keeps;
        // A peer that was asked nothing keeps any stream.
        if known || pooled.answered == 0 {
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

    /// A stream may have fallen idle: closes those that are idle for the longest time, beyond the
    /// caps.
    pub(super) fn trim_idle(&mut self, stream: StreamId) {
        let Some(peer) = self.streams.get(stream).filter(|s| s.is_idle()).map(|s| s.peer) else {
            return;
        };
        while self.peers[peer].idle > self.config.max_idle_conns_per_peer
            && self.close_longest_idle(|stream| stream.peer == peer)
        {}
        while self.idle > self.config.max_idle_conns && self.close_longest_idle(|_| true) {}
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
    pub(super) fn watch_idle(&mut self, stream: StreamId, due: Timestamp) {
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
    pub(super) fn count_idle(&mut self, stream: StreamId) {
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
        self.leaving += 1;
        if peer.probe == Some(stream) {
            peer.probe = None;
            self.timers.remove(&(pooled.idle_since + PROBE, Timer::Probe(stream)));
        }
        self.timers.remove(&(pooled.watched_until, Timer::Idle(stream)));
        pooled.state = State::Leaving;
        if let Some(route) = self.routes.get_mut(pooled.route) {
            route.streams.retain(|id| *id != stream);
            route.leaving += 1;
        }
    }

    /// A stream that was leaving is gone.
    pub(super) fn remove_stream(&mut self, stream: StreamId) {
        let Some(pooled) = self.streams.remove(stream) else { return };
        if let Some(route) = self.routes.get_mut(pooled.route) {
            route.leaving -= 1;
        }
        let peer = &mut self.peers[pooled.peer];
        peer.bulk -= usize::from(pooled.bulk);
        peer.streams -= 1;
        peer.leaving -= 1;
        self.leaving -= 1;
        if pooled.in_flight > 0 {
            self.rescue(stream, pooled.drained);
        }
        if pooled.bulk {
            self.serve_bulk_of(pooled.peer);
        }
        self.place_waiting(pooled.route);
        self.forget_if_unused(pooled.route);
        self.forget_peer_if_unused(pooled.peer);
        self.open_needed_of(pooled.peer);
        self.feed_starved();
    }

    /// Requests that were put on a stream when it had closed already: it reported all others.
    fn rescue(&mut self, stream: StreamId, drained: bool) {
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
                let cause = closing(drained);
                let unsent = Delivery::NotProcessed;
                self.fail_try(id, RequestError::new(cause, Phase::Connect, unsent));
            }
        }
    }
}
