//! A ready-made libp2p node for programs that have no swarm of their own.

pub(crate) mod addresses;
#[cfg(feature = "autonat")]
mod autonat;
pub(crate) mod behaviour;
mod builder;
mod call;
#[cfg(feature = "relay")]
mod circuits;
pub(crate) mod dialing;
mod event_loop;
mod events;
#[cfg(feature = "kad")]
mod kademlia;
mod key;
mod limits;
mod listen_failure;
mod peers;
mod steering;
mod stored;
mod watch;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::SinkExt;
use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select};
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use pointsub_core::Source;
use thiserror::Error;

pub use builder::{NodeBuilder, NodeError};
pub use call::NodeCall;
use event_loop::command::Command;
use events::Listeners;
pub use events::{Events, NodeEvent, Reachability};
#[cfg(feature = "kad")]
pub use kademlia::Kademlia;
pub use key::{KeyError, read_keypair};
pub(crate) use limits::handshakes::heard;
pub use listen_failure::ListenFailure;
pub use peers::{Path, PeerConnection, PeerInfo, TransportKind};
pub use pointsub_core::network::DialError;
pub use steering::{AddressSource, PeerAddress};
pub use stored::key_file::KeyFileError;

use crate::api::client::Client;
use crate::api::pointsub::PointSub;
use crate::api::server::{Server, Stopped};
use crate::clock::Clock;
use crate::discovery::Finder;
use crate::runtime::Runtime;

/// How long connections get at least to close in good order when a node shuts down.
const CLOSING: Duration = Duration::from_secs(1);

/// An identity, transports, a server and a client, running on the runtime `R`.
///
/// Cheap to clone; clones are the same node. Dropping the last one ends its connections;
/// [`shutdown`](Self::shutdown) does so in good order.
///
/// # How things end
///
/// | | what is under way | afterwards |
/// |---|---|---|
/// | [`Server::stop(grace)`](Server::stop) | ends, within the grace | serves again what is registered then |
/// | [`Client::drain`] | ends | the client stays closed |
/// | [`Client::close`] | fails | the client stays closed |
/// | [`PointSub::stop(grace)`](PointSub::stop) | `stop` of the server, then `close` of the client | as these |
/// | [`Node::disconnect`] | fails, or is tried again, as [`Delivery`](crate::Delivery) allows | connects again when something is sent |
/// | [`Node::shutdown(grace)`](Self::shutdown) | `stop`, `close`, then every connection is closed | everything is closed |
/// | drop of a [`Listener`](crate::Listener) | streams that were accepted go on | the protocol is not served |
/// | drop of the last `Node` | fails | everything is closed |
#[must_use = "a node ends when it is dropped"]
pub struct Node<R> {
    inner: Arc<Inner>,
    runtime: PhantomData<fn() -> R>,
}

/// What the clones of a node share.
struct Inner {
    peer: PeerId,
    client: Client,
    server: Server,
    commands: mpsc::Sender<Command>,
    listeners: Listeners,
    connect_timeout: Duration,
    clock: Clock,
}

/// Why a connection was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A node cannot connect to itself.
    #[error("a node cannot connect to itself")]
    SelfDial,
    /// Nobody answers at the address, or not as the peer that was expected.
    #[error("cannot connect to {address}: {reason}")]
    Unreachable {
        /// The address.
        address: Multiaddr,
        /// What the transport says of the address, and a line for each other one that was tried.
        reason: String,
        /// Each address that was tried, and why it did not lead to the peer. Empty if the peer was there,
        /// and ended the connection at once.
        tried: Vec<Tried>,
    },
    /// No connection within `connect_timeout`.
    #[error("no connection to {address} within {after:?}")]
    TimedOut {
        /// The address.
        address: Multiaddr,
        /// The limit.
        after: Duration,
    },
    /// The node was shut down.
    #[error("the node was shut down")]
    Shutdown,
}

/// An address that did not lead to a peer: [`ConnectError::Unreachable`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tried {
    /// The address; `None` if it is not known which one it was.
    pub address: Option<Multiaddr>,
    /// Why it did not.
    pub why: DialError,
}

impl ConnectError {
    /// Whether time ran out.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }

    /// Whether it makes sense to try again: the peer may come, or may be slow.
    #[must_use]
    pub const fn may_retry(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Unreachable { .. })
    }
}

