//! What goes into the machines, and what comes out of them.

use alloc::vec::Vec;

use thiserror::Error;

use crate::id::{PeerId, ProtocolName};

/// A server that is listed, by the call that lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub(super) u64);

/// Somebody who watches a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(pub(super) u64);

/// One of the registries that a node knows; the driver numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryId(pub usize);

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement<R> {
    /// What it serves.
    pub services: Vec<ProtocolName>,
    /// What those are told who look for it.
    pub record: R,
    /// How many bytes that has.
    pub size: usize,
    /// Nothing has changed but what may be told late, such as how much the server has to do. All other changes
    /// are told first.
    pub may_be_late: bool,
}

/// What somebody who watches a protocol is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryEvent<R> {
    /// What follows is all there is: whoever is not told again until [`Complete`](Self::Complete) is not
    /// listed any more.
    Begin,
    /// A server is listed, or what is known of it has changed.
    Here(PeerId, R),
    /// A server is not listed any more.
    Gone(PeerId),
    /// All that are listed have been told. What follows are changes.
    Complete,
}

/// What the driver of a registry is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryOrder {
    /// There are events for a watcher.
    Wake(WatcherId),
    /// The call of an entry is to be ended. The entry is gone.
    End(EntryId, RegistryRefusal),
}

/// Why a registry does not list a server, or not any more, or lets nobody watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum RegistryRefusal {
    /// Another call of the same peer has taken its place.
    #[error("another call of this peer announces it now")]
    Replaced,
    /// It says too much of itself.
    #[error(
        "the announcement has {protocols} protocols and {size} bytes, and may have {max_protocols} and \
         {max_size}: announce less"
    )]
    TooLarge {
        /// How many protocols it has.
        protocols: usize,
        /// How many bytes.
        size: usize,
        /// How many protocols it may have.
        max_protocols: usize,
        /// How many bytes.
        max_size: usize,
    },
    /// Its network has as many places as one may have.
    #[error("the network of this peer has its share of {limit}: try later, or another registry")]
    NetworkFull {
        /// How many it may have.
        limit: usize,
    },
    /// There are no places, or another network with fewer of them has got this one.
    #[error("the registry has its {limit}: try later, or another one")]
    Full {
        /// How many it may have.
        limit: usize,
    },
    /// What the servers of the registry, or of one network, say of themselves takes as many bytes as it may.
    #[error(
        "the registry, or the network of this peer, has its {limit} bytes: try later, or another registry"
    )]
    NoMemory {
        /// How many bytes it may have.
        limit: usize,
    },
    /// The peer watches as much as one may.
    #[error("this peer watches {limit} protocols, which is as many as it may")]
    PeerFull {
        /// How many it may.
        limit: usize,
    },
}

/// What has happened, for a node that knows registries. `A` is what is known of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistriesFact<A> {
    /// Servers of this are looked for, or still are.
    LookUp(ProtocolName),
    /// Nobody wants servers of this any more.
    Forget(ProtocolName),
    /// Whether this node serves something that is to be announced.
    Serves(bool),
    /// A registry has taken an announcement.
    Accepted(RegistryId),
    /// A call that announces has ended or failed. If another one of the same peer has taken its place, it
    /// is left alone for a minute.
    AnnounceEnded(RegistryId, Option<RegistryRefusal>),
    /// A registry says something about who serves this.
    Told(RegistryId, ProtocolName, RegistryEvent<A>),
    /// A call that watches has ended or failed.
    WatchEnded(RegistryId, ProtocolName),
    /// Time has passed.
    Tick,
}

/// What the driver of a node is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistriesOrder<A> {
    /// A call that announces is to be opened, and held open.
    Announce(RegistryId),
    /// It is to be ended.
    Withdraw(RegistryId),
    /// A call that watches this is to be opened.
    Watch(RegistryId, ProtocolName),
    /// It is to be ended.
    Unwatch(RegistryId, ProtocolName),
    /// Somebody is said to serve this.
    Found(PeerId, ProtocolName, A),
    /// No registry says so any more.
    Lost(PeerId, ProtocolName),
}
