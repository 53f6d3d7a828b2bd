//! The table of a registry.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::entry::{Entry, Network, cost};
use super::limits::RegistryLimits;
use super::order::{
    Announcement, EntryId, RegistryEvent, RegistryOrder, RegistryRefusal, WatcherId,
};
use super::services::{Change, ServiceId, Services};
use super::turns::Turns;
use super::watcher::{Told, Watcher};
use crate::endpoint::GroupId;
use crate::id::{PeerId, ProtocolName};
use crate::time::Timestamp;

/// The table of a registry: see the [module](super). `R` is what is known of a server.
#[derive(Debug)]
pub struct Registry<R> {
    limits: RegistryLimits,
    entries: BTreeMap<EntryId, Entry<R>>,
    peers: BTreeMap<PeerId, EntryId>,
    networks: BTreeMap<GroupId, Network>,
    /// What all entries take.
    bytes: usize,
    services: Services,
    turns: Turns,
    /// Of these there is something to tell.
    touched: BTreeSet<ServiceId>,
    watchers: BTreeMap<WatcherId, Watcher>,
    /// How many watchers a peer has, and a network.
    of_peers: BTreeMap<PeerId, usize>,
    of_networks: BTreeMap<GroupId, usize>,
    orders: VecDeque<RegistryOrder>,
    next_id: u64,
}

impl<R: Clone + PartialEq> Registry<R> {
    /// Nobody is listed.
    #[must_use]
    pub fn new(limits: RegistryLimits) -> Self {
        Self {
            entries: BTreeMap::new(),
            peers: BTreeMap::new(),
            networks: BTreeMap::new(),
            bytes: 0,
            services: Services::new(limits.history()),
            turns: Turns::new(&limits),
            touched: BTreeSet::new(),
            watchers: BTreeMap::new(),
            of_peers: BTreeMap::new(),
            of_networks: BTreeMap::new(),
            orders: VecDeque::new(),
            next_id: 0,
            limits,
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
        now: Timestamp,
    ) -> Result<EntryId, RegistryRefusal> {
        let listed = self.take_in(peer, network, announcement);
        self.tick(now);
        listed
    }

    /// A server says something else of itself, in the call of this entry.
    ///
    /// # Errors
    /// [`RegistryRefusal`] if the entry is gone, or what is said is too much. It is as it was then.
    pub fn update(
        &mut self,
        id: EntryId,
        announcement: Announcement<R>,
        now: Timestamp,
    ) -> Result<(), RegistryRefusal> {
        self.check(&announcement)?;
        let updated = self.set(id, announcement);
        self.tick(now);
        updated
    }

    /// The call of an entry has ended. If the entry is gone already, nothing happens.
    pub fn withdraw(&mut self, id: EntryId, now: Timestamp) {
        self.remove(id);
        self.tick(now);
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
        let service = self.services.take(service);
        self.services.watch(service, id);
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
        self.services.unwatch(service, id);
        self.services.release(service);
    }

    /// The next event for a watcher. `None` if it has been told everything: [`RegistryOrder::Wake`] says
    /// when there is more.
    pub fn next_event(&mut self, id: WatcherId) -> Option<RegistryEvent<R>> {
        let watcher = self.watchers.get_mut(&id)?;
        let service = watcher.service;
        let mut since = match watcher.told {
            Told::UpTo(last, since) => {
                let Some(place) = self.services.next_place(service, last) else {
                    watcher.told = Told::Changes(since);
                    return Some(RegistryEvent::Complete);
                };
                watcher.told = Told::UpTo(Some(place), since);
                let entry = self.entries.get(&place.entry)?;
                return Some(RegistryEvent::Here(entry.peer, entry.record.clone()));
            }
            Told::Changes(since) if self.services.knows_since(service, since) => since,
            // It has been told nothing, or has fallen behind.
            Told::Nothing | Told::Changes(_) => {
                watcher.told = Told::UpTo(None, self.services.last_version());
                return Some(RegistryEvent::Begin);
            }
        };
        while let Some((version, change)) = self.services.next_change(service, since) {
            since = version;
            watcher.told = Told::Changes(version);
            match change {
                Change::Here(entry) => {
                    let entry = self.entries.get(&entry)?;
                    return Some(RegistryEvent::Here(entry.peer, entry.record.clone()));
                }
                Change::Gone(peer) => {
                    let entry = self.peers.get(&peer).and_then(|id| self.entries.get(id));
                    // Of one that is back the watcher is told later.
                    if !entry.is_some_and(|entry| entry.is_shown(service)) {
                        return Some(RegistryEvent::Gone(peer));
                    }
                }
            }
        }
        watcher.woken = false;
        None
    }

    /// What to do next; `None` if there is nothing more to do now.
    pub fn poll_order(&mut self) -> Option<RegistryOrder> {
        self.orders.pop_front()
    }

    /// Lets time pass: see [`next_deadline`](Self::next_deadline).
    pub fn tick(&mut self, now: Timestamp) {
        if !self.turns.is_round(now) {
            return;
        }
        while let Some(entry) = self.turns.next(now) {
            self.show(entry);
        }
        let touched = core::mem::take(&mut self.touched);
        if !touched.is_empty() || self.turns.somebody_waits() {
            self.turns.rest(now);
        }
        for service in touched {
            for id in self.services.watchers(service) {
                let Some(watcher) = self.watchers.get_mut(&id) else { continue };
                if !core::mem::replace(&mut watcher.woken, true) {
                    self.orders.push_back(RegistryOrder::Wake(id));
                }
            }
        }
    }

    /// When to call [`tick`](Self::tick) if nothing happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let waits = self.turns.somebody_waits() || !self.touched.is_empty();
        waits.then(|| self.turns.next_round())
    }

