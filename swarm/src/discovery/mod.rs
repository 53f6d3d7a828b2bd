//! Servers that nobody has named: where they are looked for, and who feeds that.

mod callers;
mod discover;
mod finder;
#[cfg(feature = "lan")]
pub(crate) mod lan;
pub(crate) mod shared;
mod waiting;

pub use discover::Discover;
pub use finder::{Finder, FinderTask, Found};
