//! What a client knows, in parts that do not know of each other: each owns its state, and the
//! [dispatcher](super::dispatcher) passes values between them.

pub(crate) mod dials;
pub(crate) mod endpoints;
pub(crate) mod failover;
pub(crate) mod keys;
pub(crate) mod memory;
pub(crate) mod pool;
pub(crate) mod requests;
pub(crate) mod retry;
pub(crate) mod routes;
pub(crate) mod timers;
