//! Whole fleets of the real machines in virtual time.
//!
//! Thousands of [`Client`](pointsub_core::Client)s and [`Server`](pointsub_core::Server)s exchange
//! the bytes of the wire format over links with latencies. Behind each server there are workers and
//! a queue; before each client there are callers. The policies that spread, limit and repeat
//! requests are those of the library, and nothing else decides. [`experiments`] has what is tried.
//!
//! A run is a function of its [`Setup`]: equal set-ups give equal reports.

mod calling;
mod client;
pub mod draw;
mod event;
pub mod experiments;
mod faults;
mod keys;
mod links;
mod measure;
mod plot;
mod queue;
mod reference;
mod server;
mod serving;
mod setup;
mod timer;
mod world;

pub use measure::{Report, Second, Times, Total};
pub use plot::svg;
pub use setup::{Choice, Distance, Fault, Setup};

/// Lets a fleet live.
#[must_use]
pub fn run(setup: &Setup) -> Report {
    world::World::new(setup.clone()).run()
}
