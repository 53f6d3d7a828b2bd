//! Servers that nobody has named: where they are looked for, and who feeds that.

mod callers;
mod discover;
#[cfg(feature = "dns-discovery")]
mod dns;
mod finder;
#[cfg(feature = "lan")]
pub(crate) mod lan;
pub(crate) mod shared;
mod waiting;

pub use discover::Discover;
#[cfg(feature = "dns-discovery")]
pub use dns::{DnsList, PlainStream};
pub use finder::{Finder, FinderTask, Found};
