//! What applications hold: the handles of client and server, and raw streams.

pub(crate) mod admission;
pub(crate) mod calls;
pub(crate) mod client;
pub(crate) mod failover;
pub mod go12;
pub(crate) mod message;
#[cfg(feature = "tower")]
pub mod middleware;
pub(crate) mod pointsub;
pub(crate) mod raw;
#[cfg(feature = "tokio")]
mod raw_tokio;
pub(crate) mod server;
pub(crate) mod stream_info;
