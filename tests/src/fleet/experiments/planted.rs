//! Faults that are planted in the policies, and the experiments that catch them.

use pointsub_core::endpoint::LimitPolicy;

use super::{Options, Table};
use crate::fleet::{Choice, Setup};

/// A fault by name, the experiment that catches it, and how it is planted.
pub type Plant = (&'static str, fn(&Options) -> Table, fn(Setup) -> Setup);

/// All of them.
pub const PLANTS: [Plant; 5] = [
    ("a limit that looks at occupancy alone", super::overload::metastable, |setup| {
        setup.with_limit(LimitPolicy::LOAD_FACTOR)
    }),
    ("a limit that never moves", super::overload::metastable, |setup| {
        setup.with_limit(LimitPolicy::Fixed)
    }),
    ("further tries without a budget", super::crowd::ci, |mut setup| {
        setup.client = setup.client.with_retry_budget(10_000).with_max_failovers(100);
        setup
    }),
    ("a strategy that does not explore", super::ill::ill, |mut setup| {
        if setup.choice == Choice::Default {
            setup.choice = Choice::Weighted;
        }
        setup
    }),
    ("hedges without a budget", super::crowd::hedge, |mut setup| {
        setup.client = setup.client.with_retry_budget(10_000).with_hedge_budget(10_000);
        setup
    }),
];

/// Plants each fault with one seed. What is not caught is broken.
#[must_use]
pub fn planted() -> Table {
    let mut table = Table::new(&["planted", "caught by"]);
    for (name, experiment, change) in PLANTS {
        let options =
            Options { seeds: 1, choices: vec![Choice::Default], change, ..Options::default() };
        let found = experiment(&options);
        let first = found.broken.first().cloned();
        table.expect(first.is_some(), || format!("{name} is not caught"));
        table.row([name.to_string(), first.unwrap_or_default()]);
    }
    table
}