/// How a [`Node::shutdown`] went: what it could not bring to a good end. All zero if nothing was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Shutdown {
    /// What the server did not bring to its end within the grace.
    pub server: Stopped,
    /// Requests of this node's own client that had no answer yet, and have failed.
    pub failed: u64,
    /// Connections that did not close in good order in time, and were cut. What their peers had not read
    /// is lost.
    pub cut_connections: usize,
}

impl Shutdown {
    /// Whether everything came to its end: no request failed, and every peer took what was written.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

impl<R: Runtime> Node<R> {
    /// Begins to build a node on the default of its runtime. [`NodeBuilder::on`] takes another one.
    pub fn builder() -> NodeBuilder<R>
    where
        R: Default,
    {
        NodeBuilder::on(R::default())
    }

    /// The name under which other peers reach this node.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.inner.peer
    }

    /// The handle that sends requests.
    #[must_use]
    pub fn client(&self) -> Client {
        self.inner.client.clone()
    }

    /// The handle that registers protocols.
    #[must_use]
    pub fn server(&self) -> Server {
        self.inner.server.clone()
    }

    /// Both handles as one.
    #[must_use]
    pub fn pointsub(&self) -> PointSub {
        PointSub::new(self.client(), self.server())
    }

    /// The addresses at which this node listens, each with its peer id: what another node needs
    /// for [`connect`](Self::connect). Empty after a shutdown.
    pub fn addresses(&self) -> NodeCall<Vec<Multiaddr>> {
        self.ask(|done| Command::Addresses { done })
    }

    /// The first of [`addresses`](Self::addresses); `None` if the node listens nowhere, or was shut
    /// down.
    pub fn address(&self) -> NodeCall<Option<Multiaddr>> {
        let addresses = self.addresses();
        NodeCall::new(async move { addresses.await.into_iter().next() })
    }

    /// The addresses at which others reach this node, each with its peer id: those given to
    /// [`external_address`](NodeBuilder::external_address), those at relays that keep a place for
    /// it, and those at which a peer that it had connected to could dial it back (AutoNAT v2; the
    /// test comes some 5 s after the first connection, and once per address). Without a direct one
    /// among them, the node is not known to be reachable. Empty after a shutdown.
    pub fn external_addresses(&self) -> NodeCall<Vec<Multiaddr>> {
        self.ask(|done| Command::ExternalAddresses { done })
    }

    /// Connects to a peer at an address and returns the peer's id. The address is remembered for
    /// dialling again. If it ends in `/p2p/…`, nobody else is accepted there, and the peer is dialled
    /// at all addresses that are known of it; whoever connects to it or waits for it meanwhile shares
    /// that dial.
    ///
    /// It may be called again and again: if there is a connection to the peer already, or one that
    /// this node has dialled at that address, that is the answer, and no further one is made.
    ///
    /// # Errors
    /// [`ConnectError`]
    pub fn connect(&self, address: Multiaddr) -> NodeCall<Result<PeerId, ConnectError>> {
        let inner = self.inner.clone();
        NodeCall::new(async move {
            let (done, answer) = oneshot::channel();
            inner.command(Command::Connect { address: address.clone(), done }).await;
            let after = inner.connect_timeout;
            match select(answer, inner.clock.wait(after)).await {
                Either::Left((answer, _)) => answer.unwrap_or(Err(ConnectError::Shutdown)),
                Either::Right(_) => Err(ConnectError::TimedOut { address, after }),
            }
        })
    }

    /// Closes all connections to a peer, and waits until they have ended. Returns `false` if there is
    /// none. The peer may connect again, and so does this node when something is sent to it.
    pub fn disconnect(&self, peer: PeerId) -> NodeCall<bool> {
        self.ask(move |done| Command::Disconnect { peer, done })
    }

    /// The peers to which there is a connection, in no particular order. Empty after a shutdown.
    pub fn peers(&self) -> NodeCall<Vec<PeerInfo>> {
        self.ask(|done| Command::Peers { done })
    }

