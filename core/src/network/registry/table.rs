//! The table of a registry.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use super::limits::RegistryLimits;
use super::listing::{Listing, Place};
use super::order::{
    Announcement, EntryId, RegistryEvent, RegistryOrder, RegistryRefusal, WatcherId,
};
use super::watcher::{Told, Watcher};
use crate::endpoint::GroupId;
use crate::id::{PeerId, ProtocolName};

/// The table of a registry: see the [module](super). `R` is what is known of a server.
#[derive(Debug)]
pub struct Registry<R> {
    limits: RegistryLimits,
    entries: BTreeMap<EntryId, Entry<R>>,
    peers: BTreeMap<PeerId, EntryId>,
    networks: BTreeMap<GroupId, BTreeSet<EntryId>>,
    listings: BTreeMap<ProtocolName, Listing>,
    watchers: BTreeMap<WatcherId, Watcher>,
    /// How many watchers a peer has, and a network.
    of_peers: BTreeMap<PeerId, usize>,
    of_networks: BTreeMap<GroupId, usize>,
    orders: VecDeque<RegistryOrder>,
    next_id: u64,
}

#[derive(Debug)]
struct Entry<R> {
    peer: PeerId,
    network: GroupId,
    services: BTreeMap<ProtocolName, Place>,
    record: R,
}

