//! Requests to a peer that is too busy for more than it has.

use super::Dispatcher;
use crate::endpoint::client::state::keys::RouteKey;
use crate::endpoint::client::state::routes::Route;
use crate::endpoint::client::state::window::Window;
use crate::error::{Cause, Delivery, Phase, RequestError, Status};
use crate::id::{RequestId, StreamId};

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
        streams.map(|stream| stream.in_flight()).sum()
    }

    /// A server was too busy for a request. It waits until one of those has ended that were let in, unless
    /// there is none, it was refused too often, or it is not to be sent again. A call to the closest node
    /// asks another one instead.
    pub(super) fn wait_for_window(
        &mut self,
        id: RequestId,
        status: &Status,
        delivery: Delivery,
    ) -> bool {
        let Some(request) = self.requests.get(id).filter(|request| request.call().is_none()) else {
            return false;
        };
        let key = request.route();
        let may_wait = request.has_retries_left() && self.config().max_retries > 0;
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
        others > 0 && may_wait && self.requeue(id, delivery)
    }

    /// A request that had waited is to be placed. If a window kept it waiting for half of its time, it
    /// fails as those did that the server refused: one that is sent with too little time left is work for
    /// nothing, and so are those behind it.
    pub(super) fn give_up_late(&mut self, key: RouteKey, id: RequestId) -> bool {
        let Some(Some(window)) = self.routes.window_mut(key) else { return false };
        let Some(request) = self.requests.get(id) else { return false };
        if request.call().is_some() || !request.is_late(self.now) {
            window.note_placed();
            return false;
        }
        let (cause, unsent) = (Cause::Remote(window.refusal().clone()), Delivery::NotProcessed);
        self.fail(id, RequestError::new(cause, Phase::Connect, unsent));
        true
    }
}
