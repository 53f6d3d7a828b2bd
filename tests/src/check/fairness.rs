//! One that floods a server keeps nobody else from a place: a peer that is let in had none, or
//! has no more than eight times what is left free.

use std::collections::BTreeSet;

use super::{Check, ensure};
use crate::sim::{Event, World};

/// See the module.
#[derive(Debug)]
pub(super) struct Fairness;

impl Check for Fairness {
    fn name(&self) -> &'static str {
        "fairness"
    }

    fn observe(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        let Event::Admitted { peer, from } = event else { return Ok(()) };
        let Some(server) = &world.peers[*peer].server else { return Ok(()) };
        let (stats, streams) = (server.stats(), server.connections_info(world.now));
        let peers: BTreeSet<_> = streams.iter().map(|stream| stream.peer).collect();
        let of = streams.iter().filter(|stream| stream.peer == *from);
        let others = of.map(|stream| stream.in_flight).sum::<usize>() as u64 - 1;
        let left = stats.limit.saturating_sub(stats.in_flight);
        let fair = peers.len() == 1 || others == 0 || others < 8 * left;
        ensure!(fair, "{others} at work for one of {} peers, {left} places left", peers.len());
        Ok(())
    }
}
