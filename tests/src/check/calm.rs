//! In a life in which nothing goes wrong, no stream is lost, and nothing takes too long.

use pointsub_core::{Cause, RequestError};

use super::{Check, ensure};
use crate::scenario::{Kind, LIMIT, Scenario};
use crate::sim::{Event, World};

/// See the module.
#[derive(Debug)]
pub(super) struct Calm(bool);

impl Calm {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self(scenario.is_calm())
    }
}

fn is_loss(error: &RequestError) -> bool {
    matches!(error.cause, Cause::TimedOut(_) | Cause::Lost(_) | Cause::Unreachable(_))
}

impl Check for Calm {
    fn name(&self) -> &'static str {
        "calm"
    }

    fn observe(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        if let Event::Failed { sent, error } = event
            && self.0
        {
            // A plain server that waits for a first request closes the stream without a word, just
            // when one is on its way if need be.
            let servers = world.peers.iter().filter_map(|peer| peer.server.as_ref());
            let unasked = servers.into_iter().any(|s| s.stats().first_byte_timeouts > 0);
            ensure!(unasked || !is_loss(error), "nothing went wrong, but: {error}");
            // One that has answered is not asked again on the stream that it is about to close.
            let once = sent.to.map(|to| &world.peers[to].plan);
            let once = once.is_some_and(|p| p.kind == Kind::SingleShot && p.failing == 0);
            let closed = error.cause == Cause::RemoteClosed && sent.body.len() < LIMIT as usize;
            ensure!(!(once && closed), "a stream that was about to close: {error}");
        }
        Ok(())
    }

    fn end(&mut self, world: &World) -> Result<(), String> {
        for peer in world.peers.iter().filter(|_| self.0) {
            let Some(server) = &peer.server else { continue };
            let stats = server.stats();
            let late = stats.message_timeouts + stats.other_format + stats.write_timeouts;
            ensure!(late == 0, "nothing went wrong, but {late} streams were too slow");
        }
        Ok(())
    }
}
