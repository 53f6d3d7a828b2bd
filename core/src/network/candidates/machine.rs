//! The machine of candidates.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::lookups::LookUps;
use super::order::{Candidate, CandidateFact, CandidateOrder, CandidateState, Found};
use super::source::{Source, Sources};
use super::table::{Entry, Service, Table};
use super::verifying::{InVain, PATIENCE, Verifying};
use crate::id::{PeerId, ProtocolName};
use crate::rng::Rng;
use crate::time::Timestamp;

/// How many services are wanted at a time.
const SERVICES: usize = 256;
/// How long a service is wanted that nobody has wanted since.
const WANTED: Duration = Duration::from_secs(600);
/// How long a source stands by what it has found if it does not say.
const FOUND: Duration = Duration::from_secs(300);
/// The longest that it can stand by it.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long after the end of its last connection a server is dialled again.
const RECHECK: Duration = Duration::from_secs(240);
/// How many connected peers are known.
const PEERS: usize = 16_384;
/// How many names one of them may have.
const NAMES: usize = 1024;

/// Finds servers that nobody has named. See the [module](super).
#[derive(Debug)]
pub struct Candidates {
    sources: Sources,
    local: Option<PeerId>,
    services: BTreeMap<ProtocolName, Service>,
    /// Of whom nobody has said what they serve.
    anybody: Table,
    peers: BTreeMap<PeerId, Peer>,
    verifying: Verifying,
    in_vain: InVain,
    orders: VecDeque<CandidateOrder>,
    rng: Rng,
    /// When each source had its turn last: which turn that was.
    turns: BTreeMap<Source, u64>,
    turn: u64,
    deadline: Option<Timestamp>,
}

/// Who is connected.
#[derive(Debug)]
struct Peer {
    network: Option<u64>,
    /// How it was found.
    source: Source,
    /// Until when it may say what it serves; what it has said.
    told: Result<BTreeSet<ProtocolName>, Timestamp>,
}

impl Candidates {
    /// Nobody is known, and nothing wanted. `sources` are those that can be asked, and
    /// [`Source::Connected`] if peers that have connected for another reason count. `local` is the own
    /// peer, which is no candidate.
    #[must_use]
    pub fn new(sources: Sources, local: Option<PeerId>, seed: u64) -> Self {
        Self {
            sources,
            local,
            services: BTreeMap::new(),
            anybody: Table::default(),
            peers: BTreeMap::new(),
            verifying: Verifying::default(),
            in_vain: InVain::default(),
            orders: VecDeque::new(),
            rng: Rng::new(seed),
            turns: BTreeMap::new(),
            turn: 0,
            deadline: None,
        }
    }

    /// From now on these are the sources. What others have found stays.
    pub fn set_sources(&mut self, sources: Sources, now: Timestamp) {
        self.sources = sources;
        for service in self.services.values_mut() {
            service.look_ups.set_sources(sources, now);
        }
        self.go_on(now);
    }

    /// Where servers come from.
    #[must_use]
    pub const fn sources(&self) -> Sources {
        self.sources
    }

    /// Takes in what has happened.
    pub fn handle(&mut self, fact: CandidateFact, now: Timestamp) {
        match fact {
            CandidateFact::Tick if self.deadline.is_none_or(|due| due > now) => return,
            CandidateFact::Tick => {}
            CandidateFact::Wanted(service) => self.wanted(service, now),
            CandidateFact::Unwanted(service) => self.unwanted(&service),
            CandidateFact::Found(found) => self.found(found, now),
            CandidateFact::Lost { peer, service, source } => {
                self.lost(peer, service.as_ref(), source);
            }
            CandidateFact::Connected(peer, network) => self.connected(peer, network, now),
            CandidateFact::Identified(peer, names) => self.identified(peer, names, now),
            CandidateFact::Unreachable(peer) => self.unreachable(peer, now),
            CandidateFact::Disconnected(peer, known) => self.disconnected(peer, known, now),
        }
        self.go_on(now);
    }

    /// What to do next; `None` if there is nothing more to do now.
    pub fn poll_order(&mut self) -> Option<CandidateOrder> {
        self.orders.pop_front()
    }

    /// When to tell it [`CandidateFact::Tick`] if nothing happens before.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// Whether a server of this may be found soon: there are sources to ask, candidates to dial, or peers
    /// that have not said what they serve.
    #[must_use]
    pub fn looks_for(&self, service: &str) -> bool {
        let Some(service) = self.services.get(service) else { return false };
        let counts = self.sources.contains(Source::Connected);
        !service.look_ups.is_empty()
            || service.table.len() > 0
            || self.anybody.len() > 0
            || self.peers.values().any(|peer| counts && peer.told.is_err())
    }

