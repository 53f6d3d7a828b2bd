//! Which peers speak another dialect than libp2p's.

use hashlink::LinkedHashSet;
use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use libp2p_identity::PeerId;
use parking_lot::Mutex;

use super::Dialect;

/// How many peers and addresses are remembered as speaking another dialect of the handshake than
/// libp2p's.
const MOST: usize = 4096;

/// Who speaks [`Dialect::Dep2p`]. Everybody else is taken to speak [`Dialect::Libp2p`].
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<LinkedHashSet<Whom>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whom {
    Peer(PeerId),
    /// Where it is not known who is there.
    At(Multiaddr),
}

impl Whom {
    fn is_at(address: &Multiaddr) -> Self {
        match address.iter().last() {
            Some(Protocol::P2p(peer)) => Self::Peer(peer),
            _ => Self::At(address.clone()),
        }
    }
}

impl Memory {
    /// The dialect of whoever is at an address.
    pub(super) fn of(&self, address: &Multiaddr) -> Dialect {
        let dep2p = self.0.lock();
        if !dep2p.is_empty() && dep2p.contains(&Whom::is_at(address)) {
            Dialect::Dep2p
        } else {
            Dialect::Libp2p
        }
    }

    /// Whoever is at the address does not speak what was remembered.
    pub(super) fn forget(&self, address: &Multiaddr) {
        self.0.lock().remove(&Whom::is_at(address));
    }

    /// A peer was spoken to in a dialect, at an address if it was dialled.
    pub(super) fn learn(&self, peer: PeerId, address: Option<&Multiaddr>, dialect: Dialect) {
        let mut dep2p = self.0.lock();
        if dialect == Dialect::Libp2p && dep2p.is_empty() {
            return;
        }
        for whom in [Some(Whom::Peer(peer)), address.map(Whom::is_at)].into_iter().flatten() {
            match dialect {
                Dialect::Libp2p => drop(dep2p.remove(&whom)),
                Dialect::Dep2p => drop(dep2p.insert(whom)),
            }
        }
        while dep2p.len() > MOST {
            dep2p.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("an address")
    }

    fn at(port: usize) -> Multiaddr {
        address(&format!("/ip4/192.0.2.1/tcp/{port}"))
    }

    #[test]
    fn whoever_is_not_known_speaks_libp2p() {
        let memory = Memory::default();
        memory.learn(PeerId::random(), Some(&at(1)), Dialect::Libp2p);
        assert_eq!(memory.of(&at(1)), Dialect::Libp2p);
        assert!(memory.0.lock().is_empty(), "only the exception is remembered");
    }

    #[test]
    fn a_peer_is_known_at_every_address_and_an_address_without_a_peer_by_itself() {
        let (memory, peer) = (Memory::default(), PeerId::random());
        memory.learn(peer, Some(&at(1)), Dialect::Dep2p);
        let anywhere = at(2).with_p2p(peer).expect("no peer yet");
        let relayed = at(3).with(Protocol::P2p(PeerId::random())).with(Protocol::P2pCircuit);
        let relayed = relayed.with(Protocol::P2p(peer));
        for known in [at(1), anywhere, relayed] {
            assert_eq!(memory.of(&known), Dialect::Dep2p, "{known}");
        }
        let somebody = at(1).with_p2p(PeerId::random()).expect("no peer yet");
        let relay = at(3).with(Protocol::P2p(peer)).with(Protocol::P2pCircuit);
        for unknown in [at(2), somebody, relay] {
            assert_eq!(memory.of(&unknown), Dialect::Libp2p, "{unknown}");
        }
    }

    #[test]
    fn what_proves_wrong_is_forgotten() {
        let (memory, peer) = (Memory::default(), PeerId::random());
        let whole = at(1).with_p2p(peer).expect("no peer yet");
        memory.learn(peer, Some(&whole), Dialect::Dep2p);
        memory.forget(&whole);
        assert_eq!(memory.of(&whole), Dialect::Libp2p);
        memory.learn(peer, Some(&at(1)), Dialect::Dep2p);
        memory.learn(peer, Some(&at(1)), Dialect::Libp2p);
        assert!(memory.0.lock().is_empty());
    }

    #[test]
    fn the_oldest_makes_room() {
        let (memory, peer) = (Memory::default(), PeerId::random());
        for port in 1..MOST {
            memory.learn(peer, Some(&at(port)), Dialect::Dep2p);
        }
        // All at their place, and the peer, which was seen last.
        memory.learn(PeerId::random(), None, Dialect::Dep2p);
        let known = |port| memory.of(&at(port)) == Dialect::Dep2p;
        assert!(!known(1) && known(2) && known(MOST - 1));
        assert_eq!(memory.0.lock().len(), MOST);
        assert_eq!(memory.of(&at(9).with_p2p(peer).expect("no peer yet")), Dialect::Dep2p);
    }
}
