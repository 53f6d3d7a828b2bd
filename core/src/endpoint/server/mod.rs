//! The server's policy: who is let in, and what it may cost.

mod admission;
mod budget;
mod limit;
mod penalty;
mod raw;
mod share;
mod stats;
mod streams;

pub use admission::{Gate, RegisterError};
pub use limit::{Limit, LimitPolicy, Sample, SampleOutcome};
pub use stats::ServerStats;
pub use streams::ConnectionKey;

pub(crate) use admission::{Outcome, busy};
pub(crate) use penalty::Trouble;
pub(crate) use stats::Timer;
