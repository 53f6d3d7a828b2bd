//! Between multiaddresses and what sockets understand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use libp2p_identity::PeerId;

/// Where a multiaddress leads, and who is expected there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) socket: SocketAddr,
    pub(super) peer: Option<PeerId>,
}

impl Target {
    /// Port 0 and wildcard addresses are for listening only.
    pub(super) fn can_be_dialled(&self) -> bool {
        self.socket.port() != 0 && !self.socket.ip().is_unspecified()
    }
}

/// Understands `/ip4/…/udp/…/quic-v1` and its `ip6` counterpart, with or without the peer who is
/// expected there. Anything more is for another transport.
pub(super) fn parse(address: &Multiaddr) -> Option<Target> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let Protocol::Udp(port) = parts.next()? else { return None };
    let Protocol::QuicV1 = parts.next()? else { return None };
    let peer = match (parts.next(), parts.next()) {
        (None, _) => None,
        (Some(Protocol::P2p(peer)), None) => Some(peer),
        _ => return None,
    };
    Some(Target { socket: (ip, port).into(), peer })
}

pub(super) fn multiaddr(socket: SocketAddr) -> Multiaddr {
    Multiaddr::from(socket.ip()).with(Protocol::Udp(socket.port())).with(Protocol::QuicV1)
}

/// Any free port, on all interfaces, of the family of `remote`.
pub(super) fn anywhere(remote: IpAddr) -> SocketAddr {
    match remote {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p";

    fn parsed(address: &str) -> Option<Target> {
        parse(&address.parse().expect("a multiaddress"))
    }

    #[test]
    fn both_families_are_understood_with_and_without_a_peer() {
        for (address, socket) in [
            ("/ip4/192.0.2.7/udp/4001/quic-v1", "192.0.2.7:4001"),
            ("/ip6/2001:db8::7/udp/4001/quic-v1", "[2001:db8::7]:4001"),
        ] {
            let socket = socket.parse().expect("a socket address");
            assert_eq!(parsed(address), Some(Target { socket, peer: None }));
            assert_eq!(multiaddr(socket).to_string(), address);
            let peer = Some(PEER.parse().expect("a peer id"));
            assert_eq!(parsed(&format!("{address}/p2p/{PEER}")), Some(Target { socket, peer }));
        }
    }

    #[test]
    fn addresses_of_other_transports_are_left_to_them() {
        for address in [
            "/ip4/192.0.2.7/udp/4001",
            "/ip4/192.0.2.7/udp/4001/quic",
            "/ip4/192.0.2.7/tcp/4001",
            "/dns4/example.org/udp/4001/quic-v1",
            "/ip4/192.0.2.7/udp/4001/quic-v1/webtransport",
            "/udp/4001/quic-v1",
        ] {
            assert_eq!(parsed(address), None, "{address}");
        }
        let relay = format!("/ip4/192.0.2.7/udp/4001/quic-v1/p2p/{PEER}/p2p-circuit");
        assert_eq!(parsed(&relay), None);
        assert_eq!(parsed(&format!("{relay}/p2p/{PEER}")), None);
    }

    #[test]
    fn wildcards_cannot_be_dialled() {
        for (address, can_be) in [
            ("/ip4/192.0.2.7/udp/1/quic-v1", true),
            ("/ip4/192.0.2.7/udp/0/quic-v1", false),
            ("/ip4/0.0.0.0/udp/1/quic-v1", false),
            ("/ip6/::/udp/1/quic-v1", false),
        ] {
            let target = parsed(address).expect("an address of this transport");
            assert_eq!(target.can_be_dialled(), can_be, "{address}");
        }
    }
}
