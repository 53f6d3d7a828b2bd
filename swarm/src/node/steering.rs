//! What an application sees of connections and addresses, and what it can do about them.

use std::path::PathBuf;
use std::time::Duration;

use futures::channel::oneshot;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use pointsub_core::network::{KnownAddress, Source};

use super::addresses::multiaddr;
use super::event_loop::command::Command;
use super::peers::PeerConnection;
use super::{Node, NodeCall};
use crate::runtime::Runtime;

/// Who says that an address is a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressSource {
    /// The application of this node. Nobody else pushes out what it says.
    Application,
    /// The peer itself, on a connection.
    Peer,
    /// Somebody else, such as another peer or a way of finding peers.
    Discovered,
}

/// An address that is known of a peer: [`Node::known_addresses`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerAddress {
    /// The address, without the peer's id.
    pub address: Multiaddr,
    /// Who says that it is the peer's.
    pub source: AddressSource,
    /// How often the peer was reached there.
    pub successes: u32,
    /// How often it was not, since it was reached last.
    pub failures: u32,
    /// How long a dial took that reached it, smoothed.
    pub took: Option<Duration>,
}

impl From<AddressSource> for Source {
    fn from(source: AddressSource) -> Self {
        match source {
            AddressSource::Application => Self::Application,
            AddressSource::Peer => Self::Peer,
            AddressSource::Discovered => Self::Stranger,
        }
    }
}

impl From<KnownAddress> for PeerAddress {
    fn from(known: KnownAddress) -> Self {
        let source = match known.source {
            Source::Application => AddressSource::Application,
            Source::Peer => AddressSource::Peer,
            Source::Stranger => AddressSource::Discovered,
        };
        let KnownAddress { successes, failures, took, .. } = known;
        let address = multiaddr::to_libp2p(&known.address);
        Self { address, source, successes, failures, took }
    }
}

impl<R: Runtime> Node<R> {
    /// All connections, in no particular order. Empty after a shutdown.
    pub fn connections(&self) -> NodeCall<Vec<PeerConnection>> {
        self.ask(|done| Command::Connections { done })
    }

    /// Remembers an address of a peer that somebody else has named. At most 16 such are kept of a peer,
    /// for an hour if the peer is never reached there, and none that the application has named is pushed
    /// out by them. [`add_address`](Self::add_address) is for those that the application itself knows.
    pub fn add_address_from(
        &self,
        peer: PeerId,
        address: Multiaddr,
        source: AddressSource,
    ) -> NodeCall<()> {
        self.ask(move |done| Command::AddAddress { peer, address, source, done })
    }

    /// The addresses that are known of a peer, in the order in which they are dialled. Empty after a
    /// shutdown.
    pub fn known_addresses(&self, peer: PeerId) -> NodeCall<Vec<PeerAddress>> {
        self.ask(move |done| Command::KnownAddresses { peer, done })
    }

    /// The network is another one, or the machine has slept: the peers of all connections are asked for
    /// a sign of life, those that are silent are dialled anew, and nothing waits any more because it has
    /// failed before. Where the runtime reports what happens to interfaces, and where the machine's
    /// clock shows that it has slept, this is called by itself.
    pub fn network_changed(&self) -> NodeCall<()> {
        self.ask(|done| Command::NetworkChanged { done })
    }

    /// Writes the addresses of peers to a file, of which
    /// [`address_book`](super::NodeBuilder::address_book) tells more.
    ///
    /// # Errors
    /// What the system says if the file cannot be written; that there is no node any more.
    pub fn save_addresses(&self, path: impl Into<PathBuf>) -> NodeCall<std::io::Result<()>> {
        let (inner, path) = (self.inner.clone(), path.into());
        NodeCall::new(async move {
            let (done, answer) = oneshot::channel();
            inner.command(Command::SaveAddresses { path, done }).await;
            let ended = || std::io::Error::other("the node was shut down");
            answer.await.unwrap_or_else(|_| Err(ended()))
        })
    }
}
