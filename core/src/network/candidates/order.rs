//! What goes into the machine, and what comes out of it.

use alloc::vec::Vec;

use super::source::Source;
use crate::id::{PeerId, ProtocolName};
use crate::time::Timestamp;

/// A source says that a peer is there, and may serve something. Where the peer is reached is the
/// driver's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The peer.
    pub peer: PeerId,
    /// What it serves; `None` if the source only says that it is there.
    pub service: Option<ProtocolName>,
    /// Who says so.
    pub source: Source,
    /// Until when that holds; a default time if `None`.
    pub until: Option<Timestamp>,
    /// A number for the network (an IPv4 /24 or an IPv6 /48) that its address belongs to, if it is one of
    /// the internet. Of one network there are few candidates for a service.
    pub network: Option<u64>,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CandidateFact {
    /// Somebody wants servers of this.
    Wanted(ProtocolName),
    /// Nobody does any more.
    Unwanted(ProtocolName),
    /// A source has found somebody.
    Found(Found),
    /// A source takes back what it has found.
    Lost {
        /// The peer.
        peer: PeerId,
        /// What it was said to serve; `None` for everything.
        service: Option<ProtocolName>,
        /// Who had said so.
        source: Source,
    },
    /// There is a connection to a peer, in a network as in [`Found::network`]; what it serves is not
    /// known.
    Connected(PeerId, Option<u64>),
    /// A connected peer has told all that it serves.
    Identified(PeerId, Vec<ProtocolName>),
    /// A peer cannot be reached: a dial has failed.
    Unreachable(PeerId),
    /// The last connection to a peer has ended, and whether any address of it is known.
    Disconnected(PeerId, bool),
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CandidateOrder {
    /// A source is to be asked who serves this. It answers with any number of [`Found`], at any time.
    LookUp(ProtocolName, Source),
    /// Nobody wants servers of this any more: sources need not look for any.
    Forget(ProtocolName),
    /// A peer is to be dialled, to hear what it serves.
    Verify(PeerId),
    /// A peer serves this, as it said itself on a connection.
    Add(ProtocolName, PeerId, Source),
    /// A peer does not serve this any more, or is not reached.
    Remove(ProtocolName, PeerId),
}

/// How far it has come with a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CandidateState {
    /// It has not been dialled yet, or is to be dialled again.
    Waiting,
    /// It is being dialled, or has not told what it serves.
    Verifying,
    /// It said itself that it serves this.
    Serving,
}

/// One candidate for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The peer.
    pub peer: PeerId,
    /// How it was found.
    pub source: Source,
    /// How far it has come.
    pub state: CandidateState,
    /// How often it was not reached since it was last.
    pub failures: u32,
}
