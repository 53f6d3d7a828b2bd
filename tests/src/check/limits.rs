//! Requests: no more at work in a server, on one of its streams, or waiting at the client, than
//! is configured; and the limit that moves stays within its bounds.

use pointsub_core::{Format, SendError};

use super::{Check, ensure};
use crate::sim::{Event, World};

/// See the module.
#[derive(Debug)]
pub(super) struct Limits;

impl Check for Limits {
    fn name(&self) -> &'static str {
        "limits"
    }

    fn observe(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        match event {
            Event::Accepted { waiting, .. } => {
                let now = world.client.stats().waiting;
                let most = world.config.max_pending() as u64;
                ensure!(now <= *waiting || now <= most, "{now} requests wait");
            }
            Event::Refused(error) => {
                let waiting = world.client.stats().waiting;
                let full = waiting >= world.config.max_pending() as u64;
                match error {
                    SendError::Overloaded { .. } => ensure!(full, "refused while {waiting} wait"),
                    SendError::Closed => {
                        ensure!(world.draining, "refused by one that is not closed");
                    }
                    _ => {}
                }
            }
            Event::Admitted { peer, .. } => {
                let peer = &world.peers[*peer];
                let Some(server) = &peer.server else { return Ok(()) };
                let (stats, ceiling) = (server.stats(), peer.config.concurrency_ceiling() as u64);
                ensure!(stats.in_flight <= ceiling, "let in beyond the ceiling: {stats:?}");
            }
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, world: &World) -> Result<(), String> {
        for peer in &world.peers {
            let Some(server) = &peer.server else { continue };
            let (stats, config) = (server.stats(), &peer.config);
            let range = config.min_concurrent_requests()..=config.concurrency_ceiling();
            ensure!(range.contains(&(stats.limit as usize)), "the limit is {}", stats.limit);
            for info in &peer.streams {
                let most = match info.format {
                    Some(Format::Native) => config.max_in_flight(),
                    _ => 1,
                };
                ensure!(info.in_flight <= most, "{} at work on one stream", info.in_flight);
            }
        }
        Ok(())
    }
}
