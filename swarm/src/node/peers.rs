//! The peers to which there are connections.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p_core::{ConnectedPoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use pointsub_core::network::Carrier;

use super::addresses::multiaddr::carrier;
use super::events::NodeEvent;

/// What a connection goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Path {
    /// From one machine to the other.
    Direct,
    /// Through a relay, within its limits.
    Relayed,
}

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportKind {
    /// TCP.
    Tcp,
    /// QUIC.
    Quic,
    /// Something else, such as memory.
    Other,
}

impl TransportKind {
    pub(crate) fn of(address: &Multiaddr) -> Self {
        match carrier(address) {
            Carrier::Tcp => Self::Tcp,
            Carrier::Quic => Self::Quic,
            _ => Self::Other,
        }
    }
}

/// A peer to which there is a connection: [`Node::peers`](crate::Node::peers).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// The peer.
    pub peer: PeerId,
    /// The best path there is to it.
    pub path: Path,
    /// Where it is, on that path.
    pub address: Multiaddr,
    /// Whether this node has dialled it there, and not the other way round.
    pub dialled: bool,
    /// How many connections there are to it.
    pub connections: usize,
    /// Since when there has been a connection to it.
    pub since: Instant,
    /// How long the way to it and back takes, on that path; `None` until it was measured.
    pub rtt: Option<Duration>,
}

/// A connection of a node: [`Node::connections`](crate::Node::connections).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerConnection {
    /// Who is at the other end.
    pub peer: PeerId,
    /// What it goes through.
    pub path: Path,
    /// What carries it.
    pub transport: TransportKind,
    /// Where the peer is.
    pub address: Multiaddr,
    /// Whether this node has dialled the peer there, and not the other way round.
    pub dialled: bool,
    /// Since when there is this connection.
    pub since: Instant,
    /// How long the way to the peer and back takes; `None` until it was measured.
    pub rtt: Option<Duration>,
}

/// The connections of a node, as far as they lead to events.
#[derive(Debug, Default)]
pub(super) struct Peers(HashMap<PeerId, Connected>);

#[derive(Debug)]
struct Connected {
    since: Instant,
    connections: Vec<Connection>,
    /// The round trip that was told last.
    told: Option<Duration>,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    path: Path,
    address: Multiaddr,
    dialled: bool,
    since: Instant,
    rtt: Option<Duration>,
}

impl Connected {
    /// The newest of those on the best path.
    fn best(&self) -> Option<&Connection> {
        let direct = self.connections.iter().rfind(|one| one.path == Path::Direct);
        direct.or(self.connections.last())
    }

    fn path(&self) -> Option<Path> {
        self.best().map(|best| best.path)
    }
}

impl Peers {
    /// There is a further connection.
    pub(super) fn connected(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        endpoint: &ConnectedPoint,
        now: Instant,
    ) -> Option<NodeEvent> {
        let path = if endpoint.is_relayed() { Path::Relayed } else { Path::Direct };
        let (address, dialled) = (endpoint.get_remote_address().clone(), endpoint.is_dialer());
        let first = || Connected { since: now, connections: Vec::new(), told: None };
        let connected = self.0.entry(peer).or_insert_with(first);
        let before = connected.path();
        let (at, transport) = (address.clone(), TransportKind::of(&address));
        connected.connections.push(Connection {
            id,
            path,
            address,
            dialled,
            since: now,
            rtt: None,
        });
        match (before, connected.path()?) {
            (None, path) => {
                Some(NodeEvent::PeerConnected { peer, path, transport, address: at, dialled })
            }
            (Some(before), path) if before != path => Some(NodeEvent::PathChanged { peer, path }),
            _ => None,
        }
    }

    /// A connection has ended.
    pub(super) fn closed(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        reason: impl FnOnce() -> Option<String>,
    ) -> Option<NodeEvent> {
        let connected = self.0.get_mut(&peer)?;
        let before = connected.path();
        connected.connections.retain(|one| one.id != id);
        match connected.path() {
            None => {
                self.0.remove(&peer);
                Some(NodeEvent::PeerDisconnected { peer, reason: reason() })
            }
            Some(path) if before != Some(path) => Some(NodeEvent::PathChanged { peer, path }),
            Some(_) => None,
        }
    }

    /// The way to a peer and back was measured on a connection.
    pub(super) fn measured(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        rtt: Duration,
    ) -> Option<NodeEvent> {
        let connected = self.0.get_mut(&peer)?;
        connected.connections.iter_mut().find(|one| one.id == id)?.rtt = Some(rtt);
        if connected.best()?.id != id {
            return None;
        }
        let is_news = connected.told.is_none_or(|told| rtt > told * 2 || rtt < told / 2);
        is_news.then(|| {
            connected.told = Some(rtt);
            NodeEvent::RoundTrip { peer, rtt }
        })
    }

