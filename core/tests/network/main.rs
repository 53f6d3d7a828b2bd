//! The network machine and its parts on scripts, in virtual time.

mod addresses;
mod book;
mod budget;
mod candidates;
mod changes;
mod choosing;
mod confirming;
mod crowds;
mod dialing;
mod dns;
mod finder;
mod kademlia;
mod lan;
mod race;
mod registry;
mod reservations;
mod script;
