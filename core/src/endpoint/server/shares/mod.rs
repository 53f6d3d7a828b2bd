//! Who has how much of what all share: places of requests, streams and raw streams, and memory.

mod account;
mod budget;
mod groups;
mod holding;
mod origin;
mod places;
mod streams;

pub use origin::{GroupId, Origin};
pub use streams::StreamKey;

pub(super) use account::Account;
pub(super) use budget::MemoryBudget;
pub(super) use holding::Kind;
pub(super) use places::{Flow, Places, Shares};
pub(super) use streams::{Connections, ProtocolKey};
