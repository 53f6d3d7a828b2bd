//! Which stream wants to be called when.

use alloc::collections::BTreeSet;

use crate::id::StreamId;
use crate::time::Timestamp;

/// The deadlines of many streams, at most one of each.
#[derive(Debug, Default)]
pub(crate) struct StreamTimers(BTreeSet<(Timestamp, StreamId)>);

impl StreamTimers {
    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(due, _)| *due)
    }

    /// Takes out a stream that is due.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<StreamId> {
        let (due, stream) = *self.0.first()?;
        (due <= now).then(|| {
            self.0.pop_first();
            stream
        })
    }

    /// Moves a stream's deadline, and notes the new one in `known`.
    pub(crate) fn update(
        &mut self,
        stream: StreamId,
        known: &mut Option<Timestamp>,
        due: Option<Timestamp>,
    ) {
        let before = core::mem::replace(known, due);
        if before != due {
            if let Some(before) = before {
                self.0.remove(&(before, stream));
            }
            if let Some(due) = due {
                self.0.insert((due, stream));
            }
        }
    }
}
