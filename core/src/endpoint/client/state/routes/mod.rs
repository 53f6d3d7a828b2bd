//! Where requests go: one route for each protocol that is used with a peer.

pub(crate) mod queue;
pub(crate) mod window;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use hashbrown::{Equivalent, HashMap};
use slotmap::{SecondaryMap, SlotMap};

use self::queue::Queue;
use self::window::Window;
use super::keys::{PeerKey, RouteKey};
use crate::hash::FixedState;
use crate::id::{PeerId, ProtocolName, RequestId, StreamId};
use crate::time::Timestamp;

/// All that goes to one peer under one protocol.
#[derive(Debug)]
pub(crate) struct Route {
    peer: PeerKey,
    name: RouteName,
    /// Streams that may take requests, oldest first. The oldest that can take a request gets it,
    /// so that surplus streams fall idle and expire.
    streams: Vec<StreamId>,
    opening: usize,
    /// Streams about to be gone, whose last requests may come back here.
    draining: usize,
    /// An open has failed; none is tried until then.
    backoff_until: Option<Timestamp>,
    /// Requests that back off until they are tried again.
    backing_off: usize,
    /// Listed among the routes that `max_total_streams` keeps waiting.
    waits_for_capacity: bool,
    small: Queue,
    bulk: Queue,
    /// How many requests may be at work, since the peer was too busy for more.
    window: Option<Window>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RouteName {
    pub(crate) peer: PeerId,
    pub(crate) protocol: ProtocolName,
}

/// A [`RouteName`] to look for.
#[derive(Hash)]
pub(crate) struct RouteRef<'a> {
    pub(crate) peer: &'a PeerId,
    pub(crate) protocol: &'a str,
}

impl Equivalent<RouteName> for RouteRef<'_> {
    fn equivalent(&self, key: &RouteName) -> bool {
        *self.peer == key.peer && self.protocol == key.protocol.as_str()
    }
}

impl Route {
    pub(crate) fn peer(&self) -> PeerKey {
        self.peer
    }

    pub(crate) fn name(&self) -> &RouteName {
        &self.name
    }

    pub(crate) fn streams(&self) -> &[StreamId] {
        &self.streams
    }

    pub(crate) fn opening(&self) -> usize {
        self.opening
    }

    /// Requests that wait with small bodies, and with large ones.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.small.len(), self.bulk.len())
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !(self.small.is_empty() && self.bulk.is_empty())
    }

    pub(crate) fn window(&self) -> Option<&Window> {
        self.window.as_ref()
    }

    pub(crate) fn is_backing_off(&self) -> bool {
        self.backoff_until.is_some()
    }

    pub(crate) fn waits_for_capacity(&self) -> bool {
        self.waits_for_capacity
    }

    /// The oldest waiting request with a small body and the oldest with a large one, in the order
    /// in which they were accepted; with each whether its body is large.
    pub(crate) fn oldest_waiting(&self) -> [Option<(RequestId, bool)>; 2] {
        Self::in_order(self.small.first(), self.bulk.first())
    }

    /// The same without those of which that is so, unless it is so of all: then the newest.
    pub(crate) fn waiting_behind(
        &self,
        is_old: impl Fn(RequestId) -> bool,
    ) -> [Option<(RequestId, bool)>; 2] {
        Self::in_order(self.small.first_behind(&is_old), self.bulk.first_behind(&is_old))
    }

    fn in_order(
        small: Option<(u64, RequestId)>,
        bulk: Option<(u64, RequestId)>,
    ) -> [Option<(RequestId, bool)>; 2] {
        let small_first = match (small, bulk) {
            (Some((small, _)), Some((bulk, _))) => small < bulk,
            (small, _) => small.is_some(),
        };
        let small = small.map(|(_, id)| (id, false));
        let bulk = bulk.map(|(_, id)| (id, true));
        if small_first { [small, bulk] } else { [bulk, small] }
    }

    /// All requests that wait, those with small bodies first.
    pub(crate) fn all_waiting(&self) -> Vec<RequestId> {
        self.small.iter().chain(self.bulk.iter()).collect()
    }

    fn oldest(&self) -> Option<u64> {
        let oldest = [self.small.first(), self.bulk.first()];
        oldest.into_iter().flatten().map(|(seq, _)| seq).min()
    }

    fn queue(&mut self, bulk: bool) -> &mut Queue {
        if bulk { &mut self.bulk } else { &mut self.small }
    }

    fn is_unused(&self) -> bool {
        self.streams.is_empty()
            && self.opening == 0
            && self.draining == 0
            && self.backing_off == 0
            && !self.has_waiting()
    }
}

/// A route that was forgotten.
#[derive(Debug)]
pub(crate) struct Forgotten {
    pub(crate) peer: PeerKey,
    /// It waited until then before it opened streams.
    pub(crate) backoff_until: Option<Timestamp>,
}

/// All routes, and the requests that wait on them.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    routes: SlotMap<RouteKey, Route>,
    by_name: HashMap<RouteName, RouteKey, FixedState>,
    by_peer: SecondaryMap<PeerKey, Vec<RouteKey>>,
    /// Routes for which `max_total_streams` leaves no room, in the order in which they found out.
    waiting_for_capacity: VecDeque<RouteKey>,
    /// Requests that wait, on all routes.
    waiting: usize,
}

impl Routes {
    #[inline]
    pub(crate) fn find(&self, peer: &PeerId, protocol: &str) -> Option<RouteKey> {
        self.by_name.get(&RouteRef { peer, protocol }).copied()
    }

