//! Dials peers back that want to know where they are reached.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p_autonat::v2::server;
use libp2p_core::transport::PortUse;
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use pointsub_core::Timestamp;
use thiserror::Error;

use crate::clock::Clock;
use crate::node::addresses::ip::{direct_ip, is_public};

const MINUTE: Duration = Duration::from_secs(60);
/// How many dial-backs a node makes in a minute, as in go-libp2p. A dial-back tests whether an
/// address of another node can be reached.
const PER_MINUTE: u32 = 60;
/// How many dial-backs one peer may ask for in a minute, as in go-libp2p.
const PER_MINUTE_AND_PEER: u32 = 12;

/// Dials peers that ask for it, at the address that they name.
///
/// What libp2p brings dials whatever it is told to. A node must not become a tool to look around in
/// its own private network, or to flood somebody else's, so here the address has to be where the
/// peer is seen anyway or a public one, and there are limits on their number.
pub(crate) struct Server {
    clock: Clock,
    dials: server::Behaviour,
    /// Dials that libp2p asked for and that are yet to be looked at.
    asked: HashSet<ConnectionId>,
    /// Where peers are seen, as often as they are connected from there.
    seen: HashMap<PeerId, Vec<(ConnectionId, IpAddr)>>,
    minute: Option<Minute>,
}

#[derive(Debug)]
struct Minute {
    began: Timestamp,
    dials: u32,
    by_peer: HashMap<PeerId, u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum Refused {
    #[error("the address is neither public nor that at which the peer is seen")]
    Address,
    #[error("too many dial-backs were asked for")]
    TooMany,
}

impl Server {
    pub(crate) fn new(clock: Clock) -> Self {
        let (dials, asked) = (server::Behaviour::default(), HashSet::new());
        Self { clock, dials, asked, seen: HashMap::new(), minute: None }
    }

    fn admit(&mut self, peer: PeerId, addresses: &[Multiaddr]) -> Result<(), Refused> {
        let seen = self.seen.get(&peer).map_or(&[][..], Vec::as_slice);
        let may_be_dialled = |address| {
            direct_ip(address)
                .is_some_and(|ip| is_public(ip) || seen.iter().any(|(_, at)| *at == ip))
        };
        if !addresses.iter().all(may_be_dialled) {
            return Err(Refused::Address);
        }
        let now = self.clock.now();
        let minute = self.minute.take().filter(|minute| now < minute.began + MINUTE);
        let minute =
            minute.unwrap_or_else(|| Minute { began: now, dials: 0, by_peer: HashMap::new() });
        let minute = self.minute.insert(minute);
        let of_peer = minute.by_peer.entry(peer).or_default();
        if minute.dials == PER_MINUTE || *of_peer == PER_MINUTE_AND_PEER {
            return Err(Refused::TooMany);
        }
        minute.dials += 1;
        *of_peer += 1;
        Ok(())
    }
}

impl NetworkBehaviour for Server {
    type ConnectionHandler = <server::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = server::Event;

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.asked.remove(&connection)
            && let Some(peer) = peer
        {
            self.admit(peer, addresses).map_err(ConnectionDenied::new)?;
        }
        Ok(Vec::new())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.dials.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let dials = &mut self.dials;
        dials.handle_established_outbound_connection(connection, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => {
                if let Some(ip) = direct_ip(endpoint.get_remote_address()) {
                    self.seen.entry(*peer_id).or_default().push((*connection_id, ip));
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                if let Some(seen) = self.seen.get_mut(peer_id) {
                    seen.retain(|(connection, _)| connection != connection_id);
                    if seen.is_empty() {
                        self.seen.remove(peer_id);
                    }
                }
            }
            _ => {}
        }
        self.dials.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.dials.on_connection_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let event = self.dials.poll(cx);
        if let Poll::Ready(ToSwarm::Dial { opts }) = &event {
            self.asked.insert(opts.connection_id());
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use futures::future::BoxFuture;
    use parking_lot::Mutex;

    use super::*;
    use crate::runtime::Runtime;

    /// A runtime where it is as late as the test says.
    struct AsTold(Arc<Mutex<Instant>>);

    impl Runtime for AsTold {
        fn spawn(&self, _: BoxFuture<'static, ()>) {}

        fn now(&self) -> Instant {
            *self.0.lock()
        }
    }

    fn address(address: &str) -> Multiaddr {
        address.parse().expect("an address")
    }

    fn seen_at(peer: PeerId, ip: &str) -> Server {
        let at = (ConnectionId::new_unchecked(1), ip.parse().expect("an IP address"));
        Server { seen: HashMap::from([(peer, vec![at])]), ..Server::new(Clock::system()) }
    }

    #[test]
    fn peers_are_dialled_where_they_are_or_in_public() {
        let peer = PeerId::random();
        let mut server = seen_at(peer, "10.0.0.7");
        for ok in ["/ip4/10.0.0.7/tcp/1", "/ip4/8.8.8.8/tcp/1", "/ip6/2001:db8::1/tcp/1"] {
            assert_eq!(server.admit(peer, &[address(ok)]), Ok(()), "{ok}");
        }
        let relayed = format!("/ip4/8.8.8.8/tcp/1/p2p/{peer}/p2p-circuit");
        let private = ["10.0.0.8", "127.0.0.1", "192.168.0.1", "169.254.1.1", "100.64.0.1"];
        let private = private.map(|ip| format!("/ip4/{ip}/tcp/22"));
        let local6 = ["::1", "fe80::1", "fd00::1", "::ffff:10.0.0.8"];
        let local6 = local6.map(|ip| format!("/ip6/{ip}/tcp/22"));
        let named = ["/dns4/localhost/tcp/22".to_owned(), relayed];
        for bad in private.into_iter().chain(local6).chain(named) {
            assert_eq!(server.admit(peer, &[address(&bad)]), Err(Refused::Address), "{bad}");
        }
        let stranger = PeerId::random();
        let other = server.admit(stranger, &[address("/ip4/10.0.0.7/tcp/1")]);
        assert_eq!(other, Err(Refused::Address), "only for the peer that is there");
    }

    #[test]
    fn dials_are_limited_per_peer_and_in_all() {
        let public = [address("/ip4/8.8.8.8/tcp/1")];
        let now = Arc::new(Mutex::new(Instant::now()));
        let mut server = Server::new(Clock::new(Arc::new(AsTold(now.clone()))));
        let admitted = |server: &mut Server, peer| {
            (0..PER_MINUTE).filter(|_| server.admit(peer, &public) == Ok(())).count() as u32
        };
        let peers: Vec<u32> =
            (0..10).map(|_| admitted(&mut server, PeerId::random())).take(10).collect();
        assert_eq!(peers[..5], [PER_MINUTE_AND_PEER; 5]);
        assert_eq!(peers[5..], [0; 5], "{PER_MINUTE} in all");
        *now.lock() += MINUTE;
        assert_eq!(admitted(&mut server, PeerId::random()), PER_MINUTE_AND_PEER, "a new minute");
    }
}
