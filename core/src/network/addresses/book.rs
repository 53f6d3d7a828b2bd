//! Where peers were last known to listen.
//!
//! What the application says and what strangers say are kept apart: however much these say, they
//! push out nothing that it has said.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::address::{Address, Carrier};
use super::carriers::Carriers;
use super::known::{Known, KnownAddress};
use crate::id::PeerId;
use crate::network::order::Source;
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
/// The same, if it was reached at an address that somebody else than the application has named.
const PROVEN_REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

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
/// Of those that the application names, 16 are kept per peer, of 16 384 peers. Others have tables of
/// their own, limited by number and by bytes. A peer's own word about itself pushes out what strangers
/// say of it; beyond that, nothing is pushed out before its time.
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
    carriers: Carriers,
    /// What has failed before is no reason to wait.
    forgiven: Timestamp,
}

impl AddressBook {
    /// Keeps what the application says, whatever others say.
    pub fn pin(&mut self, peer: PeerId, address: Address) {
        self.keep(peer, Known::new(address, Source::Application));
    }

    /// Keeps what a stranger says, if there is room. Returns whether the address is kept now.
    pub fn learn(&mut self, peer: PeerId, address: Address, now: Timestamp) -> bool {
        self.learn_from(Known::new(address, Source::Stranger), peer, now)
    }

    /// Keeps what a peer says of itself, if there is room or a stranger's word makes it. Returns
    /// whether the address is kept now.
    pub fn learn_from_peer(&mut self, peer: PeerId, address: Address, now: Timestamp) -> bool {
        self.learn_from(Known::new(address, Source::Peer), peer, now)
    }

    /// Keeps what was known in an earlier life of the node, in the order of [`known`](Self::known).
    /// Returns whether it is kept.
    pub fn restore(&mut self, peer: PeerId, known: KnownAddress, now: Timestamp) -> bool {
        let (source, known) = (known.source, Known::restored(known));
        match source {
            Source::Application => self.keep(peer, known),
            Source::Peer | Source::Stranger => {
                let kept = self.learn_from(known, peer, now);
                if self.learned.get(&peer).is_some_and(|learned| learned.until.is_some()) {
                    self.remember(peer, now);
                }
                return kept;
            }
        }
        true
    }

    /// A connection to the peer was made; `address` is what was dialled for it.
    pub fn connected(&mut self, peer: PeerId, address: Option<&Address>, now: Timestamp) {
        if let Some(learned) = self.learned(peer, now)
            && let Some(until) = learned.until.take()
        {
            self.ending.remove(&(until, peer));
        }
        if let Some(address) = address {
            self.each(&peer, address, |known| known.succeeded(now));
        }
    }

    /// A dial of the address that led to the peer took so long.
    pub fn measured(&mut self, peer: &PeerId, address: &Address, took: Duration) {
        self.carriers.succeeded(address.carrier(), took);
        self.each(peer, address, |known| known.measured(took));
    }

    /// The last connection to the peer has ended.
    pub fn disconnected(&mut self, peer: PeerId, now: Timestamp) {
        if self.learned.get(&peer).is_some_and(|learned| learned.until.is_none()) {
            self.remember(peer, now);
        }
    }

    /// A dial of the address failed. If it is `wrong`, since somebody else is there or nobody, it
    /// is forgotten if a stranger named it and the peer was never reached there.
    pub fn failed(&mut self, peer: &PeerId, address: &Address, wrong: bool, now: Timestamp) {
        self.carriers.failed(address.carrier(), peer);
        self.each(peer, address, |known| known.failed(now));
        if let Some(learned) = self.learned.get_mut(peer) {
            let freed = learned.forget(address, wrong, now);
            self.learned_bytes -= freed;
        }
    }

    /// The network is another one, or this node has slept: what has failed may succeed.
    pub fn forgive(&mut self, now: Timestamp) {
        self.forgiven = now;
        self.carriers.forget();
    }

    /// The addresses of a peer, the most promising first: where it was reached last, the quickest
    /// before the slower, then those that were never tried, then those that failed, those that failed
    /// less often and longest ago first.
    #[must_use]
    pub fn of(&self, peer: &PeerId) -> Vec<Address> {
        self.ranked(peer).into_iter().map(|known| known.address.clone()).collect()
    }

    /// The same, with all that is known of each.
    #[must_use]
    pub fn known(&self, peer: &PeerId) -> Vec<KnownAddress> {
        self.ranked(peer).into_iter().map(Known::to_public).collect()
    }

