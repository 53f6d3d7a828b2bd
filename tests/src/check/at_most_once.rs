//! A request that is not idempotent reaches handlers at most once, others at most once in a try.

use std::collections::BTreeMap;

use super::{Check, ensure};
use crate::sim::{Event, World};

/// How often handlers may still see each request.
#[derive(Debug, Default)]
pub(super) struct AtMostOnce(BTreeMap<u64, u32>);

impl Check for AtMostOnce {
    fn name(&self) -> &'static str {
        "at_most_once"
    }

    fn observe(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        match event {
            Event::Accepted { sent, .. } => {
                // To every node in every round, whether after a failure or as a hedge.
                let nodes = if sent.to.is_some() { 1 } else { world.peers.len() as u32 };
                let tries = nodes * (1 + world.config.max_retries());
                self.0.insert(sent.number, if sent.idempotent { tries } else { 1 });
            }
            Event::Handler { number, .. } => {
                let Some(left) = self.0.get_mut(number) else {
                    return Err("a handler sees what was not sent".to_owned());
                };
                ensure!(*left > 0, "a handler sees request {number} too often");
                *left -= 1;
            }
            _ => {}
        }
        Ok(())
    }
}
