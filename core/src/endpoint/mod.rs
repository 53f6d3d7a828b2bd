//! The policy plane: what a node decides for all its connections together.
//!
//! The client's half is the [`Dispatcher`]: pool, dispatch, retries and the
//! [closest node](closest). The server's half is [`Admission`] control: registered protocols, limits, shares,
//! memory and penalties.

mod client;
pub mod closest;
mod server;
mod stream_info;
mod timers;

pub use client::{
    Backoff, CallOptions, ClientEvent, ClientStats, ClosestAnswer, ClosestFailure, ClosestOptions,
    Decision, DialId, Directive, Dispatcher, Hedge, NodeOutcome, NodeTry, Offer, Question,
    ResumePolicy, Resumption, RetryPolicy,
};
pub use server::{
    Admission, GroupId, Lifecycle, Limit, LimitPolicy, Notice, Origin, Quota, RateLimit, RateScope,
    RegisterError, Sample, SampleOutcome, ServerStats, Stopped, StreamKey,
};
pub use stream_info::StreamInfo;

pub(crate) use server::{Offence, StreamTimer, busy};
pub(crate) use timers::StreamTimers;
