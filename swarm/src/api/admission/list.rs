//! Lists of who may come, which can change at any time.

use std::collections::HashMap;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

pub use ipnet::IpNet;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use parking_lot::RwLock;
use pointsub_core::ProtocolName;

use super::{Admission, Verdict};
use crate::node::addresses::ip::first_ip;

/// What a list says of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// It may come.
    Allow,
    /// It may not.
    Block,
}

/// Lists of peers, networks and protocols. Clones are the same lists, and changes hold from then on:
/// give one clone to a node, and keep another one.
///
/// Whoever is blocked may not come, whatever else is said of it. Whoever is allowed may. Of all others
/// the [default](Self::set_default) is said, which is [`Access::Allow`] for [`open`](Self::open) lists
/// and [`Access::Block`] for [`closed`](Self::closed) ones. A protocol for which peers are named is for
/// these alone.
///
/// A change holds for new connections and streams. [`Server::recheck`](crate::Server::recheck) applies
/// it to those that are open.
///
/// ```
/// use pointsub_swarm::{Access, AccessList, Admission, Node, PeerId, Runtime};
///
/// async fn start<R: Runtime + Default>(friend: PeerId) -> Result<(), Box<dyn std::error::Error>> {
///     let list = AccessList::closed();
///     list.set_peer(friend, Access::Allow);
///     let node = Node::<R>::builder().admission(list.clone()).build().await?;
///     // Later:
///     list.set_peer(friend, Access::Block);
///     node.server().recheck();
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct AccessList(Arc<RwLock<Lists>>);

#[derive(Debug)]
pub(super) struct Lists {
    pub(super) default: Access,
    pub(super) peers: HashMap<PeerId, Access>,
    pub(super) networks: HashMap<IpNet, Access>,
    pub(super) protocols: HashMap<ProtocolName, HashSet<PeerId>>,
    pub(super) trusted: HashSet<PeerId>,
}

impl Default for Lists {
    fn default() -> Self {
        Self {
            default: Access::Allow,
            peers: HashMap::new(),
            networks: HashMap::new(),
            protocols: HashMap::new(),
            trusted: HashSet::new(),
        }
    }
}

impl AccessList {
    /// Lists that let everybody in who is not blocked.
    #[must_use]
    pub fn open() -> Self {
        Self::default()
    }

    /// Lists that let nobody in who is not allowed.
    #[must_use]
    pub fn closed() -> Self {
        let list = Self::default();
        list.set_default(Access::Block);
        list
    }

    /// What holds for whoever is on no list.
    pub fn set_default(&self, access: Access) {
        self.0.write().default = access;
    }

    /// Allows or blocks a peer.
    pub fn set_peer(&self, peer: PeerId, access: Access) {
        self.0.write().peers.insert(peer, access);
    }

    /// Takes a peer off the lists. Returns what was said of it.
    pub fn remove_peer(&self, peer: &PeerId) -> Option<Access> {
        self.0.write().peers.remove(peer)
    }

    /// Allows or blocks a network. Of several networks that an address is in, the smallest one counts.
    pub fn set_network(&self, network: IpNet, access: Access) {
        self.0.write().networks.insert(network.trunc(), access);
    }

    /// Takes a network off the lists. Returns what was said of it.
    pub fn remove_network(&self, network: &IpNet) -> Option<Access> {
        self.0.write().networks.remove(&network.trunc())
    }

    /// Lets a peer use a protocol, which is for those peers alone that are named like this.
    pub fn allow_protocol(&self, protocol: ProtocolName, peer: PeerId) {
        self.0.write().protocols.entry(protocol).or_default().insert(peer);
    }

    /// Does not let a peer use a protocol any more. The protocol stays closed for others. Returns
    /// whether the peer could use it.
    pub fn disallow_protocol(&self, protocol: &ProtocolName, peer: &PeerId) -> bool {
        self.0.write().protocols.get_mut(protocol).is_some_and(|peers| peers.remove(peer))
    }

    /// Lets everybody use a protocol who may come at all. Returns whether it was for some alone.
    pub fn open_protocol(&self, protocol: &ProtocolName) -> bool {
        self.0.write().protocols.remove(protocol).is_some()
    }

    /// Allows a peer, and never keeps it out for what it does.
    pub fn trust(&self, peer: PeerId) {
        let mut lists = self.0.write();
        lists.peers.insert(peer, Access::Allow);
        lists.trusted.insert(peer);
    }

    /// Puts other lists in place of these, at one instant.
    pub(super) fn replace(&self, lists: Lists) {
        *self.0.write() = lists;
    }
}

impl Lists {
    /// What is said of an address by its networks.
    fn of_ip(&self, ip: IpAddr) -> Option<Access> {
        let of = |(network, access): (&IpNet, &Access)| {
            network.contains(&ip).then_some((network.prefix_len(), *access))
        };
        self.networks.iter().filter_map(of).max_by_key(|(len, _)| *len).map(|(_, access)| access)
    }

