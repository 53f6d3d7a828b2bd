//! What a peer may cost that leads to nothing.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::id::PeerId;
use crate::time::Timestamp;

/// The points that a peer begins with, and has at most. One comes back each millisecond.
const FULL: u32 = 10_000;
/// What an answered request gives back.
const EARNED: u32 = 10;
/// What a handler that was started for nothing costs.
const CANCELLED: u32 = 10;
/// A peer that has used all its points is let in again when it has so many.
const ENOUGH: u32 = FULL / 2;
/// How many peers without streams are remembered for what they did.
const REMEMBERED: usize = 1024;

/// What costs a server more than the peer, for nothing.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Offence {
    /// A frame of so many bytes without an effect: of an unknown kind, settings, a cancellation of
    /// nothing.
    Frame(usize),
    /// A request that was cancelled while its handler was at work.
    Cancel,
    /// A stream that broke while so many handlers were at work for it.
    Lost(usize),
    /// A stream that went away, or was left alone, without a request.
    EmptyStream,
    /// A message that did not end in time, or an answer that was not taken.
    Timeout,
    /// Bytes that break the format.
    Breach,
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
            Self::Timeout => 200,
            Self::Breach => 500,
        }
    }
}

/// The penalty score of one peer, kept as what is left of it: a token bucket. Honest peers are far from its bottom, since each
/// answer they get makes up for a cancellation; who reaches it is cut off, and gets nothing until
/// half is there again. After the budgets that HTTP/2 servers have against rapid resets
/// (CVE-2023-44487) and floods of empty frames (CVE-2019-9518).
#[derive(Copy, Clone, Debug)]
pub(crate) struct Penalty {
    points: u32,
    /// Up to when points have come back.
    at: Timestamp,
    lost: bool,
}

impl Penalty {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { points: FULL, at: now, lost: false }
    }

    /// Lets time pass.
    pub(crate) fn refill(&mut self, now: Timestamp) {
        // What is left of a millisecond counts the next time.
        let passed = now.since(self.at).as_millis();
        self.points =
            u32::try_from(passed).map_or(FULL, |ms| FULL.min(self.points.saturating_add(ms)));
        self.at = self.at + Duration::from_millis(u64::try_from(passed).unwrap_or(u64::MAX));
        self.lost &= self.points < ENOUGH;
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
        self.lost |= too_much;
        too_much
    }

    /// Whether the peer is cut off.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    fn is_full(&self) -> bool {
        self.points == FULL
    }
}

/// Peers without streams that have committed offences a short while ago.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    peers: BTreeMap<PeerId, Penalty>,
    purged: Option<Timestamp>,
}

impl Remembered {
    /// The score of a peer that opens its first stream.
    pub(crate) fn take(&mut self, peer: &PeerId, now: Timestamp) -> Penalty {
        self.peers.remove(peer).unwrap_or_else(|| Penalty::new(now))
    }

    /// A peer has closed its last stream.
    pub(crate) fn keep(&mut self, peer: PeerId, mut penalty: Penalty, now: Timestamp) {
        penalty.refill(now);
        if penalty.is_full() {
            return;
        }
        let waited = |purged: Timestamp| now.since(purged) >= Duration::from_secs(1);
        if self.peers.len() == REMEMBERED && self.purged.is_none_or(waited) {
            self.purged = Some(now);
            self.peers.retain(|_, penalty| {
                penalty.refill(now);
                !penalty.is_full()
            });
        }
        // Whoever can fill this with names can as well have a new name each time.
        if self.peers.len() < REMEMBERED {
            self.peers.insert(peer, penalty);
        }
    }
}
