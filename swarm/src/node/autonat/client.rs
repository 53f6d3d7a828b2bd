//! Asks peers to dial the addresses at which they see this node.

use std::collections::HashSet;
use std::task::{Context, Poll};

use libp2p_autonat::v2::client;
use libp2p_core::transport::PortUse;
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, ListenAddresses, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};

use super::candidates::Candidates;
use crate::clock::Clock;

/// Between what peers say and libp2p's client, which believes all of it and forgets nothing.
///
/// When it has been told of too many addresses, it is replaced by a new one. That one knows nothing
/// of the connections that there are, and finds those who help in later ones.
pub(crate) struct Client {
    tests: client::Behaviour,
    candidates: Candidates,
    /// Who has spoken last: what is brought up next is its word.
    speaker: Option<PeerId>,
    listening: ListenAddresses,
    /// The connections of which `tests` has heard.
    heard_of: HashSet<ConnectionId>,
    clock: Clock,
}

impl Client {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            tests: client::Behaviour::default(),
            candidates: Candidates::default(),
            speaker: None,
            listening: ListenAddresses::default(),
            heard_of: HashSet::new(),
            clock,
        }
    }
}

impl Client {
    /// A peer says where it sees this node. The addresses that libp2p makes of that follow.
    pub(crate) fn spoken(&mut self, peer: PeerId) {
        self.speaker = Some(peer);
    }

    fn admit(&mut self, address: &Multiaddr) -> bool {
        let Some(speaker) = self.speaker else { return false };
        let now = self.clock.now();
        let admitted = self.candidates.admit(speaker, address, self.listening.iter(), now);
        if admitted && self.candidates.forget_if_many() {
            self.begin_anew();
        }
        admitted
    }

    fn begin_anew(&mut self) {
        self.tests = client::Behaviour::default();
        self.heard_of.clear();
    }
}

impl NetworkBehaviour for Client {
    type ConnectionHandler = <client::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = client::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.tests.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let tests = &mut self.tests;
        tests.handle_established_outbound_connection(connection, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.listening.on_swarm_event(&event);
        let passed_on = match &event {
            FromSwarm::NewExternalAddrCandidate(found) => self.admit(found.addr),
            FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id, .. }) => {
                self.heard_of.insert(*connection_id)
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                connection_id,
                peer_id,
                remaining_established,
                ..
            }) => {
                if *remaining_established == 0 {
                    self.candidates.gone(peer_id);
                }
                self.heard_of.remove(connection_id)
            }
            _ => true,
        };
        if passed_on {
            self.tests.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        if self.heard_of.contains(&connection) {
            self.tests.on_connection_handler_event(peer, connection, event);
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.tests.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use libp2p_core::connection::ConnectedPoint;

    use super::*;

    /// libp2p's client panics if it hears the end of a connection of whose beginning it has not.
    #[test]
    fn a_connection_may_end_after_a_new_beginning() {
        let (mut client, peer) = (Client::new(Clock::system()), PeerId::random());
        let [address, listening] =
            ["/ip4/192.0.2.1/tcp/1", "/ip4/0.0.0.0/tcp/1"].map(|a| a.parse().expect("an address"));
        let endpoint = ConnectedPoint::Listener { local_addr: listening, send_back_addr: address };
        let [old, new] = [1, 2].map(ConnectionId::new_unchecked);
        let open = |client: &mut Client, connection_id| {
            client.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id: peer,
                connection_id,
                endpoint: &endpoint,
                failed_addresses: &[],
                other_established: 0,
            }));
        };
        open(&mut client, old);
        client.begin_anew();
        open(&mut client, new);
        for connection_id in [old, new] {
            client.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id: peer,
                connection_id,
                endpoint: &endpoint,
                cause: None,
                remaining_established: 0,
            }));
        }
        assert!(client.heard_of.is_empty());
    }
}
