//! What befalls servers.

use std::time::Duration;

use pointsub_core::Timestamp;

use super::event::{Carried, Event};
use super::setup::Fault;
use super::world::World;

/// A drained or killed server is back after so long.
const DOWN: u64 = 500_000_000;
/// What is still at work so long after a drain began is cut off.
const DRAIN: Duration = Duration::from_secs(10);

impl World {
    /// A fault begins or ends.
    pub(super) fn befall(&mut self, fault: Fault) {
        match fault {
            Fault::Crash(from, to) => (from..to).for_each(|server| stop(self, server, false)),
            Fault::Start(from, to) => (from..to).for_each(|server| start(self, server)),
            Fault::Kill(from, to) => (from..to).for_each(|server| stop(self, server, true)),
            Fault::Silent(from, to) => {
                self.servers[from..to].iter_mut().for_each(|server| server.silent = true);
            }
            Fault::Heard(from, to) => {
                for server in from..to {
                    self.servers[server].silent = false;
                    stop(self, server, false);
                    start(self, server);
                }
            }
            Fault::Slow(from, to, times) => {
                self.servers[from..to].iter_mut().for_each(|server| server.slowness = times);
            }
            Fault::Erring(from, to, errs) => {
                self.servers[from..to].iter_mut().for_each(|server| server.erring = errs);
            }
            Fault::Drain(from, to) => (from..to).for_each(|server| drain(self, server)),
        }
    }
}

/// A server is gone, and perhaps back after a while. Its connections break.
pub(super) fn stop(world: &mut World, number: usize, comes_back: bool) {
    for key in world.servers[number].stop() {
        let Some(link) = world.links.get_mut(key) else { continue };
        link.at_server = None;
        let (client, server) = (link.client, link.server);
        let at = world.now + world.links.way(client, server);
        world.queue.plan(at, Event::ToClient(key, Carried::Lost));
    }
    for client in 0..world.clients.len() {
        *world.links.connected(client as u32, number as u32) = false;
    }
    if comes_back {
        world.queue.plan(world.now + DOWN, Event::Restart(number as u32));
    }
}

/// A server is back.
pub(super) fn start(world: &mut World, number: usize) {
    if world.servers[number].machine.is_none() {
        let config = world.setup.server.clone();
        world.servers[number].start(&config);
    }
}

fn drain(world: &mut World, number: usize) {
    let now = Timestamp::from_nanos(world.now);
    let server = &mut world.servers[number];
    server.draining = true;
    if let Some(machine) = &mut server.machine {
        machine.drain(now + DRAIN, now);
    }
    world.drive_server(number);
}
