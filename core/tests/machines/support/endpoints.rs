//! Endpoint sets: nodes by number, and what happens to them.

use std::time::Duration;

use pointsub_core::endpoint::closest::{Attempt, Node, Nodes, Selection, Strategy};
use pointsub_core::{PeerId, Timestamp};

pub(crate) const START: Timestamp = Timestamp::ZERO;

pub(crate) fn ms(millis: u64) -> Timestamp {
    START + Duration::from_millis(millis)
}

/// A peer id in the shape of an Ed25519 one.
pub(crate) fn peer(number: u64) -> PeerId {
    let mut random = Random(number);
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    (0..4).for_each(|_| bytes.extend(random.next().to_be_bytes()));
    PeerId::from_bytes(&bytes).expect("38 bytes")
}

pub(crate) fn nodes(count: u64) -> Nodes {
    let mut nodes = Nodes::new(None);
    (0..count).for_each(|number| assert_eq!(nodes.add(peer(number), START), Ok(true)));
    nodes
}

pub(crate) fn begin(nodes: &mut Nodes, number: u64, now: Timestamp) -> Attempt {
    nodes.begin(&peer(number), now).expect("it is a node")
}

pub(crate) fn fail(nodes: &mut Nodes, number: u64, now: Timestamp) {
    let attempt = begin(nodes, number, now);
    nodes.failed(attempt, now);
}

pub(crate) fn answer(nodes: &mut Nodes, number: u64, millis: u64, now: Timestamp) {
    let attempt = begin(nodes, number, now);
    nodes.succeeded(attempt, now + Duration::from_millis(millis));
}

pub(crate) fn node(nodes: &Nodes, number: u64) -> &Node {
    nodes.get(&peer(number)).expect("it is a node")
}

pub(crate) fn ejected(nodes: &Nodes) -> usize {
    nodes.iter().filter(|node| node.backoff_until().is_some()).count()
}

/// Splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// All nodes that a selection names.
pub(crate) fn order(
    nodes: &Nodes,
    strategy: &dyn Strategy,
    mut selection: Selection,
    now: Timestamp,
) -> Vec<PeerId> {
    std::iter::from_fn(|| selection.next(nodes, strategy, now)).collect()
}
