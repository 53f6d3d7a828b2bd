//! Which addresses are worth a test, of those at which peers say they see this node.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use libp2p_identity::PeerId;
use pointsub_core::Timestamp;

/// How many addresses at which this node may be reached one peer brings up while it is connected.
/// Each is tested once.
const OF_A_PEER: usize = 4;
/// How many such addresses all peers together bring up at once, after a while without any.
const AT_ONCE: u32 = 32;
/// One more may be brought up each time this has passed.
const EACH: Duration = Duration::from_secs(10);
/// How many addresses at which this node may be reached are kept, tested or not. libp2p's test
/// forgets none, so that it is begun anew.
pub(super) const KEPT: usize = 512;

/// What an address is made of behind its IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Quic,
}

/// Peers say what they like, and libp2p would remember all of it for ever.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    by_peer: HashMap<PeerId, Vec<Multiaddr>>,
    kept: HashSet<Multiaddr>,
    /// Until when those that were brought up are paid for, at one `EACH`.
    paid_until: Timestamp,
}

impl Candidates {
    /// Whether an address shall be tested that `peer` has brought up. `listening` is where this node
    /// listens: what it does not listen to cannot be an address of it.
    pub(super) fn admit<'a>(
        &mut self,
        peer: PeerId,
        address: &Multiaddr,
        listening: impl IntoIterator<Item = &'a Multiaddr>,
        now: Timestamp,
    ) -> bool {
        let Some(kind) = kind(address) else { return false };
        if !listening.into_iter().any(|own| self::kind(own) == Some(kind)) {
            return false;
        }
        let of_peer = self.by_peer.get(&peer).map_or(&[][..], Vec::as_slice);
        if of_peer.contains(address) || of_peer.len() == OF_A_PEER {
            return false;
        }
        if !self.kept.contains(address) {
            let paid = self.paid_until.max(now);
            if paid.since(now) > EACH * (AT_ONCE - 1) {
                return false;
            }
            self.paid_until = paid + EACH;
            self.kept.insert(address.clone());
        }
        self.by_peer.entry(peer).or_default().push(address.clone());
        true
    }

    /// Whether so many are kept that all have to be forgotten. Those that are brought up after that
    /// are tested anew.
    pub(super) fn forget_if_many(&mut self) -> bool {
        let many = self.kept.len() >= KEPT;
        if many {
            self.kept.clear();
            self.by_peer.clear();
        }
        many
    }

    /// A peer has gone, and its word with it.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        self.by_peer.remove(peer);
    }
}

/// What kind of address this is; `None` if it is not that of a transport of this node, or if it is a
/// name or a place at a relay.
fn kind(address: &Multiaddr) -> Option<Kind> {
    let mut parts = address.iter();
    if !matches!(parts.next()?, Protocol::Ip4(_) | Protocol::Ip6(_)) {
        return None;
    }
    let kind = match (parts.next()?, parts.next()) {
        (Protocol::Tcp(_), None) => Kind::Tcp,
        (Protocol::Udp(_), Some(Protocol::QuicV1)) => Kind::Quic,
        _ => return None,
    };
    parts.next().is_none().then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    fn address(n: usize) -> Multiaddr {
        format!("/ip4/192.0.2.{}/tcp/{}", n / 60_000, n % 60_000 + 1).parse().expect("an address")
    }

    fn listening() -> [Multiaddr; 1] {
        ["/ip4/0.0.0.0/tcp/4001".parse().expect("an address")]
    }

    #[test]
    fn only_addresses_of_what_is_listened_to_are_tested() {
        let (mut candidates, peer) = (Candidates::default(), PeerId::random());
        let mut admit = |text: &str| {
            let address = text.parse().expect("an address");
            candidates.admit(peer, &address, &listening(), at(0))
        };
        let circuit = format!("/ip4/192.0.2.1/tcp/1/p2p/{peer}/p2p-circuit");
        for bad in [
            "/dns4/example.org/tcp/1",
            "/ip4/192.0.2.1/udp/1/quic-v1",
            "/ip4/192.0.2.1/tcp/1/ws",
            "/ip4/192.0.2.1",
            "/memory/1",
            &circuit,
        ] {
            assert!(!admit(bad), "{bad}");
        }
        assert!(admit("/ip4/192.0.2.1/tcp/1") && admit("/ip6/2001:db8::1/tcp/1"));
    }

    #[test]
    fn one_peer_brings_up_few() {
        let (mut candidates, peer) = (Candidates::default(), PeerId::random());
        let mut admit =
            |peer, n| candidates.admit(peer, &address(n), &listening(), at(n as u64 * 60));
        assert_eq!((0..1000).filter(|n| admit(peer, *n)).count(), OF_A_PEER);
        assert!(admit(PeerId::random(), 1001));
    }

    #[test]
    fn all_peers_together_bring_up_few_at_a_time() {
        let mut candidates = Candidates::default();
        let mut brought =
            |n: usize, now| candidates.admit(PeerId::random(), &address(n), &listening(), now);
        assert_eq!((0..1000).filter(|n| brought(*n, at(0))).count(), AT_ONCE as usize);
        assert_eq!((1000..2000).filter(|n| brought(*n, at(25))).count(), 2, "one each 10 s");
        assert!(brought(0, at(25)), "of an address that is known, others may speak as well");
    }

    #[test]
    fn what_is_kept_is_limited_and_ends_with_the_peer() {
        let mut candidates = Candidates::default();
        for n in 0..KEPT {
            assert!(!candidates.forget_if_many());
            let peer = PeerId::random();
            assert!(candidates.admit(peer, &address(n), &listening(), at(n as u64 * 60)));
            candidates.gone(&peer);
        }
        assert!(candidates.by_peer.is_empty());
        assert!(candidates.forget_if_many());
        assert!(candidates.kept.is_empty());
    }
}