impl<R: Clone + PartialEq> Registry<R> {
    /// Nobody is listed.
    #[must_use]
    pub const fn new(limits: RegistryLimits) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            peers: BTreeMap::new(),
            networks: BTreeMap::new(),
            listings: BTreeMap::new(),
            watchers: BTreeMap::new(),
            of_peers: BTreeMap::new(),
            of_networks: BTreeMap::new(),
            orders: VecDeque::new(),
            next_id: 0,
        }
    }

    /// A peer, which is connected from this network, announces itself in a new call. Another call of the
    /// same peer is ended.
    ///
    /// # Errors
    /// [`RegistryRefusal`] if it is not listed.
    pub fn announce(
        &mut self,
        peer: PeerId,
        network: GroupId,
        announcement: Announcement<R>,
    ) -> Result<EntryId, RegistryRefusal> {
        self.check(&announcement)?;
        if let Some(before) = self.peers.get(&peer).copied() {
            self.end(before, RegistryRefusal::Replaced);
        }
        let (limit, taken) = (self.limits.entries_per_network(), self.taken(network));
        if taken >= limit {
            return Err(RegistryRefusal::NetworkFull { limit });
        }
        let limit = self.limits.entries();
        if self.entries.len() >= limit {
            let full = RegistryRefusal::Full { limit };
            let newest = self.newest_of_the_largest(taken).ok_or(full)?;
            self.end(newest, full);
        }
        let id = EntryId(self.id());
        let Announcement { services, record, .. } = announcement;
        self.networks.entry(network).or_default().insert(id);
        self.peers.insert(peer, id);
        self.entries.insert(id, Entry { peer, network, services: BTreeMap::new(), record });
        services.into_iter().for_each(|service| self.list(id, service));
        Ok(id)
    }

    /// A server says something else of itself, in the call of this entry.
    ///
    /// # Errors
    /// [`RegistryRefusal`] if the entry is gone, or what is said is too much. It is as it was then.
    pub fn update(
        &mut self,
        id: EntryId,
        announcement: Announcement<R>,
    ) -> Result<(), RegistryRefusal> {
        self.check(&announcement)?;
        let entry = self.entries.get_mut(&id).ok_or(RegistryRefusal::Replaced)?;
        let Announcement { services, record, .. } = announcement;
        let changed = entry.record != record;
        entry.record = record;
        let services: BTreeSet<_> = services.into_iter().collect();
        let before: BTreeSet<_> = entry.services.keys().cloned().collect();
        for service in before.difference(&services) {
            self.unlist(id, service);
        }
        for service in before.intersection(&services).filter(|_| changed) {
            self.changed(id, service);
        }
        for service in services.difference(&before) {
            self.list(id, service.clone());
        }
        Ok(())
    }

    /// The call of an entry has ended. If the entry is gone already, nothing happens.
    pub fn withdraw(&mut self, id: EntryId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let (peer, network) = (entry.peer, entry.network);
        for service in entry.services.keys().cloned().collect::<BTreeSet<_>>() {
            self.unlist(id, &service);
        }
        self.entries.remove(&id);
        self.peers.remove(&peer);
        if let Some(entries) = self.networks.get_mut(&network) {
            entries.remove(&id);
            if entries.is_empty() {
                self.networks.remove(&network);
            }
        }
    }

    /// A peer, which is connected from this network, watches a protocol. There are events for it at once.
    ///
    /// # Errors
    /// [`RegistryRefusal`] if too much is watched.
    pub fn watch(
        &mut self,
        peer: PeerId,
        network: GroupId,
        service: ProtocolName,
    ) -> Result<WatcherId, RegistryRefusal> {
        let limit = self.limits.watchers_per_peer();
        if self.of_peers.get(&peer).is_some_and(|count| *count >= limit) {
            return Err(RegistryRefusal::PeerFull { limit });
        }
        let limit = self.limits.watchers_per_network();
        if self.of_networks.get(&network).is_some_and(|count| *count >= limit) {
            return Err(RegistryRefusal::NetworkFull { limit });
        }
        let limit = self.limits.watchers();
        if self.watchers.len() >= limit {
            return Err(RegistryRefusal::Full { limit });
        }
        let id = WatcherId(self.id());
        *self.of_peers.entry(peer).or_default() += 1;
        *self.of_networks.entry(network).or_default() += 1;
        self.listings.entry(service.clone()).or_default().watchers.insert(id);
        self.watchers.insert(id, Watcher::new(peer, network, service));
        Ok(id)
    }

    /// The call of a watcher has ended.
    pub fn unwatch(&mut self, id: WatcherId) {
        let Some(Watcher { peer, network, service, .. }) = self.watchers.remove(&id) else {
            return;
        };
        count_down(&mut self.of_peers, &peer);
        count_down(&mut self.of_networks, &network);
        if let Some(listing) = self.listings.get_mut(&service) {
            listing.watchers.remove(&id);
        }
        self.forget_if_empty(&service);
    }

    /// The next event for a watcher. `None` if it has been told everything: [`RegistryOrder::Wake`] says
    /// when there is more.
    pub fn next_event(&mut self, id: WatcherId) -> Option<RegistryEvent<R>> {
        let watcher = self.watchers.get_mut(&id)?;
        let listing = self.listings.get(&watcher.service)?;
        match watcher.told {
            Told::Nothing => {
                watcher.told = Told::UpTo(None);
                return Some(RegistryEvent::Begin);
            }
            Told::UpTo(last) => {
                let Some(place) = listing.next(last) else {
                    watcher.told = Told::Everything;
                    return Some(RegistryEvent::Complete);
                };
                watcher.told = Told::UpTo(Some(place));
                let entry = self.entries.get(&place.entry())?;
                return Some(RegistryEvent::Here(entry.peer, entry.record.clone()));
            }
            Told::Everything => {}
        }
        let Some(peer) = watcher.pending.pop_first() else {
            watcher.woken = false;
            return None;
        };
        let entry = self.peers.get(&peer).and_then(|id| self.entries.get(id));
        let entry = entry.filter(|entry| entry.services.contains_key(&watcher.service));
        Some(match entry {
            Some(entry) => RegistryEvent::Here(peer, entry.record.clone()),
            None => RegistryEvent::Gone(peer),
        })
    }

    /// What to do next; `None` if there is nothing more to do now.
    pub fn poll_order(&mut self) -> Option<RegistryOrder> {
        self.orders.pop_front()
    }

    /// How many servers are listed, and how many watchers there are.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.entries.len(), self.watchers.len())
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn check(&self, announcement: &Announcement<R>) -> Result<(), RegistryRefusal> {
        let Announcement { services, size, .. } = announcement;
        let names: usize = services.iter().map(|service| service.as_str().len()).sum();
        let (protocols, size) = (services.len(), size.saturating_add(names));
        let (max_protocols, max_size) = (self.limits.protocols(), self.limits.entry_size());
        if protocols > max_protocols || size > max_size {
            return Err(RegistryRefusal::TooLarge { protocols, size, max_protocols, max_size });
        }
        Ok(())
    }

    fn taken(&self, network: GroupId) -> usize {
        self.networks.get(&network).map_or(0, BTreeSet::len)
    }

    /// Who makes room for one of a network that has so many places: the newest entry of the network that has
    /// the most, if that stays no smaller.
    fn newest_of_the_largest(&self, taken: usize) -> Option<EntryId> {
        let largest = self.networks.values().max_by_key(|entries| entries.len())?;
        (largest.len() > taken + 1).then(|| largest.last().copied())?
    }

    fn end(&mut self, id: EntryId, why: RegistryRefusal) {
        self.withdraw(id);
        self.orders.push_back(RegistryOrder::End(id, why));
    }

    fn list(&mut self, id: EntryId, service: ProtocolName) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        // It may be named twice.
        if entry.services.contains_key(&service) {
            return;
        }
        let listing = self.listings.entry(service.clone()).or_default();
        entry.services.insert(service.clone(), listing.insert(id, entry.network));
        self.changed(id, &service);
    }

    fn unlist(&mut self, id: EntryId, service: &ProtocolName) {
        self.changed(id, service);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(place) = entry.services.remove(service) else { return };
        if let Some(listing) = self.listings.get_mut(service) {
            listing.remove(place, entry.network);
        }
        self.forget_if_empty(service);
    }

    /// Notes for those who watch that an entry has changed.
    fn changed(&mut self, id: EntryId, service: &ProtocolName) {
        let Some(entry) = self.entries.get(&id) else { return };
        let Some(place) = entry.services.get(service).copied() else { return };
        let Some(listing) = self.listings.get(service) else { return };
        for watcher in &listing.watchers {
            let Some(watching) = self.watchers.get_mut(watcher) else { continue };
            if watching.note(entry.peer, place, self.limits.pending()) {
                self.orders.push_back(RegistryOrder::Wake(*watcher));
            }
        }
    }

    fn forget_if_empty(&mut self, service: &ProtocolName) {
        if self.listings.get(service).is_some_and(Listing::is_empty) {
            self.listings.remove(service);
        }
    }
}

fn count_down<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
