//! Servers that a name in the DNS lists.

mod list;
mod resolver;
mod stream;
mod task;

use pointsub_core::network::dns::DnsName;

pub use list::DnsList;
pub use stream::PlainStream;

use super::finder::Finder;

/// Reads a list when servers are wanted, until the node ends.
pub(super) async fn run(list: DnsList, mut finder: Finder) {
    match DnsName::new(&list.name) {
        Ok(name) => task::Task::new(name, list, finder).await,
        Err(error) => {
            tracing::warn!(target: "pointsub::dns", name = list.name, %error, "nothing is read");
            // The source is still one that was asked in vain.
            while finder.next_task().await.is_some() {}
        }
    }
}
