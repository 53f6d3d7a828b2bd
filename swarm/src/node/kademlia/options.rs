//! Which table a node takes part in.

use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use libp2p_identity::PeerId;
use pointsub_core::network::kademlia::{NetworkSecret, Part};

use crate::node::addresses::ip::{direct_ip, is_public, no_nearer};
use crate::node::builder::NodeBuilder;
use crate::node::event_loop::peer_of;
use crate::runtime::Runtime;

/// A private network, whose nodes find each other's servers with no fixed place but the address of one of
/// them: [`NodeBuilder::kademlia`].
///
/// The nodes keep a table together, a Kademlia of their own (libp2p's protocol under another name). What a node
/// serves is listed there from the moment it is registered; it is listed no more some 5 min after it was
/// unregistered, or the node has gone. Look-ups take place while servers are wanted, and every 36 s.
/// Whoever is found becomes a server only when it says itself, on a connection, that it serves the protocol:
/// see [`Discover`](crate::Discover).
///
/// ```
/// use pointsub_swarm::{Kademlia, NetworkSecret, Node, NodeBuilder, Runtime};
///
/// async fn member<R: Runtime>(runtime: R) -> Result<Node<R>, Box<dyn std::error::Error>> {
///     let first = "/ip4/198.51.100.7/tcp/4001/p2p/12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p";
///     let secret = NetworkSecret::from_phrase("a long text that only members know");
///     let network = Kademlia::new(secret).bootstrap([first.parse()?]);
///     let listen = "/ip4/0.0.0.0/tcp/4001".parse()?;
///     Ok(NodeBuilder::on(runtime).listen(listen).kademlia(network).build().await?)
/// }
/// # let _ = member::<pointsub_swarm::Executor>;
/// ```
///
/// # What the secret is for
///
/// The name of the protocol follows from it, so that nodes of other networks do not join, and so do the keys
/// under which services are listed, which change each hour: nobody else can look servers up, or take a
/// Peer ID that is close to a key. It does not keep anybody from connecting: rules for that are an
/// [`Admission`](crate::Admission).
///
/// # Which nodes keep a part of the table
///
/// Those that others reach, as far as is known ([`Part`]): a node that is dialled from the internet, as AutoNAT says
/// or [`external_address`](NodeBuilder::external_address), and any node that listens, if all its bootstrap
/// addresses are on this machine or on private networks, or if it has none. The others are listed, and look
/// servers up, but are asked nothing.
///
/// # Which addresses are dialled
///
/// Members tell each other addresses, and any of them can lie. So an address is not dialled that leads to somewhere
/// nearer than the bootstrap addresses do: to this machine, or to private networks. Without a bootstrap address, private
/// networks are dialled. [`trusted`](Self::trusted) lifts that.
#[derive(Debug, Clone)]
#[must_use = "give it to NodeBuilder::kademlia"]
pub struct Kademlia {
    pub(super) secret: NetworkSecret,
    pub(super) bootstrap: Vec<Multiaddr>,
    pub(super) part: Part,
    pub(super) trusted: bool,
}

impl Kademlia {
    /// The network of this secret. Without a [`bootstrap`](Self::bootstrap) address, a node waits for others: the
    /// first node of a network is one like that.
    pub const fn new(secret: NetworkSecret) -> Self {
        Self { secret, bootstrap: Vec::new(), part: Part::Auto, trusted: false }
    }

    /// Addresses of nodes that are known from the beginning, best with `/p2p/PEER` at the end; may be called
    /// several times. One that answers is enough. They are dialled until one does, after 1 s to 60 s, and every 2 min
    /// if there is no connection to them, but those without a Peer ID.
    pub fn bootstrap(mut self, addresses: impl IntoIterator<Item = Multiaddr>) -> Self {
        self.bootstrap.extend(addresses);
        self
    }

    /// Whether this node keeps a part of the table. Default: [`Part::Auto`].
    pub const fn part(mut self, part: Part) -> Self {
        self.part = part;
        self
    }

    /// Addresses of every kind are dialled, those on this machine among them: for networks none of whose
    /// members lies, or that are on one machine.
    pub const fn trusted(mut self) -> Self {
        self.trusted = true;
        self
    }

    /// Whether all that is known from the beginning is on the internet.
    pub(super) fn on_internet(&self) -> bool {
        let local = |address| direct_ip(address).is_some_and(|ip| !is_public(ip));
        !self.bootstrap.is_empty() && !self.bootstrap.iter().any(|at| local(at) || is_memory(at))
    }

    /// Whether an address is dialled of which members have told.
    pub(super) fn admits(&self, address: &Multiaddr) -> bool {
        let further = |part| matches!(part, Protocol::Dnsaddr(_));
        if self.trusted {
            return !address.iter().any(further);
        }
        let private: Multiaddr = Protocol::Ip4([10, 0, 0, 1].into()).into();
        match &self.bootstrap[..] {
            [] => no_nearer(address, &private),
            known => known.iter().any(|at| no_nearer(address, at) || same(address, at)),
        }
    }
}

fn is_memory(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Memory(_)))
}

/// Whether two addresses are the same but for the peer at their end.
fn same(one: &Multiaddr, other: &Multiaddr) -> bool {
    bare(one) == bare(other)
}

fn bare(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    if peer_of(&address).is_some() {
        address.pop();
    }
    address
}

/// The peer at the end of an address.
pub(super) fn named(address: &Multiaddr) -> Option<PeerId> {
    peer_of(address)
}

impl<R: Runtime> NodeBuilder<R> {
    /// Takes part in a private network, and looks there for servers that nobody has named, besides in the places
    /// that [`discover`](Self::discover) names. Default: it does not.
    pub fn kademlia(mut self, kademlia: Kademlia) -> Self {
        self.kademlia = Some(kademlia);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "/p2p/12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p";
    const PLACES: [&str; 4] = [
        "/ip4/127.0.0.1/tcp/1",
        "/ip4/10.1.0.1/tcp/1",
        "/ip4/9.9.9.9/tcp/1",
        "/dns/example.org/tcp/1",
    ];

    fn parse(text: &str) -> Multiaddr {
        text.parse().expect("an address")
    }

    fn network(bootstrap: &[&str]) -> Kademlia {
        let secret = NetworkSecret::from_phrase("ours");
        Kademlia::new(secret).bootstrap(bootstrap.iter().map(|text| parse(text)))
    }

    #[test]
    fn addresses_are_dialled_that_lead_no_nearer_than_the_first_ones() {
        let admitted = |network: &Kademlia| PLACES.map(|at| network.admits(&parse(at)));
        assert_eq!(admitted(&network(&[])), [false, true, true, false]);
        assert_eq!(admitted(&network(&PLACES[..1])), [true; 4]);
        assert_eq!(admitted(&network(&PLACES[1..2])), [false, true, true, false]);
        assert_eq!(admitted(&network(&PLACES[2..3])), [false, false, true, false]);
        let by_name = format!("{}{PEER}", PLACES[3]);
        assert_eq!(admitted(&network(&[&by_name])), [false, false, true, true], "it is that one");
        assert_eq!(admitted(&network(&[]).trusted()), [true; 4]);
        assert!(!network(&[]).trusted().admits(&parse("/dnsaddr/example.org")));
    }

    #[test]
    fn a_network_is_on_the_internet_if_all_that_is_known_of_it_is() {
        let is = |bootstrap: &[&str]| network(bootstrap).on_internet();
        assert!(is(&PLACES[2..3]) && is(&PLACES[3..]));
        assert!(!is(&[]) && !is(&PLACES[..1]) && !is(&PLACES[1..3]) && !is(&["/memory/1"]));
    }
}
