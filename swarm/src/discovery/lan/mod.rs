//! Servers on the local network, by multicast DNS.

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

/// Reads a packet, whatever is in it. For the fuzzer.
#[doc(hidden)]
pub fn read_packet(bytes: &[u8]) -> bool {
    packet::decode(bytes).is_some()
}
