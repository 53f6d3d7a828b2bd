//! Fair shares of a number of places.
//!
//! Flows have four kinds: networks, parts of these, peers, and protocols. A place counts for one of
//! each kind. Three rules hold, from the freest server to the fullest.
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
//! one, or those that have some have two on average: then others have more than their part. Where each
//! has one already and the limit is reached, nobody has more than their part, and one more is refused: a
//! thousand clients with a request each are as much work as one client with a thousand. Peer ids are
//! free, and networks are not. So a peer that has none may not take what its network has no right to:
//! one network with any number of peer ids leaves a ninth of the ceiling to the others.
//!
//! *Kept places.* Within one network, new peer ids could take the last place one by one. Of the last ninth
//! of the ceiling, a place is kept for each peer that was answered before and has nothing at work.

use super::origin::LEVELS;

/// How many times as many places as are left one network, peer or protocol may have.
pub(in crate::endpoint::server) const MULTIPLE: usize = 8;

/// The kinds of flows, in this order: the groups from the widest one on, the peer, the protocol.
pub(in crate::endpoint::server) const KINDS: usize = LEVELS + 2;
const PEER: usize = LEVELS;

/// The places that are taken, and by how many flows of each kind.
#[derive(Debug, Default)]
pub(in crate::endpoint::server) struct Shares {
    taken: usize,
    busy: [usize; KINDS],
}

/// The places of which flows want shares.
#[derive(Copy, Clone, Debug)]
pub(in crate::endpoint::server) struct Places {
    /// How many are to be taken.
    pub(in crate::endpoint::server) limit: usize,
    /// How many of these are left; none if more than the limit are taken.
    pub(in crate::endpoint::server) free: usize,
    /// How many are left in all, up to the ceiling.
    pub(in crate::endpoint::server) room: usize,
    /// How many of these are left for others.
    pub(in crate::endpoint::server) kept: usize,
}

impl Places {
    /// The places that never go beyond their limit.
    pub(in crate::endpoint::server) fn of(limit: usize, shares: &Shares) -> Self {
        let free = limit.saturating_sub(shares.taken);
        Self { limit, free, room: free, kept: 0 }
    }
}

/// What a flow has, and how many of its kind there are.
#[derive(Copy, Clone, Debug)]
pub(in crate::endpoint::server) struct Flow {
    /// The places that it has.
    pub(in crate::endpoint::server) has: usize,
    /// How many flows there are, with or without places.
    pub(in crate::endpoint::server) known: usize,
}

/// One flow of each kind; `None` where there is none.
pub(in crate::endpoint::server) type Flows = [Option<Flow>; KINDS];

impl Shares {
    /// How many places are taken.
    pub(in crate::endpoint::server) fn taken(&self) -> usize {
        self.taken
    }

    /// Whether there is a place that counts for all of these.
    pub(in crate::endpoint::server) fn admit(&self, places: Places, flows: &Flows) -> bool {
        if places.room <= places.kept {
            return false;
        }
        let fair = |free: usize| flows.iter().flatten().all(|flow| flow.is_fair(free));
        if fair(places.free.min(places.room)) {
            return true;
        }
        let first = |flow: &Flow, busy| flow.is_first(places.limit.max(self.taken / 2), busy);
        let lacks = |flow: &Flow, busy| flow.lacks(places.limit, busy);
        let allowed = flows[..PEER].iter().flatten().all(|group| group.is_fair(places.room));
        self.any(&flows[..PEER], 0, first)
            || allowed && self.any(&flows[PEER..], PEER, first)
            || self.any(flows, 0, lacks) && fair(places.room)
    }

    /// Whether there are so many places that count for all of these, each of them by dynamic
    /// thresholds alone: the last is fair only if all before it are.
    pub(in crate::endpoint::server) fn admits(
        &self,
        count: usize,
        places: Places,
        flows: &Flows,
    ) -> bool {
        let before = count.saturating_sub(1);
        let free = places.free.min(places.room.saturating_sub(places.kept));
        let free = free.saturating_sub(before);
        let had = |flow: &Flow| Flow { has: flow.has + before, ..*flow };
        flows.iter().flatten().all(|flow| had(flow).is_fair(free))
    }

    /// Whether that is so of any of these flows, of which the first has this kind, and of how many
    /// there are that have something.
    fn any(&self, flows: &[Option<Flow>], kind: usize, is: impl Fn(&Flow, usize) -> bool) -> bool {
        let mut known = flows.iter().zip(&self.busy[kind..]);
        known.any(|(flow, busy)| flow.is_some_and(|flow| is(&flow, *busy)))
    }

    /// Flows take so many places, more than none; each is what one had of them.
    pub(in crate::endpoint::server) fn take(
        &mut self,
        count: usize,
        flows: [Option<&mut usize>; KINDS],
    ) {
        self.taken += count;
        for (has, busy) in flows.into_iter().zip(&mut self.busy) {
            let Some(has) = has else { continue };
            *busy += usize::from(*has == 0);
            *has += count;
        }
    }

    /// So many places are given back, more than none; nothing of the protocol's if it is
    /// [gone](Self::forget).
    pub(in crate::endpoint::server) fn give(
        &mut self,
        count: usize,
        flows: [Option<&mut usize>; KINDS],
    ) {
        self.taken = self.taken.saturating_sub(count);
        for (has, busy) in flows.into_iter().zip(&mut self.busy) {
            let Some(has) = has else { continue };
            *has = has.saturating_sub(count);
            *busy = busy.saturating_sub(usize::from(*has == 0));
        }
    }

    /// A protocol that has so many places is gone before they are given back.
    pub(in crate::endpoint::server) fn forget(&mut self, protocol: usize) {
        let busy = &mut self.busy[KINDS - 1];
        *busy = busy.saturating_sub(usize::from(protocol > 0));
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
