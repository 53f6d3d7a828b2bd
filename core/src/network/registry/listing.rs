//! Who is listed for one protocol, in the order in which whoever watches hears of them.

use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::Bound;

use super::order::{EntryId, WatcherId};
use crate::endpoint::GroupId;

/// A place in the order: first of all the first one of each network, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    turn: u32,
    entry: EntryId,
}

impl Place {
    pub(super) const fn entry(self) -> EntryId {
        self.entry
    }
}

#[derive(Debug, Default)]
pub(super) struct Listing {
    places: BTreeSet<Place>,
    turns: BTreeMap<GroupId, BTreeSet<u32>>,
    pub(super) watchers: BTreeSet<WatcherId>,
}

impl Listing {
    pub(super) fn insert(&mut self, entry: EntryId, network: GroupId) -> Place {
        let turns = self.turns.entry(network).or_default();
        // The first number that is free: those that are taken are few of one network.
        let turn = (0..).zip(turns.iter()).find(|(free, taken)| free != *taken);
        let turn = turn.map_or(turns.len() as u32, |(free, _)| free);
        turns.insert(turn);
        let place = Place { turn, entry };
        self.places.insert(place);
        place
    }

    pub(super) fn remove(&mut self, place: Place, network: GroupId) {
        self.places.remove(&place);
        if let Some(turns) = self.turns.get_mut(&network) {
            turns.remove(&place.turn);
            if turns.is_empty() {
                self.turns.remove(&network);
            }
        }
    }

    pub(super) fn next(&self, after: Option<Place>) -> Option<Place> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.places.range((from, Bound::Unbounded)).next().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.watchers.is_empty()
    }
}
