//! The client's policy: which request goes on which stream, and what is done when it fails.

mod closest;
mod dial;
mod directive;
mod dispatch;
mod expiry;
mod failover;
mod memory;
mod opening;
mod pool;
mod question;
mod queue;
mod retry;
mod route;
mod stopping;

pub use closest::{Closest, ClosestError, ClosestOptions, Hedge, NodeAttempt, NodeOutcome};
pub use dial::DialId;
pub use directive::{CallOptions, ClientEvent, ClientStats, Directive};
pub use dispatch::{BULK, Dispatcher};
pub use pool::Offer;
pub use question::{Decision, Question};
pub use retry::{Backoff, RetryPolicy};
