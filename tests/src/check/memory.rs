//! Bytes: what machines hold is what they say, and no more than is configured.

use pointsub_core::connection::BULK;

use super::{Check, ensure};
use crate::scenario::LIMIT;
use crate::sim::{Event, World};

/// What a stream may hold before it is asked whether it fits, beside its buffer.
const UNASKED: usize = (64 + 16) * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Memory;

impl Check for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn observe(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        let Event::Admitted { peer, from, .. } = event else { return Ok(()) };
        let Some(server) = &world.peers[*peer].server else { return Ok(()) };
        // What is let in was asked whether it fits.
        let (held, config) = (server.stats().memory, &world.peers[*peer].config);
        let most = config.max_memory();
        ensure!(held <= most as u64, "{held} bytes are held with one let in, not {most}");
        let streams = server.streams(world.now);
        let of = streams.iter().filter(|stream| stream.peer == *from);
        let (held, most) = (of.map(|s| s.memory).sum::<usize>(), config.max_memory_per_peer());
        ensure!(held <= most, "{held} bytes are held for a peer with one let in, not {most}");
        Ok(())
    }

    fn step(&mut self, world: &World) -> Result<(), String> {
        // Those that are about to be gone still write what they had to.
        let streams = world.links.values().filter(|link| link.at_client().is_some()).count();
        let held = world.client.buffered();
        let each = LIMIT as usize + UNASKED + world.config.max_in_flight() * BULK;
        let most = streams * each;
        ensure!(held <= most, "the client holds {held} bytes for {streams} streams");
        for peer in &world.peers {
            let Some(server) = &peer.server else { continue };
            let (stats, config, streams) = (server.stats(), &peer.config, &peer.streams);
            let sum: usize = streams.iter().map(|stream| stream.memory).sum();
            ensure!(stats.memory == sum as u64, "bytes held: {} of {sum}", stats.memory);
            ensure!(stats.streams == streams.len() as u64, "{} streams", stats.streams);
            // Admission control hears later of some streams, and of the end of others.
            let most = streams.len().max(server.open());
            let beside = most * (UNASKED + config.buffer_pool_size());
            let held = server.buffered().max(sum);
            ensure!(held <= config.max_memory() + beside, "a server holds {held} bytes");
        }
        Ok(())
    }
}
