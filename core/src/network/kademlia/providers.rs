//! The part of the table that a node keeps.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::hash::{BuildHasher, Hash, Hasher};
use core::time::Duration;

use super::secret::ServiceKey;
use crate::hash::FixedState;
use crate::id::PeerId;
use crate::network::Address;
use crate::time::Timestamp;

/// How long somebody is listed without saying so again. Nodes say so every 2 min.
const LISTED: Duration = Duration::from_secs(300);
/// How many are listed under one key.
const OF_KEY: usize = 256;
/// How many are listed in all.
const ALL: usize = 8192;
/// Under how many keys one peer is listed.
const OF_PEER: usize = 256;
/// How many are named in an answer.
const NAMED: usize = 20;
/// How many addresses of somebody who is listed are kept.
const ADDRESSES: usize = 8;
/// How many bytes these have in all.
const ADDRESS_BYTES: usize = 512;

/// A number for the network that a peer is connected from; `None` for all that are on the local network, or
/// come through relays.
type Origin = Option<u64>;

/// Who is listed at this node, under which keys.
///
/// Beyond a limit, the network that has the most loses one: so a thousand identities in one place take
/// places from each other, and not from others. Which one that is a number decides that differs from node
/// to node.
///
/// ```
/// use pointsub_core::network::Address;
/// use pointsub_core::network::kademlia::{NetworkSecret, Providers};
/// use pointsub_core::{PeerId, ProtocolName, Timestamp};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let search = ProtocolName::from_static("/search/1.0.0");
/// let key = NetworkSecret::from_phrase("ours").key(&search, 0);
/// let (bob, now) = (PeerId::from_bytes(b"bob")?, Timestamp::ZERO);
/// let mut providers = Providers::new(0);
/// assert!(providers.add(key, bob, None, vec![Address::new(b"here")], now));
/// assert_eq!(providers.of(&key, now)[0].0, bob);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Providers {
    seed: u64,
    by_key: BTreeMap<ServiceKey, BTreeMap<PeerId, Listed>>,
    /// Those of each network; the last one loses its place first.
    origins: BTreeMap<Origin, BTreeSet<(u64, ServiceKey, PeerId)>>,
    /// How many that are, with a number of the network; the last one has the most.
    sizes: BTreeSet<(usize, u64, Origin)>,
    of_peers: BTreeMap<PeerId, usize>,
    ends: BTreeSet<(Timestamp, ServiceKey, PeerId)>,
}

#[derive(Debug)]
struct Listed {
    origin: Origin,
    until: Timestamp,
    addresses: Vec<Address>,
}

