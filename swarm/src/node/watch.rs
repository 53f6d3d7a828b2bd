//! Whether the world has changed while nobody looked: this node has slept, or is in another network.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures::stream::{BoxStream, Fuse};
use futures::{FutureExt, Stream, StreamExt};
use pointsub_core::Timestamp;
use pointsub_core::network::Change;

use crate::clock::{Clock, Sleep};

/// How often it is looked whether time was lost.
const LOOK: Duration = Duration::from_secs(5);
/// So much time is lost if the machine sleeps, and not if it is busy.
const LOST: Duration = Duration::from_secs(5);
/// How long the system may take to tell which interfaces there are.
const STARTING: Duration = Duration::from_secs(2);
/// What happens to interfaces within this time is one change.
const SETTLE: Duration = Duration::from_millis(500);

/// Tells of changes.
pub(super) struct Watch {
    clock: Clock,
    look: Sleep,
    looked: (Timestamp, SystemTime),
    interfaces: Fuse<BoxStream<'static, ()>>,
    /// Until then, the system tells how things stand, and not what is new.
    starting: Option<Sleep>,
    /// Interfaces have changed, and may go on to do so.
    settling: Option<Sleep>,
}

impl Watch {
    /// `interfaces` tells each time that the system reports something new of an interface.
    pub(super) fn new(clock: Clock, interfaces: BoxStream<'static, ()>) -> Self {
        let looked = (clock.now(), SystemTime::now());
        let (look, starting) = (clock.sleep(LOOK), Some(clock.sleep(STARTING)));
        Self { clock, look, looked, interfaces: interfaces.fuse(), starting, settling: None }
    }

    fn has_slept(&mut self) -> bool {
        let now = (self.clock.now(), SystemTime::now());
        let counted = now.0.since(self.looked.0);
        // Where the clock that only runs forward stands still meanwhile, the other one goes on. Where it
        // does not, nobody has looked in time. A clock that was set back tells nothing.
        let by_the_wall = now.1.duration_since(self.looked.1).unwrap_or_default();
        self.looked = now;
        lost(counted, by_the_wall) > LOST
    }
}

/// How much time was lost between two looks.
fn lost(counted: Duration, by_the_wall: Duration) -> Duration {
    counted.max(by_the_wall).saturating_sub(LOOK)
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Stream for Watch {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        while self.look.poll_unpin(cx).is_ready() {
            self.look = self.clock.sleep(LOOK);
            if self.has_slept() {
                return Poll::Ready(Some(Change::Woke));
            }
        }
        if self.starting.as_mut().is_some_and(|starting| starting.poll_unpin(cx).is_ready()) {
            self.starting = None;
        }
        while let Poll::Ready(Some(())) = self.interfaces.poll_next_unpin(cx) {
            if self.starting.is_none() && self.settling.is_none() {
                self.settling = Some(self.clock.sleep(SETTLE));
            }
        }
        if let Some(settling) = &mut self.settling
            && settling.poll_unpin(cx).is_ready()
        {
            self.settling = None;
            return Poll::Ready(Some(Change::Network));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::stream;

    use super::*;

    #[test]
    fn sleep_is_told_from_a_busy_machine_and_from_clocks_that_are_set() {
        let seconds = Duration::from_secs;
        assert!(lost(seconds(5), seconds(3600)) > LOST, "the machine has slept");
        assert!(lost(seconds(3600), seconds(3600)) > LOST, "likewise, on another system");
        assert!(lost(seconds(8), seconds(8)) < LOST, "it is busy");
        assert!(lost(seconds(5), seconds(0)) < LOST, "the clock was set back");
    }

    #[test]
    fn what_happens_to_interfaces_at_once_is_one_change() {
        let interfaces = stream::iter([(), (), ()]).chain(stream::pending()).boxed();
        let mut watch = Watch::new(Clock::system(), interfaces);
        watch.starting = None;
        assert_eq!(block_on(watch.next()), Some(Change::Network));
        assert!(watch.settling.is_none());
    }

    #[test]
    fn the_interfaces_that_there_are_at_first_are_no_change() {
        let mut watch = Watch::new(Clock::system(), stream::iter([(), ()]).boxed());
        assert_eq!(watch.next().now_or_never(), None);
        assert!(watch.settling.is_none());
    }
}
