//! Which of too many connections to a peer makes room.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::time::Duration;

use super::Connection;
use crate::id::PeerId;
use crate::network::machine::Network;
use crate::network::order::{Act, Work};
use crate::time::Timestamp;

/// How many connections to one peer there may be.
const PER_PEER: usize = 8;
/// How long connections may take to say what they are used for.
const ANSWER: Duration = Duration::from_secs(1);
/// How long it is waited for one to become idle before all are asked again.
const AGAIN: Duration = Duration::from_secs(5);

/// Peers with more connections than are allowed.
#[derive(Debug)]
pub(in crate::network) struct Crowds<K> {
    peers: BTreeMap<PeerId, Crowd<K>>,
}

#[derive(Debug)]
struct Crowd<K> {
    asked: BTreeMap<K, Option<Work>>,
    until: Timestamp,
}

impl<K: Copy + Ord> Crowds<K> {
    pub(in crate::network) fn new() -> Self {
        Self { peers: BTreeMap::new() }
    }

    /// Connections are asked what they are used for, the oldest first. Returns whether they were not
    /// before.
    pub(in crate::network) fn ask(&mut self, peer: PeerId, all: &[K], now: Timestamp) -> bool {
        if self.peers.contains_key(&peer) {
            return false;
        }
        let asked = all.iter().map(|key| (*key, None)).collect();
        self.peers.insert(peer, Crowd { asked, until: now + ANSWER });
        true
    }

    /// A connection has answered. Returns whether it was the last one.
    pub(in crate::network) fn answer(&mut self, peer: &PeerId, key: K, work: Work) -> bool {
        let Some(crowd) = self.peers.get_mut(peer) else { return false };
        if let Some(asked) = crowd.asked.get_mut(&key) {
            *asked = Some(work);
        }
        crowd.asked.values().all(Option::is_some)
    }

    /// A connection has ended.
    pub(in crate::network) fn forget(&mut self, peer: &PeerId, key: K) {
        if let Some(crowd) = self.peers.get_mut(peer) {
            crowd.asked.remove(&key);
        }
    }

    /// What is known of a peer's connections when all have answered, or time is up.
    pub(in crate::network) fn take(&mut self, peer: &PeerId) -> Option<BTreeMap<K, Option<Work>>> {
        self.peers.remove(peer).map(|crowd| crowd.asked)
    }

    /// All of them are at work: they are asked again.
    pub(in crate::network) fn rest(&mut self, peer: PeerId, now: Timestamp) {
        self.peers.insert(peer, Crowd { asked: BTreeMap::new(), until: now + AGAIN });
    }

    /// A peer whose time is up.
    pub(in crate::network) fn due(&self, now: Timestamp) -> Option<PeerId> {
        self.peers.iter().find(|(_, crowd)| crowd.until <= now).map(|(peer, _)| *peer)
    }

    pub(in crate::network) fn next_deadline(&self) -> Option<Timestamp> {
        self.peers.values().map(|crowd| crowd.until).min()
    }
}

impl<K: Copy + Ord + Debug> Network<K> {
    /// There are too many connections to a peer. One that is suspect goes at once. If there is none,
    /// all have to say what they are used for.
    pub(in crate::network) fn make_room(&mut self, peer: PeerId, now: Timestamp) {
        let all = self.connections.of(&peer);
        if let Some(suspect) = all.iter().find(|one| one.suspect) {
            let key = suspect.key;
            return self.act(peer, key, Act::Abort);
        }
        let staying: Vec<K> = all.iter().filter(|one| !one.ending).map(|one| one.key).collect();
        if staying.len() < all.len() && staying.len() <= PER_PEER {
            // One that was told to end makes room.
            return;
        }
        if !staying.is_empty() && self.crowds.ask(peer, &staying, now) {
            staying.into_iter().for_each(|key| self.act(peer, key, Act::Assess));
        }
    }

    pub(in crate::network) fn assessed(&mut self, key: K, work: Work, now: Timestamp) {
        let Some(peer) = self.connections.owner(key) else { return };
        if self.crowds.answer(&peer, key, work) {
            self.trim(peer, now);
        }
    }

    /// The least useful connection of a peer is closed: one that is retired before one that is not,
    /// that with the fewest streams, and the oldest. The newest was made for something. None that is
    /// at work is closed, nor one that does not say so.
    pub(in crate::network) fn trim(&mut self, peer: PeerId, now: Timestamp) {
        let Some(asked) = self.crowds.take(&peer) else { return };
        let all = self.connections.of(&peer).iter().filter(|one| !one.ending);
        let all: Vec<&Connection<K>> = all.collect();
        let older = all.split_last().map_or(&[][..], |(_, older)| older);
        let idle = older.iter().filter_map(|one| {
            let work = (*asked.get(&one.key)?)?;
            (!work.is_busy).then_some((*one, work.streams))
        });
        match idle.min_by_key(|(one, streams)| (!one.retired, *streams)) {
            Some((one, _)) => {
                let key = one.key;
                self.act(peer, key, Act::Close);
                // It may have been the best.
                self.use_best(peer);
            }
            None if asked.is_empty() && all.len() > PER_PEER => self.make_room(peer, now),
            None if all.len() > PER_PEER => self.crowds.rest(peer, now),
            None => {}
        }
    }
}
