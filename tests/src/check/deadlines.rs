//! After time has passed at a machine, nothing that was due by then is left; and a caller never
//! waits beyond its deadline.

use super::{Check, ensure};
use crate::scenario::Scenario;
use crate::sim::{Event, Sent, World};

/// See the module.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// A clock that stands still holds everybody up.
    exact: bool,
}

impl Deadlines {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { exact: !scenario.stalls_client_clock() }
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
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, world: &World) -> Result<(), String> {
        for sent in world.pending.values() {
            self.in_time(sent, world)?;
        }
        Ok(())
    }
}
