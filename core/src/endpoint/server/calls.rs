//! Places of calls: from the request that opens one to its end.

use super::admission::Admission;
use super::share::Places;
use super::streams::{Kind, StreamKey};
use crate::connection::ServerReport;
use crate::error::Status;
use crate::time::Timestamp;

impl Admission {
    /// A place for a call, beside that of the request that opens it. It is no load: the limit of
    /// requests does not know it.
    fn admit_call(&mut self, stream: StreamKey) -> Result<(), Status> {
        let free = self.max_calls.saturating_sub(self.calls.taken());
        let places = Places { limit: self.max_calls, free, room: free };
        if !self.share(stream, Kind::Call, places) {
            self.counters.no_place += 1;
            return Err(self.refuse_busy("too many calls are open"));
        }
        if let Some(connection) = self.connections.open.get_mut(stream) {
            connection.calls += 1;
        }
        Ok(())
    }

    /// Lets a request in that opens a call, as [`admit`](Self::admit) does, with a place for the call.
    pub(super) fn admit_opening(
        &mut self,
        stream: StreamKey,
        report: &ServerReport,
        sizes: (usize, usize),
        now: Timestamp,
    ) -> Result<(), Status> {
        self.admit_call(stream)?;
        let admitted = self.admit(stream, report, sizes, now);
        if admitted.is_err() {
            let calls = self.connections.open.get(stream).map_or(0, |stream| stream.calls);
            self.keep_calls(stream, calls.saturating_sub(1));
        }
        admitted
    }

    /// A stream has so many calls left.
    pub(super) fn keep_calls(&mut self, stream: StreamKey, calls: usize) {
        let Some(connection) = self.connections.open.get_mut(stream) else { return };
        let ended = connection.calls.saturating_sub(calls);
        connection.calls -= ended;
        for _ in 0..ended {
            self.give(stream, Kind::Call);
        }
    }
}
