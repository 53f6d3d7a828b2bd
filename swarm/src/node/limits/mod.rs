//! How many connections there may be: of others to this node, and to one peer.

pub(super) mod handshakes;
mod places;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::task::{Context, Poll};

use libp2p_core::transport::PortUse;
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use thiserror::Error;

use super::addresses::ip::{Prefix, prefix, share};

/// How many connections to one peer there may be: one through a relay, a direct one from each side,
/// and some that are on their way out.
const PER_PEER: usize = 8;
/// How many there are for a moment, until one has made room.
const PER_PEER_AT_ONCE: usize = 2 * PER_PEER;
/// How many connections a network may have in any case.
const PER_NETWORK: usize = 8;

/// There are more connections to a peer than there may be. One of them has to make room.
#[derive(Debug)]
pub(super) struct TooMany {
    pub(super) peer: PeerId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum Refused {
    #[error("there are as many connections as there may be")]
    Full,
    #[error("there are as many connections from this network as it may have")]
    Network,
    #[error("there are too many connections to this peer")]
    Peer,
}

#[derive(Debug)]
pub(super) struct Limits {
    table: Table,
    events: VecDeque<TooMany>,
}

/// Who is connected. Of who has gone nothing is left.
#[derive(Debug)]
struct Table {
    max_incoming: usize,
    incoming: HashMap<ConnectionId, Prefix>,
    by_prefix: HashMap<Prefix, usize>,
    by_peer: HashMap<PeerId, usize>,
}

impl Limits {
    /// At most `max_incoming` connections that others have made.
    pub(super) fn new(max_incoming: usize) -> Self {
        Self { table: Table::new(max_incoming), events: VecDeque::new() }
    }
}

impl Table {
    fn new(max_incoming: usize) -> Self {
        let (incoming, by_prefix, by_peer) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { max_incoming, incoming, by_prefix, by_peer }
    }

    fn admit_incoming(&self, peer: &PeerId, prefix: Prefix) -> Result<(), Refused> {
        let taken = self.incoming.len();
        if taken >= self.max_incoming {
            return Err(Refused::Full);
        }
        let here = self.by_prefix.get(&prefix).copied().unwrap_or_default();
        if here >= share(self.max_incoming, taken, PER_NETWORK) {
            return Err(Refused::Network);
        }
        self.admit(peer)
    }

    fn admit(&self, peer: &PeerId) -> Result<(), Refused> {
        let here = self.by_peer.get(peer).copied().unwrap_or_default();
        if here < PER_PEER_AT_ONCE { Ok(()) } else { Err(Refused::Peer) }
    }

    /// Returns whether one connection to the peer has to make room.
    fn connected(&mut self, peer: PeerId, id: ConnectionId, from: Option<Prefix>) -> bool {
        if let Some(prefix) = from {
            self.incoming.insert(id, prefix);
            *self.by_prefix.entry(prefix).or_default() += 1;
        }
        let here = self.by_peer.entry(peer).or_default();
        *here += 1;
        *here > PER_PEER
    }

    fn closed(&mut self, peer: &PeerId, id: ConnectionId) {
        if let Some(prefix) = self.incoming.remove(&id) {
            count_down(&mut self.by_prefix, &prefix);
        }
        count_down(&mut self.by_peer, peer);
    }
}

fn count_down<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl NetworkBehaviour for Limits {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = TooMany;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let admitted = self.table.admit_incoming(&peer, prefix(remote));
        admitted.map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.table.admit(&peer).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id: peer,
                connection_id,
                endpoint,
                ..
            }) => {
                let from = endpoint.is_listener().then(|| prefix(endpoint.get_remote_address()));
                if self.table.connected(peer, connection_id, from) {
                    self.events.push_back(TooMany { peer });
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                self.table.closed(&peer_id, connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        let never: Infallible = event;
        match never {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<TooMany, THandlerInEvent<Self>>> {
        match self.events.pop_front() {
            Some(event) => Poll::Ready(ToSwarm::GenerateEvent(event)),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn net(n: u8) -> Prefix {
        Prefix::V4([n, 0, 0])
    }

    #[test]
    fn nothing_is_left_of_a_peer_that_has_gone() {
        let mut table = Table::new(100);
        for n in 0..10_000 {
            let peer = PeerId::random();
            table.connected(peer, id(2 * n), Some(net(n as u8)));
            table.connected(peer, id(2 * n + 1), None);
            table.closed(&peer, id(2 * n));
            table.closed(&peer, id(2 * n + 1));
        }
        assert!(table.by_peer.is_empty() && table.by_prefix.is_empty());
        assert!(table.incoming.is_empty());
    }

    #[test]
    fn one_network_leaves_room_for_others() {
        let mut table = Table::new(900);
        let mut flood = 0;
        while table.admit_incoming(&PeerId::random(), net(1)).is_ok() {
            table.connected(PeerId::random(), id(flood), Some(net(1)));
            flood += 1;
        }
        assert_eq!(flood, 800);
        assert_eq!(table.admit_incoming(&PeerId::random(), net(1)), Err(Refused::Network));
        for n in 0..100 {
            let peer = PeerId::random();
            assert_eq!(table.admit_incoming(&peer, net(2 + n / PER_NETWORK as u8)), Ok(()));
            table.connected(peer, id(flood + usize::from(n)), Some(net(2 + n / PER_NETWORK as u8)));
        }
        assert_eq!(table.admit_incoming(&PeerId::random(), net(200)), Err(Refused::Full));
        table.closed(&PeerId::random(), id(0));
        assert_eq!(table.admit_incoming(&PeerId::random(), net(200)), Ok(()));
    }

    #[test]
    fn beyond_eight_connections_to_a_peer_one_makes_room() {
        let (mut table, peer) = (Table::new(100), PeerId::random());
        for n in 0..PER_PEER_AT_ONCE {
            assert_eq!(table.admit(&peer), Ok(()));
            assert_eq!(table.connected(peer, id(n), None), n >= 8);
        }
        assert_eq!(table.admit(&peer), Err(Refused::Peer), "that goes too fast");
        table.closed(&peer, id(0));
        assert_eq!(table.admit(&peer), Ok(()));
    }
}
