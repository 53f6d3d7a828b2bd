//! What kind of place an address leads to.

use std::net::IpAddr;

use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;

/// From how far away an IP address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    Machine,
    Network,
    Internet,
}

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
