//! What goes into the machine, and what comes out of it.

use alloc::vec::Vec;
use core::time::Duration;

use super::secret::ServiceKey;
use crate::id::{PeerId, ProtocolName};
use crate::network::Address;

/// A query to the table that is under way, by a number that is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub(super) u64);

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KademliaFact {
    /// This node serves these, and nothing else.
    Serves(Vec<ProtocolName>),
    /// Others reach this node elsewhere now.
    Moved,
    /// Servers of this are wanted.
    LookUp(ProtocolName),
    /// They are not wanted any more.
    Forget(ProtocolName),
    /// There is a connection to a node of the network.
    Joined,
    /// A node has answered a query, with whom it knows.
    Answered(QueryId, Vec<Provider>),
    /// A query has ended, and so many nodes have answered it.
    Ended(QueryId, usize),
    /// Time has passed.
    Tick,
}

/// Somebody who is listed under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// The peer.
    pub peer: PeerId,
    /// Where it is said to be: addresses that may be dialled.
    pub addresses: Vec<Address>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KademliaOrder {
    /// Dial the nodes that are known from the beginning.
    Join,
    /// List this node under a key, at the nodes that are closest to it. It is to be listed by itself, too.
    Announce(QueryId, ServiceKey),
    /// This node itself does not list it under a key any more. The others forget it by themselves.
    Withdraw(ServiceKey),
    /// Ask the nodes that are closest to a key who is listed there.
    Find(QueryId, ServiceKey),
    /// A query is not needed any more. It may still end.
    Stop(QueryId),
    /// Somebody is listed as a server, which holds for this long.
    Found {
        /// The peer.
        peer: PeerId,
        /// What it is said to serve.
        service: ProtocolName,
        /// Where it is said to be.
        addresses: Vec<Address>,
        /// For how long that holds.
        ttl: Duration,
    },
}
