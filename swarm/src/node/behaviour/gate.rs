//! Connections that others make, as far as the application's rules and prices say which may stay.

use std::collections::HashMap;
use std::time::Duration;

use libp2p_core::{ConnectedPoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use pointsub_core::endpoint::{GroupId, Notice, Origin};

use crate::api::server::shared::ServerShared;
use crate::node::addresses::ip::{Prefix, narrow, prefix};
use crate::peer;

/// What a [`Behaviour`](crate::Behaviour) tells its swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BehaviourEvent {
    /// A peer has cost more than it may. Its connections are closed, and none of it are let in for that
    /// long.
    PeerKeptOut {
        /// The peer.
        peer: PeerId,
        /// For how long.
        time: Duration,
        /// Which time it is, of those within the last minutes.
        times: u32,
    },
    /// The protocols that this node serves are others now. Peers are told.
    ServesOthers,
}

/// The connections that others have made, each with where it came from.
#[derive(Debug, Default)]
pub(super) struct Gate(HashMap<ConnectionId, (PeerId, Multiaddr)>);

/// What is to be done about connections.
#[derive(Debug)]
pub(super) enum Step {
    /// End all that there are to a peer, and tell the application.
    KeepOut(PeerId, BehaviourEvent),
    /// End one in good order.
    Close(PeerId, ConnectionId),
}

impl Gate {
    pub(super) fn connected(&mut self, id: ConnectionId, peer: PeerId, endpoint: &ConnectedPoint) {
        if endpoint.is_listener() {
            self.0.insert(id, (peer, endpoint.get_remote_address().clone()));
        }
    }

    pub(super) fn closed(&mut self, id: ConnectionId) {
        self.0.remove(&id);
    }

    /// Which connections may not stay.
    pub(super) fn look(&self, server: &ServerShared) -> Vec<Step> {
        let mut steps = Vec::new();
        for notice in server.take_notices() {
            let Notice::KeptOut { peer, time, times } = notice else { continue };
            let peer = peer::to_libp2p(&peer);
            tracing::info!(
                target: "pointsub::admission",
                %peer,
                ?time,
                times,
                "a peer has cost too much, and is kept out"
            );
            steps.push(Step::KeepOut(peer, BehaviourEvent::PeerKeptOut { peer, time, times }));
        }
        if server.take_recheck() {
            for (id, (peer, address)) in &self.0 {
                let address_is_admitted = server.admit_address(address);
                let admitted = server.admit_peer(peer, address, origin(peer, address));
                if address_is_admitted.and(admitted).is_err() {
                    steps.push(Step::Close(*peer, *id));
                }
            }
        }
        steps
    }
}

/// A peer within its networks: in IPv4 the /24, in IPv6 the /48 and the /56. All that come through
/// relays, or from no IP address, are one network.
pub(super) fn origin(peer: &PeerId, address: &Multiaddr) -> Origin {
    let number = |kind: u8, bytes: &[u8]| {
        let mut all = [0; 8];
        all[0] = kind;
        all[8 - bytes.len()..].copy_from_slice(bytes);
        GroupId::new(u64::from_be_bytes(all))
    };
    let wide = match prefix(address) {
        Prefix::V4(bytes) => number(4, &bytes),
        Prefix::V6(bytes) => number(6, &bytes),
        Prefix::Other => number(0, &[]),
    };
    let narrow = narrow(address).map(|bytes| number(7, &bytes));
    Origin::from(peer::to_core(peer)).within(wide, narrow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_of_one_network() {
        let peer = PeerId::random();
        let of = |text: &str| origin(&peer, &text.parse().expect("an address"));
        assert_eq!(of("/ip4/192.0.2.1/tcp/1"), of("/ip4/192.0.2.9/udp/1/quic-v1"));
        assert_ne!(of("/ip4/192.0.2.1/tcp/1"), of("/ip4/192.0.3.1/tcp/1"));
        assert_eq!(of("/ip6/2001:db8:0:100::1/tcp/1"), of("/ip6/2001:db8:0:1ff::1/tcp/1"));
        assert_ne!(of("/ip6/2001:db8:0:100::1/tcp/1"), of("/ip6/2001:db8:0:200::1/tcp/1"));
        assert_ne!(of("/ip6/2001:db8:0:100::1/tcp/1"), of("/ip6/2001:db8:1:100::1/tcp/1"));
    }
}
