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

    /// Sees to it that a stream is called by `due`; `known` is when it is called next. A call that
    /// comes before is left as it is, and set again when it has come: deadlines move with every
    /// message, and calls of which nothing comes cost less than moving them as often.
    pub(crate) fn update(
        &mut self,
        stream: StreamId,
        known: &mut Option<Timestamp>,
        due: Option<Timestamp>,
    ) {
        let Some(due) = due else { return };
        if known.is_none_or(|known| due < known) {
            self.remove(stream, *known);
            self.0.insert((due, stream));
            *known = Some(due);
        }
    }

    /// Forgets a stream that is called next at `known`.
    pub(crate) fn remove(&mut self, stream: StreamId, known: Option<Timestamp>) {
        if let Some(known) = known {
            self.0.remove(&(known, stream));
        }
    }
}