    /// How many servers are listed, and how many watchers there are.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.entries.len(), self.watchers.len())
    }

    /// How many bytes of [`RegistryLimits::memory`] are taken.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.bytes
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

    fn take_in(
        &mut self,
        peer: PeerId,
        network: GroupId,
        announcement: Announcement<R>,
    ) -> Result<EntryId, RegistryRefusal> {
        self.check(&announcement)?;
        let id = match self.take_over(peer, network) {
            Some(id) => id,
            None => {
                self.make_room(network, cost(&announcement.services, announcement.size))?;
                let id = EntryId(self.id());
                self.networks.entry(network).or_default().entries.insert(id);
                self.peers.insert(peer, id);
                let entry = Entry::new(peer, network, announcement.record.clone());
                self.entries.insert(id, entry);
                id
            }
        };
        self.set(id, announcement).inspect_err(|_| self.remove(id))?;
        Ok(id)
    }

    /// Ends the call that has announced this peer before. What it has said stands for the new one, if that is
    /// of the same network: whoever watches is told of what is different alone.
    fn take_over(&mut self, peer: PeerId, network: GroupId) -> Option<EntryId> {
        let before = self.peers.get(&peer).copied()?;
        self.orders.push_back(RegistryOrder::End(before, RegistryRefusal::Replaced));
        if self.entries.get(&before).is_none_or(|entry| entry.network != network) {
            self.remove(before);
            return None;
        }
        let id = EntryId(self.id());
        let mut entry = self.entries.remove(&before)?;
        for (service, slot) in &mut entry.services {
            let place = slot.place.map(|at| self.services.rename(*service, at, slot.told, id));
            slot.place = place;
        }
        if let Some(turn) = entry.turn.take() {
            self.turns.leave(network, turn);
            entry.turn = Some(self.turns.wait(network, id, turn.may_be_late()));
        }
        self.entries.insert(id, entry);
        self.peers.insert(peer, id);
        let entries = &mut self.networks.entry(network).or_default().entries;
        entries.remove(&before);
        entries.insert(id);
        Some(id)
    }

    /// Makes room for an entry of a network. A network with much makes room for one with less.
    fn make_room(&mut self, network: GroupId, bytes: usize) -> Result<(), RegistryRefusal> {
        let (entries, taken) = self.networks.get(&network).map_or((0, 0), Network::sizes);
        let limit = self.limits.entries_per_network();
        if entries >= limit {
            return Err(RegistryRefusal::NetworkFull { limit });
        }
        self.check_network(taken + bytes)?;
        let limit = self.limits.entries();
        while self.entries.len() >= limit {
            let largest = self.networks.values().max_by_key(|network| network.entries.len());
            let largest = largest.filter(|largest| largest.entries.len() > entries + 1);
            let newest = largest.and_then(Network::newest);
            self.end_newest(newest, RegistryRefusal::Full { limit })?;
        }
        let limit = self.limits.memory();
        while self.bytes + bytes > limit {
            let largest = self.networks.values().max_by_key(|network| network.bytes);
            let largest = largest.filter(|largest| largest.bytes > taken + bytes);
            let newest = largest.and_then(Network::newest);
            self.end_newest(newest, RegistryRefusal::NoMemory { limit })?;
        }
        Ok(())
    }

    fn end_newest(
        &mut self,
        newest: Option<EntryId>,
        why: RegistryRefusal,
    ) -> Result<(), RegistryRefusal> {
        let newest = newest.ok_or(why)?;
        self.remove(newest);
        self.orders.push_back(RegistryOrder::End(newest, why));
        Ok(())
    }

    const fn check_network(&self, bytes: usize) -> Result<(), RegistryRefusal> {
        let limit = self.limits.memory_per_network();
        if bytes > limit { Err(RegistryRefusal::NoMemory { limit }) } else { Ok(()) }
    }

    /// An entry is as its server says now.
    fn set(&mut self, id: EntryId, announcement: Announcement<R>) -> Result<(), RegistryRefusal> {
        let Announcement { services, record, size, may_be_late } = announcement;
        let names: BTreeSet<ProtocolName> = services.into_iter().collect();
        let entry = self.entries.get(&id).ok_or(RegistryRefusal::Replaced)?;
        let (network, before, bytes) = (entry.network, entry.bytes, cost(&names, size));
        if bytes > before {
            let taken = self.networks.get(&network).map_or(0, |network| network.bytes);
            self.check_network(taken - before + bytes)?;
            let limit = self.limits.memory();
            if self.bytes - before + bytes > limit {
                return Err(RegistryRefusal::NoMemory { limit });
            }
        }
        self.count(id, bytes);
        let services: BTreeSet<ServiceId> =
            names.into_iter().map(|name| self.services.take(name)).collect();
        let Some(entry) = self.entries.get_mut(&id) else { return Ok(()) };
        let changed = entry.record != record;
        entry.record = record;
        let (mut fresh, mut added) = (false, false);
        for service in &services {
            if entry.services.contains_key(service) {
                // It was taken already.
                self.services.release(*service);
            }
            let is_new = !entry.services.contains_key(service);
            let slot = entry.services.entry(*service).or_default();
            slot.fresh |= changed || is_new;
            (fresh, added) = (fresh | slot.fresh, added | is_new);
        }
        self.wait(id, fresh, may_be_late && !added);
        let dropped = self.entries.get(&id).into_iter().flat_map(|entry| entry.services.keys());
        let dropped: Vec<ServiceId> =
            dropped.filter(|service| !services.contains(service)).copied().collect();
        dropped.into_iter().for_each(|service| self.unlist(id, service));
        Ok(())
    }

    /// An entry takes so many bytes now.
    fn count(&mut self, id: EntryId, bytes: usize) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let before = core::mem::replace(&mut entry.bytes, bytes);
        self.bytes = self.bytes - before + bytes;
        if let Some(network) = self.networks.get_mut(&entry.network) {
            network.bytes = network.bytes - before + bytes;
        }
    }

    /// An entry waits for its turn, or need not any more. What may not be late makes it come sooner.
    fn wait(&mut self, id: EntryId, fresh: bool, may_be_late: bool) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match entry.turn {
            Some(turn) if fresh && (may_be_late || !turn.may_be_late()) => return,
            Some(turn) => self.turns.leave(entry.network, turn),
            None => {}
        }
        entry.turn = fresh.then(|| self.turns.wait(entry.network, id, may_be_late));
    }

    /// It is the turn of an entry: whoever watches is told.
    fn show(&mut self, id: EntryId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.turn = None;
        for (service, slot) in entry.services.iter_mut().filter(|(_, slot)| slot.fresh) {
            slot.fresh = false;
            if slot.place.is_none() {
                slot.place = Some(self.services.show(*service, id, entry.network));
            }
            slot.told = self.services.note_here(*service, slot.told, id);
            self.touched.insert(*service);
        }
    }

    /// A server does not serve something any more. Whoever has been told of it is told at once.
    fn unlist(&mut self, id: EntryId, service: ServiceId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(slot) = entry.services.remove(&service) else { return };
        self.services.forget_here(service, slot.told);
        if let Some(place) = slot.place {
            self.services.hide(service, place, entry.network);
            self.services.note_gone(service, entry.peer);
            self.touched.insert(service);
        }
        self.services.release(service);
    }

    fn remove(&mut self, id: EntryId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let (peer, network, turn) = (entry.peer, entry.network, entry.turn);
        for service in entry.services.keys().copied().collect::<Vec<_>>() {
            self.unlist(id, service);
        }
        self.count(id, 0);
        self.entries.remove(&id);
        self.peers.remove(&peer);
        if let Some(turn) = turn {
            self.turns.leave(network, turn);
        }
        if let Some(of_network) = self.networks.get_mut(&network) {
            of_network.entries.remove(&id);
            if of_network.entries.is_empty() {
                self.networks.remove(&network);
            }
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
