//! Finds out at which addresses others reach this node, and helps others to find out (AutoNAT v2).

mod candidates;
mod client;
mod server;

pub(crate) use client::Client;
pub(crate) use server::Server;
