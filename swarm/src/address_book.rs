//! Where peers were last known to listen.

use std::collections::{HashMap, VecDeque};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;

/// Peers remembered at most.
const PEERS: usize = 4096;
/// Addresses remembered for each at most.
const ADDRESSES: usize = 16;

/// Addresses by peer; the oldest go when there are too many.
#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    by_peer: HashMap<PeerId, VecDeque<Multiaddr>>,
    order: VecDeque<PeerId>,
}

impl AddressBook {
    pub(crate) fn add(&mut self, peer: PeerId, address: Multiaddr) {
        let known = self.by_peer.entry(peer).or_insert_with(|| {
            self.order.push_back(peer);
            VecDeque::new()
        });
        if known.contains(&address) {
            return;
        }
        if known.len() == ADDRESSES {
            known.pop_front();
        }
        known.push_back(address);
        if self.order.len() > PEERS
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_peer.remove(&oldest);
        }
    }

    pub(crate) fn get(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.by_peer.get(peer).map(|known| known.iter().cloned().collect()).unwrap_or_default()
    }
}
