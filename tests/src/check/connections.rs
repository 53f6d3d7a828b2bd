//! Connections: no more streams of one are served than it may have, and none is left on it.

use super::{Check, ensure};
use crate::sim::World;

/// See the module.
#[derive(Debug)]
pub(super) struct Connections;

impl Check for Connections {
    fn name(&self) -> &'static str {
        "connections"
    }

    fn step(&mut self, world: &World) -> Result<(), String> {
        for conn in &world.conns {
            let (served, most) = (conn.served.len(), conn.max_inbound);
            ensure!(served <= most, "{served} streams of one connection are served, not {most}");
        }
        Ok(())
    }

    fn end(&mut self, world: &World) -> Result<(), String> {
        for conn in &world.conns {
            let left = conn.streams();
            ensure!(left == (0, 0), "{left:?} streams are left on a connection");
        }
        Ok(())
    }
}
