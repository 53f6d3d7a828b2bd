//! After time has passed at a machine, nothing that was due by then is left; a caller never waits
//! beyond its deadline, nor the client for a stream beyond the connect timeout; and idle streams do
//! not stay.

use std::collections::BTreeMap;

use pointsub_core::Timestamp;

use super::{Check, ensure};
use crate::scenario::Scenario;
use crate::sim::{Event, Sent, World};

/// See the module.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// A clock that stands still holds everybody up.
    exact: bool,
    /// Streams that are being opened, and since when.
    opening: BTreeMap<u32, Timestamp>,
    turn: u32,
}

impl Deadlines {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let exact = !scenario.stalls_client_clock();
        Self { exact, opening: BTreeMap::new(), turn: 0 }
    }

    fn in_time(&self, sent: &Sent, world: &World) -> Result<(), String> {
        if let Some(deadline) = sent.deadline.filter(|_| self.exact) {
            let (now, asked) = (world.now, sent.at);
            ensure!(now <= deadline.max(asked), "an outcome {:?} late", now.since(deadline));
        }
        Ok(())
    }
}

impl Check for Deadlines {
    fn name(&self) -> &'static str {
        "deadlines"
    }

    fn observe(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        match event {
            Event::Ticked { who, at, next } => {
                let ahead = next.is_none_or(|next| next > *at);
                ensure!(ahead, "{who:?} still waits for {next:?} at {at:?}");
            }
            Event::Answered { sent, .. } | Event::Failed { sent, .. } => {
                self.in_time(sent, world)?;
            }
            Event::Opening { link } => {
                self.opening.insert(*link, world.now);
            }
            Event::Opened { link, .. } | Event::Gone { link } => {
                self.opening.remove(link);
            }
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, world: &World) -> Result<(), String> {
        for sent in world.pending.values() {
            self.in_time(sent, world)?;
        }
        if !self.exact {
            return Ok(());
        }
        // Those that were abandoned are not there any more.
        self.opening.retain(|link, _| world.links.contains_key(link));
        for since in self.opening.values() {
            let waits = world.now.since(*since);
            ensure!(waits <= world.config.connect_timeout(), "a stream opens for {waits:?}");
        }
        self.turn += 1;
        if self.turn.is_multiple_of(8) {
            for info in world.client.streams(world.now) {
                // One that is about to be gone may still have to write something.
                let most = world.config.idle_stream_timeout() + world.config.write_timeout();
                let stays = info.format.is_some() && info.in_flight == 0 && info.idle > most;
                ensure!(!stays, "a stream is idle for {:?}", info.idle);
            }
        }
        Ok(())
    }
}
