//! The candidates for one service, or those of whom nobody has said what they serve.

use alloc::collections::BTreeMap;
use core::time::Duration;

use super::lookups::LookUps;
use super::order::{Candidate, CandidateState};
use super::source::Source;
use crate::id::PeerId;
use crate::time::Timestamp;

/// How many candidates there are for a service.
const CANDIDATES: usize = 64;
/// How many of them come from one source.
const OF_SOURCE: usize = 32;
/// How many of them are of one network.
const OF_NETWORK: usize = 4;
/// After so many failures in a row a candidate that never served is forgotten.
const FAILURES: u32 = 3;
/// How long a candidate that has failed is left alone. Doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest of these times.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How long somebody who has failed so often is left alone.
pub(super) fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST_PAUSE)
}

/// What is known of one candidate.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) source: Source,
    network: Option<u64>,
    pub(super) state: CandidateState,
    /// When it is to be dialled: a candidate, and again a server to which there is no connection.
    pub(super) due: Timestamp,
    /// Until when its source stands by it.
    pub(super) until: Timestamp,
    /// Its source has taken back what it said. While there is a connection, the peer itself counts more.
    pub(super) taken_back: bool,
    pub(super) failures: u32,
}

impl Entry {
    pub(super) fn new(
        source: Source,
        network: Option<u64>,
        until: Timestamp,
        now: Timestamp,
    ) -> Self {
        Self {
            source,
            network,
            state: CandidateState::Waiting,
            due: now,
            until,
            taken_back: false,
            failures: 0,
        }
    }

    pub(super) fn is_serving(&self) -> bool {
        self.state == CandidateState::Serving
    }

    /// Whether it is to be dialled now.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.state != CandidateState::Verifying && self.due <= now
    }

    /// Whether the source has not said for long that it is there, and nothing else has.
    pub(super) fn is_stale(&self, now: Timestamp) -> bool {
        self.source != Source::Manual && !self.is_serving() && self.until <= now
    }

    /// It was not reached. Whether it is worth another try.
    pub(super) fn fail(&mut self, now: Timestamp) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.due = now + pause(self.failures);
        if !self.is_serving() {
            self.state = CandidateState::Waiting;
        }
        self.source == Source::Manual || self.is_serving() || self.failures < FAILURES
    }
}

/// What is wanted.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) table: Table,
    pub(super) look_ups: LookUps,
    pub(super) until: Timestamp,
}

impl Service {
    /// Somebody does not serve it, or is not reached.
    pub(super) fn look_on(&mut self, now: Timestamp) {
        if !self.table.any_serves() {
            self.look_ups.in_vain(now);
        }
    }
}

/// The candidates for one service.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<PeerId, Entry>);

impl Table {
    pub(super) fn get(&self, peer: &PeerId) -> Option<&Entry> {
        self.0.get(peer)
    }

    pub(super) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Entry> {
        self.0.get_mut(peer)
    }

    pub(super) fn remove(&mut self, peer: &PeerId) -> Option<Entry> {
        self.0.remove(peer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Entry)> {
        self.0.iter()
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&PeerId, &mut Entry) -> bool) {
        self.0.retain(keep);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn any_serves(&self) -> bool {
        self.0.values().any(Entry::is_serving)
    }

    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate> {
        self.0.iter().map(|(peer, entry)| Candidate {
            peer: *peer,
            source: entry.source,
            state: entry.state,
            failures: entry.failures,
        })
    }

    /// Takes in a candidate, if there is room for it. One that has failed makes room, and nobody else
    /// does: those who come later are no better than those who were first.
    pub(super) fn insert(&mut self, peer: PeerId, entry: Entry) -> bool {
        if entry.source != Source::Manual {
            let network = |other: &Entry| other.network == entry.network;
            let source = |other: &Entry| other.source == entry.source;
            let room = (entry.network.is_none() || self.make_room(OF_NETWORK, network))
                && self.make_room(OF_SOURCE, source)
                && self.make_room(CANDIDATES, |_| true);
            if !room {
                return false;
            }
        }
        self.0.insert(peer, entry);
        true
    }

    /// Whether there are fewer than `most` of this kind, perhaps after the worst of them has gone.
    fn make_room(&mut self, most: usize, kind: impl Fn(&Entry) -> bool) -> bool {
        let counted = |entry: &Entry| entry.source != Source::Manual && kind(entry);
        if self.0.values().filter(|entry| counted(entry)).count() < most {
            return true;
        }
        let failed = |entry: &Entry| {
            counted(entry) && entry.state == CandidateState::Waiting && entry.failures > 0
        };
        let failed = self.0.iter().filter(|(_, entry)| failed(entry));
        let worst = failed.max_by_key(|(_, entry)| entry.failures).map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.0.remove(&peer).is_some())
    }
}
