//! What must hold, one file for each property. A checker sees everything that happens in a life,
//! how things stand after each step, and how they stand at the end.

mod answers;
mod at_most_once;
mod calm;
mod connections;
mod counters;
mod deadlines;
mod delivery;
mod exactly_once;
mod fairness;
mod limits;
mod memory;
mod outputs;
mod pool;
mod quiescence;
mod retries;
mod selection;

use std::fmt::Debug;

use crate::scenario::Scenario;
use crate::sim::{Event, World};

/// A property of a life.
pub trait Check: Debug {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Something has happened.
    ///
    /// # Errors
    /// What does not hold.
    fn observe(&mut self, _event: &Event<'_>, _world: &World) -> Result<(), String> {
        Ok(())
    }

    /// Every machine has done what it wanted to do.
    ///
    /// # Errors
    /// What does not hold.
    fn step(&mut self, _world: &World) -> Result<(), String> {
        Ok(())
    }

    /// Nothing is left to happen.
    ///
    /// # Errors
    /// What does not hold.
    fn end(&mut self, _world: &World) -> Result<(), String> {
        Ok(())
    }
}

/// Every property, for one life.
#[must_use]
pub fn all(scenario: &Scenario) -> Vec<Box<dyn Check>> {
    vec![
        Box::new(exactly_once::ExactlyOnce::default()),
        Box::new(answers::Answers),
        Box::new(delivery::DeliveryTold::default()),
        Box::new(at_most_once::AtMostOnce::default()),
        Box::new(calm::Calm::new(scenario)),
        Box::new(pool::Pool::default()),
        Box::new(limits::Limits),
        Box::new(memory::Memory),
        Box::new(retries::Retries::new(scenario)),
        Box::new(outputs::Outputs),
        Box::new(deadlines::Deadlines::new(scenario)),
        Box::new(counters::Counters::default()),
        Box::new(selection::Selected::new(scenario)),
        Box::new(fairness::Fairness),
        Box::new(connections::Connections),
        Box::new(quiescence::Quiescence),
    ]
}

/// Fails with a message unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
use ensure;
