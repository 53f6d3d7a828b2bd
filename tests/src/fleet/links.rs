//! Streams between clients and servers, and how far these are from each other.

use pointsub_core::StreamId;

use crate::sim::Rng;

use super::event::LinkKey;
use super::setup::{Distance, Setup};

/// A stream between a client and a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) client: u32,
    pub(super) server: u32,
    /// The life of the server's to which it leads.
    pub(super) life: u32,
    /// Its name at the client; `None` once the client is done with it.
    pub(super) at_client: Option<StreamId>,
    /// Its name at the server, once it is open there and until the server is done with it.
    pub(super) at_server: Option<StreamId>,
    pub(super) opening: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Links {
    slots: Vec<(u32, Option<Link>)>,
    free: Vec<u32>,
    /// The way from each client to each server, in nanoseconds.
    ways: Vec<u32>,
    servers: usize,
    /// Whether there is a connection.
    connected: Vec<bool>,
}

impl Links {
    pub(super) fn new(setup: &Setup, rng: &mut Rng) -> Self {
        let pairs = setup.clients * setup.servers;
        let mut ways = Vec::with_capacity(pairs);
        for client in 0..setup.clients {
            for server in 0..setup.servers {
                ways.push(way(setup.distance, client, server, rng));
            }
        }
        let connected = vec![false; pairs];
        Self { slots: Vec::new(), free: Vec::new(), ways, servers: setup.servers, connected }
    }

    /// How long a message takes from a client to a server.
    pub(super) fn way(&self, client: u32, server: u32) -> u64 {
        u64::from(self.ways[client as usize * self.servers + server as usize])
    }

    pub(super) fn connected(&mut self, client: u32, server: u32) -> &mut bool {
        &mut self.connected[client as usize * self.servers + server as usize]
    }

    pub(super) fn add(&mut self, link: Link) -> LinkKey {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.1 = Some(link);
            return LinkKey { index, generation: slot.0 };
        }
        self.slots.push((0, Some(link)));
        LinkKey { index: self.slots.len() as u32 - 1, generation: 0 }
    }

    pub(super) fn get(&self, key: LinkKey) -> Option<&Link> {
        let (generation, link) = self.slots.get(key.index as usize)?;
        link.as_ref().filter(|_| *generation == key.generation)
    }

    pub(super) fn get_mut(&mut self, key: LinkKey) -> Option<&mut Link> {
        let (generation, link) = self.slots.get_mut(key.index as usize)?;
        link.as_mut().filter(|_| *generation == key.generation)
    }

    /// Forgets a link that neither end uses any more.
    pub(super) fn settle(&mut self, key: LinkKey) {
        let unused =
            |link: &Link| link.at_client.is_none() && link.at_server.is_none() && !link.opening;
        if self.get(key).is_some_and(unused) {
            let slot = &mut self.slots[key.index as usize];
            *slot = (slot.0.wrapping_add(1), None);
            self.free.push(key.index);
        }
    }
}

fn way(distance: Distance, client: usize, server: usize, rng: &mut Rng) -> u32 {
    let mut between = |least: u64, most: u64| (least + rng.below(most - least)) as u32;
    match distance {
        Distance::Pairs => between(1_000_000, 20_000_000),
        Distance::Machine => 50_000,
        Distance::Near(near) if server < near => between(1_000_000, 1_100_000),
        Distance::Near(_) => between(49_000_000, 51_000_000),
        Distance::Regions(count) if client % count == server % count => {
            between(1_000_000, 2_000_000)
        }
        Distance::Regions(_) => between(30_000_000, 60_000_000),
    }
}
