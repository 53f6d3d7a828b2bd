//! Which nodes are near, and which of many are looked at at all.
//!
//! A client looks at a subset of the nodes: the first [`SUBSET`] in an order that is the client's own,
//! which is rendezvous hashing of its peer id and theirs, as gRPC's A68 has it. So each node is in equally
//! many subsets, few subsets change when a node comes or goes, and what is known of a node is fresh.
//! Of the subset, those are near that do not take much longer than the nearest.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::distance::Point;
use super::node::Node;
use super::nodes::Nodes;
use crate::id::PeerId;
use crate::rng::Rng;
use crate::time::Timestamp;

/// How many nodes a client looks at.
const SUBSET: usize = 64;
/// How many are looked through for those that are not ejected.
const LOOKED_THROUGH: usize = 4 * SUBSET;
/// How long it is known which nodes are near.
const FRESH: Duration = Duration::from_secs(1);
/// A node is near if it takes at most twice as long as the nearest and this.
const MARGIN: Duration = Duration::from_millis(20);
/// So many of the nearest are near in any case.
const LEAST: usize = 3;

/// The nodes that requests go to, by number.
#[derive(Debug, Default)]
pub(super) struct Near {
    /// All nodes, in the client's order.
    order: BTreeSet<(u64, u64)>,
    /// Those of the subset that are near, and those that are not tried yet.
    near: Vec<u64>,
    /// The rest of the subset.
    far: Vec<u64>,
    known: Option<Timestamp>,
    /// How much room the near nodes lack, as a part of [`WHOLE`]: what exceeds
    /// [`TOLERATED`] is the part of requests that go to far ones.
    spilled: u32,
}

/// The whole of the parts.
const WHOLE: u32 = 1 << 20;
/// As much as one near node that was busy: to be refused now and then costs less than to go far.
const TOLERATED: u32 = WHOLE / 16;

impl Near {
    pub(super) fn add(&mut self, local: Option<&PeerId>, node: &Node, number: u64) {
        self.order.insert((place(local, node), number));
        self.known = None;
    }

    pub(super) fn remove(&mut self, local: Option<&PeerId>, node: &Node, number: u64) {
        self.order.remove(&(place(local, node), number));
        self.leave(number);
        self.known = None;
    }

    /// A node is ejected.
    pub(super) fn leave(&mut self, number: u64) {
        self.near.retain(|near| *near != number);
        self.far.retain(|far| *far != number);
    }

    /// A node is in use again.
    pub(super) fn join(&mut self, number: u64) {
        if !self.near.contains(&number) {
            self.near.push(number);
        }
    }

    pub(super) fn near(&self) -> &[u64] {
        &self.near
    }

    pub(super) fn far(&self) -> &[u64] {
        &self.far
    }

    /// A node was busy. If it is a near one, more requests go to far ones, and the other way round.
    pub(super) fn busy(&mut self, number: u64) {
        if self.near.contains(&number) {
            self.spilled += (WHOLE - self.spilled) / 16;
        } else {
            self.spilled -= self.spilled / 16;
        }
    }

    /// A node has answered. Sixteen answers make up for one that was busy, so that near nodes are used
    /// until some in a hundred requests find them busy.
    pub(super) fn answered(&mut self) {
        self.spilled -= self.spilled / 256;
    }

    /// Whether a request goes to a far node, by a random number.
    pub(super) fn spills(&self, random: u64) -> bool {
        random >> 44 < u64::from(self.spilled.saturating_sub(TOLERATED))
    }

    pub(super) fn is_stale(&self, now: Timestamp) -> bool {
        self.known.is_none_or(|known| now.since(known) >= FRESH)
    }

    /// Finds out which nodes are near. Takes time in proportion to the subset.
    pub(super) fn refresh(&mut self, nodes: &Nodes, now: Timestamp) {
        self.known = Some(now);
        self.near.clear();
        self.far.clear();
        let subset = self.order.iter().take(LOOKED_THROUGH).filter_map(|(_, number)| {
            let node = nodes.numbered(*number).filter(|node| !node.is_ejected())?;
            Some((node.network_distance(), *number))
        });
        let mut subset: Vec<_> = subset.take(SUBSET).collect();
        subset.sort_unstable();
        let unknown = subset.partition_point(|(distance, _)| distance.is_none());
        let nearest = subset.get(unknown).and_then(|(distance, _)| *distance);
        let most = nearest.map(|nearest| nearest.saturating_mul(2).saturating_add(MARGIN));
        for (index, (distance, number)) in subset.into_iter().enumerate() {
            let known = index.saturating_sub(unknown);
            if index < unknown || known < LEAST || distance <= most {
                self.near.push(number);
            } else {
                self.far.push(number);
            }
        }
    }
}

/// Where a node has its place in a client's order.
fn place(local: Option<&PeerId>, node: &Node) -> u64 {
    let own = local.map_or(0, |local| Point::of_peer(local).leading_bits());
    Rng::new(own ^ node.point().leading_bits()).next_u64()
}