    /// Where this node has dialled a peer, on a connection over this path.
    pub(super) fn dialled(&self, peer: &PeerId, path: Path) -> Option<Multiaddr> {
        let mut all = self.0.get(peer)?.connections.iter();
        let found = all.rfind(|one| one.dialled && one.path == path);
        found.map(|one| one.address.clone())
    }

    pub(super) fn connections(&self) -> Vec<PeerConnection> {
        let of = |(peer, connected): (&PeerId, &Connected)| {
            let peer = *peer;
            let all = connected.connections.iter().map(move |one| PeerConnection {
                peer,
                path: one.path,
                transport: TransportKind::of(&one.address),
                address: one.address.clone(),
                dialled: one.dialled,
                since: one.since,
                rtt: one.rtt,
            });
            all.collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }

    pub(super) fn infos(&self) -> Vec<PeerInfo> {
        let info = |(peer, connected): (&PeerId, &Connected)| {
            let best = connected.best()?;
            Some(PeerInfo {
                peer: *peer,
                path: best.path,
                address: best.address.clone(),
                dialled: best.dialled,
                connections: connected.connections.len(),
                since: connected.since,
                rtt: best.rtt,
            })
        };
        self.0.iter().filter_map(info).collect()
    }
}

#[cfg(test)]
mod tests {
    use libp2p_core::Endpoint;
    use libp2p_core::transport::PortUse;

    use super::*;

    fn dialled(address: &str) -> ConnectedPoint {
        let address = address.parse().expect("an address");
        let (role_override, port_use) = (Endpoint::Dialer, PortUse::Reuse);
        ConnectedPoint::Dialer { address, role_override, port_use }
    }

    #[test]
    fn a_peer_has_the_best_path_of_its_connections() {
        let (mut peers, peer, now) = (Peers::default(), PeerId::random(), Instant::now());
        let ids = [0, 1, 2].map(ConnectionId::new_unchecked);
        let relayed = dialled(&format!("/memory/1/p2p/{}/p2p-circuit", PeerId::random()));
        let direct = dialled("/memory/2");
        let path = Path::Relayed;
        let event = peers.connected(peer, ids[0], &relayed, now);
        let address = relayed.get_remote_address().clone();
        let (transport, dialled) = (TransportKind::Other, true);
        let expected = NodeEvent::PeerConnected { peer, path, transport, address, dialled };
        assert_eq!(event, Some(expected));
        assert_eq!(peers.connected(peer, ids[1], &relayed, now), None);
        let event = peers.connected(peer, ids[2], &direct, now);
        assert_eq!(event, Some(NodeEvent::PathChanged { peer, path: Path::Direct }));
        let info = &peers.infos()[0];
        assert_eq!((info.path, info.connections), (Path::Direct, 3));
        assert_eq!(
            peers.closed(peer, ids[2], || None),
            Some(NodeEvent::PathChanged { peer, path })
        );
        assert_eq!(peers.closed(peer, ids[0], || None), None);
        let reason = Some("reset".to_owned());
        let event = peers.closed(peer, ids[1], || reason.clone());
        assert_eq!(event, Some(NodeEvent::PeerDisconnected { peer, reason }));
        assert!(peers.infos().is_empty());
    }

    #[test]
    fn the_round_trip_is_told_when_it_changes() {
        let (mut peers, peer, now) = (Peers::default(), PeerId::random(), Instant::now());
        let ids = [0, 1].map(ConnectionId::new_unchecked);
        peers.connected(peer, ids[0], &dialled("/memory/1"), now);
        peers.connected(peer, ids[1], &dialled("/memory/2"), now);
        let ms = Duration::from_millis;
        assert_eq!(peers.measured(peer, ids[0], ms(5)), None, "it is not the best one");
        let told = |rtt| Some(NodeEvent::RoundTrip { peer, rtt: ms(rtt) });
        assert_eq!(peers.measured(peer, ids[1], ms(20)), told(20));
        assert_eq!(peers.measured(peer, ids[1], ms(39)), None);
        assert_eq!(peers.measured(peer, ids[1], ms(41)), told(41));
        assert_eq!(peers.measured(peer, ids[1], ms(20)), told(20));
        assert_eq!(peers.infos()[0].rtt, Some(ms(20)));
        let mut all: Vec<_> = peers.connections().into_iter().map(|one| one.rtt).collect();
        all.sort();
        assert_eq!(all, [Some(ms(5)), Some(ms(20))]);
    }
}
