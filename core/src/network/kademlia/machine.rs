//! The machine.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::announcing::Announcements;
use super::finding::Finding;
use super::order::{KademliaFact, KademliaOrder, Provider, QueryId};
use super::secret::{NetworkSecret, ServiceKey};
use crate::id::{PeerId, ProtocolName};
use crate::rng::Rng;
use crate::time::Timestamp;

/// How many services a node is listed for.
const SERVED: usize = 128;
/// For how many services servers are looked for.
const WANTED: usize = 256;
/// How many of these queries are under way at a time.
const FINDINGS: usize = 8;
/// How long after it was in vain the first nodes are dialled again. Doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest of these times.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long after somebody has answered the first nodes are dialled again, if there is no connection to them:
/// one that has restarted knows nobody.
const REJOIN: Duration = Duration::from_secs(120);
/// For how long it holds that somebody was found: servers are looked for again at 80 % of it.
const HOLDS: Duration = Duration::from_secs(45);

/// Is listed in a table that the nodes of a network keep together, and finds others there: see the
/// [module](crate::network::kademlia).
#[derive(Debug)]
pub struct Kademlia {
    secret: NetworkSecret,
    local: PeerId,
    served: BTreeSet<ProtocolName>,
    announcements: Announcements,
    wanted: BTreeSet<ProtocolName>,
    findings: BTreeMap<QueryId, Finding>,
    /// Services that wait for one of these.
    waiting: VecDeque<ProtocolName>,
    joined: bool,
    join_at: Timestamp,
    join_pause: Duration,
    /// When other keys count.
    turn: Timestamp,
    next_query: u64,
    orders: VecDeque<KademliaOrder>,
    rng: Rng,
}

impl Kademlia {
    /// The one of a node. The seed spreads what many nodes do at the same time.
    #[must_use]
    pub fn new(secret: NetworkSecret, local: PeerId, seed: u64) -> Self {
        Self {
            secret,
            local,
            served: BTreeSet::new(),
            announcements: Announcements::default(),
            wanted: BTreeSet::new(),
            findings: BTreeMap::new(),
            waiting: VecDeque::new(),
            joined: false,
            join_at: Timestamp::ZERO,
            join_pause: FIRST_PAUSE,
            turn: Timestamp::ZERO,
            next_query: 0,
            orders: VecDeque::new(),
            rng: Rng::new(seed),
        }
    }

    /// Takes in what has happened. `unix` is the time since the beginning of 1970, by the clock on the wall.
    pub fn handle(&mut self, fact: KademliaFact, now: Timestamp, unix: Duration) {
        match fact {
            KademliaFact::Serves(services) => {
                let served = services.into_iter().take(SERVED).collect();
                if self.served != served {
                    self.served = served;
                    self.turn = now;
                }
            }
            KademliaFact::Moved => self.announcements.make_anew(now),
            KademliaFact::LookUp(service) => self.look_up(service),
            KademliaFact::Forget(service) => self.forget(&service),
            KademliaFact::Joined => self.joined(now),
            KademliaFact::Answered(id, providers) => self.answered(id, providers),
            KademliaFact::Ended(id, answers) => self.ended(id, answers, now),
            KademliaFact::Tick => {}
        }
        self.go_on(now, unix);
    }

    /// What is to be done next.
    pub fn poll_order(&mut self) -> Option<KademliaOrder> {
        self.orders.pop_front()
    }

