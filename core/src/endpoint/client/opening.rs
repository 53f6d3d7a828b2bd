//! Streams being opened: how many are needed, and how many the caps leave room for.

use alloc::vec::Vec;
use core::time::Duration;

use super::directive::Directive;
use super::dispatch::{Dispatcher, Place, Timer};
use super::pool::{Offer, Pooled, State};
use super::route::{PeerKey, RouteKey};
use crate::error::{Cause, Delivery, Phase, RequestError, StreamError};
use crate::id::{RequestId, StreamId};
use crate::time::Timestamp;
use crate::wire::{Format, Settings};

/// How long no further stream is opened after an open failed while other streams exist.
const REST: Duration = Duration::from_millis(100);

impl Dispatcher {
    /// A stream was opened and negotiated.
    ///
    /// Returns whether it is still wanted; if not, reset it.
    pub fn opened(&mut self, stream: StreamId, format: Format, now: Timestamp) -> bool {
        self.now = self.now.max(now);
        let Some(&Pooled { route, state: State::Opening { due }, offer, .. }) =
            self.streams.get(stream)
        else {
            return false;
        };
        self.timers.remove(&(due, Timer::Opening(stream)));
        let idle_since = self.now;
        if let Some(pooled) = self.streams.get_mut(stream) {
            pooled.state = State::Ready;
            pooled.format = format;
            pooled.idle_since = idle_since;
            pooled.created = idle_since;
            pooled.last_active = idle_since;
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
            // A sole proposal may be optimistic: the peer has agreed to it once it has answered.
            if offer == Offer::Both {
                self.memory.learn_format(&route.name, format);
            }
        }
        self.serve(route);
        self.trim_idle(stream);
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

    /// Opens as many streams as the waiting requests need and the caps allow.
    pub(super) fn open_needed(&mut self, key: RouteKey) {
        let Some(route) = self.routes.get(key) else { return };
        let (small, bulk) = (route.small.live, route.bulk.live);
        if small + bulk == 0 || route.rests_until.is_some() {
            return self.set_starved(key, false);
        }
        let format = self.memory.format(&route.name.peer, route.name.protocol.as_str());
        let bulk_room = self.config.max_bulk_streams.saturating_sub(self.peers[route.peer].bulk);
        let wanted = match format {
            None => 1,
            Some(Format::Plain) => small + bulk.min(bulk_room),
            Some(Format::Native) => {
                let streams = route.streams.iter().filter_map(|id| self.streams.get(*id));
                // The peer is about to say how much more it takes on that one.
                let undecided = streams.into_iter().any(|s| !s.capacity_known && !s.suspect);
                let each = self.config.max_in_flight.min(Settings::ASSUMED.max_in_flight as usize);
                let for_small = if undecided { 0 } else { small.div_ceil(each) };
                for_small + bulk.min(bulk_room)
            }
        };
        let missing = wanted.saturating_sub(route.opening);
        let peer = route.peer;
        let here = self.config.max_streams_per_peer.saturating_sub(self.peers[peer].streams);
        let in_all = self.config.max_total_conns.saturating_sub(self.streams_in_all());
        for _ in 0..missing.min(here).min(in_all) {
            self.open(key, format);
        }
        // Idle streams make room; the open follows when they are gone.
        for _ in self.peers[peer].leaving..missing.saturating_sub(here) {
            if !self.close_longest_idle(|s| s.peer == peer && s.route != key) {
                break;
            }
        }
        let starving = missing.min(here).saturating_sub(in_all);
        self.set_starved(key, starving > 0);
        if starving > 0 {
            for _ in self.leaving..starving {
                if !self.close_longest_idle(|s| s.route != key) {
                    break;
                }
            }
        }
    }

    /// One stream less to a peer: requests of all its protocols may have waited for that, and the
    /// one that waits for the longest time comes first.
    pub(super) fn open_needed_of(&mut self, peer: PeerKey) {
        let Some(peer) = self.peers.get(peer) else { return };
        let mut routes: Vec<(u64, RouteKey)> = Vec::new();
        for key in &peer.routes {
            let Some(route) = self.routes.get(*key) else { continue };
            let oldest = [&route.small, &route.bulk].map(|queue| queue.oldest(&self.requests));
            routes.extend(oldest.into_iter().flatten().min().map(|seq| (seq, *key)));
        }
        routes.sort_unstable();
        for (_, route) in routes {
            self.open_needed(route);
        }
    }

    /// Notes whether a route waits for room in all.
    fn set_starved(&mut self, key: RouteKey, starved: bool) {
        let Some(route) = self.routes.get_mut(key) else { return };
        if core::mem::replace(&mut route.starved, starved) == starved {
            return;
        }
        if starved {
            self.starved.push_back(key);
        } else {
            self.starved.retain(|listed| *listed != key);
        }
    }

    /// There may be room for one more stream in all, or one more that can make room.
    pub(super) fn feed_starved(&mut self) {
        while let Some(&key) = self.starved.front() {
            self.open_needed(key);
            if self.starved.front() == Some(&key) {
                return;
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
            protocol: protocol.clone(),
            state: State::Opening { due },
            format: Format::Plain,
            offer,
            in_flight: 0,
            capacity: 1,
            capacity_known: false,
            drained: false,
            bulk: false,
            suspect: false,
            signs: 0,
            watched_until: self.now,
            idle_since: self.now,
            created: self.now,
            last_active: self.now,
            placed: 0,
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
            self.memory.doubt(&route.name);
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
        self.feed_starved();
        self.finish_drain();
    }
}
