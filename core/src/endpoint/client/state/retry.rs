//! Whether a failed request is tried again, and when.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt::Debug;
use core::time::Duration;

use super::failover::Paid;
use crate::config::ClientConfig;
use crate::error::{Cause, Delivery, RequestError, StatusCode};
use crate::id::{PeerId, ProtocolName};
use crate::rng::Rng;
use crate::time::Timestamp;

/// The longest pause between two tries of a request. If a server asks for a longer one, there is no
/// further try: the caller gets the server's answer, with the time that it asked for.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Decides about failed requests. Replaces [`Backoff`] with
/// [`Dispatcher::set_retry_policy`](crate::endpoint::Dispatcher::set_retry_policy).
///
/// It is asked only about failures that it makes sense to try again ([`RequestError::may_retry`]),
/// while the retry budget lasts; not about one that a busy server refused while it worked on others of this
/// client, which waits for these. No lock is held meanwhile, so it may look at the client, or use it.
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

/// The retry policy, what may be spent on tries after the first, and the random numbers of a client.
#[derive(Debug)]
pub(crate) struct Retries {
    policy: Arc<dyn RetryPolicy>,
    /// Of protocols that have one of their own.
    by_protocol: BTreeMap<ProtocolName, Arc<dyn RetryPolicy>>,
    /// What may be spent on tries after the first, of whatever kind.
    tries: TryBudget,
    /// What may be spent on hedges, each of which is a further try as well.
    hedges: TryBudget,
    /// Peers that have failed of late.
    peers: PeerBudgets,
    /// When the fleet was last seen to be loaded: a server was busy, or more hedges were wanted than there
    /// may be.
    loaded: Option<Timestamp>,
    rng: Rng,
}