    /// When [`KademliaFact::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let turn = (!self.served.is_empty()).then_some(self.turn);
        let announcement = self.announcements.next_deadline();
        turn.into_iter().chain(announcement).chain([self.join_at]).min()
    }

    /// Whether there is somebody else in the network, as far as is known.
    #[must_use]
    pub const fn is_joined(&self) -> bool {
        self.joined
    }

    fn look_up(&mut self, service: ProtocolName) {
        if self.wanted.len() >= WANTED && !self.wanted.contains(&service) {
            return;
        }
        self.wanted.insert(service.clone());
        if !self.waiting.contains(&service) {
            self.waiting.push_back(service);
        }
    }

    fn forget(&mut self, service: &ProtocolName) {
        self.wanted.remove(service);
        self.waiting.retain(|waiting| waiting != service);
        let of_it = |(id, finding): (&QueryId, &Finding)| {
            (finding.service == *service).then_some(KademliaOrder::Stop(*id))
        };
        self.orders.extend(self.findings.iter().filter_map(of_it));
        self.findings.retain(|_, finding| finding.service != *service);
    }

    /// There is somebody to tell and to ask. Before that, this node asks itself: others may be listed at it that keep
    /// no part of the table.
    fn joined(&mut self, now: Timestamp) {
        if self.joined {
            return;
        }
        (self.joined, self.join_at) = (true, now + REJOIN);
        self.announcements.make_anew(now);
        self.waiting = self.wanted.iter().cloned().collect();
    }

    fn answered(&mut self, id: QueryId, providers: Vec<Provider>) {
        let Some(finding) = self.findings.get_mut(&id) else { return };
        let service = finding.service.clone();
        let found = finding.answered(providers, self.local, &mut self.rng);
        self.found(&service, found);
    }

    fn ended(&mut self, id: QueryId, answers: usize, now: Timestamp) {
        if let Some(finding) = self.findings.remove(&id) {
            let service = finding.service.clone();
            let found = finding.ended();
            self.found(&service, found);
        } else if !self.announcements.ended(id, now, &mut self.rng) {
            return;
        }
        if answers > 0 {
            self.join_pause = FIRST_PAUSE;
            self.joined(now);
        } else if self.joined {
            // Whoever was there is gone, or this node is cut off.
            (self.joined, self.join_at) = (false, now + self.join_pause);
        }
    }

    fn found(&mut self, service: &ProtocolName, found: Vec<Provider>) {
        for Provider { peer, addresses } in found {
            let service = service.clone();
            self.orders.push_back(KademliaOrder::Found { peer, service, addresses, ttl: HOLDS });
        }
    }

    /// Does what is due.
    fn go_on(&mut self, now: Timestamp, unix: Duration) {
        if self.turn <= now {
            self.turn = now + NetworkSecret::until_others(unix).max(FIRST_PAUSE);
            let of = |service| self.keys(service, unix);
            let keys = self.served.iter().flat_map(of).collect();
            for (key, query) in self.announcements.set(&keys, now) {
                self.orders.extend(query.map(KademliaOrder::Stop));
                self.orders.push_back(KademliaOrder::Withdraw(key));
            }
        }
        if self.join_at <= now {
            self.join_at = now + if self.joined { REJOIN } else { self.join_pause };
            if !self.joined {
                self.join_pause = (self.join_pause * 2).min(LONGEST_PAUSE);
            }
            self.orders.push_back(KademliaOrder::Join);
        }
        while let Some(key) = self.announcements.next(QueryId(self.next_query), now) {
            self.orders.push_back(KademliaOrder::Announce(QueryId(self.next_query), key));
            self.next_query += 1;
        }
        while self.findings.len() < FINDINGS
            && let Some(service) = self.waiting.pop_front()
        {
            self.find(&service, unix);
        }
    }

    /// Asks for the servers of a service, unless that is under way.
    fn find(&mut self, service: &ProtocolName, unix: Duration) {
        for key in self.keys(service, unix) {
            if self.findings.values().any(|finding| finding.key == key) {
                continue;
            }
            let id = QueryId(self.next_query);
            self.next_query += 1;
            self.findings.insert(id, Finding::new(service.clone(), key));
            self.orders.push_back(KademliaOrder::Find(id, key));
        }
    }

    fn keys(&self, service: &ProtocolName, unix: Duration) -> Vec<ServiceKey> {
        NetworkSecret::epochs(unix).map(|epoch| self.secret.key(service, epoch)).collect()
    }
}
