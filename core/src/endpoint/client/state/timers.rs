//! What is due when.

use alloc::collections::BTreeSet;

use super::keys::{DialId, RouteKey};
use crate::id::{ClosestId, RequestId, StreamId};
use crate::time::Timestamp;

/// What a timer is for. Of timers that are due at the same time, the first kind goes first.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKind {
    /// A stream must be open.
    Open(StreamId),
    /// The caller of a request that waits for a stream stops waiting.
    Wait(RequestId),
    /// A stream may have been idle for too long.
    Idle(StreamId),
    /// Streams of a route may be opened again.
    Backoff(RouteKey),
    /// A plain peer has kept a stream for long enough to show that it keeps them.
    Trial(StreamId),
    /// A request is tried again.
    Retry(RequestId),
    /// A call to the closest node asks a further node, or begins its next round.
    Call(ClosestId),
    /// A raw stream must be open.
    Dial(DialId),
}

/// The timers of a client.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    set: BTreeSet<(Timestamp, TimerKind)>,
}

impl Timers {
    pub(crate) fn set(&mut self, due: Timestamp, kind: TimerKind) {
        self.set.insert((due, kind));
    }

    pub(crate) fn cancel(&mut self, due: Timestamp, kind: TimerKind) {
        self.set.remove(&(due, kind));
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.set.first().map(|(due, _)| *due)
    }

    /// Takes out one that is due.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<TimerKind> {
        let (due, kind) = *self.set.first()?;
        if due > now {
            return None;
        }
        self.set.pop_first();
        Some(kind)
    }
}