    /// Whether this is wanted.
    #[must_use]
    pub fn wants(&self, service: &str) -> bool {
        self.services.contains_key(service)
    }

    /// What is not wanted any more at the next [`CandidateFact::Tick`], unless it is wanted again before.
    pub fn expiring(&self, now: Timestamp) -> impl Iterator<Item = &ProtocolName> {
        self.services.iter().filter(move |(_, one)| one.until <= now).map(|(name, _)| name)
    }

    /// The candidates for a service that is wanted, servers among them.
    pub fn candidates(&self, service: &str) -> impl Iterator<Item = Candidate> {
        let service = self.services.get(service);
        service.into_iter().flat_map(|service| service.table.candidates())
    }

    /// How many services, candidates and peers are known.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize, usize) {
        let candidates = self.services.values().map(|service| service.table.len()).sum::<usize>();
        (self.services.len(), candidates + self.anybody.len(), self.peers.len())
    }

    fn wanted(&mut self, name: ProtocolName, now: Timestamp) {
        if let Some(service) = self.services.get_mut(&name) {
            service.until = now + WANTED;
            if !service.table.any_serves() {
                service.look_ups.hurry(now);
            }
            return;
        }
        if self.services.len() >= SERVICES {
            let oldest = self.services.iter().min_by_key(|(_, service)| service.until);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.unwanted(&oldest);
            }
        }
        let look_ups = LookUps::new(self.sources, now);
        let service = Service { table: Table::default(), look_ups, until: now + WANTED };
        self.services.insert(name.clone(), service);
        let serves = |peer: &Peer| peer.told.as_ref().is_ok_and(|names| names.contains(&name));
        let serving = self.peers.iter().filter(|(_, peer)| serves(peer));
        for peer in serving.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            self.serves(peer, &name, now);
        }
    }

    fn unwanted(&mut self, name: &ProtocolName) {
        let Some(service) = self.services.remove(name) else { return };
        self.orders.push_back(CandidateOrder::Forget(name.clone()));
        for (peer, entry) in service.table.iter() {
            if entry.is_serving() {
                self.orders.push_back(CandidateOrder::Remove(name.clone(), *peer));
            }
        }
    }

    fn found(&mut self, found: Found, now: Timestamp) {
        let Found { peer, service, source, until, network } = found;
        let until = until.unwrap_or(now + FOUND).min(now + LONGEST);
        if self.local == Some(peer) || until <= now {
            return;
        }
        let rests = self.in_vain.rests(peer, service.as_ref(), now);
        let ttl = until.since(now);
        for (name, known) in &mut self.services {
            if !rests && service.as_ref().is_none_or(|service| service == name) {
                let any_serves = known.table.any_serves();
                known.look_ups.found(source, ttl, any_serves, now);
            }
        }
        // What it has said itself is known already.
        if self.peers.get(&peer).is_some_and(|peer| peer.told.is_ok()) {
            return self.confirm(
                peer,
                service.as_ref(),
                Entry::new(source, network, until, now),
                now,
            );
        }
        let table = match &service {
            None => Some(&mut self.anybody),
            Some(name) => self.services.get_mut(name).map(|service| &mut service.table),
        };
        let Some(table) = table else { return };
        if let Some(entry) = table.get_mut(&peer) {
            entry.until = entry.until.max(until);
            entry.taken_back &= entry.source != source;
        } else if !rests || source == Source::Manual {
            let mut entry = Entry::new(source, network, until, now);
            if self.verifying.contains(&peer) {
                entry.state = CandidateState::Verifying;
            }
            table.insert(peer, entry);
        }
    }

    /// A source says that a peer is there of which is known what it serves. It counts also where peers do not
    /// that are merely connected.
    fn confirm(&mut self, peer: PeerId, found: Option<&ProtocolName>, new: Entry, now: Timestamp) {
        let Some(Peer { told: Ok(told), .. }) = self.peers.get(&peer) else { return };
        let mut added = Vec::new();
        for (name, service) in &mut self.services {
            match service.table.get_mut(&peer) {
                Some(entry) => entry.taken_back &= entry.source != new.source,
                None if found.is_some_and(|found| found != name) || !told.contains(name) => {}
                None => added.extend(service.table.insert(peer, new.clone()).then(|| name.clone())),
            }
        }
        added.iter().for_each(|name| self.serves(peer, name, now));
    }

    /// A source takes back what it has said. What the peer says itself, on a connection, counts more, for as
    /// long as there is one.
    fn lost(&mut self, peer: PeerId, service: Option<&ProtocolName>, source: Source) {
        let is_its = |entry: Option<&Entry>| entry.is_some_and(|entry| entry.source == source);
        if self.peers.contains_key(&peer) {
            for (name, known) in &mut self.services {
                if service.is_none_or(|service| service == name)
                    && let Some(entry) = known.table.get_mut(&peer)
                {
                    entry.taken_back |= entry.source == source;
                }
            }
            return;
        }
        if service.is_none() && is_its(self.anybody.get(&peer)) {
            self.anybody.remove(&peer);
        }
        for (name, known) in &mut self.services {
            if service.is_none_or(|service| service == name)
                && is_its(known.table.get(&peer))
                && let Some(entry) = known.table.remove(&peer)
                && entry.is_serving()
            {
                self.orders.push_back(CandidateOrder::Remove(name.clone(), peer));
            }
        }
    }

    fn connected(&mut self, peer: PeerId, network: Option<u64>, now: Timestamp) {
        if self.peers.contains_key(&peer) || self.peers.len() >= PEERS {
            return;
        }
        let found = self.anybody.get(&peer).map(|entry| entry.source);
        let source = found.unwrap_or(Source::Connected);
        self.peers.insert(peer, Peer { network, source, told: Err(now + PATIENCE) });
        for table in self.tables() {
            if let Some(entry) = table.get_mut(&peer).filter(|entry| !entry.is_serving()) {
                entry.state = CandidateState::Verifying;
            }
        }
    }

    fn identified(&mut self, peer: PeerId, names: Vec<ProtocolName>, now: Timestamp) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.told = Ok(names.into_iter().take(NAMES).collect());
        self.verifying.end(&peer);
        self.settle_anybody(peer, now);
        let Some(Peer { told: Ok(told), .. }) = self.peers.get(&peer) else { return };
        let mut serves = Vec::new();
        for (name, service) in &mut self.services {
            if told.contains(name) {
                serves.push(name.clone());
                continue;
            }
            let Some(entry) = service.table.get_mut(&peer) else { continue };
            if entry.is_serving() {
                self.orders.push_back(CandidateOrder::Remove(name.clone(), peer));
            }
            if entry.source == Source::Manual {
                (entry.state, entry.due) = (CandidateState::Waiting, now + RECHECK);
            } else {
                service.table.remove(&peer);
                self.in_vain.note(peer, Some(name.clone()), now);
            }
            service.look_on(now);
        }
        for name in serves {
            self.serves(peer, &name, now);
        }
    }

    /// It is known now what a peer serves of which nobody had said so.
    fn settle_anybody(&mut self, peer: PeerId, now: Timestamp) {
        let Some(entry) = self.anybody.get_mut(&peer) else { return };
        if entry.source == Source::Manual {
            (entry.state, entry.failures, entry.due) = (CandidateState::Waiting, 0, now + RECHECK);
        } else {
            self.anybody.remove(&peer);
            self.in_vain.note(peer, None, now);
        }
    }

    /// A connected peer says that it serves what is wanted.
    fn serves(&mut self, peer: PeerId, name: &ProtocolName, now: Timestamp) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(Peer { network, source, .. }) = self.peers.get(&peer) else { return };
        if service.table.get(&peer).is_none() {
            let counts = *source != Source::Connected || self.sources.contains(*source);
            let entry = Entry::new(*source, *network, now + FOUND, now);
            if !counts || !service.table.insert(peer, entry) {
                return;
            }
        }
        let Some(entry) = service.table.get_mut(&peer) else { return };
        let was = entry.is_serving();
        (entry.state, entry.failures) = (CandidateState::Serving, 0);
        self.in_vain.forgive(peer, name);
        if !was {
            let add = CandidateOrder::Add(name.clone(), peer, entry.source);
            self.orders.push_back(add);
        }
    }

    fn unreachable(&mut self, peer: PeerId, now: Timestamp) {
        self.verifying.end(&peer);
        if self.peers.contains_key(&peer) {
            return;
        }
        // If nobody is reached, this node is cut off.
        let cut_off = self.peers.is_empty();
        let failed = |entry: &mut Entry| !entry.fail(now);
        if self.anybody.get_mut(&peer).is_some_and(failed) {
            self.anybody.remove(&peer);
            self.in_vain.note(peer, None, now);
        }
        for (name, service) in &mut self.services {
            let Some(entry) = service.table.get_mut(&peer) else { continue };
            if entry.is_serving() && !cut_off && entry.source != Source::Manual {
                entry.state = CandidateState::Waiting;
                self.orders.push_back(CandidateOrder::Remove(name.clone(), peer));
            }
            if !entry.fail(now) {
                service.table.remove(&peer);
                self.in_vain.note(peer, Some(name.clone()), now);
            }
            service.look_on(now);
        }
    }

    fn disconnected(&mut self, peer: PeerId, known: bool, now: Timestamp) {
        let Some(Peer { told, .. }) = self.peers.remove(&peer) else { return };
        if told.is_err() {
            return self.unreachable(peer, now);
        }
        for (name, service) in &mut self.services {
            let Some(entry) = service.table.get_mut(&peer).filter(|entry| entry.is_serving())
            else {
                continue;
            };
            let ttl = entry.until.since(now);
            entry.due = now + if ttl.is_zero() { RECHECK } else { RECHECK.min(ttl / 5 * 4) };
            if (!known || entry.taken_back) && entry.source != Source::Manual {
                service.table.remove(&peer);
                self.orders.push_back(CandidateOrder::Remove(name.clone(), peer));
            }
        }
    }

    fn tables(&mut self) -> impl Iterator<Item = &mut Table> {
        let services = self.services.values_mut().map(|service| &mut service.table);
        services.chain([&mut self.anybody])
    }

    /// Does what is due, and says when something is next.
    fn go_on(&mut self, now: Timestamp) {
        while let Some(peer) = self.verifying.expired(now) {
            self.unreachable(peer, now);
        }
        let silent = |peer: &Peer| peer.told.as_ref().is_err_and(|until| *until <= now);
        let silent = self.peers.iter().filter(|(_, peer)| silent(peer)).map(|(peer, _)| *peer);
        for peer in silent.collect::<Vec<_>>() {
            // It may still say more.
            self.identified(peer, Vec::new(), now);
        }
        self.tables().for_each(|table| table.retain(|_, entry| !entry.is_stale(now)));
        let idle = self.services.iter().filter(|(_, service)| service.until <= now);
        for name in idle.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.unwanted(&name);
        }
        for (name, service) in &mut self.services {
            let due = service.look_ups.due(now).into_iter();
            self.orders.extend(due.map(|source| CandidateOrder::LookUp(name.clone(), source)));
        }
        let blocked_until = self.verify(now);
        self.deadline = self.find_deadline(blocked_until, now);
    }

    /// Dials those who are due. Returns until when no further one may be dialled, if some are due.
    fn verify(&mut self, now: Timestamp) -> Option<Timestamp> {
        while !self.services.is_empty() {
            self.verifying.may_begin(false, now)?;
            let strangers = self.verifying.may_begin(true, now)?;
            let Some((peer, is_stranger)) = self.next(strangers <= now, now) else {
                return (strangers > now).then_some(strangers);
            };
            self.verifying.begin(peer, is_stranger, now);
            for table in self.tables() {
                if let Some(entry) = table.get_mut(&peer) {
                    // A server stays one until it is not reached.
                    match entry.is_serving() {
                        true => entry.due = now + RECHECK,
                        false => entry.state = CandidateState::Verifying,
                    }
                }
            }
            self.orders.push_back(CandidateOrder::Verify(peer));
        }
        None
    }

    /// Who is dialled next: sources take turns, those come first who have failed least, and then
    /// chance decides. `strangers` says whether one who has never served may be.
    fn next(&mut self, strangers: bool, now: Timestamp) -> Option<(PeerId, bool)> {
        let mut best: Option<((u64, u32, u64), PeerId, &Entry)> = None;
        let tables = self.services.values().map(|service| &service.table);
        for (peer, entry) in tables.chain([&self.anybody]).flat_map(Table::iter) {
            let is_stranger = !entry.is_serving() && entry.source != Source::Manual;
            let waits = entry.is_due(now) && !self.verifying.contains(peer);
            if !waits || self.peers.contains_key(peer) || (is_stranger && !strangers) {
                continue;
            }
            let turn = self.turns.get(&entry.source).copied().unwrap_or_default();
            let rank = (turn, entry.failures, self.rng.next_u64());
            if best.as_ref().is_none_or(|(least, ..)| rank < *least) {
                best = Some((rank, *peer, entry));
            }
        }
        let (_, peer, entry) = best?;
        let is_stranger = !entry.is_serving() && entry.source != Source::Manual;
        self.turn += 1;
        self.turns.insert(entry.source, self.turn);
        Some((peer, is_stranger))
    }

    fn find_deadline(&self, blocked: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let wanted = self.services.values().flat_map(|service| {
            service.look_ups.next_deadline().into_iter().chain([service.until])
        });
        let told = self.peers.values().filter_map(|peer| peer.told.as_ref().err().copied());
        let tables = self.services.values().map(|service| &service.table);
        let entries = tables.chain([&self.anybody]).flat_map(Table::iter);
        let entries = entries.flat_map(|(peer, entry)| {
            let dialled = entry.due > now && !self.peers.contains_key(peer);
            let due = (dialled && !self.services.is_empty()).then_some(entry.due);
            let stands = !entry.is_serving() && entry.source != Source::Manual;
            due.into_iter().chain(stands.then_some(entry.until))
        });
        let dials = self.verifying.next_deadline().into_iter().chain(blocked);
        wanted.chain(told).chain(entries).chain(dials).min()
    }
}
