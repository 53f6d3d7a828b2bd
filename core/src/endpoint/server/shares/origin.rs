//! Where a stream comes from: a peer, and the groups that the peer belongs to.

use crate::id::PeerId;

/// Peers that have something in common which costs more than a Peer ID does, such as the network that
/// they connect from. The core compares groups. What one is, only the driver knows.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(u64);

impl GroupId {
    /// A group. Equal numbers are the same group.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// How many groups a stream belongs to at most.
pub(in crate::endpoint::server) const LEVELS: usize = 2;

/// Whom a stream is of: a peer, within up to two groups of which the second one is a part of the first
/// one.
///
/// ```
/// use pointsub_core::PeerId;
/// use pointsub_core::endpoint::{GroupId, Origin};
///
/// let peer = PeerId::from_bytes(b"peer")?;
/// let alone = Origin::from(peer);
/// let in_a_network = Origin::from(peer).within(GroupId::new(0xc0_00_02), None);
/// assert_ne!(alone, in_a_network);
/// # Ok::<(), pointsub_core::PeerIdError>(())
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub(crate) peer: PeerId,
    pub(in crate::endpoint::server) groups: [Option<GroupId>; LEVELS],
    pub(in crate::endpoint::server) trusted: bool,
}

impl Origin {
    /// The peer.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// The widest group that it belongs to.
    #[must_use]
    pub const fn group(&self) -> Option<GroupId> {
        self.groups[0]
    }

    /// The same peer as a part of a group, and of a group within that.
    #[must_use]
    pub const fn within(mut self, group: GroupId, narrower: Option<GroupId>) -> Self {
        self.groups = [Some(group), narrower];
        self
    }

    /// The same, of whom the application has said that it may cost what it likes: it is never kept out.
    #[must_use]
    pub const fn trusted(mut self, trusted: bool) -> Self {
        self.trusted = trusted;
        self
    }
}

impl From<PeerId> for Origin {
    fn from(peer: PeerId) -> Self {
        Self { peer, groups: [None; LEVELS], trusted: false }
    }
}