impl Retries {
    pub(crate) fn new(policy: Arc<dyn RetryPolicy>, config: &ClientConfig, seed: u64) -> Self {
        Self {
            policy,
            by_protocol: BTreeMap::new(),
            tries: TryBudget::new(config.retry_budget, TryBudget::RESERVE),
            hedges: TryBudget::new(config.hedge_budget, TryBudget::HEDGES),
            peers: PeerBudgets::default(),
            loaded: None,
            rng: Rng::new(seed),
        }
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

    /// A request, or a call to the closest node, is tried for the first time.
    pub(crate) fn note_first(&mut self, now: Timestamp) {
        self.tries.first(now);
        if !self.is_loaded(now) {
            self.hedges.first(now);
        }
    }

    /// Whether successes of peers are to be noted, since some have failed.
    pub(crate) fn has_failed_peers(&self) -> bool {
        !self.peers.tenths.is_empty()
    }

    pub(crate) fn note_success(&mut self, peer: &PeerId) {
        self.peers.succeeded(peer);
    }

    /// A try has failed in a way that may pass.
    pub(crate) fn note_failure(&mut self, peer: &PeerId, error: &RequestError, now: Timestamp) {
        self.peers.failed(peer);
        if error.is_busy() {
            self.loaded = Some(now);
        }
    }

    /// Takes what a try after the first costs; `false` if the budget is used up.
    pub(crate) fn take(&mut self, now: Timestamp) -> bool {
        self.tries.take(now)
    }

    /// Tries that were paid for were not made.
    pub(crate) fn give_back(&mut self, paid: Paid) {
        self.tries.give_back(paid.tries);
        self.hedges.give_back(paid.hedges);
    }

    /// Takes what a hedge costs; `false` if there is to be none.
    pub(crate) fn take_hedge(&mut self, now: Timestamp) -> bool {
        if self.is_loaded(now) {
            return false;
        }
        if !self.hedges.can_take(now) {
            // More calls are slow than a few: all are.
            self.loaded = Some(now);
            return false;
        }
        self.tries.take(now) && self.hedges.take(now)
    }

    fn is_loaded(&self, now: Timestamp) -> bool {
        self.loaded.is_some_and(|since| now.since(since) < LOADED)
    }

    /// Whether there is another try after this failure of a request of this protocol; at this peer, if
    /// it is a request's. What it costs is [taken](Self::take) when it is sure.
    pub(crate) fn decide(
        &mut self,
        protocol: Option<&ProtocolName>,
        error: &RequestError,
        peer: Option<&PeerId>,
        retries: u32,
        now: Timestamp,
    ) -> Retry {
        let peer_allows = peer.is_none_or(|peer| self.peers.allow(peer));
        if !peer_allows || !self.tries.can_take(now) {
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

/// A pause as the server asks for it; `None` if it is too long for the caller. To what the server
/// asks for, up to as much again is added at random: those it has turned away together must not come
/// back together.
pub(crate) fn fit_pause(
    mut pause: Duration,
    error: &RequestError,
    deadline: Option<Timestamp>,
    random: u64,
    now: Timestamp,
) -> Option<Duration> {
    if let Some(asked) = error.status().and_then(|status| status.retry_after) {
        if asked > MAX_PAUSE {
            // The caller may want to wait that long; a peer must not make it.
            return None;
        }
        // Not beyond the caller's own time.
        let latest = deadline.map_or(MAX_PAUSE * 2, |deadline| {
            deadline.since(now).saturating_sub(Duration::from_nanos(1))
        });
        pause = pause.max(Rng::new(random).between(asked, (asked * 2).min(latest)));
    }
    // A pause that the caller will not sit through only delays the news.
    let in_time = deadline.is_none_or(|deadline| now + pause < deadline);
    in_time.then_some(pause)
}

/// No hedges for so long after the fleet was seen to be loaded: they would add to that.
const LOADED: Duration = Duration::from_secs(1);

/// What tries after the first cost: each first try pays a share of one, and each further try takes a
/// whole one. So further tries are that share of all, whatever fails, and however many servers there
/// are to be asked. After Finagle's `RetryBudget` and the SRE book's chapter on overload: where each
/// client adds a tenth at most, a fleet that fails sees a tenth more requests, and not three times as
/// many.
///
/// A few are there from the beginning, and come back slowly, for clients that seldom ask. The balance
/// is never more than those and the share of what was tried within the last seconds, so that a time of
/// peace does not pay for a storm.
#[derive(Debug)]
struct TryBudget {
    /// What a first try pays, in thousandths of a try; 0 allows none at all.
    share: u64,
    /// What is there for clients that seldom ask, in thousandths of a try.
    reserve: u64,
    /// In thousandths of a try.
    balance: u64,
    /// First tries of late: each counts for a second or two, and less and less.
    recent: u64,
    /// Up to when time has passed.
    at: Timestamp,
}

impl TryBudget {
    /// A try.
    const ONE: u64 = 1000;
    /// What is there for clients that seldom ask: enough for what was under way to a server that is
    /// restarted, and for its callers to wait for it.
    const RESERVE: u64 = 50 * Self::ONE;
    /// Of hedges.
    const HEDGES: u64 = 5 * Self::ONE;
    /// Time passes in steps of this. With each, an eighth of the recent tries is forgotten, and this part
    /// of the reserve comes back: all of it in five hundred seconds.
    const STEP: u64 = 200_000_000;
    const PER_STEP: u64 = 2500;

    fn new(share: u32, reserve: u64) -> Self {
        let reserve = if share == 0 { 0 } else { reserve };
        let (share, balance) = (u64::from(share), reserve);
        Self { share, reserve, balance, recent: 0, at: Timestamp::ZERO }
    }

    fn first(&mut self, now: Timestamp) {
        self.pass(now);
        self.recent += 1;
        self.balance = (self.balance + self.share).min(self.most());
    }

    fn can_take(&mut self, now: Timestamp) -> bool {
        self.pass(now);
        self.balance >= Self::ONE
    }

    fn take(&mut self, now: Timestamp) -> bool {
        let can = self.can_take(now);
        if can {
            self.balance -= Self::ONE;
        }
        can
    }

    fn give_back(&mut self, tries: u32) {
        self.balance += u64::from(tries) * Self::ONE;
    }

    fn most(&self) -> u64 {
        self.reserve + self.recent.saturating_mul(self.share)
    }

    fn pass(&mut self, now: Timestamp) {
        let passed = now.as_nanos().saturating_sub(self.at.as_nanos());
        if passed >= Self::STEP {
            self.advance(passed / Self::STEP);
        }
    }

    fn advance(&mut self, steps: u64) {
        self.at = self.at + Duration::from_nanos(steps.saturating_mul(Self::STEP));
        for _ in 0..steps.min(200) {
            self.recent -= self.recent.div_ceil(8);
        }
        let back = steps.saturating_mul(self.reserve / Self::PER_STEP);
        self.balance = self.balance.max(self.balance.saturating_add(back).min(self.reserve));
        self.balance = self.balance.min(self.most());
    }
}

/// What retries at the same peer cost beside that, after gRPC's retry throttling (A6): a failure
/// takes a token, a success gives back a tenth, and there are no retries while half or less is left.
/// So one peer that fails does not use up what is there for all.
#[derive(Debug, Default)]
struct PeerBudgets {
    /// What peers have left, in tenths of a token, if it is not all.
    tenths: BTreeMap<PeerId, u32>,
}

impl PeerBudgets {
    /// What there is for one peer, in tenths of a failure.
    const FULL: u32 = 1000;
    /// How many peers are remembered. One more has to wait until another has succeeded often enough.
    const MOST: usize = 4096;

    fn succeeded(&mut self, peer: &PeerId) {
        if let Some(tenths) = self.tenths.get_mut(peer) {
            *tenths += 1;
            if *tenths >= Self::FULL {
                self.tenths.remove(peer);
            }
        }
    }

    fn failed(&mut self, peer: &PeerId) {
        if self.tenths.len() < Self::MOST || self.tenths.contains_key(peer) {
            let tenths = self.tenths.entry(*peer).or_insert(Self::FULL);
            *tenths = tenths.saturating_sub(10);
        }
    }

    fn allow(&self, peer: &PeerId) -> bool {
        self.tenths.get(peer).is_none_or(|tenths| *tenths > Self::FULL / 2)
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
            | Cause::NoServerFound { .. }
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
    /// the format, have the method, or accept more.
    #[must_use]
    pub fn may_try_elsewhere(&self, idempotent: bool) -> bool {
        let faulty = match &self.cause {
            Cause::NoAddress
            | Cause::Unsupported
            | Cause::CutShort { .. }
            | Cause::Violation(_)
            | Cause::Body(_) => true,
            Cause::Remote(status) => {
                matches!(status.code, StatusCode::NotFound | StatusCode::Unimplemented)
            }
            _ => false,
        };
        self.may_retry(idempotent)
            || faulty && (idempotent || self.delivery == Delivery::NotProcessed)
    }
}
