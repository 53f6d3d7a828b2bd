//! What goes into the machine, and what comes out of it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::addresses::address::{Address, Reach};
use super::dialing::failure::{ConnectFailure, DialError, OpenFailure};
use super::dialing::race::AttemptId;
use crate::connection::Verdict;
use crate::id::PeerId;

/// Somebody who wants to be connected, from [`Network::connect`](super::Network::connect) to its one
/// outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectId(pub(super) u64);

/// A stream that is wanted, from [`Network::open`](super::Network::open) to its one outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpenId(pub(super) u64);

/// Whom somebody wants to be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// This peer, at this address first if there is one, and else wherever it is known to be.
    Peer(PeerId, Option<Address>),
    /// Whoever is at this address.
    Address(Address),
}

/// Who says that an address is a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The application of this node. Nobody else pushes out what it says.
    Application,
    /// The peer itself, on a connection.
    Peer,
    /// Anybody else.
    Stranger,
}

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// A request or a raw stream is under way, in either direction.
    pub is_busy: bool,
    /// Streams that are open, idle ones among them.
    pub streams: usize,
}

/// Why all that is known of the network may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// This node has slept, or was stopped.
    Woke,
    /// It is in another network, or an interface came or went.
    Network,
}

/// What has happened. `K` is the driver's key of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact<K> {
    /// An address of a peer was named.
    Named(PeerId, Address, Source),
    /// A peer has listed its own addresses on this connection.
    Identified(K, PeerId, Vec<Address>),
    /// Nobody waits for this any more.
    ConnectAbandoned(ConnectId),
    /// Nobody waits for this stream any more.
    OpenAbandoned(OpenId),
    /// The peer does something for this node, as a relay does: its silence is noticed although it
    /// owes nothing.
    Watched(PeerId),
    /// There is a connection.
    Up(Up<K>),
    /// A connection has ended, with what it broke if it did.
    Down(K, Option<Arc<str>>),
    /// What a connection says of its peer's silence: [`Liveness`](crate::Liveness).
    Judged(K, Verdict),
    /// A dial has failed; `None` if there was nothing to dial.
    DialFailed(AttemptId, Option<DialError>),
    /// There are more connections to the peer than are allowed.
    Crowded(PeerId),
    /// What a connection is used for, as [`Act::Assess`] has asked.
    Assessed(K, Work),
    /// How long the way to the peer and back is, as measured on a connection.
    Measured(K, Duration),
    /// Nothing may be as it was.
    Changed(Change),
    /// Time has passed.
    Tick,
}

/// A connection that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Up<K> {
    /// The driver's key, which is none of another connection's.
    pub connection: K,
    /// Who is at the other end.
    pub peer: PeerId,
    /// It goes through a relay.
    pub relayed: bool,
    /// From how far away the peer is seen.
    pub from: Reach,
    /// What was dialled for it; `None` if the peer has dialled.
    pub dialled: Option<Address>,
    /// Whose dial it was, if it was one of the machine's.
    pub attempt: Option<AttemptId>,
}

/// What a dial leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A peer. Nobody else is accepted.
    Peer(PeerId),
    /// Whoever is there.
    Address(Address),
}

/// Where to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At this address, and nowhere else.
    At(Address),
    /// Where the driver itself knows the peer to be, if it has such knowledge.
    Elsewhere,
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order<K> {
    /// Dial; [`Fact::Up`] or [`Fact::DialFailed`] follows, in any time. The machine does not wait
    /// for it longer than its time limit for one address, and takes the connection even then.
    Dial {
        /// Its name.
        attempt: AttemptId,
        /// Whom to expect.
        target: Target,
        /// Where.
        place: Place,
    },
    /// Do something to a connection.
    Connection(PeerId, K, Act),
    /// Somebody is connected to this peer.
    Connected(ConnectId, PeerId),
    /// Somebody cannot be connected.
    ConnectFailed(ConnectId, ConnectFailure),
    /// There is no connection for a stream.
    OpenFailed(OpenId, OpenFailure),
    /// Something that an application may want to know.
    Event(NetworkEvent),
}

/// What to do to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Open this stream on it. The machine does not ask what becomes of it.
    Open {
        /// Which stream.
        open: OpenId,
        /// The connection goes through a relay.
        relayed: bool,
    },
    /// Begin nothing new on it. What is under way ends there.
    Retire,
    /// Take it into use again.
    Resume,
    /// Ask its peer for a sign of life.
    Probe,
    /// The same; this node has slept, so that whatever was waited for on it has time anew.
    Recheck,
    /// Look after it although nothing is due.
    Watch,
    /// Say what it is used for: [`Fact::Assessed`].
    Assess,
    /// End it in good order.
    Close,
    /// End it at once: its peer is gone.
    Abort,
}

/// What an application may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkEvent {
    /// There is a first connection to the peer.
    PeerConnected(PeerId),
    /// The last connection to the peer has ended.
    PeerDisconnected(PeerId),
}
