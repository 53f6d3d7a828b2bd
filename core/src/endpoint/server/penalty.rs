//! What a peer may cost that leads to nothing, and for how long one that costs more is kept out.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::time::Timestamp;

/// The points that a peer begins with, and has at most. One comes back each millisecond.
const FULL: u32 = 10_000;
/// What an answered request gives back.
const EARNED: u32 = 10;
/// What a handler that was started for nothing costs.
const CANCELLED: u32 = 10;
/// A peer that has used all its points is let in again when it has so many, at the earliest.
const ENOUGH: u32 = FULL / 2;
/// How many peers without streams are remembered for what they did, and how many networks.
const REMEMBERED: usize = 1024;
/// How long a peer is kept out for the first time. It is twice as long each time.
const FIRST_BAN: Duration = Duration::from_secs(5);
/// The longest time for which a peer is kept out.
const LONGEST_BAN: Duration = Duration::from_secs(60 * 60);
/// A peer that was let in again has one of its times forgotten after so long.
const FORGIVEN: Duration = Duration::from_secs(10 * 60);
/// The points of a network, which all its peers spend.
const GROUP_FULL: u32 = 8 * FULL;
/// So many of these come back each millisecond.
const GROUP_REFILL: u32 = 4;
/// What a peer of a network without points begins with, whatever others there have done.
const NEWCOMER: u32 = FULL / 10;

/// What costs a server more than the peer, for nothing.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Offence {
    /// A frame of so many bytes without an effect: of an unknown kind, settings, a cancellation of
    /// nothing, a request that cannot be served.
    Frame(usize),
    /// A request that was cancelled while its handler was at work.
    Cancel,
    /// A stream that broke while so many handlers were at work for it.
    Lost(usize),
    /// A stream that went away, or was left alone, without a request.
    EmptyStream,
    /// A message that did not end in time, or an answer that was not taken. So many bytes were held for
    /// that long.
    Timeout(usize, Duration),
    /// Bytes that break the format.
    Breach,
    /// A compressed body of so many bytes that did not inflate.
    Inflation(usize),
}

impl Offence {
    /// What it takes of a peer's points.
    pub(crate) fn points(self) -> u32 {
        match self {
            Self::Frame(len) => 1 + u32::try_from(len / 1024).unwrap_or(FULL),
            Self::Cancel => CANCELLED,
            // One break alone, which may be the network's fault, cuts nobody off.
            Self::Lost(calls) => {
                let calls = u32::try_from(calls).unwrap_or(FULL);
                calls.saturating_mul(CANCELLED).min(FULL - ENOUGH)
            }
            Self::EmptyStream => 20,
            // A point for each second that 64 KiB were held, up to what one break may cost.
            Self::Timeout(bytes, held) => {
                let seconds = usize::try_from(held.as_secs()).unwrap_or(usize::MAX);
                let held = (bytes / (64 * 1024)).saturating_mul(seconds);
                200 + u32::try_from(held).unwrap_or(FULL).min(FULL - ENOUGH - 200)
            }
            Self::Breach => 500,
            // Ten for each MiB, which takes some 3 ms.
            Self::Inflation(len) => 10 + u32::try_from(len / (100 * 1024)).unwrap_or(FULL),
        }
    }
}

/// The penalty score of one peer, kept as what is left of it: a token bucket. Honest peers are far from its bottom, since each
/// answer they get makes up for a cancellation; who reaches it is cut off, and gets nothing until
/// half is there again, and for longer each time. After the budgets that HTTP/2 servers have against
/// rapid resets (CVE-2023-44487) and floods of empty frames (CVE-2019-9518).
#[derive(Copy, Clone, Debug)]
pub(crate) struct Penalty {
    points: u32,
    /// Up to when points have come back.
    at: Timestamp,
    lost: bool,
    /// Until when it is kept out, or was.
    until: Timestamp,
    /// How often that was, without what is forgotten.
    bans: u32,
}

impl Penalty {
    /// The score of a peer of which nothing is known but what its network has left.
    pub(crate) fn new(group: Option<&Credit>, now: Timestamp) -> Self {
        let points = group.map_or(FULL, Credit::of_newcomer);
        Self { points, at: now, lost: false, until: Timestamp::ZERO, bans: 0 }
    }

    /// Lets time pass.
    pub(crate) fn refill(&mut self, now: Timestamp) {
        // What is left of a millisecond counts the next time.
        let passed = now.since(self.at).as_millis();
        self.points =
            u32::try_from(passed).map_or(FULL, |ms| FULL.min(self.points.saturating_add(ms)));
        self.at = self.at + Duration::from_millis(u64::try_from(passed).unwrap_or(u64::MAX));
        self.lost &= self.points < ENOUGH || now < self.until;
    }