    pub(crate) fn insert(&mut self, peer: PeerKey, name: RouteName) -> RouteKey {
        let key = self.routes.insert(Route {
            peer,
            name: name.clone(),
            streams: Vec::new(),
            opening: 0,
            draining: 0,
            backoff_until: None,
            backing_off: 0,
            waits_for_capacity: false,
            small: Queue::default(),
            bulk: Queue::default(),
            window: None,
        });
        if let Some(routes) = self.by_peer.entry(peer) {
            routes.or_default().push(key);
        }
        self.by_name.insert(name, key);
        key
    }

    #[inline]
    pub(crate) fn get(&self, key: RouteKey) -> Option<&Route> {
        self.routes.get(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.routes.len()
    }

    /// Requests that wait, on all routes.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(crate) fn of_peer(&self, peer: PeerKey) -> &[RouteKey] {
        self.by_peer.get(peer).map_or(&[], Vec::as_slice)
    }

    /// The routes of a peer on which requests wait; the one whose oldest request has waited for the
    /// longest time comes first.
    pub(crate) fn waiting_of_peer(&self, peer: PeerKey) -> Vec<RouteKey> {
        self.by_age(peer, Route::oldest)
    }

    /// The same for requests with large bodies.
    pub(crate) fn waiting_bulk_of_peer(&self, peer: PeerKey) -> Vec<RouteKey> {
        self.by_age(peer, |route| Some(route.bulk.first()?.0))
    }

    fn by_age(&self, peer: PeerKey, age: impl Fn(&Route) -> Option<u64>) -> Vec<RouteKey> {
        let routes = self.of_peer(peer).iter();
        let mut waiting: Vec<(u64, RouteKey)> =
            routes.filter_map(|key| Some((age(self.routes.get(*key)?)?, *key))).collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, key)| key).collect()
    }

    pub(crate) fn enqueue(&mut self, key: RouteKey, bulk: bool, seq: u64, id: RequestId) {
        let Some(route) = self.routes.get_mut(key) else { return };
        route.queue(bulk).insert(seq, id);
        self.waiting += 1;
    }

    pub(crate) fn dequeue(&mut self, key: RouteKey, bulk: bool, seq: u64) {
        let Some(route) = self.routes.get_mut(key) else { return };
        self.waiting -= usize::from(route.queue(bulk).remove(seq));
    }

    pub(crate) fn window_mut(&mut self, key: RouteKey) -> Option<&mut Option<Window>> {
        self.routes.get_mut(key).map(|route| &mut route.window)
    }

    /// A stream is being opened.
    pub(crate) fn open_begins(&mut self, key: RouteKey) {
        if let Some(route) = self.routes.get_mut(key) {
            route.opening += 1;
        }
    }

    /// A stream is open, or will not be.
    pub(crate) fn open_ends(&mut self, key: RouteKey, opened: Option<StreamId>) {
        if let Some(route) = self.routes.get_mut(key) {
            route.opening -= 1;
            route.streams.extend(opened);
        }
    }

    /// A stream takes no further requests.
    pub(crate) fn stream_drains(&mut self, key: RouteKey, stream: StreamId) {
        if let Some(route) = self.routes.get_mut(key) {
            route.streams.retain(|id| *id != stream);
            route.draining += 1;
        }
    }

    /// A stream that took no further requests is gone.
    pub(crate) fn stream_is_gone(&mut self, key: RouteKey) {
        if let Some(route) = self.routes.get_mut(key) {
            route.draining -= 1;
        }
    }

    /// No stream is opened until then, or again from now on.
    pub(crate) fn set_backoff(&mut self, key: RouteKey, until: Option<Timestamp>) {
        if let Some(route) = self.routes.get_mut(key) {
            route.backoff_until = until;
        }
    }

    pub(crate) fn request_backs_off(&mut self, key: RouteKey) {
        if let Some(route) = self.routes.get_mut(key) {
            route.backing_off += 1;
        }
    }

    pub(crate) fn request_is_back(&mut self, key: RouteKey) {
        if let Some(route) = self.routes.get_mut(key) {
            route.backing_off -= 1;
        }
    }

    /// Notes whether a route waits for room in all.
    pub(crate) fn set_waits_for_capacity(&mut self, key: RouteKey, waits: bool) {
        let Some(route) = self.routes.get_mut(key) else { return };
        if core::mem::replace(&mut route.waits_for_capacity, waits) == waits {
            return;
        }
        if waits {
            self.waiting_for_capacity.push_back(key);
        } else {
            self.waiting_for_capacity.retain(|listed| *listed != key);
        }
    }

    /// The route that has waited for room for the longest time.
    pub(crate) fn first_waiting_for_capacity(&self) -> Option<RouteKey> {
        self.waiting_for_capacity.front().copied()
    }

    /// Forgets a route on which nothing is and nothing waits.
    pub(crate) fn forget_if_unused(&mut self, key: RouteKey) -> Option<Forgotten> {
        if !self.routes.get(key)?.is_unused() {
            return None;
        }
        self.set_waits_for_capacity(key, false);
        let route = self.routes.remove(key)?;
        self.by_name.remove(&route.name);
        if let Some(routes) = self.by_peer.get_mut(route.peer) {
            routes.retain(|known| *known != key);
            if routes.is_empty() {
                self.by_peer.remove(route.peer);
            }
        }
        Some(Forgotten { peer: route.peer, backoff_until: route.backoff_until })
    }
}
