//! How much may come in a while: token buckets for requests and for bytes, of peers and of protocols.
//!
//! A bucket is asked before a request is let in, and pays afterwards, so that it can owe. Whoever owes
//! waits until it does not: on average the rate holds, for messages of any size.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::id::{PeerId, ProtocolName};
use crate::time::Timestamp;

/// How many peers have buckets of their own. Those beyond have one together.
const BUCKETS: usize = 8192;
/// A token. One in a second is one of these parts in a nanosecond.
const UNIT: i128 = 1_000_000_000;

/// So much in a second on average, and so much at once.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    per_second: u64,
    burst: u64,
}

impl Quota {
    /// So much in a second, and as much at once. A zero allows nothing.
    #[must_use]
    pub const fn per_second(count: u64) -> Self {
        Self { per_second: count, burst: count }
    }

    /// The same rate with so much at once, after a time without any.
    #[must_use]
    pub const fn with_burst(mut self, burst: u64) -> Self {
        self.burst = burst;
        self
    }
}

/// How many requests and how many bytes of requests may come. Without a limit, as many as there are.
///
/// ```
/// use pointsub_core::endpoint::{Quota, RateLimit};
///
/// let limit = RateLimit::new()
///     .requests(Quota::per_second(10).with_burst(100))
///     .bytes(Quota::per_second(1024 * 1024));
/// # let _ = limit;
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub struct RateLimit {
    requests: Option<Quota>,
    bytes: Option<Quota>,
}

impl RateLimit {
    /// No limit.
    #[must_use]
    pub const fn new() -> Self {
        Self { requests: None, bytes: None }
    }

    /// So many requests.
    #[must_use]
    pub const fn requests(mut self, quota: Quota) -> Self {
        self.requests = Some(quota);
        self
    }

    /// So many bytes of requests, as they are on the wire.
    #[must_use]
    pub const fn bytes(mut self, quota: Quota) -> Self {
        self.bytes = Some(quota);
        self
    }

    const fn is_none(&self) -> bool {
        self.requests.is_none() && self.bytes.is_none()
    }
}

/// What a [`RateLimit`] holds for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RateScope {
    /// Each peer by itself, under all protocols together.
    EachPeer,
    /// All peers together under a protocol.
    Protocol(ProtocolName),
    /// Each peer by itself under a protocol.
    EachPeerOf(ProtocolName),
}

/// Tokens of one kind.
#[derive(Copy, Clone, Debug)]
struct Bucket {
    /// In [`UNIT`]ths; below zero if it owes.
    tokens: i128,
    at: Timestamp,
}

impl Bucket {
    fn full(quota: Quota, now: Timestamp) -> Self {
        Self { tokens: i128::from(quota.burst) * UNIT, at: now }
    }

    fn refill(&mut self, quota: Quota, now: Timestamp) {
        let passed = i128::try_from(now.since(self.at).as_nanos()).unwrap_or(i128::MAX);
        let came = passed.saturating_mul(i128::from(quota.per_second));
        self.tokens = self.tokens.saturating_add(came).min(i128::from(quota.burst) * UNIT);
        self.at = self.at.max(now);
    }

    /// How long it takes until there is a token.
    fn wait(&mut self, quota: Quota, now: Timestamp) -> Option<Duration> {
        self.refill(quota, now);
        let lacks = UNIT - self.tokens;
        if lacks <= 0 {
            return None;
        }
        // Never, if there is no rate: an hour is as good.
        let longest = 3600 * UNIT;
        let nanos = lacks.checked_div(i128::from(quota.per_second)).unwrap_or(longest);
        Some(Duration::from_nanos(u64::try_from(nanos.clamp(1, longest)).unwrap_or(u64::MAX)))
    }

    fn pay(&mut self, count: u64) {
        self.tokens = self.tokens.saturating_sub(i128::from(count) * UNIT);
    }

    fn is_full(&mut self, quota: Quota, now: Timestamp) -> bool {
        self.refill(quota, now);
        self.tokens >= i128::from(quota.burst) * UNIT
    }
}

