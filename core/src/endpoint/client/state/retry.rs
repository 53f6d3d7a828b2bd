//! Whether a failed request is tried again, and when.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt::Debug;
use core::time::Duration;

use crate::error::{Cause, Delivery, RequestError, StatusCode};
use crate::id::ProtocolName;
use crate::rng::Rng;
use crate::time::Timestamp;

/// The longest pause between two tries of a request. If a server asks for a longer one, there is no
/// further try: the caller gets the server's answer, with the time that it asked for.
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
#[non_exhaustive]
pub struct Backoff {
    /// The most tries after the first.
    pub max_retries: u32,
    /// The longest pause before the first of them.
    pub interval: Duration,
}

impl Backoff {
    /// At most so many further tries, with so long a pause before the first at most.
    #[must_use]
    pub const fn new(max_retries: u32, interval: Duration) -> Self {
        Self { max_retries, interval }
    }
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

/// Whether there is another try.
#[derive(Debug)]
pub(crate) enum Retry {
    /// No.
    Never,
    /// After this pause.
    After(Duration),
    /// The policy is the user's and is not pure: to be asked without a lock, with this random number.
    Ask(Arc<dyn RetryPolicy>, u64),
}

/// The retry policy, what may be spent on retries, and the random numbers of a client.
#[derive(Debug)]
pub(crate) struct Retries {
    policy: Arc<dyn RetryPolicy>,
    /// Of protocols that have one of their own.
    by_protocol: BTreeMap<ProtocolName, Arc<dyn RetryPolicy>>,
    budget: Budget,
    rng: Rng,
}

impl Retries {
    pub(crate) fn new(policy: Arc<dyn RetryPolicy>, seed: u64) -> Self {
        let by_protocol = BTreeMap::new();
        Self { policy, by_protocol, budget: Budget::new(), rng: Rng::new(seed) }
    }

    pub(crate) fn set_policy(&mut self, policy: Arc<dyn RetryPolicy>) -> Arc<dyn RetryPolicy> {
        core::mem::replace(&mut self.policy, policy)
    }

    pub(crate) fn set_protocol_policy(
        &mut self,
        protocol: ProtocolName,
        policy: Arc<dyn RetryPolicy>,
    ) -> Option<Arc<dyn RetryPolicy>> {
        self.by_protocol.insert(protocol, policy)
    }

    pub(crate) fn random(&mut self) -> u64 {
        self.rng.next_u64()
    }

    pub(crate) fn note_success(&mut self) {
        self.budget.succeeded();
    }

    pub(crate) fn note_failure(&mut self) {
        self.budget.failed();
    }

    /// Whether there may be tries that are not the first.
    pub(crate) fn are_allowed(&self) -> bool {
        self.budget.allows()
    }

    /// Whether there is another try after this failure of a request of this protocol.
    pub(crate) fn decide(
        &mut self,
        protocol: Option<&ProtocolName>,
        error: &RequestError,
        retries: u32,
    ) -> Retry {
        if !self.budget.allows() {
            return Retry::Never;
        }
        let random = self.rng.next_u64();
        let own = protocol.and_then(|protocol| self.by_protocol.get(protocol));
        let policy = own.unwrap_or(&self.policy);
        if policy.is_pure() {
            policy.pause(error, retries, random).map_or(Retry::Never, Retry::After)
        } else {
            Retry::Ask(policy.clone(), random)
        }
    }
}

/// A pause as the server asks for it; `None` if it is too long for the caller.
pub(crate) fn fit_pause(
    mut pause: Duration,
    error: &RequestError,
    deadline: Option<Timestamp>,
    now: Timestamp,
) -> Option<Duration> {
    if let Some(asked) = error.status().and_then(|status| status.retry_after) {
        if asked > MAX_PAUSE {
            // The caller may want to wait that long; a peer must not make it.
            return None;
        }
        pause = pause.max(asked);
    }
    // A pause that the caller will not sit through only delays the news.
    let in_time = deadline.is_none_or(|deadline| now + pause < deadline);
    in_time.then_some(pause)
}

/// Tokens that retries of one client cost, after gRPC's retry throttling (A6): a failure takes a
/// token, a success gives back a tenth, and there are neither retries nor hedges while half or
/// less is left. When nothing works, they stop adding to the load.
#[derive(Debug)]
struct Budget {
    /// In tenths of a token.
    tenths: u32,
}

impl Budget {
    /// What a client may spend on retries, in tenths of a failure: a failure costs ten, a success
    /// gives back one.
    const FULL: u32 = 1000;

    fn new() -> Self {
        Self { tenths: Self::FULL }
    }

    fn succeeded(&mut self) {
        self.tenths = (self.tenths + 1).min(Self::FULL);
    }

    fn failed(&mut self) {
        self.tenths = self.tenths.saturating_sub(10);
    }

    /// Whether there may be tries that are not the first.
    fn allows(&self) -> bool {
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
