//! Streams: no more open, idle, or in use at a time than is configured; one request at a time on
//! a plain one.

use std::collections::BTreeMap;

use pointsub_core::{Format, PeerId};

use super::{Check, ensure};
use crate::sim::{Event, Side, World};

/// Which frames a plain stream carried.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes of the frame's header that came.
    header: Vec<u8>,
    /// Bytes of its body that are missing.
    missing: u64,
    count: u64,
}

impl Frames {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() || (self.header.len() == 4 && self.missing == 0) {
            if self.header.len() < 4 {
                let len = bytes.len().min(4 - self.header.len());
                self.header.extend_from_slice(&bytes[..len]);
                bytes = &bytes[len..];
                if let Some(len) = self.header.first_chunk() {
                    self.missing = u64::from(u32::from_be_bytes(*len));
                }
            } else {
                let len = (bytes.len() as u64).min(self.missing);
                self.missing -= len;
                bytes = &bytes[len as usize..];
            }
            if self.header.len() == 4 && self.missing == 0 {
                self.count += 1;
                self.header.clear();
            }
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pool {
    plain: BTreeMap<u32, (Frames, Frames)>,
    turn: u32,
}

impl Check for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn observe(&mut self, event: &Event<'_>, _: &World) -> Result<(), String> {
        match event {
            Event::Opened { link, format: Format::Plain } => {
                self.plain.insert(*link, Default::default());
            }
            Event::Output { link, to: Side::Server, op: pointsub_core::StreamOp::Write(bytes) } => {
                let Some((asked, answered)) = self.plain.get_mut(link) else { return Ok(()) };
                asked.take(bytes);
                let begun = asked.count + u64::from(!asked.header.is_empty());
                ensure!(begun <= answered.count + 1, "two requests at a time on a plain stream");
            }
            Event::Delivered { link, to: Side::Client, bytes } => {
                if let Some((_, answered)) = self.plain.get_mut(link) {
                    answered.take(bytes);
                }
            }
            Event::Gone { link } => {
                self.plain.remove(link);
            }
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, world: &World) -> Result<(), String> {
        let (config, stats) = (&world.config, world.client.stats());
        let (streams, raws) = (stats.streams as usize, stats.raw_streams as usize);
        ensure!(streams <= config.max_total_streams(), "{streams} streams in all");
        // A raw stream does not wait for the one that makes room for it.
        ensure!(raws <= config.max_total_streams(), "{raws} raw streams in all");
        let idle = stats.idle_streams as usize;
        ensure!(idle <= config.max_idle_streams(), "{idle} idle streams");
        let most = world.peers.len() * config.max_streams_per_peer();
        ensure!(streams <= most, "{streams} streams to {} peers", world.peers.len());
        // The rest costs more.
        self.turn += 1;
        if !self.turn.is_multiple_of(4) {
            return Ok(());
        }
        let mut peers: BTreeMap<PeerId, usize> = BTreeMap::new();
        for info in world.client.streams(world.client_now()) {
            let Some(format) = info.format else { continue };
            let peer = peers.entry(info.peer).or_default();
            *peer += 1;
            ensure!(*peer <= config.max_streams_per_peer(), "{peer} streams to one peer");
            let most = if format == Format::Plain { 1 } else { config.max_in_flight() };
            ensure!(info.in_flight <= most, "{} requests on one stream", info.in_flight);
        }
        Ok(())
    }
}
