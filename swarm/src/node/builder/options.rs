//! What a node keeps from one start to the next, and which relays it looks for.

use std::path::PathBuf;

use libp2p_identity::Keypair;

use super::{NodeBuilder, NodeError};
use crate::node::stored::key_file::read_or_create;
use crate::runtime::Runtime;

/// Options of a node that are not about requests.
#[derive(Debug, Default)]
pub(in crate::node) struct Keeping {
    key_file: Option<PathBuf>,
    pub(in crate::node) address_book: Option<PathBuf>,
    pub(in crate::node) auto_relay: usize,
}

impl Keeping {
    /// The node's identity: the one that was given, or that of the file, or a fresh one.
    pub(super) fn keypair(&self, given: Option<Keypair>) -> Result<Keypair, NodeError> {
        match (given, &self.key_file) {
            (Some(given), _) => Ok(given),
            (None, Some(path)) => Ok(read_or_create(path)?),
            (None, None) => Ok(Keypair::generate_ed25519()),
        }
    }
}

impl<R: Runtime> NodeBuilder<R> {
    /// Keeps the node's identity in a file. If there is none, it is created with a fresh Ed25519 key that
    /// only its owner may read (mode 0600 on Unix). One that others may read is refused, and one that
    /// has no key is left as it is. Not looked at if there is a [`keypair`](Self::keypair).
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.keeping.key_file = Some(path.into());
        self
    }

    /// Keeps the addresses of peers in a file: those that the application has named, and those at which
    /// peers were reached in the last seven days. It is read at the start, where lines that are broken are
    /// left out, and written each five minutes and at a [`shutdown`](crate::Node::shutdown).
    pub fn address_book(mut self, path: impl Into<PathBuf>) -> Self {
        self.keeping.address_book = Some(path.into());
        self
    }

    /// Looks for so many relays while others cannot reach this node directly, as far as it knows: among
    /// the peers that it is connected to and that say that they relay. It begins 10 s after the start.
    /// One that is lost is replaced by another, or asked again after pauses of 2 s to 5 min. Default 0.
    pub fn auto_relay(mut self, relays: usize) -> Self {
        self.keeping.auto_relay = relays;
        self
    }
}
