//! Whether a failed request is tried again, and when.

use alloc::sync::Arc;
use core::fmt::Debug;
use core::time::Duration;

use super::dispatch::{Dispatcher, Place, Timer};
use super::question::Tried;
use crate::error::{Cause, Delivery, RequestError, StatusCode};
use crate::id::RequestId;
use crate::rng::Rng;
use crate::time::Timestamp;

/// The longest pause between two tries. A server that asks for a longer one ends them: the caller
/// gets its answer, with the time it asked for.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Decides about failed requests. Replaces [`Backoff`] with
/// [`Dispatcher::set_retry_policy`](crate::endpoint::Dispatcher::set_retry_policy).
///
/// It is asked only about failures that it makes sense to try again ([`RequestError::may_retry`]),
/// while the retry budget lasts. No lock is held meanwhile, so it may look at the client, or use it.
pub trait RetryPolicy: Debug + Send + Sync {
    /// How long to wait before the request is tried again; `None` to give up. `retries` counts
    /// the tries after the first, so it is 0 when the first try has failed. `random` is a fresh
    /// random number for every call.
    fn pause(&self, error: &RequestError, retries: u32, random: u64) -> Option<Duration>;

    /// Whether [`pause`](Self::pause) does nothing but compute: it neither waits nor calls anything
    /// that may lock, the client least of all. It is then called with the client's lock held, which
    /// saves a turn. Default: no.
    fn is_pure(&self) -> bool {
        false
    }
}

/// The default: at most `max_retries` further tries. The pause before try *n* (from 1) is drawn
/// evenly from half to the whole of `interval × 2ⁿ⁻¹`, at most 30 s: exponential backoff with
/// jitter, in the manner of gRPC's retry design (A6).
#[derive(Debug, Clone)]
pub struct Backoff {
    /// The most tries after the first.
    pub max_retries: u32,
    /// The longest pause before the first of them.
    pub interval: Duration,
}

impl RetryPolicy for Backoff {
    fn pause(&self, _: &RequestError, retries: u32, random: u64) -> Option<Duration> {
        if retries >= self.max_retries {
            return None;
        }
        let longest = self.interval.saturating_mul(1 << retries.min(20)).min(MAX_PAUSE);
        Some(Rng::new(random).between(longest / 2, longest))
    }

    fn is_pure(&self) -> bool {
        true
    }
}

/// Tokens that retries of one client cost, after gRPC's retry throttling (A6): a failure takes a
/// token, a success gives back a tenth, and there are neither retries nor hedges while half or
/// less is left. When nothing works, they stop adding to the load.
#[derive(Debug)]
pub(super) struct Budget {
    /// In tenths of a token.
    tenths: u32,
}

impl Budget {
    /// What a client may spend on retries, in tenths of a failure.
    const FULL: u32 = 1000;

    pub(super) fn new() -> Self {
        Self { tenths: Self::FULL }
    }

    pub(super) fn succeeded(&mut self) {
        self.tenths = (self.tenths + 1).min(Self::FULL);
    }

    pub(super) fn failed(&mut self) {
        self.tenths = self.tenths.saturating_sub(10);
    }

    /// Whether there may be tries that are not the first.
    pub(super) fn allows(&self) -> bool {
        self.tenths > Self::FULL / 2
    }
}

impl RequestError {
    /// Whether it makes sense to try the request again: what went wrong may not go wrong again,
    /// and trying cannot execute the request twice unless it is `idempotent`.
    ///
    /// ```
    /// use pointsub_core::{Cause, Delivery, Phase, RequestError};
    ///
    /// let lost = Cause::Lost("reset".into());
    /// let error = RequestError::new(lost, Phase::Wait, Delivery::Unknown);
    /// assert!(error.may_retry(true));
    /// assert!(!error.may_retry(false));
    /// ```
    #[must_use]
    pub fn may_retry(&self, idempotent: bool) -> bool {
        let passing = match &self.cause {
            Cause::TimedOut(_)
            | Cause::Unreachable(_)
            | Cause::Lost(_)
            | Cause::RelayLost(_)
            | Cause::RemoteClosed => true,
            Cause::Remote(status) => {
                matches!(status.code, StatusCode::Busy | StatusCode::Draining)
            }
            _ => false,
        };
        passing && (idempotent || self.delivery == Delivery::NotProcessed)
    }

