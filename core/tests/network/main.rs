//! The network machine and its parts on scripts, in virtual time.

mod addresses;
mod book;
mod choosing;
mod confirming;
mod dialing;
mod race;
mod reservations;
mod script;
