//! Where a node looks for servers.

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use pointsub_core::network::candidates::{Source, Sources};

use super::finder::Finder;

type Run = Arc<dyn Fn(Finder) -> BoxFuture<'static, ()> + Send + Sync>;

/// Where a node looks for servers that nobody has named: [`NodeBuilder::discover`].
///
/// Whoever is found gets no request before it has said itself, on a connection, that it serves the
/// protocol (identify). Whoever says that it does not any more gets none from then on.
///
/// [`Client::send_closest`] and [`Client::open_closest`] choose among all servers, those that were named
/// ([`Client::add_server_node`]) and those that were found. While there is none, they wait for the first
/// one, for as long as the client's `connect_timeout` says; if nothing is under way by which one could be
/// found, they fail at once. [`Client::wait_for_server`] waits in any case. Peers that are merely connected
/// count for protocols of which the application has never named a server: once it has, it knows whom it
/// wants.
///
/// A source of one's own is a task with a [`Finder`]:
///
/// ```
/// use std::time::Duration;
/// use pointsub_swarm::{Discover, Finder, FinderTask, Found, Multiaddr, PeerId, Source};
///
/// async fn ask(service: &str) -> Vec<(PeerId, Multiaddr)> {
///     // A file, a broker, a topic of gossipsub…
/// #   let _ = service;
///     Vec::new()
/// }
///
/// let discover = Discover::connected().and(Discover::source(Source::Custom, |mut finder| async move {
///     while let Some(task) = finder.next_task().await {
///         match task {
///             FinderTask::LookUp(protocol) => {
///                 for (peer, address) in ask(protocol.as_str()).await {
///                     let found = Found::new(peer).serving(&protocol).at([address]);
///                     finder.found(found.lasting(Duration::from_secs(60)));
///                 }
///             }
///             FinderTask::Changed => println!("{:?} at {:?}", finder.served(), finder.addresses()),
///             _ => {}
///         }
///     }
/// }));
/// # let _ = discover;
/// ```
///
/// # Local networks
///
/// With feature `lan`, `Discover::lan()` finds servers on the same network by multicast DNS, in IPv4 and
/// IPv6, on each interface, also on those that come later, and this machine's own. This node is found there
/// too: it tells all who listen there its peer id, its addresses on that network, and what it serves. It is
/// off unless asked for, because it tells, and because some systems ask their user (iOS, macOS, Android).
///
/// ```ignore
/// let node = Node::builder()
///     .listen("/ip4/0.0.0.0/tcp/0".parse()?)
///     .discover(Discover::lan())
///     .build()
///     .await?;
/// let answer = node.client().send_closest(&search, "what?").await?;
/// ```
///
/// Packets are those of [libp2p's specification], so that nodes of any libp2p library are found, and find this
/// one. A node of this library also says what it serves, so that others need not be dialled. Nobody can
/// tell whether what is said there is true. So only addresses on the network on which they were heard are
/// dialled, through no relay and no name; whoever sends much is not heard; and what a peer serves it says
/// itself, on a connection.
///
/// What does not work: networks that carry no multicast (clouds, containers, guest Wi-Fi), and IPv6 with
/// addresses of the link alone (`fe80::`), for which libp2p has no addresses. Name a few servers as well
/// where that may be so. Programs on macOS need the permission for local networks, and have none if they
/// were started by ssh or as a service.
///
/// # Lists in the DNS
///
/// With feature `dns-discovery`, `Discover::dns("example.org")` finds the servers that the `TXT` records of
/// `_dnsaddr.example.org` list, as libp2p's [dnsaddr] has it: one address a record, with the Peer ID at its end,
/// or the name of a further list.
///
/// ```text
/// _dnsaddr.example.org.  300  TXT  "dnsaddr=/ip4/198.51.100.1/tcp/4001/p2p/12D3KooW…"
/// _dnsaddr.example.org.  300  TXT  "dnsaddr=/ip6/2001:db8::1/udp/4001/quic-v1/p2p/12D3KooW…"
/// _dnsaddr.example.org.  300  TXT  "dnsaddr=/dnsaddr/asia.example.org"
/// ```
///
/// Records do not say what peers serve. So those of a list are candidates for every protocol for which
/// servers are looked for, and say themselves, on a connection, what they serve. Where each of many servers
/// serves something else, give each protocol a name of its own. This node does not list itself: whoever
/// has the name writes the records.
///
/// A list is read when servers are wanted, and again when 80 % of the TTL of its records have passed (30 s at
/// least, an hour at most); while nobody is found, or a name server fails, after 1, 2, 4 … 60 s. If nobody is
/// found, the log says so (`pointsub::dns`), and [`Cause::NoServerFound`](crate::Cause::NoServerFound)
/// names the source. Name servers that fail take nobody away who is known, until the TTL has passed.
///
/// Records can be forged on the way, and anybody may write some. So only addresses on the internet are dialled,
/// through no relay and no further name, unless the list is [trusted](crate::DnsList::trusted); at most 64
/// peers of a list are looked at, and at most 32 names are asked for. Who answers at an address has to
/// have the key of the Peer ID in the record.
///
/// The name servers are those of the system, or [others](crate::DnsList::asking). It works on every runtime that
/// has [`Runtime::datagrams`](crate::Runtime::datagrams) and [`Runtime::tcp`](crate::Runtime::tcp). Timeouts of
/// queries follow the system's time.
///
/// [dnsaddr]: https://github.com/multiformats/multiaddr/blob/master/protocols/DNSADDR.md
/// # Registries
///
/// Any node can serve a registry, in which servers are listed for as long as they serve:
/// `pointsub_service::registry`, or the module `service::registry` of the runtime's crate with feature `service`.
/// `registry::discover(addresses)` is a `Discover` for it.
///
/// # Private networks
///
/// With feature `kad`, `NodeBuilder::kademlia` has a node take part in a table of servers that the nodes of a
/// network keep together. It is a part of the node, and not a `Discover`.
///
/// [libp2p's specification]: https://github.com/libp2p/specs/blob/master/discovery/mdns.md
/// [`NodeBuilder::discover`]: crate::NodeBuilder::discover
/// [`Client::send_closest`]: crate::Client::send_closest
/// [`Client::open_closest`]: crate::Client::open_closest
/// [`Client::add_server_node`]: crate::Client::add_server_node
/// [`Client::wait_for_server`]: crate::Client::wait_for_server
#[derive(Clone)]
#[must_use = "give it to NodeBuilder::discover"]
pub struct Discover {
    connected: bool,
    finders: Vec<(Source, Run)>,
}

