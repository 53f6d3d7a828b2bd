//! A failure never says that a request was not processed if a handler has seen it, or sees it
//! later.

use std::collections::BTreeSet;

use pointsub_core::Delivery;

use super::{Check, ensure};
use crate::sim::{Event, World};

/// Requests of which it was said that they were not processed.
#[derive(Debug, Default)]
pub(super) struct DeliveryTold(BTreeSet<u64>);

impl Check for DeliveryTold {
    fn name(&self) -> &'static str {
        "delivery"
    }

    fn observe(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        match event {
            Event::Failed { sent, error } if error.delivery == Delivery::NotProcessed => {
                let seen = world.seen.contains_key(&sent.number);
                ensure!(!seen, "processed before, although: {error}");
                self.0.insert(sent.number);
            }
            Event::Handler { number, .. } => {
                let told = self.0.contains(number);
                ensure!(!told, "request {number} is processed after it surely was not");
            }
            _ => {}
        }
        Ok(())
    }
}
