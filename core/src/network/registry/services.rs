//! Which servers are listed for each protocol, who watches it, and what has changed since.
//!
//! All protocols share a few ordered sets, so that a protocol which one server alone lists costs little.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use super::order::{EntryId, WatcherId};
use crate::endpoint::GroupId;
use crate::id::{PeerId, ProtocolName};

/// A protocol that somebody lists or watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServiceId(u64);

/// The number of a change: later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u64);

/// A place in the order in which whoever watches hears of servers: first of all the first one of each
/// network, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    turn: u32,
    pub(super) entry: EntryId,
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Here(EntryId),
    Gone(PeerId),
}

#[derive(Debug)]
struct Service {
    name: ProtocolName,
    /// How many servers list it or watchers watch it.
    uses: usize,
    watched: usize,
    /// Up to here it is not known any more who has gone.
    forgotten: Version,
}

#[derive(Debug)]
pub(super) struct Services {
    names: BTreeMap<ProtocolName, ServiceId>,
    services: BTreeMap<ServiceId, Service>,
    places: BTreeSet<(ServiceId, Place)>,
    turns: BTreeSet<(ServiceId, GroupId, u32)>,
    watchers: BTreeSet<(ServiceId, WatcherId)>,
    /// The last change of each server that is listed, if somebody watches.
    here: BTreeMap<(ServiceId, Version), EntryId>,
    gone: BTreeMap<(ServiceId, Version), PeerId>,
    /// The same, those that went first in front.
    order: VecDeque<(ServiceId, Version)>,
    history: usize,
    last_service: u64,
    last_version: Version,
}

impl Services {
    pub(super) const fn new(history: usize) -> Self {
        Self {
            names: BTreeMap::new(),
            services: BTreeMap::new(),
            places: BTreeSet::new(),
            turns: BTreeSet::new(),
            watchers: BTreeSet::new(),
            here: BTreeMap::new(),
            gone: BTreeMap::new(),
            order: VecDeque::new(),
            history,
            last_service: 0,
            last_version: Version(0),
        }
    }

    /// Somebody lists or watches this from now on, once more.
    pub(super) fn take(&mut self, name: ProtocolName) -> ServiceId {
        let next = ServiceId(self.last_service + 1);
        let id = *self.names.entry(name.clone()).or_insert(next);
        if id == next {
            self.last_service += 1;
        }
        let service = self.services.entry(id).or_insert(Service {
            name,
            uses: 0,
            watched: 0,
            forgotten: Version(0),
        });
        service.uses += 1;
        id
    }

    /// Somebody does not any more.
    pub(super) fn release(&mut self, id: ServiceId) {
        let Some(service) = self.services.get_mut(&id) else { return };
        service.uses -= 1;
        if service.uses == 0
            && let Some(service) = self.services.remove(&id)
        {
            self.names.remove(&service.name);
        }
    }

    /// A server is told of from now on.
    pub(super) fn show(&mut self, id: ServiceId, entry: EntryId, network: GroupId) -> Place {
        // The first number that is free: those that are taken are few of one network.
        let taken = self.turns.range((id, network, 0)..=(id, network, u32::MAX));
        let free = (0..).zip(taken).find(|(free, (.., taken))| free != taken);
        let taken = self.turns.range((id, network, 0)..=(id, network, u32::MAX)).next_back();
        let behind = taken.map_or(0, |(.., last)| last + 1);
        let turn = free.map_or(behind, |(free, _)| free);
        self.turns.insert((id, network, turn));
        let place = Place { turn, entry };
        self.places.insert((id, place));
        place
    }

    /// A server is not told of any more.
    pub(super) fn hide(&mut self, id: ServiceId, place: Place, network: GroupId) {
        self.places.remove(&(id, place));
        self.turns.remove(&(id, network, place.turn));
    }

    /// A server has its place under another number.
    pub(super) fn rename(
        &mut self,
        id: ServiceId,
        place: Place,
        told: Option<Version>,
        entry: EntryId,
    ) -> Place {
        let new = Place { entry, ..place };
        self.places.remove(&(id, place));
        self.places.insert((id, new));
        if let Some(here) = told.and_then(|told| self.here.get_mut(&(id, told))) {
            *here = entry;
        }
        new
    }

    pub(super) fn next_place(&self, id: ServiceId, after: Option<Place>) -> Option<Place> {
        let least = Place { turn: 0, entry: EntryId(0) };
        let (id, place) = (id, after.unwrap_or(least));
        // No server has the number of the least place.
        let places = self.places.range((id, place)..).find(|(_, next)| *next > place);
        places.filter(|(of, _)| *of == id).map(|(_, place)| *place)
    }

    pub(super) fn watch(&mut self, id: ServiceId, watcher: WatcherId) {
        if self.watchers.insert((id, watcher))
            && let Some(service) = self.services.get_mut(&id)
        {
            service.watched += 1;
        }
    }

    pub(super) fn unwatch(&mut self, id: ServiceId, watcher: WatcherId) {
        if self.watchers.remove(&(id, watcher))
            && let Some(service) = self.services.get_mut(&id)
        {
            service.watched -= 1;
        }
    }

    pub(super) fn watchers(&self, id: ServiceId) -> impl Iterator<Item = WatcherId> {
        let all = (id, WatcherId(0))..=(id, WatcherId(u64::MAX));
        self.watchers.range(all).map(|(_, watcher)| *watcher)
    }

    fn is_watched(&self, id: ServiceId) -> bool {
        self.services.get(&id).is_some_and(|service| service.watched > 0)
    }

    fn next_version(&mut self) -> Version {
        self.last_version = Version(self.last_version.0 + 1);
        self.last_version
    }

    /// Notes that a server is new or has changed. Nothing is noted if nobody watches.
    pub(super) fn note_here(
        &mut self,
        id: ServiceId,
        before: Option<Version>,
        entry: EntryId,
    ) -> Option<Version> {
        self.forget_here(id, before);
        if !self.is_watched(id) {
            return None;
        }
        let version = self.next_version();
        self.here.insert((id, version), entry);
        Some(version)
    }

    pub(super) fn forget_here(&mut self, id: ServiceId, told: Option<Version>) {
        if let Some(told) = told {
            self.here.remove(&(id, told));
        }
    }

    /// Notes that a server has gone.
    pub(super) fn note_gone(&mut self, id: ServiceId, peer: PeerId) {
        if !self.is_watched(id) {
            return;
        }
        let version = self.next_version();
        self.gone.insert((id, version), peer);
        self.order.push_back((id, version));
        if self.order.len() > self.history
            && let Some((id, version)) = self.order.pop_front()
        {
            self.gone.remove(&(id, version));
            if let Some(service) = self.services.get_mut(&id) {
                service.forgotten = version;
            }
        }
    }

    pub(super) const fn last_version(&self) -> Version {
        self.last_version
    }

    /// Whether it is still known what has changed since.
    pub(super) fn knows_since(&self, id: ServiceId, since: Version) -> bool {
        self.services.get(&id).is_some_and(|service| service.forgotten <= since)
    }

    /// The first change after this one.
    pub(super) fn next_change(&self, id: ServiceId, since: Version) -> Option<(Version, Change)> {
        let later = || (id, Version(since.0 + 1))..=(id, Version(u64::MAX));
        let here = self.here.range(later()).next();
        let here = here.map(|((_, version), entry)| (*version, Change::Here(*entry)));
        let gone = self.gone.range(later()).next();
        let gone = gone.map(|((_, version), peer)| (*version, Change::Gone(*peer)));
        here.into_iter().chain(gone).min_by_key(|(version, _)| *version)
    }
}