impl Discover {
    /// Among the peers that are connected for another reason. It is the default, and costs nothing:
    /// peers say what they serve in any case. Any peer may say so, also one that has connected by itself:
    /// whoever trusts only servers that it names takes [`manual`](Self::manual).
    pub const fn connected() -> Self {
        Self { connected: true, finders: Vec::new() }
    }

    /// Nowhere: servers are those that the application names.
    pub const fn manual() -> Self {
        Self { connected: false, finders: Vec::new() }
    }

    /// In a way that `run` knows, besides among connected peers. It is run as a task of the node, and
    /// dropped with it.
    pub fn source<F>(source: Source, run: impl Fn(Finder) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let run: Run = Arc::new(move |finder| run(finder).boxed());
        Self { connected: true, finders: vec![(source, run)] }
    }

    /// On the local network besides, by multicast DNS: see
    /// [local networks](Self#local-networks).
    #[cfg(feature = "lan")]
    pub fn lan() -> Self {
        Self::source(Source::Lan, super::lan::run)
    }

    /// Among the servers besides that a name in the DNS lists, such as `example.org`: see
    /// [lists in the DNS](Self#lists-in-the-dns). A [`DnsList`](crate::DnsList) says more than a name. Several
    /// lists are read with [`and`](Self::and).
    #[cfg(feature = "dns-discovery")]
    pub fn dns(list: impl Into<super::dns::DnsList>) -> Self {
        let list = list.into();
        Self::source(Source::Dns, move |finder| super::dns::run(list.clone(), finder))
    }

    /// In these places too.
    pub fn and(mut self, other: Self) -> Self {
        self.connected |= other.connected;
        self.finders.extend(other.finders);
        self
    }

    /// Not among peers that are connected for another reason.
    pub const fn without_connected(mut self) -> Self {
        self.connected = false;
        self
    }

    /// Where it looks.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let connected = self.connected.then_some(Source::Connected);
        self.finders.iter().map(|(source, _)| *source).chain(connected).collect()
    }

    /// Each source, with what it runs.
    pub(crate) fn finders(self) -> impl Iterator<Item = (Source, Run)> {
        self.finders.into_iter()
    }
}

impl Default for Discover {
    fn default() -> Self {
        Self::connected()
    }
}

impl fmt::Debug for Discover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Discover").field(&self.sources()).finish()
    }
}
