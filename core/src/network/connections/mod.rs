//! The connections that there are, and which of a peer's is the best.

pub(crate) mod confirmation;
pub(crate) mod crowd;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::addresses::address::{Address, Reach};
use crate::id::PeerId;

#[derive(Debug)]
pub(super) struct Connection<K> {
    pub(super) key: K,
    pub(super) relayed: bool,
    /// Its peer does not answer a probe.
    pub(super) suspect: bool,
    /// Its peer was not quick to answer somebody who wants to be connected.
    pub(super) doubtful: bool,
    /// Nothing new is begun on it: there is, or was, a better one.
    pub(super) retired: bool,
    /// It has been told to end: nothing more is expected of it.
    pub(super) ending: bool,
    /// From how far away the peer is seen.
    pub(super) from: Reach,
    /// What this node dialled for it.
    pub(super) dialled: Option<Address>,
    /// How long the way to the peer and back is; zero while that is not known.
    pub(super) rtt: Duration,
}

impl<K> Connection<K> {
    pub(super) fn new(key: K, relayed: bool, from: Reach, dialled: Option<Address>) -> Self {
        Self {
            key,
            relayed,
            suspect: false,
            doubtful: false,
            retired: false,
            ending: false,
            from,
            dialled,
            rtt: Duration::ZERO,
        }
    }

    /// Whether somebody who wants to be connected may rely on it.
    pub(super) fn is_alive(&self) -> bool {
        !self.suspect && !self.doubtful && !self.ending
    }
}

/// By peer, and of each the oldest first.
#[derive(Debug)]
pub(super) struct Connections<K> {
    peers: BTreeMap<PeerId, Vec<Connection<K>>>,
    owners: BTreeMap<K, PeerId>,
    /// Those that this node has dialled, by address, the oldest first.
    dialled: BTreeMap<Address, Vec<K>>,
}

impl<K: Copy + Ord> Connections<K> {
    pub(super) fn new() -> Self {
        Self { peers: BTreeMap::new(), owners: BTreeMap::new(), dialled: BTreeMap::new() }
    }

    /// Returns whether it is the first of its peer; `None` if it is there already.
    pub(super) fn add(&mut self, peer: PeerId, connection: Connection<K>) -> Option<bool> {
        if self.owners.contains_key(&connection.key) {
            return None;
        }
        self.owners.insert(connection.key, peer);
        if let Some(address) = &connection.dialled {
            self.dialled.entry(address.clone()).or_default().push(connection.key);
        }
        let all = self.peers.entry(peer).or_default();
        all.push(connection);
        Some(all.len() == 1)
    }

    /// Returns whose it was, and whether it was the last of its peer.
    pub(super) fn remove(&mut self, key: K) -> Option<(PeerId, bool)> {
        let peer = self.owners.remove(&key)?;
        let all = self.peers.get_mut(&peer)?;
        for gone in all.extract_if(.., |connection| connection.key == key) {
            let Some(address) = gone.dialled else { continue };
            if let Some(there) = self.dialled.get_mut(&address) {
                there.retain(|other| *other != key);
                if there.is_empty() {
                    self.dialled.remove(&address);
                }
            }
        }
        let last = all.is_empty();
        if last {
            self.peers.remove(&peer);
        }
        Some((peer, last))
    }

    /// All of a peer's, the oldest first.
    pub(super) fn of(&self, peer: &PeerId) -> &[Connection<K>] {
        self.peers.get(peer).map_or(&[], Vec::as_slice)
    }

    pub(super) fn of_mut(&mut self, peer: &PeerId) -> &mut [Connection<K>] {
        self.peers.get_mut(peer).map_or(&mut [], Vec::as_mut_slice)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (PeerId, K)> {
        self.owners.iter().map(|(key, peer)| (*peer, *key))
    }

    pub(super) fn owner(&self, key: K) -> Option<PeerId> {
        self.owners.get(&key).copied()
    }

    pub(super) fn get(&self, key: K) -> Option<&Connection<K>> {
        self.of(self.owners.get(&key)?).iter().find(|connection| connection.key == key)
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut Connection<K>> {
        let all = self.peers.get_mut(self.owners.get(&key)?)?;
        all.iter_mut().find(|connection| connection.key == key)
    }

    /// The best of a peer's connections that are not told to end: one that is not suspect before one that is, one that is not
    /// doubtful before one that is, a direct one before a relayed one; among equals the newest.
    pub(super) fn best(&self, peer: &PeerId) -> Option<&Connection<K>> {
        let order = |found: &&Connection<K>| (found.suspect, found.doubtful, found.relayed);
        self.of(peer).iter().rev().filter(|one| !one.ending).min_by_key(order)
    }

    /// The newest that serves somebody who wants to be connected, over a relay if need be.
    pub(super) fn serving(&self, peer: &PeerId, relayed: bool) -> Option<K> {
        let mut all = self.of(peer).iter();
        let serves = |one: &&Connection<K>| (relayed || !one.relayed) && one.is_alive();
        all.rfind(serves).map(|connection| connection.key)
    }

    /// The newest of those that were dialled at an address and may be relied on, and whose it is.
    pub(super) fn at(&self, address: &Address) -> Option<(PeerId, K)> {
        let mut there = self.dialled.get(address)?.iter().rev();
        let alive = there.find(|key| self.get(**key).is_some_and(Connection::is_alive));
        alive.and_then(|key| Some((self.owner(*key)?, *key)))
    }

    /// Whether this node has dialled the peer before, with a connection as good as one over this
    /// address. Those that the peer has dialled do not count: if two dial each other at once and each
    /// kept that of the other, both would be closed.
    pub(super) fn is_surplus(&self, peer: &PeerId, address: &Address) -> bool {
        self.of(peer).iter().any(|one| {
            let ours = one.dialled.as_ref();
            let as_good = ours.is_some_and(|ours| address.is_relayed() || !ours.is_relayed());
            as_good && one.is_alive()
        })
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.owners.len()
    }
}
