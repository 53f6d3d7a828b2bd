//! The wire plane: one libp2p connection, its streams and what moves on them.
//!
//! A [`ClientStream`] or [`ServerStream`] frames, batches and keeps the timers of bytes for one
//! stream. It borrows nothing of the node: it exchanges values with the
//! [policy plane](crate::endpoint). A [`Connection`] decides what concerns all streams of a connection:
//! whether the peer may open another one, and whether its silence means that it is gone. A
//! [`CompressionChoice`] decides which bodies are worth to be compressed for it.

mod calls;
mod client;
mod coalescing;
mod compression;
mod failure;
mod link;
mod liveness;
mod operation;
mod server;
mod streams;
mod throughput;

pub use crate::wire::outcome::Answer;
pub use calls::{
    Balance, CallEnd, CallError, CallEvent, CallKey, CallLimits, CallMessage, CallOpening,
    CallStart, CallStop, Calls, SEND_WINDOW, Unconfirmed,
};
pub use client::{BULK, ClientStream, Report, Slot, StreamCommand, batch_size};
pub use coalescing::coalesces;
pub use compression::CompressionChoice;
pub use failure::{IoFailure, Stage};
pub use liveness::{Liveness, Verdict};
pub use operation::{StreamEvent, StreamOp};
pub use server::{
    CallAcceptance, CallId, CallPlaces, CallTerms, Compression, Refusals, ServerReport,
    ServerStream, ServerStreamEvent, ServerVerdict, runs_inline,
};
pub use streams::{Acceptance, Connection, Signs};
pub use throughput::Throughput;

pub(crate) use client::closing;
pub(crate) use server::{Ask, Behind, Events, Grant, Samples};
