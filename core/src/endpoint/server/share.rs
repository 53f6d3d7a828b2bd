//! Fair shares of a number of places.
//!
//! Three rules, from the freest server to the fullest.
//!
//! *Dynamic thresholds*, as Choudhury and Hahne gave them to the queues that share a switch's
//! memory ("Dynamic queue length thresholds for shared-memory packet switches", 1998): each flow
//! may have a multiple of what is free at the moment. One greedy flow then stops by itself while
//! about a ninth of the places is still free, `n` greedy ones come to equal shares, and whoever has
//! nothing at work finds a place. Nothing is reserved: a flow that is alone has everything.
//!
//! *Equal shares.* Thresholds are fair as long as the number of places stands still. Where it
//! shrinks, a flow keeps what it has, nothing is free, and all others would wait for it. So a flow
//! with less than an equal part of the limit does not wait: what it lacks is with those that have
//! more than theirs (max-min fairness; Bertsekas and Gallager, "Data Networks", 1992, section
//! 6.5.2). It gets its part beyond the limit, up to the ceiling, whose places are shared by the same
//! thresholds. All that is let in so is no more than the limit once more.
//!
//! *First places.* A flow that has none gets one beyond the limit, while fewer flows than the limit have
//! one: then others have more than their part. Where each has one already and the limit is reached,
//! nobody has more than their part, and one more is refused: a thousand clients with a request each are
//! as much work as one client with a thousand. So no more than twice the limit is ever at work. Names
//! are free, so that one who brings many of them can take as many places like this, but needs a peer
//! id for each.

/// How many times as many places as are left one peer or one protocol may have.
const MULTIPLE: usize = 8;

/// The places that are taken, and by how many flows.
#[derive(Debug, Default)]
pub(super) struct Shares {
    taken: usize,
    /// Peers that have one.
    peers: usize,
    /// Protocols that have one.
    protocols: usize,
}

/// The places of which flows want shares.
#[derive(Copy, Clone, Debug)]
pub(super) struct Places {
    /// How many are to be taken.
    pub(super) limit: usize,
    /// How many of these are left; none if more than the limit are taken.
    pub(super) free: usize,
    /// How many are left in all, up to the ceiling.
    pub(super) room: usize,
}

/// What a peer or a protocol has, and how many of its kind there are.
#[derive(Copy, Clone, Debug)]
pub(super) struct Flow {
    /// The places that it has.
    pub(super) has: usize,
    /// How many flows there are, with or without places.
    pub(super) known: usize,
}

impl Shares {
    /// How many places are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// Whether there is a place that counts for both of these.
    pub(super) fn admit(&self, places: Places, peer: Flow, protocol: Flow) -> bool {
        let fair = |free| peer.is_fair(free) && protocol.is_fair(free);
        let first = peer.is_first(places.limit, self.peers)
            || protocol.is_first(places.limit, self.protocols);
        let lacks =
            peer.lacks(places.limit, self.peers) || protocol.lacks(places.limit, self.protocols);
        places.room > 0
            && (first || fair(places.free.min(places.room)) || lacks && fair(places.room))
    }

    /// A peer takes a place under a protocol; both are what they had of them.
    pub(super) fn take(&mut self, peer: &mut usize, protocol: &mut usize) {
        self.taken += 1;
        self.peers += usize::from(*peer == 0);
        self.protocols += usize::from(*protocol == 0);
        *peer += 1;
        *protocol += 1;
    }

    /// So many places are given back, more than none; nothing of the protocol's if it is
    /// [gone](Self::forget).
    pub(super) fn give(&mut self, count: usize, peer: &mut usize, protocol: Option<&mut usize>) {
        self.taken = self.taken.saturating_sub(count);
        *peer = peer.saturating_sub(count);
        self.peers = self.peers.saturating_sub(usize::from(*peer == 0));
        if let Some(protocol) = protocol {
            *protocol = protocol.saturating_sub(count);
            self.protocols = self.protocols.saturating_sub(usize::from(*protocol == 0));
        }
    }

    /// A protocol that has so many places is gone before they are given back.
    pub(super) fn forget(&mut self, protocol: usize) {
        self.protocols = self.protocols.saturating_sub(usize::from(protocol > 0));
    }
}

impl Flow {
    /// Whether it may have another one of so many free places.
    fn is_fair(&self, free: usize) -> bool {
        let left = free.saturating_sub(1);
        let within = self.known == 1 || self.has == 0 || self.has < left.saturating_mul(MULTIPLE);
        free > 0 && within
    }

    /// Whether it has less than an equal part of so many places; so many flows have one. A flow
    /// that is busy alone has a part as if there were another one.
    fn lacks(&self, limit: usize, busy: usize) -> bool {
        let flows = (busy + usize::from(self.has == 0)).max(2);
        (self.has + 1).saturating_mul(flows) <= limit
    }

    /// Whether it has nothing, and an equal part of so many places is at least one.
    fn is_first(&self, limit: usize, busy: usize) -> bool {
        self.has == 0 && busy < limit
    }
}
