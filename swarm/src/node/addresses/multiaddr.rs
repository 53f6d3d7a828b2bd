//! Addresses as libp2p has them and as the core has them.

use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use libp2p_identity::PeerId;
use pointsub_core::network::{Address, Carrier};

use super::ip::{first_ip, reach};

/// An address with what the core has to know of it.
pub(crate) fn to_core(address: &Multiaddr) -> Address {
    let known = Address::new(address.as_ref());
    let known = known.through_relay(is_relayed(address)).over(carrier(address));
    known.within(first_ip(address).map(reach))
}

/// What carries a connection to an address. At a relay, that is a part of the way.
pub(crate) fn carrier(address: &Multiaddr) -> Carrier {
    let of = |part| match part {
        Protocol::Tcp(_) => Some(Carrier::Tcp),
        Protocol::QuicV1 => Some(Carrier::Quic),
        _ => None,
    };
    address.iter().find_map(of).unwrap_or(Carrier::Other)
}

/// The same address again.
pub(crate) fn to_libp2p(address: &Address) -> Multiaddr {
    Multiaddr::try_from(address.as_bytes().to_vec())
        .expect("the core's addresses come from to_core, unchanged")
}

/// An address of a peer as the core knows it: without the peer at its end. `None` if nothing else is
/// in it, or if it is somebody else's.
pub(crate) fn of_peer(peer: &PeerId, address: &Multiaddr) -> Option<Address> {
    let mut address = address.clone();
    match address.iter().last()? {
        Protocol::P2p(named) if named == *peer => drop(address.pop()),
        Protocol::P2p(_) => return None,
        _ => {}
    }
    (!address.is_empty()).then(|| to_core(&address))
}

/// Whether an address leads through a relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

#[cfg(test)]
mod tests {
    use pointsub_core::network::Reach;

    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_is_the_same_with_and_without_its_peer() {
        let (peer, other) = (PeerId::random(), PeerId::random());
        let plain = address("/ip4/192.0.2.1/tcp/1");
        let with = |peer| plain.clone().with_p2p(peer).expect("it has none");
        assert_eq!(of_peer(&peer, &plain), Some(to_core(&plain)));
        assert_eq!(of_peer(&peer, &with(peer)), Some(to_core(&plain)));
        assert_eq!(of_peer(&peer, &with(other)), None);
        assert_eq!(of_peer(&peer, &Multiaddr::empty().with(Protocol::P2p(peer))), None);
        let circuit = with(other).with(Protocol::P2pCircuit);
        let through = circuit.clone().with(Protocol::P2p(peer));
        assert_eq!(of_peer(&peer, &through), Some(to_core(&circuit)));
    }

    #[test]
    fn the_core_is_told_what_it_cannot_read() {
        let peer = "/p2p/12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p";
        let known = |text: &str| {
            let known = to_core(&address(text));
            assert_eq!(to_libp2p(&known), address(text));
            (known.is_relayed(), known.reach())
        };
        assert_eq!(known("/ip4/127.0.0.1/tcp/1"), (false, Some(Reach::Machine)));
        assert_eq!(known("/dns4/example.org/tcp/1"), (false, None));
        let circuit = format!("/ip4/8.8.8.8/tcp/1{peer}/p2p-circuit");
        assert_eq!(known(&circuit), (true, Some(Reach::Internet)), "as near as the relay");
    }
}
