//! Which of the addresses that peers call their own are worth keeping.

use std::collections::HashMap;

use libp2p_core::Multiaddr;
use libp2p_core::connection::ConnectedPoint;
use libp2p_swarm::ConnectionId;

use super::ip::{Reach, first_ip, reach};

/// How many addresses are looked at, of those that a peer names at a time.
const LOOKED_AT: usize = 64;

/// From how far away peers are connected.
///
/// A peer names addresses as it likes, and whoever dials them must not be led into networks that the
/// peer itself is not in: who is seen on the internet has no say about the local network or this
/// machine.
#[derive(Debug, Default)]
pub(in crate::node) struct Seen {
    connections: HashMap<ConnectionId, Reach>,
}

impl Seen {
    pub(in crate::node) fn connected(&mut self, id: ConnectionId, endpoint: &ConnectedPoint) {
        let (remote, local) = match endpoint {
            ConnectedPoint::Dialer { address, .. } => (address, address),
            ConnectedPoint::Listener { local_addr, send_back_addr } => (send_back_addr, local_addr),
        };
        // Of who comes through a relay, no more is seen than the relay.
        let ip = first_ip(remote).or_else(|| first_ip(local));
        self.connections.insert(id, ip.map_or(Reach::Internet, reach));
    }

    pub(in crate::node) fn closed(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }

    /// The addresses that may be kept of those that a peer names on this connection.
    pub(in crate::node) fn credible(
        &self,
        id: ConnectionId,
        named: Vec<Multiaddr>,
    ) -> impl Iterator<Item = Multiaddr> + use<> {
        let from = self.connections.get(&id).copied().unwrap_or(Reach::Internet);
        let credible =
            move |address: &Multiaddr| first_ip(address).is_none_or(|ip| reach(ip) >= from);
        named.into_iter().take(LOOKED_AT).filter(credible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("an address")
    }

    /// Which of three addresses are believed if they are named by a peer that is seen there.
    fn believed(remote: &str, local: &str) -> Vec<Multiaddr> {
        let id = ConnectionId::new_unchecked(1);
        let (send_back_addr, local_addr) = (address(remote), address(local));
        let mut seen = Seen::default();
        seen.connected(id, &ConnectedPoint::Listener { local_addr, send_back_addr });
        let named = ["/ip4/127.0.0.1/tcp/22", "/ip4/10.0.0.7/tcp/22", "/ip4/8.8.8.8/tcp/22"];
        let believed = seen.credible(id, named.map(address).into()).collect();
        seen.closed(id);
        assert!(seen.connections.is_empty());
        believed
    }

    #[test]
    fn a_peer_names_no_address_that_is_nearer_than_itself() {
        let (here, near, far) =
            ("/ip4/127.0.0.1/tcp/22", "/ip4/10.0.0.7/tcp/22", "/ip4/8.8.8.8/tcp/22");
        let local = "/ip4/127.0.0.1/tcp/1";
        assert_eq!(believed("/ip4/127.0.0.1/tcp/9", local), [here, near, far].map(address));
        assert_eq!(believed("/ip4/192.168.0.9/tcp/9", local), [near, far].map(address));
        assert_eq!(believed("/ip4/9.9.9.9/tcp/9", local), [far].map(address));
        let peer = "/p2p/12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p";
        let relay = format!("/ip4/10.0.0.1/tcp/1{peer}/p2p-circuit");
        assert_eq!(believed(peer, &relay), [near, far].map(address), "as near as the relay");
    }

    #[test]
    fn of_a_long_list_the_beginning_is_looked_at() {
        let named = vec![address("/ip4/8.8.8.8/tcp/1"); 10 * LOOKED_AT];
        let looked_at = Seen::default().credible(ConnectionId::new_unchecked(1), named).count();
        assert_eq!(looked_at, LOOKED_AT);
    }
}
