//! What kind of place an address leads to.

use std::net::IpAddr;

use libp2p_core::Multiaddr;
use libp2p_core::connection::ConnectedPoint;
use libp2p_core::multiaddr::Protocol;
use pointsub_core::network::Reach;

/// The IP address at the beginning: that of the peer, or that of the relay which leads to it.
pub(crate) fn first_ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_canonical()),
        _ => None,
    }
}

/// The IP address of a peer that is not behind a relay or a name.
pub(crate) fn direct_ip(address: &Multiaddr) -> Option<IpAddr> {
    if address.iter().any(|part| part == Protocol::P2pCircuit) {
        return None;
    }
    first_ip(address)
}

/// Whether an address can be that of a machine on the open internet.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let carrier_nat = a == 100 && (64..128).contains(&b);
            let reserved = a == 0 || a >= 240;
            let local = ip.is_private() || ip.is_loopback() || ip.is_link_local();
            !(local || carrier_nat || reserved || ip.is_multicast())
        }
        // All that has been given out so far.
        IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000,
    }
}

pub(crate) fn reach(ip: IpAddr) -> Reach {
    if ip.is_loopback() || ip.is_unspecified() {
        Reach::Machine
    } else if is_public(ip) {
        Reach::Internet
    } else {
        Reach::Network
    }
}

/// From how far away a peer is connected. Of who comes through a relay, no more is seen than the
/// relay.
pub(crate) fn seen_from(endpoint: &ConnectedPoint) -> Reach {
    let (remote, local) = match endpoint {
        ConnectedPoint::Dialer { address, .. } => (address, address),
        ConnectedPoint::Listener { local_addr, send_back_addr } => (send_back_addr, local_addr),
    };
    first_ip(remote).or_else(|| first_ip(local)).map_or(Reach::Internet, reach)
}

/// Whether an address leads as far away as another one at least, at which somebody has been told it. Where a
/// name leads nobody knows.
pub(crate) fn no_nearer(address: &Multiaddr, than: &Multiaddr) -> bool {
    let of = |address: &Multiaddr| match address.iter().next() {
        Some(Protocol::Ip4(_) | Protocol::Ip6(_)) => first_ip(address).map(reach),
        Some(Protocol::Memory(_) | Protocol::Unix(_)) => Some(Reach::Machine),
        _ => None,
    };
    of(address).unwrap_or(Reach::Machine) >= of(than).unwrap_or(Reach::Internet)
}

/// The network that an address belongs to. Whoever has one address of it often has all of them: in
/// IPv4 256 of them, in IPv6 what a provider gives a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Prefix {
    V4([u8; 3]),
    V6([u8; 6]),
    /// All that come through relays, or from no IP address.
    Other,
}

/// A number for the network of an address on the open internet that is not behind a relay. In the local
/// network, all peers may have the same prefix.
pub(crate) fn network(address: &Multiaddr) -> Option<u64> {
    direct_ip(address).filter(|ip| is_public(*ip))?;
    let number = |kind: u8, bytes: &[u8]| {
        bytes.iter().fold(u64::from(kind), |number, byte| number << 8 | u64::from(*byte))
    };
    match prefix(address) {
        Prefix::V4(bytes) => Some(number(4, &bytes)),
        Prefix::V6(bytes) => Some(number(6, &bytes)),
        Prefix::Other => None,
    }
}

/// The network that a peer comes from.
pub(crate) fn prefix(address: &Multiaddr) -> Prefix {
    match first_ip(address) {
        Some(IpAddr::V4(ip)) => {
            let [a, b, c, _] = ip.octets();
            Prefix::V4([a, b, c])
        }
        Some(IpAddr::V6(ip)) => {
            let [a, b, c, d, e, f, ..] = ip.octets();
            Prefix::V6([a, b, c, d, e, f])
        }
        None => Prefix::Other,
    }
}

/// The part of a network of IPv6 that one customer has, its /56.
pub(crate) fn narrow(address: &Multiaddr) -> Option<[u8; 7]> {
    match first_ip(address)? {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => ip.octets().first_chunk().copied(),
    }
}

