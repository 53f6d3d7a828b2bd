//! The machine.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::name::DnsName;
use super::order::{DnsAnswer, DnsFact, DnsOrder, DnsOutcome, QueryId};
use super::round::{PEERS, Round};
use crate::id::PeerId;
use crate::network::Address;
use crate::rng::Rng;
use crate::time::Timestamp;

/// How long after a list that was of no use it is read again, at the earliest. Doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two readings of a list that is of no use.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Reads a list of servers, as often as it is worth it: see the [module](crate::network::dns).
#[derive(Debug)]
pub struct Dns {
    name: DnsName,
    local: Option<PeerId>,
    round: Option<Round>,
    /// Who was listed, and until when that holds.
    known: BTreeMap<PeerId, Known>,
    /// When the list is read again, at the earliest.
    again: Timestamp,
    pause: Duration,
    next_query: u64,
    orders: VecDeque<DnsOrder>,
    rng: Rng,
}

#[derive(Debug)]
struct Known {
    addresses: Vec<Address>,
    until: Timestamp,
}

impl Dns {
    /// The list of this name, of which nothing has been read yet. `local` is the own peer, which is not
    /// found.
    #[must_use]
    pub fn new(name: DnsName, local: Option<PeerId>, seed: u64) -> Self {
        Self {
            name,
            local,
            round: None,
            known: BTreeMap::new(),
            again: Timestamp::ZERO,
            pause: FIRST_PAUSE,
            next_query: 0,
            orders: VecDeque::new(),
            rng: Rng::new(seed),
        }
    }

    /// The name of the list.
    #[must_use]
    pub const fn name(&self) -> &DnsName {
        &self.name
    }

    /// Takes in what has happened.
    pub fn handle(&mut self, fact: DnsFact, now: Timestamp) {
        self.known.retain(|_, known| known.until > now);
        match fact {
            DnsFact::LookUp => self.look_up(now),
            DnsFact::Answered(id, answer) => self.answered(id, answer, now),
            DnsFact::Failed(id) => {
                if let Some(round) = &mut self.round {
                    round.failed(id);
                }
            }
            DnsFact::Tick => {}
        }
        self.go_on(now);
    }

    /// What is to be done next.
    pub fn poll_order(&mut self) -> Option<DnsOrder> {
        self.orders.pop_front()
    }

    /// When [`DnsFact::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.round.as_ref().map(Round::ends_at)
    }

    fn look_up(&mut self, now: Timestamp) {
        if self.round.is_some() {
            return;
        }
        if self.again <= now {
            self.round = Some(Round::new(self.name.clone(), now));
            return;
        }
        for (peer, Known { addresses, until }) in &self.known {
            let (addresses, ttl) = (addresses.clone(), until.since(now));
            self.orders.push_back(DnsOrder::Found { peer: *peer, addresses, ttl });
        }
    }

    fn answered(&mut self, id: QueryId, answer: DnsAnswer, now: Timestamp) {
        let Some(round) = &mut self.round else { return };
        let (about, ttl) = round.answered(id, answer, self.local, &mut self.rng);
        let until = now + ttl;
        for peer in about {
            let addresses = round.found.get(&peer).cloned().unwrap_or_default();
            if !self.known.contains_key(&peer) && self.known.len() >= PEERS {
                // Somebody of an earlier reading, as all of this one fit.
                let others = self.known.iter().filter(|(peer, _)| !round.found.contains_key(*peer));
                let first = others.min_by_key(|(_, known)| known.until);
                if let Some(first) = first.map(|(peer, _)| *peer) {
                    self.known.remove(&first);
                    self.orders.push_back(DnsOrder::Lost(first));
                }
            }
            self.known.insert(peer, Known { addresses: addresses.clone(), until });
            self.orders.push_back(DnsOrder::Found { peer, addresses, ttl });
        }
    }

    /// Asks for what is due, and ends what is over.
    fn go_on(&mut self, now: Timestamp) {
        let Some(round) = &mut self.round else { return };
        if let Some(outcome) = round.outcome(now) {
            return self.end(outcome, now);
        }
        while let Some(name) = round.next_query(QueryId(self.next_query)) {
            self.orders.push_back(DnsOrder::Query(QueryId(self.next_query), name));
            self.next_query += 1;
        }
    }

    fn end(&mut self, outcome: DnsOutcome, now: Timestamp) {
        let Some(round) = self.round.take() else { return };
        let whole = outcome.unanswered == 0 && !outcome.cut;
        if whole {
            let gone = self.known.keys().copied().filter(|peer| !round.found.contains_key(peer));
            for peer in gone.collect::<Vec<_>>() {
                self.known.remove(&peer);
                self.orders.push_back(DnsOrder::Lost(peer));
            }
        }
        if outcome.peers > 0 && outcome.unanswered == 0 {
            self.again = round.started + round.ttl / 5 * 4;
            self.pause = FIRST_PAUSE;
        } else {
            self.again = now + self.pause;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        self.orders.push_back(DnsOrder::Ended(outcome));
    }
}
