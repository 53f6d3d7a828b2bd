//! Where peers were last known to listen.
//!
//! What the application says and what strangers say are kept apart: however much these say, they
//! push out nothing that it has said.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use libp2p_identity::PeerId;
use pointsub_core::Timestamp;

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
    address: Multiaddr,
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

/// Addresses by peer. All of them are kept without the `/p2p/PEER` at their end, with which they
/// would be others to libp2p.
#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    pinned: HashMap<PeerId, Pinned>,
    /// By when they were named last.
    named: BTreeMap<u64, PeerId>,
    names: u64,
    learned: HashMap<PeerId, Learned>,
    learned_bytes: usize,
    /// Those that are not connected, by when they are forgotten.
    ending: BTreeSet<(Timestamp, PeerId)>,
}

impl AddressBook {
    /// Keeps what the application says, whatever others say.
    pub(crate) fn pin(&mut self, peer: PeerId, address: Multiaddr) {
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

    /// Keeps what a stranger says, if there is room.
    pub(crate) fn learn(&mut self, peer: PeerId, address: Multiaddr, now: Timestamp) {
        let size = address.len();
        let Some(learned) = self.learned(peer, now) else { return };
        let room = learned.addresses.len() < ADDRESSES
            && learned.bytes + size <= LEARNED_BYTES_OF_PEER
            && learned.addresses.iter().all(|known| known.address != address);
        if room
            && self.learned_bytes + size <= LEARNED_BYTES
            && let Some(learned) = self.learned.get_mut(&peer)
        {
            learned.addresses.push(Known::new(address));
            learned.bytes += size;
            self.learned_bytes += size;
        }
    }

    /// A connection to the peer was made; `address` is what was dialled for it.
    pub(crate) fn connected(&mut self, peer: PeerId, address: Option<&Multiaddr>, now: Timestamp) {
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
    pub(crate) fn disconnected(&mut self, peer: PeerId, now: Timestamp) {
        if let Some(learned) = self.learned.get_mut(&peer) {
            self.ending.extend(
                learned.until.is_none().then(|| (*learned.until.insert(now + REMEMBERED), peer)),
            );
        }
    }

    /// A dial of the address failed. If it is `wrong`, since somebody else is there or nobody, it
    /// is forgotten if a stranger named it and the peer was never reached there.
    pub(crate) fn failed(
        &mut self,
        peer: &PeerId,
        address: &Multiaddr,
        wrong: bool,
        now: Timestamp,
    ) {
        self.note(peer, address, (Outcome::Failed, now));
        if wrong && let Some(learned) = self.learned.get_mut(peer) {
            let freed = learned.forget(address);
            self.learned_bytes -= freed;
        }
    }

    /// The addresses of a peer, the most promising first: where it was reached last, then those that
    /// were never tried, then those that failed, the longest ago first.
    pub(crate) fn of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let pinned = self.pinned.get(peer).map_or(&[][..], |pinned| &pinned.addresses);
        let learned = self.learned.get(peer).map_or(&[][..], |learned| &learned.addresses);
        let mut all: Vec<&Known> = pinned.iter().collect();
        all.extend(learned.iter().filter(|new| pinned.iter().all(|k| k.address != new.address)));
        all.sort_by_key(|known| rank(known, 0));
        all.into_iter().map(|known| known.address.clone()).collect()
    }

    /// Whether an address of the peer is known, or a connection was there not long ago.
    pub(crate) fn knows(&self, peer: &PeerId) -> bool {
        self.pinned.contains_key(peer) || self.learned.contains_key(peer)
    }

    /// When to [`expire`](Self::expire) what is to be forgotten.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.ending.first().map(|(until, _)| *until)
    }