    /// What happens from now on to peers, connections and addresses. The stream ends with the node. Who
    /// does not take events in time is told how many were [missed](NodeEvent::Missed).
    ///
    /// ```
    /// use futures::StreamExt;
    /// use pointsub_swarm::{Node, NodeEvent, Runtime};
    ///
    /// async fn watch<R: Runtime>(node: Node<R>) {
    ///     let mut events = node.events();
    ///     while let Some(event) = events.next().await {
    ///         match event {
    ///             NodeEvent::PeerConnected { peer, .. } => println!("{peer} is here"),
    ///             NodeEvent::PeerDisconnected { peer, .. } => println!("{peer} has gone"),
    ///             _ => {}
    ///         }
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn events(&self) -> Events {
        self.inner.listeners.subscribe()
    }

    /// Listens at a further address, and returns the first one at which this can be reached, with the
    /// node's peer id: port 0 has become a number in it. At a relay it is waited for the place there.
    ///
    /// # Errors
    /// [`NodeError::Listen`] as for [`NodeBuilder::listen`]; [`NodeError::Shutdown`].
    pub fn listen(&self, address: Multiaddr) -> NodeCall<Result<Multiaddr, NodeError>> {
        let inner = self.inner.clone();
        NodeCall::new(async move {
            let (done, answer) = oneshot::channel();
            inner.command(Command::Listen { address: address.clone(), done }).await;
            match select(answer, inner.clock.wait(event_loop::LISTENING)).await {
                Either::Left((answer, _)) => answer.unwrap_or(Err(NodeError::Shutdown)),
                Either::Right(_) => {
                    let (done, _) = oneshot::channel();
                    inner.command(Command::Unlisten { address: address.clone(), done }).await;
                    let reason = ListenFailure::TimedOut(event_loop::LISTENING);
                    Err(NodeError::Listen { address, reason })
                }
            }
        })
    }

    /// Does not listen any more at an address, named as it was to [`listen`](Self::listen) or as
    /// [`addresses`](Self::addresses) has it. All addresses that came of the same call go with it.
    /// Connections stay. Returns `false` if this node does not listen there.
    pub fn unlisten(&self, address: Multiaddr) -> NodeCall<bool> {
        self.ask(move |done| Command::Unlisten { address, done })
    }

    /// Remembers an address of a peer, with or without `/p2p/…` at its end, for when a request has to
    /// go there. At most 16 are kept of each peer; nothing that others say pushes them out.
    pub fn add_address(&self, peer: PeerId, address: Multiaddr) -> NodeCall<()> {
        let source = AddressSource::Application;
        self.ask(move |done| Command::AddAddress { peer, address, source, done })
    }

    /// A further source of servers that nobody has named, until it is dropped: whoever holds this says
    /// whom it has found. Sources that are known from the beginning are given to
    /// [`NodeBuilder::discover`].
    #[must_use]
    pub fn finder(&self, source: Source) -> Finder {
        Finder::new(self.inner.client.shared.clone(), self.server(), source)
    }

    /// Stops the server (requests at work have `grace` to end), fails what the client still waits
    /// for, and closes all connections. What was answered, written to raw streams and closed there
    /// is delivered first, as far as `grace` allows; peers get a second at least to take it. The
    /// [`Shutdown`] says what was not.
    ///
    /// All clones of the node are closed by it.
    pub fn shutdown(&self, grace: Duration) -> NodeCall<Shutdown> {
        let inner = self.inner.clone();
        NodeCall::new(async move {
            let began = inner.clock.now();
            let server = inner.server.end(grace).await;
            let failed = inner.client.stats().in_flight;
            inner.client.close().await;
            let left = grace.saturating_sub(inner.clock.now().since(began)).max(CLOSING);
            let (done, answer) = oneshot::channel();
            inner.command(Command::Shutdown { within: left, done }).await;
            let cut_connections = answer.await.unwrap_or_default();
            Shutdown { server, failed, cut_connections }
        })
    }

    /// Asks the event loop. A node that has ended answers with what is empty.
    fn ask<T: Default + Send + 'static>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command + Send + 'static,
    ) -> NodeCall<T> {
        let inner = self.inner.clone();
        NodeCall::new(async move {
            let (done, answer) = oneshot::channel();
            inner.command(command(done)).await;
            answer.await.unwrap_or_default()
        })
    }
}

impl Inner {
    async fn command(&self, command: Command) {
        // An error means that the node has ended; the answer's channel says so too.
        let _ended = self.commands.clone().send(command).await;
    }
}

impl<R> Clone for Node<R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), runtime: PhantomData }
    }
}

impl<R> fmt::Debug for Node<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("peer", &self.inner.peer).finish_non_exhaustive()
    }
}
