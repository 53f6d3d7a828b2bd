//! What goes into the machine, and what comes out of it.

use alloc::vec::Vec;
use core::time::Duration;

use super::entry::DnsEntry;
use super::name::DnsName;
use crate::id::PeerId;
use crate::network::Address;

/// A query that is under way, by a number that is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub(super) u64);

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsFact {
    /// Servers are wanted.
    LookUp,
    /// A query was answered; also that there are no such records.
    Answered(QueryId, DnsAnswer),
    /// A query was not answered, or the resolver has failed.
    Failed(QueryId),
    /// Time has passed.
    Tick,
}

/// The records of a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnsAnswer {
    /// For how long they hold: the shortest of their TTLs.
    pub ttl: Duration,
    /// Those that can be read, without addresses that are not to be dialled.
    pub entries: Vec<DnsEntry<Address>>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsOrder {
    /// The `TXT` records of a [name](DnsName::txt_name) are to be asked for.
    Query(QueryId, DnsName),
    /// A peer is listed.
    Found {
        /// The peer.
        peer: PeerId,
        /// Where it is: one address at least.
        addresses: Vec<Address>,
        /// For how long that holds.
        ttl: Duration,
    },
    /// A peer is not listed any more.
    Lost(PeerId),
    /// All that was to be asked has been asked. Queries that are still under way are of no use any more.
    Ended(DnsOutcome),
}

/// How the reading of a list went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DnsOutcome {
    /// How many peers are listed.
    pub peers: usize,
    /// How many names were asked for.
    pub queries: usize,
    /// How many of them were not answered.
    pub unanswered: usize,
    /// There was more than is read.
    pub cut: bool,
}