    /// Peers of which addresses are known.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> {
        let learned = self.learned.iter().filter(|(_, learned)| !learned.addresses.is_empty());
        let learned = learned.map(|(peer, _)| *peer);
        let learned = learned.filter(|peer| !self.pinned.contains_key(peer));
        self.pinned.keys().copied().chain(learned)
    }

    /// When an address of a peer may be dialled again, how long a dial took, and where, in the order of
    /// [`of`](Self::of).
    pub(in crate::network) fn to_dial(
        &self,
        peer: &PeerId,
    ) -> impl Iterator<Item = (Address, Hint)> {
        let forgiven = self.forgiven;
        self.ranked(peer).into_iter().map(move |known| {
            let hint = Hint { failed: known.failed_since(forgiven), took: known.took };
            (known.address.clone(), hint)
        })
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

    /// Which of two carriers is tried first, where nothing else is known: less is better.
    #[must_use]
    pub fn rank_of(&self, carrier: Carrier) -> u8 {
        self.carriers.rank(carrier)
    }

    fn keep(&mut self, peer: PeerId, new: Known) {
        let pinned =
            self.pinned.entry(peer).or_insert_with(|| Pinned { addresses: Vec::new(), named: 0 });
        self.named.remove(&pinned.named);
        self.names += 1;
        pinned.named = self.names;
        self.named.insert(self.names, peer);
        match pinned.addresses.iter_mut().find(|known| known.address == new.address) {
            // Whoever names an address again has reason to.
            Some(known) => known.forgive(),
            None => {
                if pinned.addresses.len() == ADDRESSES {
                    let worst = (0..ADDRESSES)
                        .max_by_key(|&i| (pinned.addresses[i].rank(0), ADDRESSES - i));
                    pinned.addresses.remove(worst.unwrap_or_default());
                }
                pinned.addresses.push(new);
            }
        }
        if self.pinned.len() > PINNED_PEERS
            && let Some((_, oldest)) = self.named.pop_first()
        {
            self.pinned.remove(&oldest);
        }
    }

    fn learn_from(&mut self, new: Known, peer: PeerId, now: Timestamp) -> bool {
        let (size, in_all) = (new.address.as_bytes().len(), self.learned_bytes);
        let Some(learned) = self.learned(peer, now) else { return false };
        if let Some(known) = learned.addresses.iter_mut().find(|one| one.address == new.address) {
            known.heard_from(new.source);
            return true;
        }
        if !learned.has_room(size) && new.source == Source::Peer {
            let freed = learned.make_room();
            self.learned_bytes -= freed;
        }
        let Some(learned) = self.learned.get_mut(&peer) else { return false };
        let room = learned.has_room(size) && in_all + size <= LEARNED_BYTES;
        if room {
            learned.addresses.push(new);
            learned.bytes += size;
            self.learned_bytes += size;
        }
        room
    }

    fn ranked(&self, peer: &PeerId) -> Vec<&Known> {
        let pinned = self.pinned.get(peer).map_or(&[][..], |pinned| &pinned.addresses);
        let learned = self.learned.get(peer).map_or(&[][..], |learned| &learned.addresses);
        let mut all: Vec<&Known> = pinned.iter().collect();
        all.extend(learned.iter().filter(|new| pinned.iter().all(|k| k.address != new.address)));
        all.sort_by_key(|known| known.rank(self.carriers.rank(known.address.carrier())));
        all
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

    /// From now on, a peer that is not connected is remembered for as long as it deserves.
    fn remember(&mut self, peer: PeerId, now: Timestamp) {
        let Some(learned) = self.learned.get_mut(&peer) else { return };
        let until = now + learned.remembered();
        if let Some(before) = learned.until.replace(until) {
            self.ending.remove(&(before, peer));
        }
        self.ending.insert((until, peer));
    }

    fn forget_first(&mut self) -> bool {
        let Some((_, peer)) = self.ending.pop_first() else { return false };
        if let Some(learned) = self.learned.remove(&peer) {
            self.learned_bytes -= learned.bytes;
        }
        true
    }

    fn each(&mut self, peer: &PeerId, address: &Address, mut note: impl FnMut(&mut Known)) {
        let pinned = self.pinned.get_mut(peer).into_iter().flat_map(|pinned| &mut pinned.addresses);
        let learned = self.learned.get_mut(peer).into_iter().flat_map(|new| &mut new.addresses);
        pinned.chain(learned).filter(|known| known.address == *address).for_each(&mut note);
    }
}

/// What is known of an address that matters for when it is dialled.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::network) struct Hint {
    /// When it failed last, and how often in a row.
    pub(in crate::network) failed: Option<(Timestamp, u32)>,
    /// How long a dial took.
    pub(in crate::network) took: Option<Duration>,
}

impl Learned {
    fn has_room(&self, size: usize) -> bool {
        self.addresses.len() < ADDRESSES && self.bytes + size <= LEARNED_BYTES_OF_PEER
    }

    fn remembered(&self) -> Duration {
        let proven = self.addresses.iter().any(|known| known.successes > 0);
        if proven { PROVEN_REMEMBERED } else { REMEMBERED }
    }

    /// What a stranger said goes, and never what has proved to be true. Returns how many bytes that
    /// freed.
    fn make_room(&mut self) -> usize {
        let goes = |known: &Known| known.source == Source::Stranger && known.successes == 0;
        let Some(index) = self.addresses.iter().position(goes) else { return 0 };
        let freed = self.addresses.remove(index).address.as_bytes().len();
        self.bytes -= freed;
        freed
    }

    /// Returns how many bytes that freed.
    fn forget(&mut self, address: &Address, wrong: bool, now: Timestamp) -> usize {
        let before = self.bytes;
        let goes = |known: &mut Known| known.address == *address && known.is_hopeless(wrong, now);
        for gone in self.addresses.extract_if(.., goes) {
            self.bytes -= gone.address.as_bytes().len();
        }
        before - self.bytes
    }
}
