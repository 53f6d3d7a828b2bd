//! Somebody who watches a protocol: how much it has been told.

use alloc::collections::BTreeSet;

use super::listing::Place;
use crate::endpoint::GroupId;
use crate::id::{PeerId, ProtocolName};

#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) peer: PeerId,
    pub(super) network: GroupId,
    pub(super) service: ProtocolName,
    pub(super) told: Told,
    /// Servers that have changed since it was told of them.
    pub(super) pending: BTreeSet<PeerId>,
    /// The driver has been told that there is something, and has not taken all of it.
    pub(super) woken: bool,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    UpTo(Option<Place>),
    Everything,
}

impl Watcher {
    pub(super) const fn new(peer: PeerId, network: GroupId, service: ProtocolName) -> Self {
        let told = Told::Nothing;
        Self { peer, network, service, told, pending: BTreeSet::new(), woken: true }
    }

    /// The server at this place has changed. Whether the driver is to be told.
    pub(super) fn note(&mut self, peer: PeerId, place: Place, most: usize) -> bool {
        match self.told {
            // It will be told of it as it is then.
            Told::Nothing => return false,
            Told::UpTo(last) if last < Some(place) => return false,
            _ => {}
        }
        if self.pending.len() >= most && !self.pending.contains(&peer) {
            self.pending.clear();
            self.told = Told::Nothing;
        } else {
            self.pending.insert(peer);
        }
        !core::mem::replace(&mut self.woken, true)
    }
}
