//! The ends of streams, of routes, and of the client.

use super::{Dispatcher, Stopping};
use crate::connection::{Report, StreamCommand, closing};
use crate::endpoint::client::directive::{ClientEvent, Directive};
use crate::endpoint::client::state::keys::{PeerKey, RouteKey};
use crate::endpoint::client::state::pool::stream::{PooledStream, Purpose};
use crate::endpoint::client::state::timers::TimerKind;
use crate::error::{Cause, Delivery, Phase, RequestError};
use crate::id::{RequestId, StreamId};
use crate::time::Timestamp;

impl Dispatcher {
    /// Accepts no further requests, lets those under way end, closes every stream as it falls
    /// idle, and tells [`ClientEvent::Drained`] when nothing is left.
    pub fn drain(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        if self.stopping == Stopping::No {
            self.stopping = Stopping::Draining;
            for stream in self.pool.ids() {
                self.close_if_stopping(stream);
            }
            self.finish_drain();
        }
    }

    /// Like [`drain`](Self::drain), but fails what is still under way with [`Cause::Closed`].
    pub fn close(&mut self, now: Timestamp) {
        self.drain(now);
        self.close_calls();
        self.close_dials();
        for id in self.requests.ids() {
            self.close_request(id);
        }
        for stream in self.pool.ids() {
            if self.pool.get(stream).is_some_and(PooledStream::is_opening) {
                self.directives.push_back(Directive::Abandon { stream });
                self.fail_open(stream, Cause::Closed);
            } else {
                self.command(stream, StreamCommand::Close);
            }
        }
        self.finish_drain();
    }

    /// Puts no further requests on a stream, and has it close when those on it have ended: there is a
    /// better connection to its peer. Counts from now on, not from when the stream has heard of it.
    pub fn retire(&mut self, stream: StreamId, now: Timestamp) {
        if self.pool.get(stream).is_some_and(|pooled| !pooled.is_opening()) {
            self.command(stream, StreamCommand::Retire);
            self.report(stream, Report::Retired, now);
        }
    }

    fn close_request(&mut self, id: RequestId) {
        let stream = self.requests.get(id).and_then(|request| request.stream());
        let (phase, delivery) = match stream {
            Some(_) => (Phase::Wait, Delivery::Unknown),
            None => (Phase::Connect, Delivery::NotProcessed),
        };
        if let Some(stream) = stream {
            self.command(stream, StreamCommand::Cancel { request: id });
        }
        self.fail(id, RequestError::new(Cause::Closed, phase, delivery));
    }

    pub(super) fn finish_drain(&mut self) {
        if self.stopping == Stopping::Draining
            && self.requests.is_empty()
            && self.calls.is_empty()
            && self.dials.is_empty()
            && self.pool.is_empty()
        {
            self.stopping = Stopping::Drained;
            self.tell(ClientEvent::Drained);
        }
    }

    pub(super) fn close_if_stopping(&mut self, stream: StreamId) {
        let idle = self.is_stopping() && self.pool.peer_of_idle(stream).is_some();
        if idle {
            self.close_stream(stream);
        }
    }

    /// Closes the stream that is idle for the longest time among those; whether there was one.
    pub(super) fn close_longest_idle(&mut self, of: impl Fn(&Purpose) -> bool) -> bool {
        let longest = self.pool.longest_idle(of);
        if let Some(longest) = longest {
            self.close_stream(longest);
        }
        longest.is_some()
    }

    pub(super) fn close_stream(&mut self, stream: StreamId) {
        if self.drain_stream(stream) {
            self.command(stream, StreamCommand::Close);
        }
    }

    /// Puts no further requests on a stream. Whether some were before.
    pub(super) fn drain_stream(&mut self, stream: StreamId) -> bool {
        let Some(draining) = self.pool.drain(stream) else { return false };
        self.timers.cancel(draining.watched_until, TimerKind::Idle(stream));
        if let Some(due) = draining.trial_due {
            self.timers.cancel(due, TimerKind::Trial(stream));
        }
        self.routes.stream_drains(draining.route, stream);
        true
    }

    /// A stream that took no further requests is gone.
    pub(super) fn remove_stream(&mut self, stream: StreamId) {
        let Some(gone) = self.pool.remove(stream) else { return };
        self.routes.stream_is_gone(gone.route);
        if gone.has_requests {
            self.rescue(stream, gone.drained);
        }
        if gone.was_bulk {
            self.serve_bulk_of(gone.peer);
        }
        self.place_waiting(gone.route);
        self.forget_route_if_unused(gone.route);
        self.forget_peer_if_unused(gone.peer);
        self.open_needed_of(gone.peer);
        self.serve_waiting_for_capacity();
    }

    /// Requests that were put on a stream when it had closed already: it reported all others.
    fn rescue(&mut self, stream: StreamId, drained: bool) {
        for id in self.requests.newest_first_on(stream) {
            if let Some(request) = self.requests.get_mut(id) {
                request.was_not_tried();
            }
            if !self.requeue(id, Delivery::NotProcessed) {
                let cause = closing(drained);
                let unsent = Delivery::NotProcessed;
                self.fail_try(id, RequestError::new(cause, Phase::Connect, unsent));
            }
        }
    }

    /// Forgets a route on which nothing is and nothing waits.
    pub(super) fn forget_route_if_unused(&mut self, key: RouteKey) {
        let Some(forgotten) = self.routes.forget_if_unused(key) else { return };
        if let Some(until) = forgotten.backoff_until {
            self.timers.cancel(until, TimerKind::Backoff(key));
        }
        self.forget_peer_if_unused(forgotten.peer);
    }

    pub(super) fn forget_peer_if_unused(&mut self, peer: PeerKey) {
        if self.routes.of_peer(peer).is_empty() {
            self.pool.forget_peer_if_unused(peer);
        }
    }
}
