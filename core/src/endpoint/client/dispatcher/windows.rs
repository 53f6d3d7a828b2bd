//! Requests to a peer that is too busy for more than it has.

use core::time::Duration;

use super::Dispatcher;
use crate::endpoint::client::state::keys::RouteKey;
use crate::endpoint::client::state::pool::stream::PooledStream;
use crate::endpoint::client::state::requests::Request;
use crate::endpoint::client::state::routes::Route;
use crate::endpoint::client::state::routes::window::Window;
use crate::error::{Cause, Delivery, Phase, RequestError, Status};
use crate::id::{RequestId, StreamId};

/// A request that has waited for no longer than this for a busy peer is placed before all that have: what
/// Facebook's servers do with their queues (adaptive LIFO; Maurer, "Fail at Scale", 2015).
const FRESH: Duration = Duration::from_millis(200);

impl Dispatcher {
    /// A stream of a route that can take a request now, if the route's window has room for it.
    #[inline]
    pub(super) fn pick_within_window(&mut self, key: RouteKey, bulk: bool) -> Option<StreamId> {
        let route = self.routes.get(key)?;
        if let Some(window) = route.window() {
            let at_work = self.at_work(route);
            if window.is_idle(at_work) {
                self.routes.window_mut(key)?.take();
            } else if window.left(at_work) == 0 {
                return None;
            }
        }
        self.pick(key, bulk)
    }

    /// How many more requests of a route may be at work.
    #[inline]
    pub(super) fn window_left(&self, route: &Route) -> usize {
        route.window().map_or(usize::MAX, |window| window.left(self.at_work(route)))
    }

    fn at_work(&self, route: &Route) -> usize {
        let streams = route.streams().iter().filter_map(|id| self.pool.get(*id));
        streams.map(PooledStream::at_work).sum()
    }

    /// A server was too busy for a request. It waits until one of those has ended that were let in, unless
    /// there is none, it was refused too often, or it is not patient.
    pub(super) fn wait_for_window(
        &mut self,
        id: RequestId,
        status: &Status,
        delivery: Delivery,
    ) -> bool {
        let Some(request) = self.requests.get(id).filter(|request| request.is_patient()) else {
            return false;
        };
        let key = request.route();
        if delivery != Delivery::NotProcessed || !Window::is_called_for(status) {
            return false;
        }
        let Some(route) = self.routes.get(key) else { return false };
        // It is on its stream still.
        let others = self.at_work(route).saturating_sub(1);
        let Some(window) = self.routes.window_mut(key) else { return false };
        match window {
            Some(window) => window.shrink(others, status.clone()),
            None => *window = Some(Window::new(others, status.clone())),
        }
        others > 0 && self.requeue(id, delivery)
    }

    /// The waiting requests to place next, one with a small body and one with a large one, the one that is
    /// to come first before the other. Those that a busy peer has kept waiting for long come last: in an
    /// overload that lasts, each would find its place when its caller has almost given up.
    pub(super) fn next_waiting(&self, route: &Route) -> [Option<(RequestId, bool)>; 2] {
        if route.window().is_none() {
            return route.oldest_waiting();
        }
        let accepted = |id| self.requests.get(id).map(Request::accepted);
        route.waiting_behind(|id| accepted(id).is_some_and(|at| self.now.since(at) > FRESH))
    }

    /// A request has waited for a stream for as long as it may.
    pub(super) fn stop_waiting(&mut self, id: RequestId) {
        let Some(request) = self.requests.get(id) else { return };
        let is_over = request.deadline().is_some_and(|due| due <= self.now);
        let window = self.routes.get(request.route()).and_then(Route::window);
        let cause = match window {
            Some(window) if !is_over => Cause::Remote(window.refusal().clone()),
            _ if is_over => Cause::Deadline,
            // The peer is not busy any more.
            _ => return self.enqueue_again(id),
        };
        self.fail(id, RequestError::new(cause, Phase::Connect, Delivery::NotProcessed));
    }

    fn enqueue_again(&mut self, id: RequestId) {
        self.dequeue(id);
        self.enqueue(id);
    }
}
