//! One node, and what is known of it.

use core::time::Duration;

use super::distance::Point;
use super::health::{Ejection, Health};
use super::latency::Latency;
use crate::id::PeerId;
use crate::network::candidates::Source;
use crate::time::Timestamp;

/// A node is silent after this and twice what it usually takes.
const SILENT: Duration = Duration::from_millis(500);

/// How long a server's word on its load counts: 30 s. Then its load is unknown again.
pub const LOAD_FRESH: Duration = Duration::from_secs(30);

/// One node: a server of the protocol.
#[derive(Clone, Debug)]
pub struct Node {
    pub(super) peer: PeerId,
    pub(super) source: Source,
    pub(super) point: Point,
    pub(super) latency: Latency,
    pub(super) load: Option<(u16, Timestamp)>,
    pub(super) online: Option<bool>,
    pub(super) in_flight: u32,
    /// Since when something is under way there and it has said nothing.
    pub(super) silent_since: Option<Timestamp>,
    pub(super) failures: u32,
    /// Failures of attempts with lower numbers are no news.
    pub(super) counts_from: u64,
    pub(super) ejection: Option<Ejection>,
    pub(super) health: Health,
}

impl Node {
    pub(super) fn new(peer: PeerId, source: Source, now: Timestamp) -> Self {
        Self {
            peer,
            source,
            point: Point::of_peer(&peer),
            latency: Latency::new(now),
            load: None,
            online: None,
            in_flight: 0,
            silent_since: None,
            failures: 0,
            counts_from: 0,
            ejection: None,
            health: Health::default(),
        }
    }

    /// Who it is.
    #[must_use]
    pub const fn peer(&self) -> &PeerId {
        &self.peer
    }

    /// How it was found.
    #[must_use]
    pub const fn source(&self) -> Source {
        self.source
    }

    /// Where it lies: its hash, taken once.
    #[must_use]
    pub const fn point(&self) -> &Point {
        &self.point
    }

    /// How long it takes to answer: each answer moves it by an eighth of the difference. Unknown
    /// before the first and [`LATENCY_FRESH`](crate::endpoint::closest::LATENCY_FRESH) after the last.
    #[must_use]
    pub fn latency(&self, now: Timestamp) -> Option<Duration> {
        self.latency.smooth(now)
    }

    /// How long it takes to answer at worst: rises at once and falls by half in
    /// [`PEAK_HALF_LIFE`](crate::endpoint::closest::PEAK_HALF_LIFE). Starts as
    /// [`INITIAL_PEAK`](crate::endpoint::closest::INITIAL_PEAK).
    #[must_use]
    pub fn peak_latency(&self, now: Timestamp) -> Duration {
        self.latency.peak(now)
    }

    /// How far away it is: the least that an answer took within the last half to whole minute in which
    /// there were any. Unknown before the first.
    #[must_use]
    pub fn network_distance(&self) -> Option<Duration> {
        self.latency.least().map(Duration::from_nanos)
    }

    /// What it is expected to take to answer: unlike [`latency`](Self::latency) it falls at once when the
    /// node is faster, and with time, so that one that was slow is tried again; and it is never less than
    /// for how long the node has been [silent](Self::silence). Unknown before the first answer.
    #[must_use]
    pub fn expected_latency(&self, now: Timestamp) -> Option<Duration> {
        let expected = self.latency.expected(now).map(Duration::from_nanos)?;
        Some(expected.max(self.silence(now)))
    }

    /// For how long it has said nothing although something is under way there: zero if nothing is.
    #[must_use]
    pub fn silence(&self, now: Timestamp) -> Duration {
        self.silent_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Whether it has said nothing for so long that what it was asked is enough to find out how it is.
    pub(super) fn is_silent(&self, now: Timestamp) -> bool {
        let Some(since) = self.silent_since else { return false };
        let usual = self.latency.smooth(now).unwrap_or_default();
        now.since(since) > SILENT.saturating_add(usual.saturating_mul(2))
    }

    pub(super) fn heard(&mut self, now: Timestamp) {
        self.silent_since = (self.in_flight > 0).then_some(now);
    }

    /// When the load was told, if it was.
    pub(super) fn load_told(&self) -> Option<(u16, Timestamp)> {
        self.load
    }

    /// Whether it is ejected, half-open or not.
    pub(super) const fn is_ejected(&self) -> bool {
        self.ejection.is_some()
    }

    /// The load that the server told, in thousandths of its limit; unknown if it never did, or not
    /// within [`LOAD_FRESH`].
    #[must_use]
    pub fn load(&self, now: Timestamp) -> Option<u16> {
        self.load.filter(|(_, told)| now.since(*told) <= LOAD_FRESH).map(|(load, _)| load)
    }

    /// Whether there is a connection to it; unknown until that is first reported.
    #[must_use]
    pub const fn online(&self) -> Option<bool> {
        self.online
    }

    /// Attempts under way.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Failures in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Until when it backs off, or backed off if it is half-open; `None` in normal use.
    #[must_use]
    pub fn backoff_until(&self) -> Option<Timestamp> {
        self.ejection.map(|ejection| ejection.until)
    }

    /// Whether an attempt may be made now: it is in normal use, or half-open without an attempt.
    #[must_use]
    pub fn is_usable(&self, now: Timestamp) -> bool {
        self.ejection.is_none_or(|ejection| ejection.until <= now && ejection.half_open.is_none())
    }
}