    /// Whether it makes sense to try the request at another node: what went wrong may be this
    /// node's fault, and trying cannot execute the request twice unless it is `idempotent`. More
    /// than [`may_retry`](Self::may_retry): another node may have an address, speak the protocol or
    /// the format, or accept more.
    #[must_use]
    pub fn may_try_elsewhere(&self, idempotent: bool) -> bool {
        let faulty = match &self.cause {
            Cause::NoAddress
            | Cause::Unsupported
            | Cause::CutShort { .. }
            | Cause::Violation(_)
            | Cause::Body(_) => true,
            Cause::Remote(status) => status.code == StatusCode::NotFound,
            _ => false,
        };
        self.may_retry(idempotent)
            || faulty && (idempotent || self.delivery == Delivery::NotProcessed)
    }
}

impl Dispatcher {
    /// Replaces the retry policy, and returns the one before. One that is not
    /// [pure](RetryPolicy::is_pure) is asked by [`Directive::Ask`](crate::endpoint::Directive::Ask).
    pub fn set_retry_policy(&mut self, policy: Arc<dyn RetryPolicy>) -> Arc<dyn RetryPolicy> {
        core::mem::replace(&mut self.retry_policy, policy)
    }

    /// A try of a request has failed: it rests until the next, or fails for good.
    pub(super) fn fail_try(&mut self, id: RequestId, error: RequestError) {
        let Some(request) = self.requests.get(id) else { return };
        let retries = request.retries;
        if request.call.is_some() || !error.may_retry(request.idempotent) || self.is_stopping() {
            return self.fail(id, error);
        }
        self.budget.failed();
        if !self.budget.allows() {
            self.fail(id, error);
        } else if self.retry_policy.is_pure() {
            let random = self.rng.next_u64();
            let pause = self.retry_policy.pause(&error, retries, random);
            self.rest_or_fail(id, error, pause);
        } else {
            self.rest(id, None);
            self.ask_policy(Tried::Request(id), error, retries);
        }
    }

    /// The retry policy has said how long to wait before the next try, or that there is none.
    pub(super) fn rest_or_fail(
        &mut self,
        id: RequestId,
        error: RequestError,
        pause: Option<Duration>,
    ) {
        let deadline = self.requests.get(id).and_then(|request| request.deadline);
        let pause = pause.and_then(|pause| self.fit_pause(pause, &error, deadline));
        let Some(pause) = pause else { return self.fail(id, error) };
        let until = self.now + pause;
        self.rest(id, Some(until));
        if let Some(request) = self.requests.get_mut(id) {
            request.retries += 1;
            request.moves = 0;
            request.delivery = request.delivery.max(error.delivery);
        }
        self.stats.retries += 1;
        self.timers.insert((until, Timer::Retry(id)));
    }

    /// A pause as the server asks for it; `None` if it is too long for the caller.
    pub(super) fn fit_pause(
        &self,
        mut pause: Duration,
        error: &RequestError,
        deadline: Option<Timestamp>,
    ) -> Option<Duration> {
        if let Some(asked) = error.status().and_then(|status| status.retry_after) {
            if asked > MAX_PAUSE {
                // The caller may want to wait that long; a peer must not make it.
                return None;
            }
            pause = pause.max(asked);
        }
        // A pause that the caller will not sit through only delays the news.
        let in_time = deadline.is_none_or(|deadline| self.now + pause < deadline);
        in_time.then_some(pause)
    }

    fn rest(&mut self, id: RequestId, until: Option<Timestamp>) {
        self.leave_place(id);
        let Some(request) = self.requests.get_mut(id) else { return };
        request.place = Place::Resting { until };
        if let Some(route) = self.routes.get_mut(request.route) {
            route.resting += 1;
        }
    }

    /// The pause of a request is over.
    pub(super) fn retry(&mut self, id: RequestId) {
        let Some(route) = self.requests.get(id).map(|request| request.route) else { return };
        self.leave_place(id);
        self.enqueue(id, true);
        self.serve(route);
    }
}
