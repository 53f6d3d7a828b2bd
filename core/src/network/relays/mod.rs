//! Relays: which peers are asked for a place, and when.

pub(crate) mod finder;
pub(crate) mod reservations;
