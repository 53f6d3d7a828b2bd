//! Once faults have healed, everything pending resolves within a bound that follows from the
//! options; then machines fall idle, stop when asked to, and nothing is left over.

use std::time::Duration;

use super::{Check, ensure};
use crate::sim::{PROTOCOLS, World};

/// The longest that a handler works, or a byzantine peer holds a stream.
const HELD: Duration = Duration::from_secs(620);
/// The longest pause between two tries.
const PAUSE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(super) struct Quiescence;

/// How long a request can take at worst when every one before it takes as long as it can.
fn bound(world: &World) -> Duration {
    let config = &world.config;
    let once = config.connect_timeout() + config.write_timeout() + 2 * config.read_timeout();
    let tries = (1 + config.max_retries()) * 4 * world.peers.len() as u32;
    (once + PAUSE) * tries * (world.pending.len() as u32 + 1) + HELD
}

impl Check for Quiescence {
    fn name(&self) -> &'static str {
        "quiescence"
    }

    fn step(&mut self, world: &World) -> Result<(), String> {
        if world.pending.is_empty() || world.now <= world.last_op {
            return Ok(());
        }
        ensure!(!world.over, "{} requests are never answered", world.pending.len());
        let waits = world.now.since(world.last_op);
        ensure!(waits <= bound(world), "requests wait for {waits:?} after the last fault");
        Ok(())
    }

    fn end(&mut self, world: &World) -> Result<(), String> {
        ensure!(world.pending.is_empty(), "{} requests are left", world.pending.len());
        ensure!(world.drained, "the client does not say that it has stopped");
        let client = world.client.stats();
        ensure!((client.streams, client.waiting) == (0, 0), "left over: {client:?}");
        ensure!((client.raw_streams, client.in_flight) == (0, 0), "left over: {client:?}");
        ensure!((client.peers, client.routes) == (0, 0), "left over: {client:?}");
        let (held, info) = (world.client.buffered(), world.client.streams(world.now));
        ensure!(held == 0 && info.is_empty(), "the client still holds {held} bytes");
        for protocol in PROTOCOLS {
            for node in world.client.server_nodes(protocol) {
                ensure!(node.in_flight() == 0, "a node counts as busy for ever");
            }
        }
        for peer in &world.peers {
            let Some(server) = &peer.server else { continue };
            let (stats, held) = (server.stats(), server.buffered());
            ensure!((stats.streams, stats.in_flight) == (0, 0), "left over: {stats:?}");
            ensure!(stats.peers == 0, "left over: {stats:?}");
            ensure!(stats.memory == 0 && held == 0, "a server still holds {held} bytes");
        }
        Ok(())
    }
}
