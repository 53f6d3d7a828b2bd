//! The wire plane: one libp2p connection, its streams and what moves on them.
//!
//! A [`ClientStream`] or [`ServerStream`] frames, batches and keeps the timers of bytes for one
//! stream. It borrows nothing of the node: it exchanges values with the
//! [policy plane](crate::endpoint).

mod client;
mod link;
mod liveness;
mod operation;
mod server;

pub use crate::wire::outcome::Answer;
pub use client::{ClientStream, Place, Report, portion};
pub use liveness::{Liveness, Verdict};
pub use operation::{StreamEvent, StreamOp};
pub use server::{
    CallId, Compression, ServerReport, ServerStream, ServerStreamEvent, ServerVerdict, runs_inline,
};

pub(crate) use client::closing;
pub(crate) use server::{Ask, Events, Grant, Samples};
