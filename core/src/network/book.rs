//! Where peers were last known to listen.
//!
//! What the application says and what strangers say are kept apart: however much these say, they
//! push out nothing that it has said.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::address::Address;
use crate::id::PeerId;
use crate::time::Timestamp;

/// Addresses kept of a peer at most, of each source.
const ADDRESSES: usize = 16;
/// Peers of which the application may name addresses. Those that it named longest ago go first.
const PINNED_PEERS: usize = 16_384;
/// Peers of which anything else is kept.
const LEARNED_PEERS: usize = 16_384;
/// Bytes of addresses that strangers may name of one peer.
const LEARNED_BYTES_OF_PEER: usize = 2048;
/// The same, of all peers.
const LEARNED_BYTES: usize = 4 * 1024 * 1024;
/// How long a peer is remembered when its last connection has ended, and what it has said.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// What is known of an address.
#[derive(Debug, Clone)]
struct Known {
    address: Address,
    /// How the last dial went; `None` before the first.
    last: Option<(Outcome, Timestamp)>,
    /// The peer was reached there.
    proven: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Connected,
    Failed,
}

/// A peer that has been connected, and what strangers said of it.
#[derive(Debug, Default)]
struct Learned {
    addresses: Vec<Known>,
    bytes: usize,
    /// When it is forgotten; `None` while it is connected.
    until: Option<Timestamp>,
}

#[derive(Debug)]
struct Pinned {
    addresses: Vec<Known>,
    /// Its place in the order in which peers were named.
    named: u64,
}

/// The addresses of all peers, the most promising first.
///
/// Of those that the application names, 16 are kept per peer, of 16 384 peers. Strangers have tables of
/// their own, limited by number and by bytes, in which nothing is pushed out before its time.
#[derive(Debug, Default)]
pub struct AddressBook {
    pinned: BTreeMap<PeerId, Pinned>,
    /// By when they were named last.
    named: BTreeMap<u64, PeerId>,
    names: u64,
    learned: BTreeMap<PeerId, Learned>,
    learned_bytes: usize,
    /// Those that are not connected, by when they are forgotten.
    ending: BTreeSet<(Timestamp, PeerId)>,
}

impl AddressBook {
    /// Keeps what the application says, whatever others say.
    pub fn pin(&mut self, peer: PeerId, address: Address) {
        let pinned =
            self.pinned.entry(peer).or_insert_with(|| Pinned { addresses: Vec::new(), named: 0 });
        self.named.remove(&pinned.named);
        self.names += 1;
        pinned.named = self.names;
        self.named.insert(self.names, peer);
        match pinned.addresses.iter_mut().find(|known| known.address == address) {
            // Whoever names an address again has reason to.
            Some(known) if known.failed().is_some() => known.last = None,
            Some(_) => {}
            None => {
                if pinned.addresses.len() == ADDRESSES {
                    let worst =
                        (0..ADDRESSES).max_by_key(|&i| rank(&pinned.addresses[i], ADDRESSES - i));
                    pinned.addresses.remove(worst.unwrap_or_default());
                }
                pinned.addresses.push(Known::new(address));
            }
        }
        if self.pinned.len() > PINNED_PEERS
            && let Some((_, oldest)) = self.named.pop_first()
        {
            self.pinned.remove(&oldest);
        }
    }

    /// Keeps what a stranger says, if there is room. Returns whether the address is kept now.
    pub fn learn(&mut self, peer: PeerId, address: Address, now: Timestamp) -> bool {
        let (size, in_all) = (address.as_bytes().len(), self.learned_bytes);
        let Some(learned) = self.learned(peer, now) else { return false };
        if learned.addresses.iter().any(|known| known.address == address) {
            return true;
        }
        let room = learned.addresses.len() < ADDRESSES
            && learned.bytes + size <= LEARNED_BYTES_OF_PEER
            && in_all + size <= LEARNED_BYTES;
        if room {
            learned.addresses.push(Known::new(address));
            learned.bytes += size;
            self.learned_bytes += size;
        }
        room
    }

    /// A connection to the peer was made; `address` is what was dialled for it.
    pub fn connected(&mut self, peer: PeerId, address: Option<&Address>, now: Timestamp) {
        if let Some(learned) = self.learned(peer, now)
            && let Some(until) = learned.until.take()
        {
            self.ending.remove(&(until, peer));
        }
        if let Some(address) = address {
            self.note(&peer, address, (Outcome::Connected, now));
        }
    }

