//! A whole simulated life, of a scenario that any bytes make.

use arbitrary::Unstructured;

use crate::hunt::smallest;
use crate::scenario::Scenario;
use crate::sim::{self, Options};

/// Lives the scenario that the generator makes of these bytes.
pub fn scenario(data: &[u8]) {
    let Ok(scenario) = Scenario::generate(&mut Unstructured::new(data)) else { return };
    if let Err(failure) = sim::run(&scenario, Options::default()) {
        let smallest = smallest(&scenario, &failure, Options::default());
        // Whoever makes scenarios smaller keeps panics quiet.
        eprintln!("{smallest}");
        panic!("breaks {}: {}", failure.check, failure.message);
    }
}
