//! Which list is read, whom it is asked of, and what of it is believed.

use std::net::SocketAddr;

use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;

use crate::node::addresses::ip::{direct_ip, is_public};

/// A list of servers in the DNS, for [`Discover::dns`](crate::Discover::dns). A text is one too: the list of
/// that name.
///
/// ```
/// use pointsub_swarm::{Discover, DnsList};
///
/// let public = Discover::dns("example.org");
/// // The name server of a cluster, whose nodes are on its own network.
/// let own = DnsList::new("search.service.consul").asking(["127.0.0.1:8600".parse()?]).trusted();
/// let discover = public.and(Discover::dns(own));
/// # let _ = discover;
/// # Ok::<_, std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "give it to Discover::dns"]
pub struct DnsList {
    pub(super) name: String,
    pub(super) servers: Vec<SocketAddr>,
    pub(super) trusted: bool,
}

impl DnsList {
    /// The list of this name: the `TXT` records of `_dnsaddr.NAME`. A text that is no name lists nobody, and the
    /// log says why. The system says who is asked for it. Only addresses on the internet are dialled.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), servers: Vec::new(), trusted: false }
    }

    /// These name servers are asked instead of those that the system knows, over UDP and TCP. They have to
    /// answer for all names (recursion) that the list leads to.
    pub fn asking(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.servers.extend(servers);
        self
    }

    /// Addresses of every kind are dialled: on this machine and on private networks, through relays, and
    /// behind further names. For a list whose records only those write who may also choose whom this node
    /// dials within its own network, and that nobody can forge on the way.
    pub const fn trusted(mut self) -> Self {
        self.trusted = true;
        self
    }

    /// Whether an address is dialled.
    pub(super) fn admits(&self, address: &Multiaddr) -> bool {
        if self.trusted {
            return !address.iter().any(|part| matches!(part, Protocol::Dnsaddr(_)));
        }
        direct_ip(address).is_some_and(is_public)
    }
}

impl From<&str> for DnsList {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for DnsList {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "/p2p/12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p";

    fn admits(list: &DnsList, address: &str) -> bool {
        list.admits(&address.parse().expect("an address"))
    }

    #[test]
    fn a_list_of_strangers_leads_to_the_internet_alone() {
        let list = DnsList::new("example.org");
        for address in ["/ip4/9.9.9.9/tcp/1", "/ip6/2600::1/udp/1/quic-v1"] {
            assert!(admits(&list, address), "{address}");
        }
        let relayed = format!("/ip4/9.9.9.9/tcp/1{PEER}/p2p-circuit");
        let others = [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/169.254.169.254/tcp/80",
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/224.0.0.1/tcp/1",
            "/ip6/::1/tcp/1",
            "/ip6/::ffff:127.0.0.1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/dns4/example.org/tcp/1",
            "/dnsaddr/example.org",
            "/memory/1",
            "/unix/socket",
            &relayed,
        ];
        let trusted = list.clone().trusted();
        for address in others {
            assert!(!admits(&list, address), "{address}");
            assert_eq!(admits(&trusted, address), address != "/dnsaddr/example.org", "{address}");
        }
    }
}
