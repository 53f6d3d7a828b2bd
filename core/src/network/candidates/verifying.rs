//! How many peers are dialled to hear what they serve, and who was in vain.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use super::table::pause;
use crate::id::{PeerId, ProtocolName};
use crate::time::Timestamp;

/// How many peers are dialled at a time.
const AT_A_TIME: usize = 4;
/// How many strangers are dialled in a minute.
const STRANGERS: usize = 32;
/// That minute.
const MINUTE: Duration = Duration::from_secs(60);
/// How long a peer may take to be reached and to tell what it serves.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// How many are remembered that were dialled in vain.
const REMEMBERED: usize = 1024;
/// How often a peer counts to have been dialled in vain when it does not serve what was said of it: it is
/// left alone for 16 s then, and longer each time.
const LIE: u32 = 5;

/// Peers that are being dialled, and the budget for that.
#[derive(Debug, Default)]
pub(super) struct Verifying {
    until: BTreeMap<PeerId, Timestamp>,
    /// When strangers were dialled within the last minute.
    strangers: VecDeque<Timestamp>,
}

impl Verifying {
    /// When one more may be dialled; `None` if some have to end first.
    pub(super) fn may_begin(&self, stranger: bool, now: Timestamp) -> Option<Timestamp> {
        if self.until.len() >= AT_A_TIME {
            return None;
        }
        match self.strangers.front() {
            Some(first) if stranger && self.strangers.len() >= STRANGERS => Some(*first + MINUTE),
            _ => Some(now),
        }
    }

    pub(super) fn begin(&mut self, peer: PeerId, stranger: bool, now: Timestamp) {
        self.until.insert(peer, now + PATIENCE);
        if stranger {
            self.strangers.push_back(now);
        }
    }

    pub(super) fn end(&mut self, peer: &PeerId) -> bool {
        self.until.remove(peer).is_some()
    }

    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.until.contains_key(peer)
    }

    /// Somebody who takes too long.
    pub(super) fn expired(&mut self, now: Timestamp) -> Option<PeerId> {
        while self.strangers.front().is_some_and(|first| now.since(*first) >= MINUTE) {
            self.strangers.pop_front();
        }
        let peer = self.until.iter().find(|(_, until)| **until <= now).map(|(peer, _)| *peer)?;
        self.until.remove(&peer);
        Some(peer)
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.until.values().min().copied()
    }
}

/// Whom it was vain to dial, for a service or for any.
#[derive(Debug, Default)]
pub(super) struct InVain(BTreeMap<(PeerId, Option<ProtocolName>), (Timestamp, u32)>);

impl InVain {
    /// Whether somebody was dialled in vain a moment ago.
    pub(super) fn rests(
        &self,
        peer: PeerId,
        service: Option<&ProtocolName>,
        now: Timestamp,
    ) -> bool {
        self.0.get(&(peer, service.cloned())).is_some_and(|(until, _)| *until > now)
    }

    /// A peer was dialled in vain. It is left alone for a while, longer each time.
    pub(super) fn note(&mut self, peer: PeerId, service: Option<ProtocolName>, now: Timestamp) {
        let key = (peer, service);
        if !self.0.contains_key(&key) && self.0.len() >= REMEMBERED {
            let first = self.0.iter().min_by_key(|(_, (until, _))| *until);
            if let Some(first) = first.map(|(key, _)| key.clone()) {
                self.0.remove(&first);
            }
        }
        let (until, times) = self.0.entry(key).or_insert((now, LIE - 1));
        *times = times.saturating_add(1);
        *until = now + pause(*times);
    }

    /// It has shown that it was worth it.
    pub(super) fn forgive(&mut self, peer: PeerId, service: &ProtocolName) {
        self.0.remove(&(peer, Some(service.clone())));
    }
}
