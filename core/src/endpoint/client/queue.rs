//! Requests that wait for a stream.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use slotmap::SlotMap;

use super::dispatch::{Dispatcher, Place, Request, Timer};
use super::route::{PeerKey, RouteKey};
use super::stopping::Stopping;
use crate::error::Delivery;
use crate::id::RequestId;

/// A request that was surely not processed is moved to another stream this many times at most.
const MAX_MOVES: u32 = 3;

/// How many requests that ended while waiting may stay listed.
const SLACK: usize = 64;

/// Requests that wait for a stream, oldest first. Requests that ended while waiting stay in the
/// list until they reach its front.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) ids: VecDeque<RequestId>,
    pub(super) live: usize,
}

impl Queue {
    /// The oldest request that still waits here, with its place in the order of arrival.
    pub(super) fn front(
        &mut self,
        requests: &SlotMap<RequestId, Request>,
    ) -> Option<(u64, RequestId)> {
        loop {
            let id = *self.ids.front()?;
            match requests.get(id).filter(|r| r.place == Place::Waiting) {
                Some(request) => return Some((request.seq, id)),
                None => self.ids.pop_front(),
            };
        }
    }

    /// The place in the order of arrival of the oldest request that waits here.
    pub(super) fn oldest(&self, requests: &SlotMap<RequestId, Request>) -> Option<u64> {
        let waiting = self.ids.iter().filter_map(|id| requests.get(*id));
        waiting.filter(|request| request.place == Place::Waiting).map(|r| r.seq).next()
    }
}

impl Dispatcher {
    pub(super) fn enqueue(&mut self, id: RequestId, front: bool) {
        let Some(request) = self.requests.get_mut(id) else { return };
        request.place = Place::Waiting;
        if let Some(deadline) = request.deadline {
            self.timers.insert((deadline, Timer::Waiting(id)));
        }
        let Some(route) = self.routes.get_mut(request.route) else { return };
        let queue = if request.bulk { &mut route.bulk } else { &mut route.small };
        queue.live += 1;
        if front {
            let seq = request.seq;
            let later = |other: &RequestId| self.requests.get(*other).is_some_and(|r| r.seq > seq);
            let at = queue.ids.iter().position(later).unwrap_or(queue.ids.len());
            queue.ids.insert(at, id);
        } else {
            queue.ids.push_back(id);
        }
        self.waiting += 1;
    }

    /// Puts a request that was surely not processed back in front of its queue.
    pub(super) fn requeue(&mut self, id: RequestId, delivery: Delivery) -> bool {
        let Some(request) = self.requests.get_mut(id) else { return false };
        let fit = request.moves < MAX_MOVES;
        request.moves += 1;
        if fit && delivery == Delivery::NotProcessed && self.stopping == Stopping::No {
            self.enqueue(id, true);
            return true;
        }
        false
    }

    /// Puts waiting requests on streams while there are both, then opens what is missing.
    pub(super) fn serve(&mut self, key: RouteKey) {
        self.place_waiting(key);
        self.open_needed(key);
    }

    /// One large body less is under way to a peer: those that wait may be of any of its protocols,
    /// and the one that waits for the longest time comes first.
    pub(super) fn serve_bulk_of(&mut self, peer: PeerKey) {
        let Some(routes) = self.peers.get(peer).map(|peer| &peer.routes) else { return };
        let oldest = |key: &RouteKey| {
            let queue = &self.routes.get(*key).filter(|route| route.bulk.live > 0)?.bulk;
            Some((queue.oldest(&self.requests)?, *key))
        };
        let mut waiting: Vec<(u64, RouteKey)> = routes.iter().filter_map(oldest).collect();
        waiting.sort_unstable();
        for (_, route) in waiting {
            self.serve(route);
        }
    }

    pub(super) fn place_waiting(&mut self, key: RouteKey) {
        loop {
            let Some(route) = self.routes.get_mut(key) else { return };
            if route.small.live + route.bulk.live == 0 {
                return;
            }
            let small = route.small.front(&self.requests);
            let bulk = route.bulk.front(&self.requests);
            let small_first = match (&small, &bulk) {
                (Some((small, _)), Some((bulk, _))) => small < bulk,
                (small, _) => small.is_some(),
            };
            let order = if small_first { [small, bulk] } else { [bulk, small] };
            let placed = order.into_iter().flatten().find_map(|(_, id)| {
                let bulk = self.requests.get(id)?.bulk;
                Some((id, self.pick(key, bulk)?))
            });
            let Some((id, stream)) = placed else { return };
            self.take_waiting(id);
            self.assign(stream, id);
        }
    }

    /// Takes a request off the waiting list; its id goes when it reaches the front.
    pub(super) fn take_waiting(&mut self, id: RequestId) {
        let Some(request) = self.requests.get(id) else { return };
        if let Some(deadline) = request.deadline {
            self.timers.remove(&(deadline, Timer::Waiting(id)));
        }
        let Some(route) = self.routes.get_mut(request.route) else { return };
        let queue = if request.bulk { &mut route.bulk } else { &mut route.small };
        queue.live -= 1;
        if queue.ids.front() == Some(&id) {
            queue.ids.pop_front();
        }
        if queue.ids.len() > 2 * queue.live + SLACK {
            let requests = &self.requests;
            queue.ids.retain(|id| requests.get(*id).is_some_and(|r| r.place == Place::Waiting));
        }
        self.waiting -= 1;
    }
}
