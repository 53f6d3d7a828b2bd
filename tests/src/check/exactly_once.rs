//! Every accepted request has exactly one outcome, and none once it was cancelled.

use std::collections::BTreeMap;

use pointsub_core::Timestamp;

use super::{Check, ensure};
use crate::sim::{Asked, Event, World};

#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Pending,
    /// The outcome may have been decided before, if both happen at once.
    Cancelled(Timestamp),
    Done,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ExactlyOnce(BTreeMap<Asked, Fate>);

impl Check for ExactlyOnce {
    fn name(&self) -> &'static str {
        "exactly_once"
    }

    fn observe(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        match event {
            Event::Accepted { asked, .. } => {
                let before = self.0.insert(*asked, Fate::Pending);
                ensure!(before.is_none(), "two requests have one name");
            }
            Event::Cancelled(asked) => {
                self.0.insert(*asked, Fate::Cancelled(world.now));
            }
            Event::Outcome(asked) => {
                let fate = self.0.insert(*asked, Fate::Done);
                let at_once = fate == Some(Fate::Cancelled(world.now)) && world.scenario.batched;
                ensure!(fate == Some(Fate::Pending) || at_once, "an outcome of what was {fate:?}");
            }
            Event::Confused(what) => return Err((*what).to_owned()),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _: &World) -> Result<(), String> {
        let pending = self.0.values().filter(|fate| **fate == Fate::Pending).count();
        ensure!(pending == 0, "{pending} requests have no outcome");
        Ok(())
    }
}
