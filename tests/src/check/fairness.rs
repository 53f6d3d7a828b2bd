//! One that floods a server keeps nobody else from a place: a request that is let in is the first of
//! its peer or of its protocol, or they have no more than eight times what is left free. Beyond the
//! limit, one of both has less than an equal part of it.

use std::collections::BTreeSet;

use pointsub_core::StreamInfo;

use super::{Check, ensure};
use crate::sim::{Event, PROTOCOLS, World};

/// See the module.
#[derive(Debug)]
pub(super) struct Fairness;

impl Check for Fairness {
    fn name(&self) -> &'static str {
        "fairness"
    }

    fn observe(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        let Event::Admitted { peer, from, protocol } = event else { return Ok(()) };
        let peer = &world.peers[*peer];
        let Some(server) = &peer.server else { return Ok(()) };
        let (stats, streams) = (server.stats(), server.streams(world.now));
        // Without the one that was let in.
        let others = |of: &dyn Fn(&&StreamInfo) -> bool| {
            streams.iter().filter(of).map(|stream| stream.in_flight).sum::<usize>() as u64 - 1
        };
        let of_peer = others(&|stream| stream.peer == *from);
        let of_protocol = others(&|stream| stream.protocol == **protocol);
        // What is at work for an earlier life of a protocol is not in the share of its next one.
        if of_peer == 0 || of_protocol == 0 || peer.unregistered {
            return Ok(());
        }
        let lacks = 2 * of_peer.min(of_protocol) < stats.limit;
        let at_work = stats.in_flight - stats.stopping;
        ensure!(lacks || at_work <= stats.limit, "not an equal part of the limit: {stats:?}");
        let ceiling = peer.config.concurrency_ceiling() as u64;
        let most = if lacks { ceiling } else { ceiling.min(stats.limit + stats.stopping) };
        let left = most - stats.in_flight;
        let peers: BTreeSet<_> = streams.iter().map(|stream| stream.peer).collect();
        let fair = |others: u64, flows: usize| flows == 1 || others < 8 * left;
        ensure!(fair(of_peer, peers.len()), "{of_peer} at work for a peer, {left} places left");
        ensure!(fair(of_protocol, PROTOCOLS.len()), "{of_protocol} for a protocol, {left} left");
        Ok(())
    }
}