/// The buckets of one whom a limit holds for.
#[derive(Copy, Clone, Debug, Default)]
struct Buckets {
    requests: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Buckets {
    fn new(limit: &RateLimit, now: Timestamp) -> Self {
        let full = |quota: Quota| Bucket::full(quota, now);
        Self { requests: limit.requests.map(full), bytes: limit.bytes.map(full) }
    }

    fn both(&mut self, limit: &RateLimit) -> [Option<(Quota, &mut Bucket)>; 2] {
        [limit.requests.zip(self.requests.as_mut()), limit.bytes.zip(self.bytes.as_mut())]
    }

    fn wait(&mut self, limit: &RateLimit, now: Timestamp) -> Option<Duration> {
        let waits = self.both(limit).into_iter().flatten();
        waits.filter_map(|(quota, bucket)| bucket.wait(quota, now)).max()
    }

    fn pay(&mut self, requests: u64, bytes: u64) {
        for (bucket, count) in [(&mut self.requests, requests), (&mut self.bytes, bytes)] {
            if let Some(bucket) = bucket {
                bucket.pay(count);
            }
        }
    }

    fn is_full(&mut self, limit: &RateLimit, now: Timestamp) -> bool {
        let mut both = self.both(limit).into_iter().flatten();
        both.all(|(quota, bucket)| bucket.is_full(quota, now))
    }
}

/// A limit, and the buckets of all whom it holds for.
#[derive(Debug)]
struct Limited {
    limit: RateLimit,
    /// `None` is whoever has no bucket of its own: all peers of a protocol, or those beyond the number
    /// of buckets.
    buckets: BTreeMap<Option<PeerId>, Buckets>,
    purged: Option<Timestamp>,
}

impl Limited {
    fn bucket(&mut self, peer: Option<PeerId>, now: Timestamp) -> &mut Buckets {
        let limit = self.limit;
        let mut key = peer;
        if self.buckets.len() >= BUCKETS && !self.buckets.contains_key(&key) {
            let waited = |purged| now.since(purged) >= Duration::from_secs(1);
            if self.purged.is_none_or(waited) {
                self.purged = Some(now);
                self.buckets.retain(|_, buckets| !buckets.is_full(&limit, now));
            }
            if self.buckets.len() >= BUCKETS {
                key = None;
            }
        }
        self.buckets.entry(key).or_insert_with(|| Buckets::new(&limit, now))
    }
}

/// All limits on rates. Without any, asking costs a comparison.
#[derive(Debug, Default)]
pub(super) struct Rates(BTreeMap<RateScope, Limited>);

impl Rates {
    /// Sets a limit, or lifts it if it has none. Everybody begins with full buckets.
    pub(super) fn set(&mut self, scope: RateScope, limit: RateLimit) {
        if limit.is_none() {
            self.0.remove(&scope);
        } else {
            self.0.insert(scope, Limited { limit, buckets: BTreeMap::new(), purged: None });
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How long a peer has to wait before it may ask under a protocol; `None` if it may now.
    pub(super) fn wait(
        &mut self,
        peer: PeerId,
        protocol: &ProtocolName,
        now: Timestamp,
    ) -> Option<Duration> {
        self.each(peer, protocol, now, |limit, buckets| buckets.wait(limit, now)).max().flatten()
    }

    /// A peer has asked so often, with so many bytes.
    pub(super) fn pay(
        &mut self,
        peer: PeerId,
        protocol: &ProtocolName,
        (requests, bytes): (u64, u64),
        now: Timestamp,
    ) {
        self.each(peer, protocol, now, |_, buckets| buckets.pay(requests, bytes)).for_each(drop);
    }

    fn each<T>(
        &mut self,
        peer: PeerId,
        protocol: &ProtocolName,
        now: Timestamp,
        mut with: impl FnMut(&RateLimit, &mut Buckets) -> T,
    ) -> impl Iterator<Item = T> {
        let scopes = [
            (RateScope::EachPeer, Some(peer)),
            (RateScope::Protocol(protocol.clone()), None),
            (RateScope::EachPeerOf(protocol.clone()), Some(peer)),
        ];
        scopes.into_iter().filter_map(move |(scope, whose)| {
            let limited = self.0.get_mut(&scope)?;
            let limit = limited.limit;
            Some(with(&limit, limited.bucket(whose, now)))
        })
    }
}
