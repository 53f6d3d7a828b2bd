//! Requests, from when they are accepted until their outcome.

use super::{Dispatcher, Stopping};
use crate::connection::{BULK, StreamCommand};
use crate::endpoint::client::directive::ClientEvent;
use crate::endpoint::client::options::CallOptions;
use crate::endpoint::client::state::keys::RouteKey;
use crate::endpoint::client::state::requests::{Request, RequestState, Wanted};
use crate::endpoint::client::state::routes::RouteName;
use crate::endpoint::client::state::timers::TimerKind;
use crate::error::{RequestError, SendError};
use crate::id::{ClosestId, PeerId, ProtocolName, RequestId};
use crate::time::Timestamp;
use crate::wire::compress::{Body, Payload};

impl Dispatcher {
    /// Accepts a request. Exactly one [`ClientEvent`] follows for it, unless it is cancelled.
    ///
    /// # Errors
    /// [`SendError`] if it is not accepted; nothing was sent then.
    pub fn send(
        &mut self,
        peer: &PeerId,
        protocol: &str,
        body: Body,
        options: CallOptions,
        now: Timestamp,
    ) -> Result<RequestId, SendError> {
        self.now = self.now.max(now);
        self.check(&body)?;
        if self.local.as_ref() == Some(peer) {
            return Err(SendError::SelfRequest);
        }
        let request = self.accept(peer, protocol, body, options, None)?;
        self.retries.note_first(self.now);
        Ok(request)
    }

    /// Gives up a request: its caller does not wait any more. No event follows for it, unless its
    /// outcome was decided before. Unknown requests are ignored.
    pub fn cancel(&mut self, request: RequestId, now: Timestamp) {
        self.now = self.now.max(now);
        self.withdraw(request);
        self.finish_drain();
    }

    /// What can be said about a request before it is known to whom it goes.
    pub(super) fn check(&self, body: &Body) -> Result<(), SendError> {
        let (len, limit) = (body.raw().len(), self.config().max_block_size);
        match self.stopping {
            Stopping::Draining | Stopping::Drained => Err(SendError::Closed),
            Stopping::No if len > limit => Err(SendError::TooLarge { len, limit }),
            Stopping::No => Ok(()),
        }
    }

    pub(super) fn accept(
        &mut self,
        peer: &PeerId,
        protocol: &str,
        body: Body,
        options: CallOptions,
        call: Option<ClosestId>,
    ) -> Result<RequestId, SendError> {
        let route = self.route(peer, protocol)?;
        let bulk = body.raw().len() > BULK;
        // A call to the closest node has others to ask, and who wants no retries hears of everything.
        let most = options.max_retries.unwrap_or(self.config().max_retries);
        let patient = call.is_none() && most > 0;
        let stream = match patient {
            true => self.pick_within_window(route, bulk),
            false => self.pick(route, bulk),
        };
        let limit = self.config().max_pending;
        if stream.is_none() && self.routes.waiting() >= limit {
            self.forget_route_if_unused(route);
            return Err(SendError::Overloaded { limit });
        }
        self.stats.started += 1;
        let CallOptions { deadline, idempotent, max_retries } = options;
        let accepted = self.now;
        let wanted = Wanted {
            route,
            body,
            accepted,
            deadline,
            bulk,
            call,
            idempotent,
            max_retries,
            patient,
        };
        let id = self.requests.insert(wanted);
        match stream {
            Some(stream) => self.place(stream, id),
            None => {
                self.enqueue(id);
                self.open_needed(route);
            }
        }
        Ok(id)
    }

    fn route(&mut self, peer: &PeerId, protocol: &str) -> Result<RouteKey, SendError> {
        if let Some(key) = self.routes.find(peer, protocol) {
            return Ok(key);
        }
        let name = RouteName { peer: *peer, protocol: ProtocolName::new(protocol)? };
        let peer = self.pool.peer(peer);
        Ok(self.routes.insert(peer, name))
    }

    /// Nobody waits for a request any more.
    pub(super) fn withdraw(&mut self, request: RequestId) {
        let Some(ended) = self.remove_request(request) else { return };
        self.stats.cancelled += 1;
        if let Some(stream) = ended.stream() {
            self.command(stream, StreamCommand::Cancel { request });
        }
    }

    pub(super) fn succeed(&mut self, request: RequestId, payload: Payload) {
        let Some(ended) = self.remove_request(request) else { return };
        self.stats.ok += 1;
        if self.retries.has_failed_peers()
            && let Some(route) = self.routes.get(ended.route())
        {
            self.retries.note_success(&route.name().peer);
        }
        match ended.call() {
            Some(call) => self.node_answered(call, request, payload),
            None => self.tell(ClientEvent::Response { request, payload }),
        }
    }

    pub(super) fn fail(&mut self, request: RequestId, mut error: RequestError) {
        let Some(ended) = self.remove_request(request) else { return };
        error.attempts = ended.attempts();
        error.delivery = error.delivery.max(ended.delivery());
        self.stats.failed += 1;
        match ended.call() {
            Some(call) => self.node_failed(call, request, error),
            None => self.tell(ClientEvent::Failed { request, error }),
        }
    }

    /// A request is over, and so is its route if it was the last there.
    fn remove_request(&mut self, id: RequestId) -> Option<Request> {
        self.take_from_wait(id);
        let ended = self.requests.remove(id)?;
        if ended.stream().is_none() {
            self.forget_route_if_unused(ended.route());
        }
        Some(ended)
    }

    /// Takes a request from where it waits or backs off.
    pub(super) fn take_from_wait(&mut self, id: RequestId) {
        let Some(request) = self.requests.get(id) else { return };
        match request.state() {
            RequestState::OnStream(_) => {}
            RequestState::Waiting => self.dequeue(id),
            RequestState::BackingOff { until } => {
                if let Some(until) = until {
                    self.timers.cancel(until, TimerKind::Retry(id));
                }
                self.routes.request_is_back(request.route());
            }
        }
    }
}
