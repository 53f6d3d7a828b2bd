//! From the bytes of a socket to a connection: who is at the other end, and streams.

pub(crate) mod driven;
pub(crate) mod establish;
pub(crate) mod muxer;
pub(crate) mod security;
