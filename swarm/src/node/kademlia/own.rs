//! Where others reach this node, as it says in the table.

use libp2p_core::Multiaddr;
use libp2p_swarm::{ExternalAddresses, FromSwarm, ListenAddresses};
use pointsub_core::network::kademlia::Reachable;

use crate::node::addresses::ip::direct_ip;
use crate::node::addresses::multiaddr::is_relayed;

/// How many addresses of this node are told.
const TOLD: usize = 8;

/// Where this node listens, and where others are known to reach it.
#[derive(Debug, Default)]
pub(super) struct Own {
    listens: ListenAddresses,
    external: ExternalAddresses,
    told: Vec<Multiaddr>,
}

/// What is to be told otherwise from now on.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) gone: Vec<Multiaddr>,
    pub(super) new: Vec<Multiaddr>,
}

impl Own {
    /// Takes in what the swarm says. What has changed; `None` if nothing has.
    pub(super) fn on_swarm_event(&mut self, event: &FromSwarm<'_>) -> Option<Changes> {
        let listens = self.listens.on_swarm_event(event);
        let external = self.external.on_swarm_event(event);
        if !listens && !external {
            return None;
        }
        let told = self.best();
        let gone = self.told.iter().filter(|at| !told.contains(at)).cloned().collect();
        let new = told.iter().filter(|at| !self.told.contains(at)).cloned().collect();
        self.told = told;
        Some(Changes { gone, new })
    }

    /// The addresses that others are told, the best ones first: those that are known to be reached, and then those
    /// where the node listens, on this machine only if there is no other.
    fn best(&self) -> Vec<Multiaddr> {
        let mut all: Vec<_> = self.external.iter().cloned().collect();
        for address in self.listens.iter() {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        if all.iter().any(|address| !is_loopback(address)) {
            all.retain(|address| !is_loopback(address));
        }
        all.truncate(TOLD);
        all
    }

    /// How this node is reached, as far as it knows.
    pub(super) fn reachable(&self, on_internet: bool) -> Reachable {
        let listens = self.listens.iter().any(|address| !is_relayed(address));
        let confirmed = self.external.iter().any(|address| !is_relayed(address));
        Reachable { listens, confirmed, on_internet }
    }
}

fn is_loopback(address: &Multiaddr) -> bool {
    direct_ip(address).is_some_and(|ip| ip.is_loopback())
}
