//! A stream with all that its places and bytes count for: its peer, and the groups of its address.

use super::budget::{Holder, MemoryBudget, moved};
use super::groups::Group;
use super::holding::Kind;
use super::origin::LEVELS;
use super::places::{Flow, Flows, KINDS, MULTIPLE};
use super::streams::{Connection, Connections, Peer, StreamKey};
use crate::time::Timestamp;

/// Looked up once for a report, whatever that brings about.
pub(in crate::endpoint::server) struct Account<'a> {
    pub(in crate::endpoint::server) stream: &'a mut Connection,
    pub(in crate::endpoint::server) peer: &'a mut Peer,
    /// The widest first.
    groups: [Option<&'a mut Group>; LEVELS],
    /// How many peers there are.
    known: usize,
    /// How many groups of each size there are.
    known_groups: [usize; LEVELS],
    /// How many peers were answered before, and have nothing at work.
    answered_idle: &'a mut usize,
}

impl Connections {
    /// A stream, with all that its places and bytes count for.
    #[inline]
    pub(in crate::endpoint::server) fn account(&mut self, key: StreamKey) -> Option<Account<'_>> {
        let Self { open, peers, answered_idle, groups: [wide, narrow], .. } = self;
        let stream = open.get_mut(key)?;
        let (known, known_groups) = (peers.len(), [wide.len(), narrow.len()]);
        let peer = peers.get_mut(stream.peer)?;
        let [first, second] = stream.groups;
        let groups = [wide.get_mut(first), narrow.get_mut(second)];
        Some(Account { stream, peer, groups, known, known_groups, answered_idle })
    }
}

impl Account<'_> {
    /// Whether the peer has cost more than it may.
    #[inline]
    pub(in crate::endpoint::server) fn is_cut_off(&self) -> bool {
        self.peer.penalty.is_lost() && !self.peer.trusted
    }

    /// What the groups, the peer and the protocol have of something.
    #[inline]
    pub(in crate::endpoint::server) fn flows(&self, kind: Kind, protocol: Flow) -> Flows {
        let [wide, narrow] = &self.groups;
        let [known_wide, known_narrow] = self.known_groups;
        let group = |group: &Option<&mut Group>, known| {
            group.as_ref().map(|group| Flow { has: group.has.of(kind), known })
        };
        let peer = Flow { has: self.peer.has.of(kind), known: self.known };
        [group(wide, known_wide), group(narrow, known_narrow), Some(peer), Some(protocol)]
    }

    /// Their counts, to be changed. There is none of a protocol that is not registered any more.
    #[inline]
    pub(in crate::endpoint::server) fn counts<'b>(
        &'b mut self,
        kind: Kind,
        protocol: Option<&'b mut usize>,
    ) -> [Option<&'b mut usize>; KINDS] {
        let [wide, narrow] = &mut self.groups;
        let wide = wide.as_mut().map(|group| group.has.of_mut(kind));
        let narrow = narrow.as_mut().map(|group| group.has.of_mut(kind));
        [wide, narrow, Some(self.peer.has.of_mut(kind)), protocol]
    }

    /// How many of so many places are kept for peers that were answered before and have nothing at work:
    /// of the last ninth, one for each of them.
    #[inline]
    pub(in crate::endpoint::server) fn kept_for_others(&self, places: usize) -> usize {
        match self.peer.is_answered_and_idle() {
            true => 0,
            false => (*self.answered_idle).min(places / (MULTIPLE + 1)),
        }
    }

    /// The peer's requests have changed, or one of them was answered.
    #[inline]
    pub(in crate::endpoint::server) fn requests_changed(&mut self, was_answered_and_idle: bool) {
        *self.answered_idle += usize::from(self.peer.is_answered_and_idle());
        *self.answered_idle -= usize::from(was_answered_and_idle);
    }

    /// Whether the stream may hold so many bytes.
    #[inline]
    pub(in crate::endpoint::server) fn fits(&self, budget: &MemoryBudget, bytes: usize) -> bool {
        let peer = Holder { holds: self.peer.has.memory, known: self.known };
        let groups =
            self.groups.iter().zip(self.known_groups).filter_map(|(group, known)| {
                Some(Holder { holds: group.as_ref()?.has.memory, known })
            });
        budget.fits(self.stream.memory, bytes, peer, groups)
    }

    /// The stream holds so many bytes.
    #[inline]
    pub(in crate::endpoint::server) fn charge(&mut self, budget: &mut MemoryBudget, bytes: usize) {
        let before = core::mem::replace(&mut self.stream.memory, bytes);
        if before == bytes {
            return;
        }
        budget.charge(before, bytes);
        self.peer.has.memory = moved(self.peer.has.memory, before, bytes);
        for group in self.groups.iter_mut().flatten() {
            group.has.memory = moved(group.has.memory, before, bytes);
        }
    }

    /// Whether the stream may hold so many bytes; then it is charged with them until it reports again.
    #[inline]
    pub(in crate::endpoint::server) fn reserve(
        &mut self,
        budget: &mut MemoryBudget,
        bytes: usize,
    ) -> bool {
        let fits = self.fits(budget, bytes);
        if fits {
            self.charge(budget, bytes);
        }
        fits
    }

    /// Peers of these groups have committed offences, and so many requests of theirs were answered.
    pub(in crate::endpoint::server) fn settle(
        &mut self,
        offences: u32,
        answered: u32,
        now: Timestamp,
    ) {
        for group in self.groups.iter_mut().flatten() {
            group.credit.settle(offences, answered, now);
        }
    }
}
