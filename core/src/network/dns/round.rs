//! One reading of a list, with the lists that belong to it.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::entry::DnsEntry;
use super::name::DnsName;
use super::order::{DnsAnswer, DnsOutcome, QueryId};
use crate::id::PeerId;
use crate::network::Address;
use crate::rng::Rng;
use crate::time::Timestamp;

/// How many names are asked for in one reading of a list.
const QUERIES: usize = 32;
/// How many names of a list are asked for at a time.
const AT_A_TIME: usize = 4;
/// How many lists lead to another, the first one among them.
const DEPTH: usize = 4;
/// How many records of a name are looked at.
const RECORDS: usize = 64;
/// How many peers of a list are known.
pub(super) const PEERS: usize = 64;
/// How many addresses of a peer of a list are known.
const ADDRESSES: usize = 8;
/// How long one reading of a list may take.
const LONGEST_ROUND: Duration = Duration::from_secs(15);
/// For how long records hold at least, whatever they say.
const LEAST_TTL: Duration = Duration::from_secs(30);
/// The longest time for which records hold, whatever they say.
const MOST_TTL: Duration = Duration::from_secs(3600);

/// A reading that is under way.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) started: Timestamp,
    waiting: VecDeque<Query>,
    under_way: BTreeMap<QueryId, Query>,
    /// What was asked for, so that nothing is asked for twice.
    seen: BTreeSet<(DnsName, Option<PeerId>)>,
    pub(super) found: BTreeMap<PeerId, Vec<Address>>,
    /// For how long what was found holds, at least.
    pub(super) ttl: Duration,
    pub(super) outcome: DnsOutcome,
}

#[derive(Debug)]
struct Query {
    name: DnsName,
    /// Whom alone it is about.
    peer: Option<PeerId>,
    depth: usize,
    /// For how long the records hold that have led to it.
    ttl: Duration,
}

impl Round {
    pub(super) fn new(name: DnsName, now: Timestamp) -> Self {
        let mut round = Self {
            started: now,
            waiting: VecDeque::new(),
            under_way: BTreeMap::new(),
            seen: BTreeSet::new(),
            found: BTreeMap::new(),
            ttl: MOST_TTL,
            outcome: DnsOutcome::default(),
        };
        round.ask(Query { name, peer: None, depth: 1, ttl: MOST_TTL });
        round
    }

    fn ask(&mut self, query: Query) {
        if !self.seen.contains(&(query.name.clone(), query.peer)) {
            if self.seen.len() >= QUERIES || query.depth > DEPTH {
                self.outcome.cut = true;
                return;
            }
            self.seen.insert((query.name.clone(), query.peer));
            self.waiting.push_back(query);
        }
    }

    /// The next name that is to be asked for.
    pub(super) fn next_query(&mut self, id: QueryId) -> Option<DnsName> {
        if self.under_way.len() >= AT_A_TIME {
            return None;
        }
        let query = self.waiting.pop_front()?;
        let name = query.name.clone();
        self.under_way.insert(id, query);
        self.outcome.queries += 1;
        Some(name)
    }

    pub(super) fn failed(&mut self, id: QueryId) {
        if self.under_way.remove(&id).is_some() {
            self.outcome.unanswered += 1;
        }
    }

    /// Takes in an answer. Returns whom it is about, and for how long it holds.
    pub(super) fn answered(
        &mut self,
        id: QueryId,
        answer: DnsAnswer,
        local: Option<PeerId>,
        rng: &mut Rng,
    ) -> (BTreeSet<PeerId>, Duration) {
        let mut about = BTreeSet::new();
        let Some(query) = self.under_way.remove(&id) else { return (about, Duration::ZERO) };
        let ttl = answer.ttl.clamp(LEAST_TTL, MOST_TTL).min(query.ttl);
        let mut entries = answer.entries;
        shuffle(&mut entries, rng);
        self.outcome.cut |= entries.len() > RECORDS;
        for entry in entries.into_iter().take(RECORDS) {
            match entry {
                DnsEntry::Peer { peer, address } => {
                    let counts = query.peer.is_none_or(|only| only == peer) && local != Some(peer);
                    if counts && self.found(peer, address) {
                        about.insert(peer);
                    }
                }
                DnsEntry::List { name, peer } => {
                    if query.peer.is_some() && peer.is_some() && query.peer != peer {
                        continue;
                    }
                    let peer = query.peer.or(peer);
                    self.ask(Query { name, peer, depth: query.depth + 1, ttl });
                }
            }
        }
        if !about.is_empty() {
            self.ttl = self.ttl.min(ttl);
        }
        (about, ttl)
    }

    /// Whether a peer is known by this address now.
    fn found(&mut self, peer: PeerId, address: Address) -> bool {
        if !self.found.contains_key(&peer) && self.found.len() >= PEERS {
            self.outcome.cut = true;
            return false;
        }
        let addresses = self.found.entry(peer).or_default();
        if addresses.len() >= ADDRESSES || addresses.contains(&address) {
            return addresses.contains(&address);
        }
        addresses.push(address);
        true
    }

    pub(super) fn ends_at(&self) -> Timestamp {
        self.started + LONGEST_ROUND
    }

    /// How it went, if it is over.
    pub(super) fn outcome(&self, now: Timestamp) -> Option<DnsOutcome> {
        let done = self.waiting.is_empty() && self.under_way.is_empty();
        if !done && now < self.ends_at() {
            return None;
        }
        let mut outcome = self.outcome;
        outcome.peers = self.found.len();
        outcome.unanswered += self.under_way.len();
        outcome.cut |= !self.waiting.is_empty();
        Some(outcome)
    }
}

/// In an order that nobody outside can tell.
fn shuffle<T>(all: &mut [T], rng: &mut Rng) {
    for last in (1..all.len()).rev() {
        all.swap(last, (rng.next_u64() % (last as u64 + 1)) as usize);
    }
}
