//! Memory for whoever has none: streams that hold some and stand still are given up.

use alloc::vec::Vec;
use core::time::Duration;

use super::admission::Admission;
use super::penalty::Offence;
use super::shares::StreamKey;
use crate::time::Timestamp;

/// A stream may stand still for so long, in the middle of a message or an answer, while others lack the
/// memory that it holds.
const STILL: Duration = Duration::from_secs(3);
/// Streams that hold less are not worth it.
const WORTH: usize = 16 * 1024;
/// How often streams are looked through. That takes longer the more there are.
const EVERY: Duration = Duration::from_millis(250);

/// Streams that were given up, for whoever drives them.
#[derive(Debug, Default)]
pub(super) struct Stalled {
    looked: Option<Timestamp>,
    streams: Vec<StreamKey>,
}

impl Admission {
    /// The streams to be [reset](crate::connection::ServerStream::reset), because they hold memory that
    /// others lack and have not moved for 3 s. Ask after each verdict.
    pub fn take_stalled(&mut self) -> Vec<StreamKey> {
        core::mem::take(&mut self.stalled.streams)
    }

    /// Whether there are any.
    #[must_use]
    #[inline]
    pub fn has_stalled(&self) -> bool {
        !self.stalled.streams.is_empty()
    }

    /// Bytes were refused. If they are short, whoever holds some and waits for nothing but its peer is
    /// given up, as far as that is needed, the largest first. Its peer pays for what it held.
    #[cold]
    pub(super) fn make_memory(&mut self, now: Timestamp) {
        let bytes = core::mem::take(&mut self.capacity.lacking);
        let looked = self.stalled.looked;
        if !self.capacity.budget.is_short_of(bytes)
            || looked.is_some_and(|at| now.since(at) < EVERY)
        {
            return;
        }
        self.stalled.looked = Some(now);
        let still = self.connections.open.iter().filter(|(_, stream)| {
            stream.waiting >= WORTH && now.since(stream.last_active) >= STILL
        });
        let mut still: Vec<_> = still.map(|(key, stream)| (stream.waiting, key)).collect();
        still.sort_unstable_by(|a, b| b.cmp(a));
        let mut freed = 0;
        for (waiting, key) in still {
            if freed >= bytes {
                break;
            }
            freed += waiting;
            self.give_up(key, now);
        }
    }

    fn give_up(&mut self, key: StreamKey, now: Timestamp) {
        self.capacity.counters.stalled += 1;
        self.stalled.streams.push(key);
        let Some(mut account) = self.connections.account(key) else { return };
        let stream = &mut *account.stream;
        let offence = Offence::Timeout(stream.waiting, now.since(stream.last_active));
        // It is not chosen again while it ends.
        stream.waiting = 0;
        self.capacity.offend(&mut account, offence.points(), now);
        account.settle(offence.points(), 0, now);
    }
}
