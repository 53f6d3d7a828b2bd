//! Why dials, connects and opens fail.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use thiserror::Error;

use crate::id::PeerId;
use crate::network::order::Place;

/// Why an address did not lead to the peer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DialError {
    /// There was no connection for so long.
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
    /// It is an address of this node.
    #[error("this node itself listens there")]
    OwnAddress,
    /// This node has dialled itself.
    #[error("this node itself answers there")]
    OwnPeer,
    /// Another peer than the one that was dialled is there.
    #[error("another peer answers, {0}")]
    WrongPeer(PeerId),
    /// Addresses of this kind cannot be dialled.
    #[error("this node has no transport for such an address")]
    NoTransport,
    /// The transport failed, and says this of it: refused, unreachable, or no handshake.
    #[error("{0}")]
    Transport(Arc<str>),
    /// A limit of this node refused the connection.
    #[error("{0}")]
    Denied(Arc<str>),
    /// [`Network::keeps`](crate::network::Network::keeps) was false: this peer is connected already.
    #[error("there is a connection to the peer already")]
    Surplus(PeerId),
    /// The driver gave the dial up.
    #[error("the dial was given up")]
    Aborted,
    /// The driver is dialling the peer for somebody else, and dials it once at a time.
    #[error("it is being dialled already")]
    InProgress,
}

impl DialError {
    /// Whether the address has proved to be none of the peer's: somebody else is there, or nobody.
    pub(super) fn is_wrong(&self) -> bool {
        match self {
            Self::OwnAddress
            | Self::OwnPeer
            | Self::WrongPeer(_)
            | Self::NoTransport
            | Self::Transport(_) => true,
            Self::TimedOut(_)
            | Self::Denied(_)
            | Self::Surplus(_)
            | Self::Aborted
            | Self::InProgress => false,
        }
    }
}

/// What was dialled, and why it did not lead to the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure<A = Place> {
    /// What was dialled.
    pub address: A,
    /// Why that failed.
    pub why: DialError,
}

/// Why nobody is connected who wanted to be. A driver has something to say of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectFailure {
    /// This node itself is at the address.
    SelfDial,
    /// Every address took too long, the one that was named among them.
    TimedOut(Duration),
    /// No address led to the peer.
    Unreachable {
        /// What became of the address that was named; `None` if nothing could be dialled there.
        named: Option<DialError>,
        /// What became of the others.
        others: Vec<Failure>,
    },
    /// There was a connection, and the peer ended it at once. With what the connection broke, if it
    /// did.
    Ended(Option<Arc<str>>),
}

/// Why there is no connection for a stream. A driver has something to say of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenFailure {
    /// No address of the peer is known.
    NoAddress,
    /// No address of the peer is known any more.
    Gone,
    /// None of its addresses led to it.
    Unreachable(Arc<[Failure]>),
}
