//! Whom registries list for one protocol.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::order::RegistryId;
use crate::id::PeerId;

/// How many servers of one registry are remembered.
const OF_REGISTRY: usize = 1024;
/// How many servers the node is told of at a time: twice as many as it takes of one source.
pub(super) const TURN: usize = 64;

/// A server that some registry lists.
#[derive(Debug)]
struct Named<A> {
    /// By whom, and whether it has said so since it was asked last.
    by: BTreeMap<RegistryId, bool>,
    about: A,
    /// Those that were named first come first.
    rank: u64,
}

#[derive(Debug)]
pub(super) struct NamedServers<A> {
    servers: BTreeMap<PeerId, Named<A>>,
    /// How many each registry names.
    counts: BTreeMap<RegistryId, usize>,
    next_rank: u64,
    /// From which rank on the node is told next.
    turn: u64,
    /// How many it has been told of since it has asked.
    told: usize,
}

impl<A: Clone + PartialEq> NamedServers<A> {
    pub(super) const fn new() -> Self {
        let servers = BTreeMap::new();
        Self { servers, counts: BTreeMap::new(), next_rank: 0, turn: 0, told: 0 }
    }

    /// A registry names a server. Whether the node is to be told of it now.
    pub(super) fn here(&mut self, registry: RegistryId, peer: PeerId, about: A) -> bool {
        let new = match self.servers.get_mut(&peer) {
            Some(named) if named.by.contains_key(&registry) => {
                named.by.insert(registry, true);
                let changed = named.about != about;
                named.about = about;
                return changed;
            }
            named => named.is_none(),
        };
        let count = self.counts.entry(registry).or_default();
        if *count >= OF_REGISTRY {
            return false;
        }
        *count += 1;
        let rank = self.next_rank;
        self.next_rank += 1;
        let named = self.servers.entry(peer).or_insert_with(|| Named {
            by: BTreeMap::new(),
            about: about.clone(),
            rank,
        });
        named.by.insert(registry, true);
        let changed = named.about != about;
        named.about = about;
        if !new {
            return changed;
        }
        // The others have their turn when the node asks again.
        let now = self.told < TURN;
        if now {
            self.told += 1;
            self.turn = rank + 1;
        }
        now
    }

    /// A registry does not name a server any more. Whether nobody does.
    pub(super) fn gone(&mut self, registry: RegistryId, peer: &PeerId) -> bool {
        let Some(named) = self.servers.get_mut(peer) else { return false };
        if named.by.remove(&registry).is_some()
            && let Some(count) = self.counts.get_mut(&registry)
        {
            *count -= 1;
        }
        named.by.is_empty() && self.servers.remove(peer).is_some()
    }

    /// A registry begins to name all that it lists, or says nothing any more.
    pub(super) fn doubt(&mut self, registry: RegistryId) {
        for named in self.servers.values_mut() {
            if let Some(fresh) = named.by.get_mut(&registry) {
                *fresh = false;
            }
        }
    }

    /// A registry has named all, or has been silent for too long: whom nobody names now.
    pub(super) fn sweep(&mut self, registry: RegistryId) -> Vec<PeerId> {
        let stale = |named: &Named<A>| named.by.get(&registry) == Some(&false);
        let stale = self.servers.iter().filter(|(_, named)| stale(named)).map(|(peer, _)| *peer);
        let stale: Vec<PeerId> = stale.collect();
        stale.into_iter().filter(|peer| self.gone(registry, peer)).collect()
    }

    /// Of whom the node is told when it asks: those who come next in turn.
    pub(super) fn next_turn(&mut self) -> Vec<(PeerId, A)> {
        let mut all: Vec<_> = self.servers.iter().collect();
        all.sort_unstable_by_key(|(_, named)| (named.rank < self.turn, named.rank));
        all.truncate(TURN);
        let turn: Vec<_> =
            all.into_iter().map(|(peer, named)| (*peer, named.rank, named.about.clone())).collect();
        self.told = turn.len();
        // If all of them had their turn, those who were named first come first again.
        let whole = self.servers.len() <= TURN;
        self.turn = turn.last().filter(|_| !whole).map_or(0, |(_, rank, _)| rank + 1);
        turn.into_iter().map(|(peer, _, about)| (peer, about)).collect()
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.servers.keys()
    }
}