    /// So many requests were answered.
    pub(crate) fn earn(&mut self, answered: u32) {
        self.points = self.points.saturating_add(answered.saturating_mul(EARNED)).min(FULL);
    }

    /// Takes the points of [offences](Offence::points). Whether that was too much.
    #[must_use]
    pub(crate) fn spend(&mut self, points: u32, now: Timestamp) -> bool {
        self.refill(now);
        self.points = self.points.saturating_sub(points);
        let too_much = self.points == 0 && !self.lost;
        if too_much {
            let forgiven = now.since(self.until).as_secs() / FORGIVEN.as_secs();
            let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
            self.bans = self.bans.saturating_sub(forgiven).saturating_add(1);
            self.until = now + ban(self.bans);
            self.lost = true;
        }
        too_much
    }

    /// Whether the peer is cut off.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// For how long the peer is kept out from `now` on.
    pub(crate) fn remaining(&self, now: Timestamp) -> Duration {
        self.until.since(now)
    }

    /// How often it was kept out lately.
    pub(crate) fn bans(&self) -> u32 {
        self.bans
    }
}

/// How long the `nth` time is for which a peer is kept out.
fn ban(nth: u32) -> Duration {
    let doubled = 1_u32.checked_shl(nth.saturating_sub(1).min(31)).unwrap_or(u32::MAX);
    FIRST_BAN.saturating_mul(doubled).min(LONGEST_BAN)
}

/// What the peers of a network may cost together, as long as they are let in with all their points.
/// Who comes later begins with an eighth of what is left.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Credit {
    points: u32,
    at: Timestamp,
}

impl Credit {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { points: GROUP_FULL, at: now }
    }

    pub(crate) fn refill(&mut self, now: Timestamp) {
        let passed = now.since(self.at).as_millis();
        let came = u32::try_from(passed).unwrap_or(u32::MAX).saturating_mul(GROUP_REFILL);
        self.points = self.points.saturating_add(came).min(GROUP_FULL);
        self.at = self.at + Duration::from_millis(u64::try_from(passed).unwrap_or(u64::MAX));
    }

    /// What its peers did, and how many requests of theirs were answered.
    pub(crate) fn settle(&mut self, offences: u32, answered: u32, now: Timestamp) {
        if offences > 0 {
            self.refill(now);
        }
        let earned = answered.saturating_mul(EARNED);
        self.points = self.points.saturating_sub(offences).saturating_add(earned).min(GROUP_FULL);
    }

    fn of_newcomer(&self) -> u32 {
        (self.points / (GROUP_FULL / FULL)).max(NEWCOMER)
    }
}

/// What is kept of somebody who has gone, for as long as it is of any use.
pub(crate) trait Record: Sized {
    /// Whether it is as if nothing had been, after so much time.
    fn is_clean(&mut self, now: Timestamp) -> bool;
}

impl Record for Penalty {
    fn is_clean(&mut self, now: Timestamp) -> bool {
        self.refill(now);
        self.points == FULL && now >= self.until + FORGIVEN * self.bans
    }
}

impl Record for Credit {
    fn is_clean(&mut self, now: Timestamp) -> bool {
        self.refill(now);
        self.points == GROUP_FULL
    }
}

/// Peers or networks without streams that have cost something a short while ago.
#[derive(Debug)]
pub(crate) struct Remembered<K, R> {
    records: BTreeMap<K, R>,
    purged: Option<Timestamp>,
}

impl<K, R> Default for Remembered<K, R> {
    fn default() -> Self {
        Self { records: BTreeMap::new(), purged: None }
    }
}

impl<K: Ord, R: Record> Remembered<K, R> {
    /// What is known of whoever opens its first stream.
    pub(crate) fn take(&mut self, key: &K) -> Option<R> {
        self.records.remove(key)
    }

    /// What is known of whoever has no stream.
    pub(crate) fn get(&mut self, key: &K) -> Option<&mut R> {
        self.records.get_mut(key)
    }

    /// Somebody has closed its last stream.
    pub(crate) fn keep(&mut self, key: K, mut record: R, now: Timestamp) {
        if record.is_clean(now) {
            return;
        }
        let waited = |purged: Timestamp| now.since(purged) >= Duration::from_secs(1);
        if self.records.len() >= REMEMBERED && self.purged.is_none_or(waited) {
            self.purged = Some(now);
            self.records.retain(|_, record| !record.is_clean(now));
        }
        // Whoever can fill this with names can as well have a new name each time.
        if self.records.len() < REMEMBERED {
            self.records.insert(key, record);
        }
    }
}
