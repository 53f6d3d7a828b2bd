//! Addresses: what they are, which of them are kept of a peer, and in which order they are tried.

pub(crate) mod address;
pub(crate) mod book;
mod carriers;
pub(crate) mod known;
