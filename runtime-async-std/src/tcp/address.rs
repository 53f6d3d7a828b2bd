//! Between multiaddresses and what sockets understand.

use std::net::{IpAddr, SocketAddr};

use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;

/// Where a multiaddress leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Socket(SocketAddr),
    Name { host: String, port: u16, family: Family },
}

/// Which addresses of a name are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Any,
    V4,
    V6,
}

impl Target {
    /// Port 0 and wildcard addresses are for listening only.
    pub(super) fn can_be_dialled(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.port() != 0 && !socket.ip().is_unspecified(),
            Self::Name { port, .. } => *port != 0,
        }
    }
}

impl Family {
    pub(super) fn has(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
    }
}

/// Understands a host and a TCP port, with or without the peer who is expected there. Anything
/// more is for another transport: a relay's circuit, for example, or a web socket.
pub(super) fn parse(address: &Multiaddr) -> Option<Target> {
    let mut parts = address.iter();
    let (host, port) = (parts.next()?, parts.next()?);
    let Protocol::Tcp(port) = port else { return None };
    if !matches!((parts.next(), parts.next()), (None | Some(Protocol::P2p(_)), None)) {
        return None;
    }
    let name = |host: &str, family| Target::Name { host: host.to_owned(), port, family };
    match host {
        Protocol::Ip4(ip) => Some(Target::Socket((ip, port).into())),
        Protocol::Ip6(ip) => Some(Target::Socket((ip, port).into())),
        Protocol::Dns(host) => Some(name(&host, Family::Any)),
        Protocol::Dns4(host) => Some(name(&host, Family::V4)),
        Protocol::Dns6(host) => Some(name(&host, Family::V6)),
        _ => None,
    }
}

pub(super) fn multiaddr(socket: SocketAddr) -> Multiaddr {
    Multiaddr::from(socket.ip()).with(Protocol::Tcp(socket.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p";

    fn parsed(address: &str) -> Option<Target> {
        parse(&address.parse().expect("a multiaddress"))
    }

    #[test]
    fn sockets_and_names_are_understood_with_and_without_a_peer() {
        let socket = |text: &str| Some(Target::Socket(text.parse().expect("a socket address")));
        let name = |family| Some(Target::Name { host: "example.org".into(), port: 9, family });
        for (address, target) in [
            ("/ip4/192.0.2.7/tcp/4001", socket("192.0.2.7:4001")),
            ("/ip6/2001:db8::7/tcp/4001", socket("[2001:db8::7]:4001")),
            ("/dns/example.org/tcp/9", name(Family::Any)),
            ("/dns4/example.org/tcp/9", name(Family::V4)),
            ("/dns6/example.org/tcp/9", name(Family::V6)),
        ] {
            assert_eq!(parsed(address), target, "{address}");
            assert_eq!(parsed(&format!("{address}/p2p/{PEER}")), target, "{address} with a peer");
        }
    }

    #[test]
    fn addresses_of_other_transports_are_left_to_them() {
        for address in [
            "/ip4/192.0.2.7",
            "/ip4/192.0.2.7/udp/4001",
            "/ip4/192.0.2.7/udp/4001/quic-v1",
            "/ip4/192.0.2.7/tcp/80/ws",
            "/tcp/4001",
            "/tcp/4001/ip4/192.0.2.7",
            "/memory/7",
            "/dnsaddr/example.org",
            "/ip4/192.0.2.7/tcp/1/tcp/2",
        ] {
            assert_eq!(parsed(address), None, "{address}");
        }
        let relay = format!("/ip4/192.0.2.7/tcp/4001/p2p/{PEER}/p2p-circuit");
        assert_eq!(parsed(&relay), None);
        assert_eq!(parsed(&format!("{relay}/p2p/{PEER}")), None);
    }

    #[test]
    fn a_socket_address_comes_back_from_its_multiaddress() {
        for text in ["192.0.2.7:4001", "[2001:db8::7]:65535"] {
            let socket: SocketAddr = text.parse().expect("a socket address");
            assert_eq!(parse(&multiaddr(socket)), Some(Target::Socket(socket)));
        }
    }
}
