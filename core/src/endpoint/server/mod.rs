//! The server's policy: who is let in, and what it may cost.

mod admission;
mod budget;
mod calls;
mod groups;
mod lifecycle;
mod limit;
mod memory;
mod notice;
mod origin;
mod penalty;
mod places;
mod queue_delay;
mod rate;
mod raw;
mod share;
mod stats;
mod streams;

pub use admission::{Admission, RegisterError};
pub use lifecycle::{Lifecycle, Stopped};
pub use limit::{Limit, LimitPolicy, Sample, SampleOutcome};
pub use notice::Notice;
pub use origin::{GroupId, Origin};
pub use rate::{Quota, RateLimit, RateScope};
pub use stats::ServerStats;
pub use streams::StreamKey;

pub(crate) use admission::busy;
pub(crate) use penalty::Offence;
pub(crate) use stats::StreamTimer;
