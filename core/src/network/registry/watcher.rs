//! Somebody who watches a protocol: how much it has been told.

use super::services::{Place, ServiceId, Version};
use crate::endpoint::GroupId;
use crate::id::PeerId;

#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) peer: PeerId,
    pub(super) network: GroupId,
    pub(super) service: ServiceId,
    pub(super) told: Told,
    /// The driver has been told that there is something, and has not taken all of it.
    pub(super) woken: bool,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    /// All that are listed up to this place; and what has changed since has to follow.
    UpTo(Option<Place>, Version),
    /// All that has changed up to this.
    Changes(Version),
}

impl Watcher {
    pub(super) const fn new(peer: PeerId, network: GroupId, service: ServiceId) -> Self {
        Self { peer, network, service, told: Told::Nothing, woken: true }
    }
}
