//! What goes into the machine, and what comes out of it.

use alloc::vec::Vec;
use core::time::Duration;

use crate::id::{PeerId, ProtocolName};

/// A network interface in one version of IP, by a number that the driver gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LanFact {
    /// Servers of this are wanted.
    LookUp(ProtocolName),
    /// They are not wanted any more.
    Forget(ProtocolName),
    /// What this node has to say of itself is something else now.
    Changed,
    /// A link is there.
    LinkUp(LinkId),
    /// A link is gone.
    LinkDown(LinkId),
    /// A message has come in on a link.
    Heard(LinkId, LanMessage),
    /// Time has passed.
    Tick,
    /// This node ends. Nothing happens afterwards.
    Stop,
}

/// What nodes say on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LanMessage {
    /// Somebody asks who is there.
    Query,
    /// These are there, or not any more.
    Announcement(Vec<Announced>),
}

/// What a peer says of itself, or somebody else of it: nobody can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The peer.
    pub peer: PeerId,
    /// All that it serves; `None` if it does not say.
    pub services: Option<Vec<ProtocolName>>,
    /// For how long that holds. Zero is a goodbye.
    pub ttl: Duration,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LanOrder {
    /// All on this link are to be asked who is there.
    Query(LinkId),
    /// All on this link are to be told of this node, if it is reached there.
    Announce(LinkId),
    /// All on this link are to be told that this node is gone.
    Goodbye(LinkId),
    /// A peer is there that may serve what is wanted.
    Found {
        /// The peer, one of those in the message that was handled last.
        peer: PeerId,
        /// What it says it serves; `None` if it does not say.
        service: Option<ProtocolName>,
        /// For how long that holds.
        ttl: Duration,
    },
    /// A peer is gone, or does not serve something that is wanted.
    Lost {
        /// The peer.
        peer: PeerId,
        /// What it does not serve; `None` if it is gone.
        service: Option<ProtocolName>,
    },
}
