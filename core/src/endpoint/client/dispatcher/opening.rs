//! Streams being opened: how many are needed, and how many the caps leave room for.

use core::time::Duration;

use super::Dispatcher;
use crate::endpoint::client::directive::Directive;
use crate::endpoint::client::state::keys::{PeerKey, RouteKey};
use crate::endpoint::client::state::pool::OpenEnded;
use crate::endpoint::client::state::pool::stream::{Offer, PooledStream, Purpose};
use crate::endpoint::client::state::routes::Route;
use crate::endpoint::client::state::timers::TimerKind;
use crate::error::{Cause, Delivery, Phase, RequestError, StreamError};
use crate::id::StreamId;
use crate::time::Timestamp;
use crate::wire::{Format, Settings};

/// How long no further stream is opened after an open failed while other streams exist.
const BACKOFF: Duration = Duration::from_millis(100);

impl Dispatcher {
    /// A stream was opened and negotiated.
    ///
    /// Returns whether it is still wanted; if not, reset it.
    pub fn opened(&mut self, stream: StreamId, format: Format, now: Timestamp) -> bool {
        self.now = self.now.max(now);
        let Some(OpenEnded { purpose, due }) = self.pool.opened(stream, format, self.now) else {
            // It is to be reset, and not to be abandoned as well if nobody has heard of that yet.
            let abandons = |directive: &Directive| matches!(directive, Directive::Abandon { stream: other } if *other == stream);
            self.directives.retain(|directive| !abandons(directive));
            return false;
        };
        let Purpose { route, offer, .. } = purpose;
        self.timers.cancel(due, TimerKind::Open(stream));
        self.watch_idle(stream, self.now + self.config().idle_stream_timeout);
        self.routes.open_ends(route, Some(stream));
        // A sole proposal may be optimistic: the peer has agreed to it once it has answered.
        if offer == Offer::Both
            && let Some(route) = self.routes.get(route)
        {
            self.memory.learn_format(route.name(), format);
        }
        self.serve(route);
        self.trim_idle(stream);
        self.close_if_stopping(stream);
        true
    }

    /// A stream could not be opened.
    pub fn open_failed(&mut self, stream: StreamId, error: StreamError, now: Timestamp) {
        self.now = self.now.max(now);
        self.fail_open(stream, error.into());
    }

    /// Opens as many streams as the waiting requests need and the caps allow.
    pub(super) fn open_needed(&mut self, key: RouteKey) {
        let Some(route) = self.routes.get(key) else { return };
        if !route.has_waiting() || route.is_backing_off() {
            if route.waits_for_capacity() {
                self.routes.set_waits_for_capacity(key, false);
            }
            return;
        }
        let format = self.memory.format(&route.name().peer, route.name().protocol.as_str());
        let missing = self.wanted(route, format).saturating_sub(route.opening());
        let peer = route.peer();
        let (here, in_all) = self.pool.room(peer);
        for _ in 0..missing.min(here).min(in_all) {
            self.open(key, format);
        }
        // Idle streams make room; the open follows when they are gone.
        for _ in self.pool.draining(peer).0..missing.saturating_sub(here) {
            if !self.close_longest_idle(|s| s.peer == peer && s.route != key) {
                break;
            }
        }
        let lacking = missing.min(here).saturating_sub(in_all);
        self.routes.set_waits_for_capacity(key, lacking > 0);
        if lacking > 0 {
            for _ in self.pool.draining(peer).1..lacking {
                if !self.close_longest_idle(|s| s.route != key) {
                    break;
                }
            }
        }
    }

    /// How many streams the waiting requests of a route need, beside those that are open.
    fn wanted(&self, route: &Route, format: Option<Format>) -> usize {
        let (small, bulk) = route.waiting();
        let left = self.window_left(route);
        let (small, bulk) = (small.min(left), bulk.min(left));
        let bulk = bulk.min(self.pool.bulk_room(route.peer()));
        match format {
            None => 1,
            Some(Format::Plain) => small + bulk,
            Some(Format::Native) => {
                // The peer is about to say how much more it takes on that one.
                let mut streams = route.streams().iter().filter_map(|id| self.pool.get(*id));
                if streams.any(PooledStream::is_undecided) {
                    return bulk;
                }
                let assumed = Settings::ASSUMED.max_in_flight as usize;
                small.div_ceil(self.config().max_in_flight.min(assumed)) + bulk
            }
        }
    }

    /// One stream less to a peer: requests of all its protocols may have waited for that, and the
    /// one that waits for the longest time comes first.
    pub(super) fn open_needed_of(&mut self, peer: PeerKey) {
        for route in self.routes.waiting_of_peer(peer) {
            self.open_needed(route);
        }
    }

    /// There may be room for one more stream in all, or one more that can make room.
    pub(super) fn serve_waiting_for_capacity(&mut self) {
        while let Some(key) = self.routes.first_waiting_for_capacity() {
            self.open_needed(key);
            if self.routes.first_waiting_for_capacity() == Some(key) {
                return;
            }
        }
    }

    fn open(&mut self, key: RouteKey, format: Option<Format>) {
        let Some(route) = self.routes.get(key) else { return };
        let (peer, protocol) = (route.name().peer, route.name().protocol.clone());
        let offer = format.map_or(Offer::Both, Offer::Only);
        let purpose = Purpose {
            peer: route.peer(),
            peer_id: peer,
            route: key,
            protocol: protocol.clone(),
            offer,
        };
        let due = self.now + self.config().connect_timeout;
        self.routes.open_begins(key);
        let stream = self.pool.begin_open(purpose, due, self.now);
        self.stats.opens += 1;
        self.timers.set(due, TimerKind::Open(stream));
        self.directives.push_back(Directive::Open { stream, peer, protocol, offer });
    }

    pub(super) fn fail_open(&mut self, stream: StreamId, cause: Cause) {
        let Some(OpenEnded { purpose, due }) = self.pool.open_failed(stream) else { return };
        let Purpose { route: key, peer, offer, .. } = purpose;
        self.timers.cancel(due, TimerKind::Open(stream));
        self.routes.open_ends(key, None);
        let Some(route) = self.routes.get(key) else { return };
        if cause == Cause::Unsupported && offer != Offer::Both {
            // The peer changed, or never spoke this protocol: ask it again from the beginning.
            self.memory.doubt(route.name());
        } else if route.streams().is_empty() && route.opening() == 0 {
            for id in route.all_waiting() {
                let unsent = Delivery::NotProcessed;
                self.fail_try(id, RequestError::new(cause.clone(), Phase::Connect, unsent));
            }
        } else if !route.is_backing_off() {
            let until = self.now + BACKOFF;
            self.routes.set_backoff(key, Some(until));
            self.timers.set(until, TimerKind::Backoff(key));
        }
        self.forget_route_if_unused(key);
        self.open_needed_of(peer);
        self.serve_waiting_for_capacity();
        self.finish_drain();
    }
}
