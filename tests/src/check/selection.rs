//! The node that a call asks first is the one that a naive reference names.

use pointsub_core::PeerId;
use pointsub_core::endpoint::closest::Point;

use super::{Check, ensure};
use crate::scenario::{Scenario, Strategy};
use crate::sim::{Event, Known, World};

/// See the module.
#[derive(Debug)]
pub(super) struct Selected(Strategy);

impl Selected {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self(scenario.client.strategy)
    }
}

impl Check for Selected {
    fn name(&self) -> &'static str {
        "selection"
    }

    fn observe(&mut self, event: &Event<'_>, _: &World) -> Result<(), String> {
        let Event::Chose { nodes, key, exclude, chosen } = event else { return Ok(()) };
        let usable = nodes.iter().filter(|node| node.usable && !exclude.contains(&node.peer));
        let mut usable: Vec<&Known> = usable.collect();
        ensure!(usable.iter().any(|node| node.peer == *chosen), "one that cannot be asked");
        usable.sort_by_key(|node| (self.cost(node, *key), key.distance(&node.point), node.peer));
        let best: PeerId = usable[0].peer;
        // Of two that are drawn at random, only which one it is not can be said.
        let any = self.0 == Strategy::Peak && usable.len() > 1;
        ensure!(any || best == *chosen, "not the best of {} nodes", usable.len());
        Ok(())
    }
}

impl Selected {
    /// The score of the Go implementation, upside down.
    fn cost(&self, node: &Known, key: Point) -> u64 {
        if self.0 != Strategy::Score {
            return 0;
        }
        let far = u128::from(key.distance(&node.point).leading_bits());
        let distance = 10_000 - ((far * 10_000) >> 64) as u64;
        let latency = node
            .latency
            .map_or(5_000, |nanos| (1_000_000_000_000 / (100_000_000 + u128::from(nanos))) as u64);
        let load = node.load.map_or(5_000, |load| 10 * (1000 - u64::from(load.min(1000))));
        let online = node.online.map_or(5_000, |online| if online { 10_000 } else { 0 });
        1_000_000 - (40 * distance + 30 * latency + 20 * load + 10 * online)
    }
}
