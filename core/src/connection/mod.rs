//! The wire plane: one libp2p connection, its streams and what moves on them.
//!
//! A [`ClientStream`] or [`ServerStream`] frames, batches and keeps the timers of bytes for one
//! stream. It borrows nothing of the node: it exchanges values with the
//! [policy plane](crate::endpoint).

mod client;
mod failure;
mod link;
mod liveness;
mod operation;
mod server;

pub use crate::wire::outcome::Answer;
pub use client::{BULK, ClientStream, Report, Slot, batch_size, coalescing_threshold};
pub use failure::{IoFailure, Stage};
pub use liveness::{Liveness, Verdict};
pub use operation::{StreamEvent, StreamOp};
pub use server::{CallId, ServerStream, ServerStreamEvent};

pub(crate) use client::closing;
