//! Addresses: where peers listen, what they say of it, and what this node says of itself.

pub(crate) mod announced;
pub(crate) mod ip;
pub(crate) mod multiaddr;
