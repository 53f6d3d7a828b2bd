//! Failed requests that are tried again.

use alloc::sync::Arc;
use core::time::Duration;

use super::Dispatcher;
use crate::endpoint::client::question::Tried;
use crate::endpoint::client::state::retry::{Retry, RetryPolicy, fit_pause};
use crate::endpoint::client::state::timers::TimerKind;
use crate::error::RequestError;
use crate::id::{ProtocolName, RequestId};
use crate::time::Timestamp;

impl Dispatcher {
    /// Replaces the retry policy, and returns the one before. One that is not
    /// [pure](RetryPolicy::is_pure) is asked by [`Directive::Ask`](crate::endpoint::Directive::Ask).
    pub fn set_retry_policy(&mut self, policy: Arc<dyn RetryPolicy>) -> Arc<dyn RetryPolicy> {
        self.retries.set_policy(policy)
    }

    /// Sets a retry policy for the requests of one protocol, in place of the one for all others, and
    /// returns the one before.
    pub fn set_protocol_retry_policy(
        &mut self,
        protocol: ProtocolName,
        policy: Arc<dyn RetryPolicy>,
    ) -> Option<Arc<dyn RetryPolicy>> {
        self.retries.set_protocol_policy(protocol, policy)
    }

    /// A try of a request has failed: it backs off until the next, or fails for good.
    pub(super) fn fail_try(&mut self, id: RequestId, error: RequestError) {
        let Some(request) = self.requests.get(id) else { return };
        let retries = request.retries();
        let may_retry = error.may_retry(request.is_idempotent()) && request.has_retries_left();
        let route = request.route();
        if request.call().is_some() || !may_retry || self.is_stopping() {
            return self.fail(id, error);
        }
        let name = self.routes.get(route).map(|route| route.name().clone());
        if let Some(name) = &name {
            self.retries.note_failure(&name.peer, &error, self.now);
        }
        let (protocol, peer) = name.as_ref().map(|name| (&name.protocol, &name.peer)).unzip();
        match self.retries.decide(protocol, &error, peer, retries, self.now) {
            Retry::Never => self.fail(id, error),
            Retry::After(pause) => self.back_off_or_fail(id, error, Some(pause)),
            Retry::Ask(policy, random) => {
                self.back_off(id, None);
                self.ask_policy(Tried::Request(id), error, retries, (policy, random));
            }
        }
    }

    /// The retry policy has said how long to wait before the next try, or that there is none.
    pub(super) fn back_off_or_fail(
        &mut self,
        id: RequestId,
        error: RequestError,
        pause: Option<Duration>,
    ) {
        let deadline = self.requests.get(id).and_then(|request| request.deadline());
        let (random, now) = (self.retries.random(), self.now);
        let pause = pause.and_then(|pause| fit_pause(pause, &error, deadline, random, now));
        let Some(pause) = pause.filter(|_| self.retries.take(now)) else {
            return self.fail(id, error);
        };
        let until = self.now + pause;
        self.back_off(id, Some(until));
        if let Some(request) = self.requests.get_mut(id) {
            request.count_retry(error.delivery);
        }
        self.stats.retries += 1;
        self.timers.set(until, TimerKind::Retry(id));
    }

    fn back_off(&mut self, id: RequestId, until: Option<Timestamp>) {
        self.take_from_wait(id);
        let Some(request) = self.requests.get_mut(id) else { return };
        request.back_off(until);
        self.routes.request_backs_off(request.route());
    }

    /// Takes from the retry budget what a further try costs that is made elsewhere: that of a
    /// [call that is opened again](crate::endpoint::Resumption). `false` if there is none left.
    pub fn take_retry(&mut self, now: Timestamp) -> bool {
        self.now = self.now.max(now);
        let paid = self.retries.take(self.now);
        self.stats.retries += u64::from(paid);
        paid
    }

    /// The pause of a request is over.
    pub(super) fn retry(&mut self, id: RequestId) {
        let Some(route) = self.requests.get(id).map(|request| request.route()) else { return };
        self.take_from_wait(id);
        self.enqueue(id);
        self.serve(route);
    }
}
