//! What happens to network interfaces.

use futures::stream::BoxStream;
use futures::{StreamExt, future, stream};
use if_watch::IfEvent;
use if_watch::tokio::IfWatcher;

/// Each time an address comes or goes, but for those of this machine alone. Where the system does not
/// tell, nothing comes.
pub(crate) fn changes() -> BoxStream<'static, ()> {
    match IfWatcher::new() {
        Ok(watcher) => {
            let events = watcher.take_while(|event| future::ready(event.is_ok()));
            events.filter_map(|event| future::ready(event.ok().and_then(change))).boxed()
        }
        Err(error) => {
            tracing::debug!(%error, "changes of network interfaces are not noticed");
            stream::pending().boxed()
        }
    }
}

fn change(event: IfEvent) -> Option<()> {
    let (IfEvent::Up(net) | IfEvent::Down(net)) = event;
    (!net.addr().is_loopback()).then_some(())
}