    /// The last connection to the peer has ended.
    pub fn disconnected(&mut self, peer: PeerId, now: Timestamp) {
        if let Some(learned) = self.learned.get_mut(&peer) {
            self.ending.extend(
                learned.until.is_none().then(|| (*learned.until.insert(now + REMEMBERED), peer)),
            );
        }
    }

    /// A dial of the address failed. If it is `wrong`, since somebody else is there or nobody, it
    /// is forgotten if a stranger named it and the peer was never reached there.
    pub fn failed(&mut self, peer: &PeerId, address: &Address, wrong: bool, now: Timestamp) {
        self.note(peer, address, (Outcome::Failed, now));
        if wrong && let Some(learned) = self.learned.get_mut(peer) {
            let freed = learned.forget(address);
            self.learned_bytes -= freed;
        }
    }

    /// The addresses of a peer, the most promising first: where it was reached last, then those that
    /// were never tried, then those that failed, the longest ago first.
    #[must_use]
    pub fn of(&self, peer: &PeerId) -> Vec<Address> {
        let pinned = self.pinned.get(peer).map_or(&[][..], |pinned| &pinned.addresses);
        let learned = self.learned.get(peer).map_or(&[][..], |learned| &learned.addresses);
        let mut all: Vec<&Known> = pinned.iter().collect();
        all.extend(learned.iter().filter(|new| pinned.iter().all(|k| k.address != new.address)));
        all.sort_by_key(|known| rank(known, 0));
        all.into_iter().map(|known| known.address.clone()).collect()
    }

    /// Whether an address of the peer is known, or a connection was there not long ago.
    #[must_use]
    pub fn knows(&self, peer: &PeerId) -> bool {
        self.pinned.contains_key(peer) || self.learned.contains_key(peer)
    }

    /// Of how many peers the application has named addresses, of how many anything else is kept, and how
    /// many bytes strangers have named.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.pinned.len(), self.learned.len(), self.learned_bytes)
    }

    /// When to [`expire`](Self::expire) what is to be forgotten.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.ending.first().map(|(until, _)| *until)
    }

    /// Forgets peers that went long ago.
    pub fn expire(&mut self, now: Timestamp) {
        while self.ending.first().is_some_and(|(until, _)| *until <= now) {
            self.forget_first();
        }
    }

    fn learned(&mut self, peer: PeerId, now: Timestamp) -> Option<&mut Learned> {
        self.expire(now);
        if !self.learned.contains_key(&peer) {
            if self.learned.len() >= LEARNED_PEERS && !self.forget_first() {
                return None;
            }
            let until = now + REMEMBERED;
            let learned = Learned { until: Some(until), ..Learned::default() };
            self.learned.insert(peer, learned);
            self.ending.insert((until, peer));
        }
        self.learned.get_mut(&peer)
    }

    fn forget_first(&mut self) -> bool {
        let Some((_, peer)) = self.ending.pop_first() else { return false };
        if let Some(learned) = self.learned.remove(&peer) {
            self.learned_bytes -= learned.bytes;
        }
        true
    }

    fn note(&mut self, peer: &PeerId, address: &Address, last: (Outcome, Timestamp)) {
        let pinned = self.pinned.get_mut(peer).into_iter().flat_map(|pinned| &mut pinned.addresses);
        let learned = self.learned.get_mut(peer).into_iter().flat_map(|new| &mut new.addresses);
        for known in pinned.chain(learned).filter(|known| known.address == *address) {
            known.last = Some(last);
            known.proven |= last.0 == Outcome::Connected;
        }
    }
}

impl Known {
    fn new(address: Address) -> Self {
        Self { address, last: None, proven: false }
    }

    fn failed(&self) -> Option<Timestamp> {
        self.last.and_then(|(how, when)| (how == Outcome::Failed).then_some(when))
    }
}

impl Learned {
    /// Returns how many bytes that freed.
    fn forget(&mut self, address: &Address) -> usize {
        let before = self.bytes;
        for gone in
            self.addresses.extract_if(.., |known| known.address == *address && !known.proven)
        {
            self.bytes -= gone.address.as_bytes().len();
        }
        before - self.bytes
    }
}

/// Less is better; of those that were never tried, `otherwise` decides.
fn rank(known: &Known, otherwise: usize) -> (u8, u64, usize) {
    match known.last {
        Some((Outcome::Connected, when)) => (0, u64::MAX - when.as_nanos(), otherwise),
        None => (1, 0, otherwise),
        Some((Outcome::Failed, when)) => (2, when.as_nanos(), otherwise),
    }
}
