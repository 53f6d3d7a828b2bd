//! The client's policy: which request goes on which stream, and what is done when it fails.
//!
//! [`state`] has the parts, each of which owns some of what the client knows. The [`Dispatcher`]
//! composes them: it passes values between them and says what is to be done.

mod answer;
mod directive;
mod dispatcher;
mod options;
mod question;
mod resumption;
mod state;

pub use answer::{ClosestAnswer, ClosestFailure, NodeOutcome, NodeTry};
pub use directive::{ClientEvent, ClientStats, Directive};
pub use dispatcher::Dispatcher;
pub use options::{CallOptions, ClosestOptions, Hedge};
pub use question::{Decision, Question};
pub use resumption::{ResumePolicy, Resumption};
pub use state::keys::DialId;
pub use state::pool::stream::Offer;
pub use state::retry::{Backoff, RetryPolicy};
