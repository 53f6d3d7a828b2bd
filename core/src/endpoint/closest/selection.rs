//! The nodes to try for one request, best first.

use alloc::collections::BTreeSet;

use super::distance::Point;
use super::nodes::{Node, Nodes};
use super::strategy::{Candidate, Choices, Strategy};
use crate::id::PeerId;
use crate::rng::Rng;
use crate::time::Timestamp;

/// Which nodes a request may still go to. Lives as long as the request and borrows nothing.
///
/// Nothing is sorted or stored ahead: each [`next`](Self::next) looks once at every node as it is
/// then. Most requests succeed at the first, and what is known of the others would be stale when
/// it is needed.
#[derive(Clone, Debug)]
pub struct Selection {
    key: Point,
    rng: u64,
    skipped: BTreeSet<PeerId>,
}

impl Selection {
    /// For a request with this key, normally its body. `rng` is a random number, which decides
    /// what [`Choices::Two`] draws; otherwise it plays no part.
    #[must_use]
    pub fn new(key: &[u8], rng: u64) -> Self {
        Self::at(Point::of_key(key), rng)
    }

    /// For a request whose key was hashed before.
    #[must_use]
    pub const fn at(key: Point, rng: u64) -> Self {
        Self { key, rng, skipped: BTreeSet::new() }
    }

    /// Never names this node.
    pub fn exclude(&mut self, peer: PeerId) {
        self.skipped.insert(peer);
    }

    /// The best node that is usable now, not excluded, and not named before; `None` if there is
    /// no such node.
    ///
    /// Takes time in proportion to the number of nodes.
    pub fn next(
        &mut self,
        nodes: &Nodes,
        strategy: &dyn Strategy,
        now: Timestamp,
    ) -> Option<PeerId> {
        let best = self.best(self.offered(nodes.iter(), now), strategy, now);
        self.skipped.extend(best);
        best
    }

    /// Of these nodes, those that may be named now.
    pub(crate) fn offered<'a>(
        &self,
        nodes: impl Iterator<Item = &'a Node>,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a Node> {
        nodes.filter(move |node| node.is_usable(now) && !self.skipped.contains(node.peer()))
    }

    /// The best of the nodes that are offered.
    pub(crate) fn best<'a>(
        &self,
        offered: impl Iterator<Item = &'a Node>,
        strategy: &dyn Strategy,
        now: Timestamp,
    ) -> Option<PeerId> {
        match strategy.choices() {
            Choices::All => offered
                .map(|node| {
                    let candidate = self.candidate(node, now);
                    (strategy.cost(&candidate), candidate.distance, *node.peer())
                })
                .min()
                .map(|(_, _, peer)| peer),
            Choices::Two => self.draw_two(offered).map(|(first, second)| {
                let cost = |node| strategy.cost(&self.candidate(node, now));
                match second {
                    Some(second) if cost(second) < cost(first) => *second.peer(),
                    _ => *first.peer(),
                }
            }),
        }
    }

    fn candidate<'a>(&self, node: &'a Node, now: Timestamp) -> Candidate<'a> {
        Candidate { node, distance: self.key.distance(node.point()), now }
    }

    /// The first two in an order that only `rng` decides: every node's hash is mixed with it. So a
    /// draw does not depend on the order of the nodes, and the loser of one is in the next.
    fn draw_two<'a>(
        &self,
        offered: impl Iterator<Item = &'a Node>,
    ) -> Option<(&'a Node, Option<&'a Node>)> {
        let salt = mix(self.rng);
        let mut first: Option<((u64, PeerId), &Node)> = None;
        let mut second: Option<((u64, PeerId), &Node)> = None;
        for node in offered {
            let place = (mix(node.point().leading_bits().wrapping_add(salt)), *node.peer());
            if first.is_none_or(|(least, _)| place < least) {
                second = first.replace((place, node));
            } else if second.is_none_or(|(least, _)| place < least) {
                second = Some((place, node));
            }
        }
        Some((first?.1, second.map(|(_, node)| node)))
    }
}

/// A number in which every bit depends on every bit of `word`.
fn mix(word: u64) -> u64 {
    Rng::new(word).next_u64()
}
