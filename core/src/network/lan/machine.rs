//! The machine.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::net::IpAddr;

use super::link::Link;
use super::order::{Announced, LanFact, LanMessage, LanOrder, LinkId};
use crate::id::{PeerId, ProtocolName};
use crate::rng::Rng;
use crate::time::Timestamp;

/// How many links are used.
const LINKS: usize = 64;
/// How many peers of one message are looked at.
const PEERS: usize = 16;

/// Looks for servers on the local network, and tells others there of this node: see the
/// [module](crate::network::lan).
#[derive(Debug)]
pub struct Lan {
    local: PeerId,
    wanted: BTreeSet<ProtocolName>,
    links: BTreeMap<LinkId, Link>,
    orders: VecDeque<LanOrder>,
    stopped: bool,
    rng: Rng,
    secret: u64,
}

impl Lan {
    /// The one of a node. The seed spreads what many nodes do at the same time.
    #[must_use]
    pub fn new(local: PeerId, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            local,
            wanted: BTreeSet::new(),
            links: BTreeMap::new(),
            orders: VecDeque::new(),
            stopped: false,
            secret: rng.next_u64(),
            rng,
        }
    }

    /// Whether a packet is looked at that has come from a machine on a link. Whoever sends too many is
    /// not heard: ask before decoding it.
    pub fn admits(&mut self, link: LinkId, sender: IpAddr, now: Timestamp) -> bool {
        self.links.get_mut(&link).is_some_and(|link| link.admits(sender, self.secret, now))
    }

    /// Takes in what has happened.
    pub fn handle(&mut self, fact: LanFact, now: Timestamp) {
        if self.stopped {
            return;
        }
        match fact {
            LanFact::LookUp(service) => {
                if self.wanted.insert(service) {
                    self.links.values_mut().for_each(|link| link.ask_anew(now));
                }
            }
            LanFact::Forget(service) => {
                self.wanted.remove(&service);
                if self.wanted.is_empty() {
                    self.links.values_mut().for_each(Link::ask_no_more);
                }
            }
            LanFact::Changed => {
                self.links.values_mut().for_each(|link| link.announce_anew(now, &mut self.rng));
            }
            LanFact::LinkUp(id) => self.link_up(id, now),
            LanFact::LinkDown(id) => _ = self.links.remove(&id),
            LanFact::Heard(id, message) => self.heard(id, message, now),
            LanFact::Tick => {}
            LanFact::Stop => {
                self.stopped = true;
                self.orders.clear();
                self.orders.extend(self.links.keys().copied().map(LanOrder::Goodbye));
                self.links.clear();
            }
        }
        self.send_due(now);
    }

    /// What is to be done next.
    pub fn poll_order(&mut self) -> Option<LanOrder> {
        self.orders.pop_front()
    }

    /// When [`LanFact::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.links.values().filter_map(Link::next_deadline).min()
    }

    fn link_up(&mut self, id: LinkId, now: Timestamp) {
        if self.links.len() >= LINKS || self.links.contains_key(&id) {
            return;
        }
        let mut link = Link::new();
        link.announce_anew(now, &mut self.rng);
        if !self.wanted.is_empty() {
            link.ask_anew(now);
        }
        self.links.insert(id, link);
    }

    fn heard(&mut self, id: LinkId, message: LanMessage, now: Timestamp) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match message {
            LanMessage::Query => link.asked(now, &mut self.rng),
            LanMessage::Announcement(peers) => {
                for announced in peers.into_iter().take(PEERS) {
                    self.announced(announced);
                }
            }
        }
    }

    fn announced(&mut self, Announced { peer, services, ttl }: Announced) {
        if peer == self.local || self.wanted.is_empty() {
            return;
        }
        if ttl.is_zero() {
            self.orders.push_back(LanOrder::Lost { peer, service: None });
            return;
        }
        let Some(services) = services else {
            self.orders.push_back(LanOrder::Found { peer, service: None, ttl });
            return;
        };
        for wanted in &self.wanted {
            let service = Some(wanted.clone());
            self.orders.push_back(if services.contains(wanted) {
                LanOrder::Found { peer, service, ttl }
            } else {
                LanOrder::Lost { peer, service }
            });
        }
    }

    fn send_due(&mut self, now: Timestamp) {
        for (id, link) in &mut self.links {
            if link.take_query(now) {
                self.orders.push_back(LanOrder::Query(*id));
            }
            if link.take_announcement(now) {
                self.orders.push_back(LanOrder::Announce(*id));
            }
        }
    }
}
