//! Which stream a request is put on, and what waits for one.

use super::Dispatcher;
use crate::connection::StreamCommand;
use crate::endpoint::client::state::keys::{PeerKey, RouteKey};
use crate::endpoint::client::state::memory::KeepAlive;
use crate::endpoint::client::state::routes::Route;
use crate::endpoint::client::state::timers::TimerKind;
use crate::error::Delivery;
use crate::id::{RequestId, StreamId};
use crate::time::Timestamp;

impl Dispatcher {
    /// A stream of a route that can take a request now.
    pub(super) fn pick(&self, route: RouteKey, bulk: bool) -> Option<StreamId> {
        let route = self.routes.get(route)?;
        self.pool.pick(route.streams(), route.peer(), bulk, self.now)
    }

    /// Puts a request on a stream.
    pub(super) fn place(&mut self, stream: StreamId, id: RequestId) {
        let Some(request) = self.requests.get_mut(id) else { return };
        let Some(placed) = self.pool.place(stream, request.is_bulk(), self.now) else { return };
        request.put_on(stream, placed.signs);
        self.stats.placed += 1;
        self.stats.reused += u64::from(placed.reused);
        let (body, deadline) = (request.body().clone(), request.deadline());
        self.command(stream, StreamCommand::Start { request: id, body, deadline });
    }

    /// Has a request wait for a stream, in the order in which requests were accepted.
    pub(super) fn enqueue(&mut self, id: RequestId) {
        let Some(request) = self.requests.get_mut(id) else { return };
        let window = self.routes.get(request.route()).and_then(Route::window);
        let until = match window.filter(|_| request.is_patient()) {
            Some(_) => Some(request.is_patient_until(self.pool.config().read_timeout)),
            None => request.deadline(),
        };
        request.wait(until);
        if let Some(until) = until {
            self.timers.set(until, TimerKind::Wait(id));
        }
        self.routes.enqueue(request.route(), request.is_bulk(), request.seq(), id);
    }

    /// A request waits for a stream no longer.
    pub(super) fn dequeue(&mut self, id: RequestId) {
        let Some(request) = self.requests.get(id) else { return };
        if let Some(until) = request.waits_until() {
            self.timers.cancel(until, TimerKind::Wait(id));
        }
        self.routes.dequeue(request.route(), request.is_bulk(), request.seq());
    }

    /// Puts a request that was surely not processed back in its place in the queue.
    pub(super) fn requeue(&mut self, id: RequestId, delivery: Delivery) -> bool {
        let stopping = self.is_stopping();
        let Some(request) = self.requests.get_mut(id) else { return false };
        let fit = request.count_move();
        if fit && delivery == Delivery::NotProcessed && !stopping {
            self.enqueue(id);
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
        for route in self.routes.waiting_bulk_of_peer(peer) {
            self.serve(route);
        }
    }

    pub(super) fn place_waiting(&mut self, key: RouteKey) {
        while let Some(route) = self.routes.get(key).filter(|route| route.has_waiting()) {
            if self.window_left(route) == 0 {
                return;
            }
            let waiting = self.next_waiting(route).into_iter().flatten();
            let mut placed = waiting.filter_map(|(id, bulk)| Some((id, self.pick(key, bulk)?)));
            let Some((id, stream)) = placed.next() else { return };
            self.dequeue(id);
            self.place(stream, id);
            if let Some(Some(window)) = self.routes.window_mut(key) {
                window.note_placed();
            }
        }
    }

    /// One request less is on a stream.
    pub(super) fn vacate(&mut self, stream: StreamId) {
        let Some(vacated) = self.pool.vacate(stream, self.now) else { return };
        if vacated.is_idle {
            if vacated.can_be_tried {
                self.try_keeping(stream, vacated.peer);
            }
            if vacated.is_worn {
                self.close_stream(stream);
            }
        }
        if vacated.was_bulk {
            self.serve_bulk_of(vacated.peer);
        }
        self.serve(vacated.route);
        if !vacated.is_idle {
            return;
        }
        // At the cap, a stream that nobody needs here is one that another protocol may wait for.
        if let Some(peer) = self.pool.peer_of_idle(stream) {
            if self.pool.is_full(peer) {
                self.open_needed_of(peer);
            }
            self.serve_waiting_for_capacity();
        }
        self.trim_idle(stream);
        self.close_if_stopping(stream);
    }

    /// A plain stream has fallen idle: finds out whether the peer keeps it, unless that is known.
    fn try_keeping(&mut self, stream: StreamId, peer: PeerKey) {
        let Some(id) = self.pool.peer_id(peer) else { return };
        if self.memory.keep_alive(id) == KeepAlive::Keeps {
            return;
        }
        if self.memory.expect_close(id) {
            return self.close_stream(stream);
        }
        match self.pool.begin_trial(stream, self.now) {
            Some(due) => self.timers.set(due, TimerKind::Trial(stream)),
            None => self.close_stream(stream),
        }
    }

    /// What a peer did with the stream on trial is known.
    pub(super) fn end_trial(&mut self, stream: StreamId, seen: KeepAlive) {
        let Some((peer, due)) = self.pool.end_trial(stream) else { return };
        self.timers.cancel(due, TimerKind::Trial(stream));
        if let Some(id) = self.pool.peer_id(peer) {
            self.memory.learn_keep_alive(id, seen);
        }
        for route in self.routes.of_peer(peer).to_vec() {
            self.serve(route);
        }
    }

    /// A stream may have fallen idle: closes those that are idle for the longest time, beyond the
    /// caps.
    pub(super) fn trim_idle(&mut self, stream: StreamId) {
        let Some(peer) = self.pool.peer_of_idle(stream) else { return };
        while let Some(surplus) = self.pool.surplus(peer) {
            self.close_stream(surplus);
        }
    }

    pub(super) fn expire_idle(&mut self, stream: StreamId) {
        let Some(until) = self.pool.idle_until(stream, self.now) else { return };
        if until <= self.now {
            self.close_stream(stream);
        } else {
            self.watch_idle(stream, until);
        }
    }

    /// Looks at `due` whether a stream is idle for too long.
    pub(super) fn watch_idle(&mut self, stream: StreamId, due: Timestamp) {
        self.pool.watch_until(stream, due);
        self.timers.set(due, TimerKind::Idle(stream));
    }
}
