//! A distributed hash table that the nodes of a network keep together, and in which servers are found.

mod behaviour;
mod driver;
mod options;
mod own;
mod store;

pub(super) use behaviour::Table;
pub use options::Kademlia;
