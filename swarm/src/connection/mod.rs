//! One libp2p connection: what is negotiated on it, and the one task that runs its streams.

pub(crate) mod activity;
pub(crate) mod buffers;
mod calls;
pub(crate) mod client;
pub(crate) mod driver;
pub(crate) mod handler;
pub(crate) mod negotiation;
mod probe;
mod remote;
pub(crate) mod server;
pub(crate) mod stream_io;
pub(crate) mod streams;
mod work;
