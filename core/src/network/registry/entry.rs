//! A server that is listed, and how much those of a network take.

use alloc::collections::{BTreeMap, BTreeSet};

use super::limits::{EACH, OVERHEAD};
use super::order::EntryId;
use super::services::{Place, ServiceId, Version};
use super::turns::Turn;
use crate::endpoint::GroupId;
use crate::id::{PeerId, ProtocolName};

#[derive(Debug)]
pub(super) struct Entry<R> {
    pub(super) peer: PeerId,
    pub(super) network: GroupId,
    pub(super) services: BTreeMap<ServiceId, Slot>,
    pub(super) record: R,
    /// What it takes.
    pub(super) bytes: usize,
    /// It waits until whoever watches may be told of it.
    pub(super) turn: Option<Turn>,
}

/// A protocol of a server.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Whoever watches is told of it.
    pub(super) place: Option<Place>,
    /// The last change of it, if somebody watches.
    pub(super) told: Option<Version>,
    /// It is new or has changed, and whoever watches is to be told of that.
    pub(super) fresh: bool,
}

impl<R> Entry<R> {
    pub(super) const fn new(peer: PeerId, network: GroupId, record: R) -> Self {
        let services = BTreeMap::new();
        Self { peer, network, services, record, bytes: 0, turn: None }
    }

    pub(super) fn is_shown(&self, service: ServiceId) -> bool {
        self.services.get(&service).is_some_and(|slot| slot.place.is_some())
    }
}

/// What an entry with these protocols takes.
pub(super) fn cost<'a>(
    services: impl IntoIterator<Item = &'a ProtocolName>,
    record: usize,
) -> usize {
    let names = services.into_iter().map(|name| name.as_str().len() + EACH);
    names.sum::<usize>() + record + OVERHEAD
}

/// Those of one network.
#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) entries: BTreeSet<EntryId>,
    pub(super) bytes: usize,
}

impl Network {
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    pub(super) fn newest(&self) -> Option<EntryId> {
        self.entries.last().copied()
    }
}