/// How many places of `limit` one network may have if `taken` are taken: eight times what is left.
/// So one that floods leaves a ninth, and each has a few in any case.
pub(crate) fn share(limit: usize, taken: usize, at_least: usize) -> usize {
    limit.saturating_sub(taken).saturating_mul(MULTIPLE).max(at_least)
}

/// How many times as many places as are left one network may have, among connections and among
/// handshakes.
const MULTIPLE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_far_away_does_not_lead_here() {
        let addresses = ["/memory/7", "/ip4/127.0.0.1/tcp/1", "/dns/example.org/tcp/1"];
        let near = ["/ip4/192.168.1.7/tcp/1", "/ip6/fd00::1/tcp/1"];
        let far = ["/ip4/9.9.9.9/tcp/1", "/ip6/2600::1/udp/1/quic-v1"];
        let parse = |text: &str| text.parse::<Multiaddr>().expect("an address");
        let kept = |than: &str| {
            let all = addresses.iter().chain(&near).chain(&far);
            all.filter(|address| no_nearer(&parse(address), &parse(than))).count()
        };
        assert_eq!(kept("/memory/1"), 7);
        assert_eq!(kept("/ip4/127.0.0.1/tcp/1"), 7);
        assert_eq!(kept("/ip4/10.0.0.1/tcp/1"), 4);
        assert_eq!(kept("/ip4/9.9.9.9/tcp/1"), 2);
        assert_eq!(kept("/dns4/example.org/tcp/1"), 2);
    }

    fn of(text: &str) -> Prefix {
        prefix(&text.parse().expect("an address"))
    }

    #[test]
    fn neighbours_are_one_network() {
        assert_eq!(of("/ip4/192.0.2.1/tcp/1"), of("/ip4/192.0.2.254/udp/1/quic-v1"));
        assert_ne!(of("/ip4/192.0.2.1/tcp/1"), of("/ip4/192.0.3.1/tcp/1"));
        assert_eq!(of("/ip6/2001:db8:1::1/tcp/1"), of("/ip6/2001:db8:1:ffff::2/tcp/1"));
        assert_ne!(of("/ip6/2001:db8:1::1/tcp/1"), of("/ip6/2001:db8:2::1/tcp/1"));
        assert_eq!(of("/ip6/::ffff:192.0.2.1/tcp/1"), of("/ip4/192.0.2.1/tcp/1"));
        assert_eq!(of("/dns4/example.org/tcp/1"), Prefix::Other);
    }

    #[test]
    fn a_peer_is_seen_at_its_address_or_at_that_of_its_relay() {
        let seen = |remote: &str, local: &str| {
            let address = |text: &str| text.parse().expect("an address");
            let (send_back_addr, local_addr) = (address(remote), address(local));
            seen_from(&ConnectedPoint::Listener { local_addr, send_back_addr })
        };
        let local = "/ip4/127.0.0.1/tcp/1";
        assert_eq!(seen("/ip4/127.0.0.1/tcp/9", local), Reach::Machine);
        assert_eq!(seen("/ip4/192.168.0.9/tcp/9", local), Reach::Network);
        assert_eq!(seen("/ip4/9.9.9.9/tcp/9", local), Reach::Internet);
        let peer = "/p2p/12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p";
        assert_eq!(seen(peer, &format!("/ip4/10.0.0.1/tcp/1{peer}/p2p-circuit")), Reach::Network);
        assert_eq!(
            seen(peer, &format!("/dns4/a.example/tcp/1{peer}/p2p-circuit")),
            Reach::Internet
        );
    }

    #[test]
    fn one_network_alone_leaves_a_ninth() {
        let limit = 900;
        let alone = (0..limit).take_while(|taken| *taken < share(limit, *taken, 1)).count();
        assert_eq!(alone, 800);
        assert_eq!(share(limit, limit, 8), 8);
    }
}
