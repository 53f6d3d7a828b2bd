//! A ready-made libp2p node for programs that have no swarm of their own.

pub(crate) mod addresses;
mod autonat;
pub(crate) mod behaviour;
mod builder;
pub(crate) mod dialing;
mod event_loop;
mod key;
mod limits;

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use futures::SinkExt;
use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select};
use futures_timer::Delay;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use thiserror::Error;

pub use builder::{NodeBuilder, NodeError};
use event_loop::Command;
pub use key::{KeyError, read_keypair};
pub(crate) use limits::handshakes::heard;

use crate::api::client::Client;
use crate::api::pointsub::PointSub;
use crate::api::server::{Server, Stopped};
use crate::runtime::Runtime;

/// What connections get at least to close in good order.
const CLOSING: Duration = Duration::from_secs(1);

/// An identity, transports, a server and a client, running on the runtime `R`.
///
/// Dropping it ends its connections; [`shutdown`](Self::shutdown) does so in good order.
#[must_use = "a node ends when it is dropped"]
pub struct Node<R> {
    peer: PeerId,
    client: Client,
    server: Server,
    commands: mpsc::Sender<Command>,
    connect_timeout: Duration,
    runtime: PhantomData<fn() -> R>,
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

impl<R: Runtime> Node<R> {
    /// Begins to build a node. Without further calls it has a fresh identity and listens nowhere.
    pub fn builder() -> NodeBuilder<R> {
        NodeBuilder::new()
    }

    /// The name under which other peers reach this node.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// The handle that sends requests.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The handle that registers protocols.
    #[must_use]
    pub fn server(&self) -> Server {
        self.server.clone()
    }

    /// Both handles as one.
    #[must_use]
    pub fn pointsub(&self) -> PointSub {
        PointSub::new(self.client.clone(), self.server.clone())
    }

    /// The addresses at which this node listens, each with its peer id: what another node needs
    /// for [`connect`](Self::connect). Empty after a shutdown.
    pub async fn addresses(&self) -> Vec<Multiaddr> {
        let (done, answer) = oneshot::channel();
        self.command(Command::Addresses { done }).await;
        answer.await.unwrap_or_default()
    }

    /// The first of [`addresses`](Self::addresses); `None` if the node listens nowhere, or was shut
    /// down.
    pub async fn address(&self) -> Option<Multiaddr> {
        self.addresses().await.into_iter().next()
    }

    /// The addresses at which others reach this node, each with its peer id: those given to
    /// [`external_address`](NodeBuilder::external_address), those at relays that keep a place for
    /// it, and those at which a peer that it had connected to could dial it back (AutoNAT v2; the
    /// test comes some 5 s after the first connection, and once per address). Without a direct one
    /// among them, the node is not known to be reachable. Empty after a shutdown.
    pub async fn external_addresses(&self) -> Vec<Multiaddr> {
        let (done, answer) = oneshot::channel();
        self.command(Command::ExternalAddresses { done }).await;
        answer.await.unwrap_or_default()
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
    pub async fn connect(&self, address: Multiaddr) -> Result<PeerId, ConnectError> {
        let (done, answer) = oneshot::channel();
        self.command(Command::Connect { address: address.clone(), done }).await;
        match select(answer, Delay::new(self.connect_timeout)).await {
            Either::Left((answer, _)) => answer.unwrap_or(Err(ConnectError::Shutdown)),
            Either::Right(_) => {
                Err(ConnectError::TimedOut { address, after: self.connect_timeout })
            }
        }
    }

    /// Remembers an address of a peer, with or without `/p2p/…` at its end, for when a request has to
    /// go there. At most 16 are kept of each peer; nothing that others say pushes them out.
    pub async fn add_address(&self, peer: PeerId, address: Multiaddr) {
        let (done, answer) = oneshot::channel();
        self.command(Command::AddAddress { peer, address, done }).await;
        let _gone = answer.await;
    }

    /// Stops the server (requests at work have `grace` to end), fails what the client still waits
    /// for, and closes all connections. What was answered, written to raw streams and closed there
    /// is delivered first, as far as `grace` allows; peers get a second at least to take it. What was
    /// not is said.
    pub async fn shutdown(self, grace: Duration) -> Stopped {
        let began = Instant::now();
        let stopped = self.server.end(grace).await;
        self.client.close().await;
        let left = grace.saturating_sub(began.elapsed()).max(CLOSING);
        let (done, answer) = oneshot::channel();
        self.command(Command::Shutdown { within: left, done }).await;
        let _gone = answer.await;
        stopped
    }

    async fn command(&self, command: Command) {
        // An error means that the node has ended; the answer's channel says so too.
        let _ended = self.commands.clone().send(command).await;
    }
}

impl<R> fmt::Debug for Node<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("peer", &self.peer).finish_non_exhaustive()
    }
}