    /// Forgets peers that went long ago.
    pub(crate) fn expire(&mut self, now: Timestamp) {
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

    fn note(&mut self, peer: &PeerId, address: &Multiaddr, last: (Outcome, Timestamp)) {
        let pinned = self.pinned.get_mut(peer).into_iter().flat_map(|pinned| &mut pinned.addresses);
        let learned = self.learned.get_mut(peer).into_iter().flat_map(|new| &mut new.addresses);
        for known in pinned.chain(learned).filter(|known| known.address == *address) {
            known.last = Some(last);
            known.proven |= last.0 == Outcome::Connected;
        }
    }
}

impl Known {
    fn new(address: Multiaddr) -> Self {
        Self { address, last: None, proven: false }
    }

    fn failed(&self) -> Option<Timestamp> {
        self.last.and_then(|(how, when)| (how == Outcome::Failed).then_some(when))
    }
}

impl Learned {
    /// Returns how many bytes that freed.
    fn forget(&mut self, address: &Multiaddr) -> usize {
        let before = self.bytes;
        for gone in
            self.addresses.extract_if(.., |known| known.address == *address && !known.proven)
        {
            self.bytes -= gone.address.len();
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

/// An address as it is kept: without the peer at its end. `None` if nothing else is in it, or if it
/// is somebody else's.
pub(crate) fn of_peer(peer: &PeerId, mut address: Multiaddr) -> Option<Multiaddr> {
    match address.iter().last()? {
        Protocol::P2p(named) if named == *peer => drop(address.pop()),
        Protocol::P2p(_) => return None,
        _ => {}
    }
    (!address.is_empty()).then_some(address)
}

/// Whether an address leads through a relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    fn address(port: usize) -> Multiaddr {
        format!("/ip4/192.0.2.{}/tcp/{}", port / 10_000, port % 10_000 + 1).parse().expect("one")
    }

    #[test]
    fn strangers_push_out_nothing_that_the_application_said() {
        let (mut book, peer) = (AddressBook::default(), PeerId::random());
        book.pin(peer, address(0));
        for port in 1..100 {
            book.learn(peer, address(port), at(0));
        }
        for _ in 0..2 * LEARNED_PEERS {
            book.learn(PeerId::random(), address(1), at(0));
        }
        assert_eq!(book.of(&peer)[0], address(0));
        assert_eq!(book.learned.len(), LEARNED_PEERS);
    }

    #[test]
    fn what_strangers_say_is_limited() {
        let (mut book, peer) = (AddressBook::default(), PeerId::random());
        for port in 0..100 {
            book.learn(peer, address(port), at(0));
        }
        assert_eq!(book.of(&peer).len(), ADDRESSES);
        let long = |n| format!("/dns4/{}{n}/tcp/1", "x".repeat(240)).parse().expect("an address");
        let peers: Vec<PeerId> = (0..LEARNED_PEERS / 2).map(|_| PeerId::random()).collect();
        for peer in &peers {
            (10..26).for_each(|n| book.learn(*peer, long(n), at(0)));
        }
        let of_one: usize = book.of(&peers[0]).iter().map(Multiaddr::len).sum();
        assert!((1500..=LEARNED_BYTES_OF_PEER).contains(&of_one), "{of_one}");
        let in_all: usize = book.learned.values().map(|learned| learned.bytes).sum();
        assert!((LEARNED_BYTES - 300..=LEARNED_BYTES).contains(&in_all), "{in_all}");
        assert_eq!(book.learned_bytes, in_all);
    }

    #[test]
    fn what_strangers_said_ends_some_time_after_the_connection() {
        let (mut book, peer) = (AddressBook::default(), PeerId::random());
        book.connected(peer, None, at(0));
        book.learn(peer, address(1), at(0));
        book.expire(at(1_000_000));
        assert_eq!(book.of(&peer), [address(1)], "it is connected");
        book.disconnected(peer, at(1_000_000));
        book.expire(at(1_000_000) + REMEMBERED.saturating_sub(Duration::from_nanos(1)));
        assert!(book.knows(&peer));
        assert_eq!(book.next_deadline(), Some(at(1_000_000) + REMEMBERED));
        book.expire(at(1_000_000) + REMEMBERED);
        assert!(!book.knows(&peer));
        assert_eq!((book.learned.len(), book.learned_bytes, book.ending.len()), (0, 0, 0));
    }

    #[test]
    fn a_peer_that_comes_back_is_not_forgotten() {
        let (mut book, peer) = (AddressBook::default(), PeerId::random());
        book.connected(peer, None, at(0));
        book.disconnected(peer, at(1));
        book.connected(peer, None, at(2));
        book.expire(at(1_000_000));
        assert!(book.knows(&peer));
    }

    #[test]
    fn many_peers_are_pinned_and_not_more() {
        let mut book = AddressBook::default();
        let peers: Vec<PeerId> = (0..=PINNED_PEERS).map(|_| PeerId::random()).collect();
        const { assert!(PINNED_PEERS >= 4096) };
        book.pin(peers[0], address(0));
        book.pin(peers[1], address(0));
        peers[1..].iter().for_each(|peer| book.pin(*peer, address(1)));
        assert_eq!((book.pinned.len(), book.named.len()), (PINNED_PEERS, PINNED_PEERS));
        assert!(!book.knows(&peers[0]), "it was named longest ago");
        assert!(book.knows(&peers[1]) && book.knows(&peers[PINNED_PEERS]));
    }

    #[test]
    fn of_one_peer_the_worst_address_makes_room() {
        let (mut book, peer) = (AddressBook::default(), PeerId::random());
        (0..ADDRESSES).for_each(|port| book.pin(peer, address(port)));
        book.failed(&peer, &address(3), true, at(1));
        book.pin(peer, address(100));
        let kept = book.of(&peer);
        assert_eq!(kept.len(), ADDRESSES);
        assert!(!kept.contains(&address(3)) && kept.contains(&address(100)));
        book.pin(peer, address(101));
        assert!(!book.of(&peer).contains(&address(0)), "then the oldest");
    }

    #[test]
    fn the_most_promising_address_comes_first() {
        let (mut book, peer) = (AddressBook::default(), PeerId::random());
        (0..5).for_each(|port| book.pin(peer, address(port)));
        book.failed(&peer, &address(0), true, at(2));
        book.failed(&peer, &address(1), false, at(1));
        book.connected(peer, Some(&address(4)), at(3));
        assert_eq!(book.of(&peer), [4, 2, 3, 1, 0].map(address));
        book.pin(peer, address(0));
        assert_eq!(book.of(&peer), [4, 0, 2, 3, 1].map(address), "named once more");
    }

    #[test]
    fn a_wrong_address_is_forgotten_if_a_stranger_named_it() {
        let (mut book, peer) = (AddressBook::default(), PeerId::random());
        book.pin(peer, address(0));
        (0..3).for_each(|port| book.learn(peer, address(port), at(0)));
        book.failed(&peer, &address(0), true, at(1));
        book.failed(&peer, &address(1), true, at(1));
        book.failed(&peer, &address(2), false, at(2));
        assert_eq!(book.of(&peer), [0, 2].map(address));
        book.connected(peer, Some(&address(2)), at(3));
        book.failed(&peer, &address(2), true, at(4));
        assert_eq!(book.of(&peer), [0, 2].map(address), "the peer was there, and may come back");
    }

    #[test]
    fn an_address_is_the_same_with_and_without_its_peer() {
        let (peer, other) = (PeerId::random(), PeerId::random());
        let plain = address(0);
        let with = |peer| plain.clone().with_p2p(peer).expect("it has none");
        assert_eq!(of_peer(&peer, plain.clone()), Some(plain.clone()));
        assert_eq!(of_peer(&peer, with(peer)), Some(plain.clone()));
        assert_eq!(of_peer(&peer, with(other)), None);
        assert_eq!(of_peer(&peer, Multiaddr::empty().with(Protocol::P2p(peer))), None);
        let circuit = with(other).with(Protocol::P2pCircuit);
        let through = circuit.clone().with(Protocol::P2p(peer));
        assert_eq!(of_peer(&peer, through), Some(circuit.clone()));
        assert!(is_relayed(&circuit) && !is_relayed(&plain));
    }
}
