//! A whole simulated life, of a scenario that any bytes make.

use arbitrary::Unstructured;

use crate::scenario::{Scenario, source};
use crate::sim::{self, Options};

/// Lives the scenario that the generator makes of these bytes.
pub fn scenario(data: &[u8]) {
    let Ok(scenario) = Scenario::generate(&mut Unstructured::new(data)) else { return };
    if let Err(failure) = sim::run(&scenario, Options::default()) {
        let source = source(&scenario);
        panic!("{source}\nbreaks {}: {}", failure.check, failure.message);
    }
}
