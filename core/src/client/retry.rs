//! Whether a failed request is tried again, and when.

use alloc::boxed::Box;
use core::fmt::Debug;
use core::time::Duration;

use super::dispatch::{Dispatcher, Place, Timer};
use crate::error::{Cause, Delivery, RequestError, StatusCode};
use crate::id::RequestId;
use crate::rng::Rng;
use crate::time::Timestamp;

/// The longest pause between two tries. A server that asks for a longer one ends them: the caller
/// gets its answer, with the time it asked for.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Decides about failed requests. Replaces [`Backoff`] with
/// [`Dispatcher::set_retry_policy`](super::Dispatcher::set_retry_policy).
///
/// It is asked only about failures that it makes sense to try again ([`RequestError::may_retry`]),
/// while the retry budget lasts.
pub trait RetryPolicy: Debug + Send {
    /// How long to wait before the request is tried again; `None` to give up. `retries` counts
    /// the tries after the first, so it is 0 when the first try has failed. `random` is a fresh
    /// random number for every call.
    fn pause(&mut self, error: &RequestError, retries: u32, random: u64) -> Option<Duration>;
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
    fn pause(&mut self, _: &RequestError, retries: u32, random: u64) -> Option<Duration> {
        if retries >= self.max_retries {
            return None;
        }
        let longest = self.interval.saturating_mul(1 << retries.min(20)).min(MAX_PAUSE);
        Some(Rng::new(random).between(longest / 2, longest))
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
    /// Replaces the retry policy.
    pub fn set_retry_policy(&mut self, policy: Box<dyn RetryPolicy>) {
        self.retry_policy = policy;
    }

    /// A try of a request has failed: it rests until the next, or fails for good.
    pub(super) fn fail_try(&mut self, id: RequestId, error: RequestError) {
        match self.pause_before_retry(id, &error) {
            Some(pause) => self.rest(id, pause, error.delivery),
            None => self.fail(id, error),
        }
    }

    fn pause_before_retry(&mut self, id: RequestId, error: &RequestError) -> Option<Duration> {
        let request = self.requests.get(id)?;
        if request.call.is_some() || !error.may_retry(request.idempotent) || self.is_stopping() {
            return None;
        }
        let (retries, deadline) = (request.retries, request.deadline);
        self.budget.failed();
        self.pause(error, retries, deadline)
    }

    /// How long to wait after a failure that may pass, before try number `retries` after the first.
    pub(super) fn pause(
        &mut self,
        error: &RequestError,
        retries: u32,
        deadline: Option<Timestamp>,
    ) -> Option<Duration> {
        if !self.budget.allows() {
            return None;
        }
        let random = self.rng.next_u64();
        let mut pause = self.retry_policy.pause(error, retries, random)?;
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

    fn rest(&mut self, id: RequestId, pause: Duration, delivery: Delivery) {
        let until = self.now + pause;
        self.leave_place(id);
        let Some(request) = self.requests.get_mut(id) else { return };
        request.retries += 1;
        request.moves = 0;
        request.delivery = request.delivery.max(delivery);
        request.place = Place::Resting { until };
        if let Some(route) = self.routes.get_mut(request.route) {
            route.resting += 1;
        }
        self.stats.retries += 1;
        self.timers.insert((until, Timer::Retry(id)));
    }

    /// The pause of a request is over.
    pub(super) fn retry(&mut self, id: RequestId) {
        let Some(route) = self.requests.get(id).map(|request| request.route) else { return };
        self.leave_place(id);
        self.enqueue(id, true);
        self.serve(route);
    }
}
