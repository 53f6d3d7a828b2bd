//! The server's policy: who is let in, and what it may cost.

mod admission;
mod capacity;
mod lifecycle;
mod limit;
mod memory;
mod notice;
mod penalty;
mod rate;
mod raw;
mod shares;
mod stats;

pub use admission::{Admission, RegisterError};
pub use lifecycle::{Lifecycle, Stopped};
pub use limit::{Limit, LimitPolicy, Sample, SampleOutcome};
pub use notice::Notice;
pub use rate::{Quota, RateLimit, RateScope};
pub use shares::{GroupId, Origin, StreamKey};
pub use stats::ServerStats;

pub(crate) use capacity::busy;
pub(crate) use penalty::Offence;
pub(crate) use stats::StreamTimer;