impl Providers {
    /// Nobody is listed. The seed is to be another one at each node, and nobody else's business.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            by_key: BTreeMap::new(),
            origins: BTreeMap::new(),
            sizes: BTreeSet::new(),
            of_peers: BTreeMap::new(),
            ends: BTreeSet::new(),
        }
    }

    /// Somebody, who is connected from this network, wants to be listed, at these addresses. Whether it is.
    pub fn add(
        &mut self,
        key: ServiceKey,
        peer: PeerId,
        network: Option<u64>,
        mut addresses: Vec<Address>,
        now: Timestamp,
    ) -> bool {
        self.expire(now);
        self.remove(&key, &peer);
        if self.of_peers.get(&peer).is_some_and(|count| *count >= OF_PEER) {
            return false;
        }
        let mut left = ADDRESS_BYTES;
        addresses.retain(|address| {
            let rest = left.checked_sub(address.as_bytes().len());
            left = rest.unwrap_or(left);
            rest.is_some()
        });
        addresses.truncate(ADDRESSES);
        self.insert(key, peer, Listed { origin: network, until: now + LISTED, addresses });
        if self.by_key.get(&key).is_some_and(|listed| listed.len() > OF_KEY)
            && let Some(worst) = self.worst_of(&key)
        {
            self.remove(&key, &worst);
        }
        if self.len() > ALL {
            let largest = self.sizes.last().and_then(|(.., origin)| self.origins.get(origin));
            if let Some((_, key, peer)) = largest.and_then(BTreeSet::last).copied() {
                self.remove(&key, &peer);
            }
        }
        self.by_key.get(&key).is_some_and(|listed| listed.contains_key(&peer))
    }

    /// Who is listed under a key, and where: at most 20, others each time, of each network one before there
    /// are two.
    #[must_use]
    pub fn of(&self, key: &ServiceKey, now: Timestamp) -> Vec<(PeerId, &[Address])> {
        let Some(listed) = self.by_key.get(key) else { return Vec::new() };
        let mut networks = BTreeMap::<Origin, Vec<_>>::new();
        for (peer, one) in listed.iter().filter(|(_, one)| one.until > now) {
            let chance = self.rank(&(now.as_nanos(), peer));
            networks.entry(one.origin).or_default().push((chance, peer, one));
        }
        let mut ranked = Vec::new();
        for mut network in networks.into_values() {
            network.sort_unstable_by_key(|(chance, ..)| *chance);
            let turns = network.into_iter().enumerate();
            ranked.extend(turns.map(|(turn, (chance, peer, one))| (turn, chance, peer, one)));
        }
        ranked.sort_unstable_by_key(|(turn, chance, ..)| (*turn, *chance));
        let named = ranked.into_iter().take(NAMED);
        named.map(|(.., peer, one)| (*peer, &one.addresses[..])).collect()
    }

    /// Somebody is not listed any more. Whether it was.
    pub fn remove(&mut self, key: &ServiceKey, peer: &PeerId) -> bool {
        let Some(listed) = self.by_key.get_mut(key) else { return false };
        let Some(Listed { origin, until, .. }) = listed.remove(peer) else { return false };
        if listed.is_empty() {
            self.by_key.remove(key);
        }
        self.ends.remove(&(until, *key, *peer));
        let rank = self.rank(&(key, peer));
        self.change(origin, |members| _ = members.remove(&(rank, *key, *peer)));
        if let Some(count) = self.of_peers.get_mut(peer) {
            *count -= 1;
            if *count == 0 {
                self.of_peers.remove(peer);
            }
        }
        true
    }

    /// Whoever has not said so for long is not listed any more.
    pub fn expire(&mut self, now: Timestamp) {
        while let Some((until, key, peer)) = self.ends.first().copied()
            && until <= now
        {
            self.remove(&key, &peer);
        }
    }

    /// When [`expire`](Self::expire) is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.ends.first().map(|(until, ..)| *until)
    }

    /// How many are listed in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether nobody is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn insert(&mut self, key: ServiceKey, peer: PeerId, listed: Listed) {
        let rank = self.rank(&(&key, &peer));
        self.change(listed.origin, |members| _ = members.insert((rank, key, peer)));
        self.ends.insert((listed.until, key, peer));
        *self.of_peers.entry(peer).or_default() += 1;
        self.by_key.entry(key).or_default().insert(peer, listed);
    }

    /// Changes who is of a network.
    fn change(&mut self, origin: Origin, f: impl FnOnce(&mut BTreeSet<(u64, ServiceKey, PeerId)>)) {
        let number = self.rank(&origin);
        let members = self.origins.entry(origin).or_default();
        self.sizes.remove(&(members.len(), number, origin));
        f(members);
        match members.len() {
            0 => _ = self.origins.remove(&origin),
            size => _ = self.sizes.insert((size, number, origin)),
        }
    }

    /// Who of a key loses its place: one of the networks that have the most there.
    fn worst_of(&self, key: &ServiceKey) -> Option<PeerId> {
        let listed = self.by_key.get(key)?;
        let mut sizes = BTreeMap::<Origin, usize>::new();
        listed.values().for_each(|one| *sizes.entry(one.origin).or_default() += 1);
        let rank = |peer: &PeerId, one: &Listed| (sizes.get(&one.origin), self.rank(&(key, peer)));
        let worst = listed.iter().max_by_key(|(peer, one)| rank(peer, one));
        worst.map(|(peer, _)| *peer)
    }

    fn rank(&self, what: &impl Hash) -> u64 {
        let mut hasher = FixedState.build_hasher();
        hasher.write_u64(self.seed);
        what.hash(&mut hasher);
        hasher.finish()
    }
}
