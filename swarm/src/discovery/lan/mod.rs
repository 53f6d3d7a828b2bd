//! Servers on the local network, by multicast DNS.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod links;
mod packet;
mod task;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::finder::Finder;

/// Looks there, and tells others there of this node, until the node ends.
pub(super) fn run(finder: Finder) -> BoxFuture<'static, ()> {
    task::Task::new(finder).boxed()
}
