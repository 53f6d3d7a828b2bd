//! The end that a source holds.

use std::fmt;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::poll_fn;
use libp2p_core::{Multiaddr, PeerRecord};
use libp2p_identity::PeerId;
use pointsub_core::ProtocolName;
use pointsub_core::network::candidates::Source;

use super::shared::TaskQueue;
use crate::api::client::Client;
use crate::api::client::shared::ClientShared;
use crate::api::server::Server;
use crate::node::addresses::ip::no_nearer;

/// What a source of servers has in its hands: it is told what to look for and what to tell others, and
/// says whom it has found. Each source has one: see [`Discover::source`](crate::Discover::source),
/// [`Node::finder`](crate::Node::finder) and [`Behaviour::finder`](crate::Behaviour::finder).
///
/// A source may say what it likes, as often as it likes, and about anybody: what comes of it is limited.
/// It need not remember whom it has told of. It should not tell of protocols for which it was not asked:
/// that is thrown away.
pub struct Finder {
    shared: Arc<ClientShared>,
    server: Server,
    source: Source,
    tasks: Arc<TaskQueue>,
}

/// What a source is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinderTask {
    /// Look for servers of this protocol now, and say [found](Finder::found) of each, at any time. While
    /// nobody is found, this comes again after 1 s, 2 s, 4 s … 5 min. When somebody is, it comes at 80 % of
    /// the time for which that holds. A source that hears of servers by itself need not do more than say
    /// whom it knows.
    LookUp(ProtocolName),
    /// Nobody wants servers of this protocol any more.
    Forget(ProtocolName),
    /// What this node [serves](Finder::served) is something else now, or [where](Finder::addresses) it is
    /// reached: others are to be told. It also comes at the beginning.
    Changed,
}

/// Somebody was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "tell it to a Finder"]
pub struct Found {
    pub(super) peer: PeerId,
    pub(super) protocol: Option<ProtocolName>,
    pub(super) addresses: Vec<Multiaddr>,
    pub(super) ttl: Option<Duration>,
}

impl Found {
    /// A peer. Without [`serving`](Self::serving), nobody says what it serves: it is asked.
    pub const fn new(peer: PeerId) -> Self {
        Self { peer, protocol: None, addresses: Vec::new(), ttl: None }
    }

    /// It is said to serve this protocol. One that serves several is told of several times.
    pub fn serving(mut self, protocol: &ProtocolName) -> Self {
        self.protocol = Some(protocol.clone());
        self
    }

    /// Where it is, with or without `/p2p/PEER` at the end; at most 16 are looked at. They are dialled as they are: a source
    /// that strangers feed leaves out those that lead to this machine or the local network.
    pub fn at(mut self, addresses: impl IntoIterator<Item = Multiaddr>) -> Self {
        self.addresses.extend(addresses);
        self
    }

    /// Leaves out those addresses that lead to somewhere nearer than this address does: to this machine, or the
    /// local network. For a source at this address that strangers feed: who is believed by it could have this
    /// node dial what only this node reaches. Names go too, unless it is on this machine itself: they
    /// may lead anywhere.
    pub fn no_nearer_than(mut self, source: &Multiaddr) -> Self {
        self.addresses.retain(|address| no_nearer(address, source));
        self
    }

    /// Where it is said to be.
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
    }

    /// For how long that holds. Default 5 min, at most an hour.
    pub const fn lasting(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

impl Finder {
    pub(crate) fn new(shared: Arc<ClientShared>, server: Server, source: Source) -> Self {
        let tasks = shared.add_finder(source);
        Self { shared, server, source, tasks }
    }

    /// The node's client, for a source that asks other nodes.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.shared.clone())
    }

    /// The node's server: others may be told how much it has to do.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Which source this is.
    #[must_use]
    pub const fn source(&self) -> Source {
        self.source
    }

    /// This node.
    #[must_use]
    pub fn local_peer_id(&self) -> PeerId {
        self.shared.local
    }

    /// What this node serves: what others are to be told. Raw protocols are not in it.
    #[must_use]
    pub fn served(&self) -> Vec<ProtocolName> {
        self.shared.discovery.advertised().0
    }

    /// Where this node listens and where others reach it, without its peer id.
    #[must_use]
    pub fn addresses(&self) -> Vec<Multiaddr> {
        self.shared.discovery.advertised().1
    }

    /// Says where this node is reached, with its signature, so that others can hand it on: libp2p's [peer
    /// record], in the form that all libraries read. `None` if the key of the node is not known
    /// ([`Behaviour::set_keypair`](crate::Behaviour::set_keypair)), or cannot sign.
    ///
    /// [peer record]: https://github.com/libp2p/specs/blob/master/RFC/0003-routing-records.md
    #[must_use]
    pub fn sign(&self, addresses: Vec<Multiaddr>) -> Option<PeerRecord> {
        PeerRecord::new_interop(self.shared.discovery.keypair()?, addresses).ok()
    }

    /// Remembers an address of a peer that this source needs, as if the application had named it:
    /// [`Node::add_address`](crate::Node::add_address).
    pub fn add_address(&self, peer: PeerId, address: Multiaddr) {
        self.shared.add_address(peer, address);
    }

    /// The time, by the node's clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.clock.instant(self.shared.clock.now())
    }

    /// What the node's tasks run on.
    #[cfg(any(feature = "dns-discovery", feature = "lan"))]
    pub(super) fn clock(&self) -> crate::clock::Clock {
        self.shared.clock.clone()
    }

    /// Somebody was found.
    pub fn found(&self, found: Found) {
        self.shared.found(self.source, found);
    }

    /// A source takes back what it has said of a peer and a protocol, or of a peer and all protocols. If
    /// there is a connection to the peer, what it says itself counts.
    pub fn lost(&self, peer: PeerId, protocol: Option<&ProtocolName>) {
        self.shared.lost(self.source, peer, protocol);
    }

    /// What to do next; `None` when the node has ended. What was not taken in time is told once.
    pub async fn next_task(&mut self) -> Option<FinderTask> {
        poll_fn(|cx| self.poll_task(cx)).await
    }

    /// The same, for whoever polls by hand.
    pub fn poll_task(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Option<FinderTask>> {
        self.tasks.poll(cx)
    }

    /// Waits by the node's clock, on a task of its runtime.
    pub fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.shared.clock.sleep(time)
    }
}

impl Drop for Finder {
    fn drop(&mut self) {
        self.shared.remove_finder(&self.tasks);
    }
}

impl fmt::Debug for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finder").field("source", &self.source).finish_non_exhaustive()
    }
}
