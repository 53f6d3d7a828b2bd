//! The nodes to try for one request, best first.

use alloc::vec::Vec;
use core::time::Duration;

use super::distance::Point;
use super::node::Node;
use super::nodes::Nodes;
use super::strategy::{Candidate, Choices, Strategy};
use crate::id::PeerId;
use crate::rng::Rng;
use crate::time::Timestamp;

/// One in so many requests goes to a node that is half-open, if there is one,
const HALF_OPEN_EVERY: u64 = 64;
/// and one in so many to a far one, although the near ones are not loaded.
const FAR_EVERY: u64 = 256;
/// How often a node is drawn before another way is tried.
const DRAWS: usize = 8;
/// A node with this load, in thousandths, is loaded,
const LOADED: u16 = 900;
/// for so long.
const LOADED_FOR: Duration = Duration::from_secs(1);

/// Which nodes a request may still go to. Lives as long as the request and borrows nothing.
///
/// Nothing is sorted or stored ahead: each [`next`](Self::next) looks once at every node as it is
/// then. Most requests succeed at the first, and what is known of the others would be stale when
/// it is needed.
#[derive(Clone, Debug)]
pub struct Selection {
    key: Point,
    rng: u64,
    /// In order. Most requests name one node, so that a set would cost more than the choice.
    skipped: Vec<PeerId>,
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
        Self { key, rng, skipped: Vec::new() }
    }

    /// Never names this node.
    pub fn exclude(&mut self, peer: PeerId) {
        if let Err(place) = self.skipped.binary_search(&peer) {
            self.skipped.insert(place, peer);
        }
    }

    /// The best node that is usable now, not excluded, and not named before; `None` if there is
    /// no such node.
    ///
    /// Takes time in proportion to the number of nodes, except for a strategy that chooses among the
    /// [near](Choices::Near) ones.
    pub fn next(
        &mut self,
        nodes: &Nodes,
        strategy: &dyn Strategy,
        now: Timestamp,
    ) -> Option<PeerId> {
        let best = match strategy.choices() {
            Choices::Near => self.near(nodes, strategy, now),
            _ => self.best(self.offered(nodes.iter(), now), strategy, now, nodes.in_flight()),
        };
        if let Some(best) = best {
            self.exclude(best);
        }
        best
    }

    fn skips(&self, peer: &PeerId) -> bool {
        !self.skipped.is_empty() && self.skipped.binary_search(peer).is_ok()
    }

    /// Of these nodes, those that may be named now.
    pub(crate) fn offered<'a>(
        &self,
        nodes: impl Iterator<Item = &'a Node>,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a Node> {
        nodes.filter(move |node| node.is_usable(now) && !self.skips(node.peer()))
    }

    /// The best of the nodes that are offered.
    pub(crate) fn best<'a>(
        &self,
        offered: impl Iterator<Item = &'a Node>,
        strategy: &dyn Strategy,
        now: Timestamp,
        in_flight: u32,
    ) -> Option<PeerId> {
        match strategy.choices() {
            Choices::All => offered
                .map(|node| {
                    let candidate = self.candidate(node, now, in_flight);
                    (strategy.cost(&candidate), candidate.distance, *node.peer())
                })
                .min()
                .map(|(_, _, peer)| peer),
            Choices::Two | Choices::Near => self.draw_two(offered).map(|(first, second)| {
                let cost = |node| strategy.cost(&self.candidate(node, now, in_flight));
                match second {
                    Some(second) if cost(second) < cost(first) => *second.peer(),
                    _ => *first.peer(),
                }
            }),
        }
    }

    fn candidate<'a>(&self, node: &'a Node, now: Timestamp, in_flight: u32) -> Candidate<'a> {
        let distance = self.key.distance(node.point());
        Candidate { node, distance, now, in_flight }
    }

    /// One of the near nodes, or of the far ones if the near ones are loaded; now and then one that
    /// backed off, or a far one, to see how it is.
    fn near(&self, nodes: &Nodes, strategy: &dyn Strategy, now: Timestamp) -> Option<PeerId> {
        let mut rng = Rng::new(self.rng.wrapping_add(self.skipped.len() as u64));
        let chance = rng.next_u64();
        if chance.is_multiple_of(HALF_OPEN_EVERY)
            && let Some(node) = self.half_open(nodes, now)
        {
            return Some(*node.peer());
        }
        if chance % FAR_EVERY == 1
            && let Some(node) = self.draw(nodes, nodes.near.far(), &mut rng, now)
        {
            return Some(*node.peer());
        }
        let cost = |node: &Node| strategy.cost(&self.candidate(node, now, nodes.in_flight()));
        if nodes.near.spills(rng.next_u64())
            && let Some((_, node)) =
                self.cheaper_of_two(nodes, nodes.near.far(), &mut rng, now, cost)
        {
            return Some(*node.peer());
        }
        let near = self.cheaper_of_two(nodes, nodes.near.near(), &mut rng, now, cost);
        if let Some((_, node)) = near
            && !is_loaded(node, now)
        {
            return Some(*node.peer());
        }
        let far = self.cheaper_of_two(nodes, nodes.near.far(), &mut rng, now, cost);
        let best = [near, far].into_iter().flatten().min_by_key(|(cost, _)| *cost);
        let best = best.map(|(_, node)| *node.peer());
        best.or_else(|| {
            self.best(self.offered(nodes.iter(), now), strategy, now, nodes.in_flight())
        })
    }

    /// The node whose backoff ended first, if it may be tried.
    fn half_open<'a>(&self, nodes: &'a Nodes, now: Timestamp) -> Option<&'a Node> {
        let due = nodes.backing_off.iter().take_while(|(until, _)| *until <= now).take(DRAWS);
        let due = due.filter_map(|(_, number)| nodes.numbered(*number));
        self.offered(due, now).next()
    }

    fn cheaper_of_two<'a>(
        &self,
        nodes: &'a Nodes,
        among: &[u64],
        rng: &mut Rng,
        now: Timestamp,
        cost: impl Fn(&Node) -> u64,
    ) -> Option<(u64, &'a Node)> {
        let first = self.draw(nodes, among, rng, now)?;
        let second = self.draw(nodes, among, rng, now).unwrap_or(first);
        let (of_first, of_second) = (cost(first), cost(second));
        Some(if of_second < of_first { (of_second, second) } else { (of_first, first) })
    }

    /// One at random of these nodes that may be named; one that is silent if no other is drawn soon, and
    /// `None` if none is.
    fn draw<'a>(
        &self,
        nodes: &'a Nodes,
        among: &[u64],
        rng: &mut Rng,
        now: Timestamp,
    ) -> Option<&'a Node> {
        let drawn = |_| {
            let index = (u128::from(rng.next_u64()) * among.len() as u128) >> 64;
            nodes.numbered(*among.get(index as usize)?)
        };
        let mut silent = None;
        for node in self.offered((0..DRAWS).filter_map(drawn), now) {
            if !node.is_silent(now) {
                return Some(node);
            }
            silent.get_or_insert(node);
        }
        silent
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

/// Whether a node has said a short while ago that it has hardly room for more.
fn is_loaded(node: &Node, now: Timestamp) -> bool {
    let told = node.load_told();
    told.is_some_and(|(load, when)| load >= LOADED && now.since(when) <= LOADED_FOR)
}

/// A number in which every bit depends on every bit of `word`.
fn mix(word: u64) -> u64 {
    Rng::new(word).next_u64()
}