    fn of_address(&self, address: &Multiaddr) -> Option<Access> {
        first_ip(address).and_then(|ip| self.of_ip(ip))
    }

    fn of_peer(&self, peer: &PeerId) -> Option<Access> {
        self.peers.get(peer).copied()
    }
}

impl Access {
    fn verdict(self) -> Verdict {
        match self {
            Self::Allow => Verdict::Allow,
            Self::Block => Verdict::permission_denied("not on the list"),
        }
    }
}

impl Admission for AccessList {
    fn address(&self, address: &Multiaddr) -> Verdict {
        let lists = self.0.read();
        // An address that is not on the list may be that of a peer which is.
        lists.of_address(address).unwrap_or(Access::Allow).verdict()
    }

    fn peer(&self, peer: &PeerId, address: &Multiaddr) -> Verdict {
        let lists = self.0.read();
        let said = lists.of_peer(peer).or_else(|| lists.of_address(address));
        said.unwrap_or(lists.default).verdict()
    }

    fn protocol(&self, peer: &PeerId, protocol: &ProtocolName) -> Verdict {
        let lists = self.0.read();
        if lists.of_peer(peer) == Some(Access::Block) {
            return Access::Block.verdict();
        }
        // Of all others it was decided when they connected.
        match lists.protocols.get(protocol) {
            Some(peers) if !peers.contains(peer) => Access::Block.verdict(),
            _ => Verdict::Allow,
        }
    }

    fn trusts(&self, peer: &PeerId) -> bool {
        self.0.read().trusted.contains(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("an address")
    }

    fn net(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    #[test]
    fn who_is_on_no_list_gets_the_default() {
        let (peer, from) = (PeerId::random(), address("/ip4/192.0.2.1/tcp/1"));
        assert!(AccessList::open().peer(&peer, &from).is_allowed());
        let closed = AccessList::closed();
        assert!(!closed.peer(&peer, &from).is_allowed());
        assert!(closed.address(&from).is_allowed(), "it may be of a peer that is allowed");
        closed.set_peer(peer, Access::Allow);
        assert!(closed.peer(&peer, &from).is_allowed());
        assert_eq!(closed.remove_peer(&peer), Some(Access::Allow));
        assert!(!closed.peer(&peer, &from).is_allowed());
    }

    #[test]
    fn of_several_networks_the_smallest_counts() {
        let list = AccessList::open();
        list.set_network(net("192.0.2.0/24"), Access::Block);
        list.set_network(net("192.0.2.77/30"), Access::Allow);
        list.set_network(net("2001:db8::/32"), Access::Block);
        for (from, allowed) in [
            ("/ip4/192.0.2.1/tcp/1", false),
            ("/ip4/192.0.2.78/udp/1/quic-v1", true),
            ("/ip4/192.0.3.1/tcp/1", true),
            ("/ip6/2001:db8::1/tcp/1", false),
            ("/ip6/::ffff:192.0.2.1/tcp/1", false),
        ] {
            assert_eq!(list.address(&address(from)).is_allowed(), allowed, "{from}");
        }
        assert_eq!(list.remove_network(&net("192.0.2.9/24")), Some(Access::Block));
        assert!(list.address(&address("/ip4/192.0.2.1/tcp/1")).is_allowed());
    }

    #[test]
    fn a_peer_that_is_blocked_stays_so_in_a_network_that_is_allowed() {
        let (list, peer) = (AccessList::closed(), PeerId::random());
        let from = address("/ip4/192.0.2.1/tcp/1");
        list.set_network(net("192.0.2.0/24"), Access::Allow);
        assert!(list.peer(&peer, &from).is_allowed());
        list.set_peer(peer, Access::Block);
        assert!(!list.peer(&peer, &from).is_allowed());
    }

    #[test]
    fn a_protocol_is_for_those_who_are_named() {
        let (list, [friend, stranger]) = (AccessList::open(), [PeerId::random(), PeerId::random()]);
        let admin = ProtocolName::from_static("/admin/1");
        assert!(list.protocol(&stranger, &admin).is_allowed());
        list.allow_protocol(admin.clone(), friend);
        assert!(list.protocol(&friend, &admin).is_allowed());
        assert!(!list.protocol(&stranger, &admin).is_allowed());
        assert!(list.disallow_protocol(&admin, &friend));
        assert!(!list.protocol(&friend, &admin).is_allowed(), "it is for nobody now");
        assert!(list.open_protocol(&admin));
        assert!(list.protocol(&stranger, &admin).is_allowed());
        list.set_peer(stranger, Access::Block);
        assert!(!list.protocol(&stranger, &admin).is_allowed(), "on a connection that it has");
    }
}
