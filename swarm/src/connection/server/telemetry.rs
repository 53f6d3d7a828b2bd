//! What a stream that a peer opened tells of its requests.

use pointsub_core::connection::Refusals;
use pointsub_core::{Headers, Status, Timestamp};

use super::ServerDriver;
use crate::telemetry::{HandlerMark, Side, status_name};

impl ServerDriver {
    /// Watches the handler of a request with so many bytes, if anybody wants to know of it.
    pub(super) fn mark(
        &self,
        headers: Option<&Headers>,
        len: usize,
        now: Timestamp,
    ) -> Option<HandlerMark> {
        let handler = self.handler.as_deref()?;
        let whose = (&self.peer, &self.protocol);
        HandlerMark::begin(&self.shared, whose, handler, headers, len, now)
    }

    /// Tells of requests that no handler has seen.
    #[inline]
    pub(super) fn tell_refusals(&self, own: Refusals, asked: Option<&Status>) {
        if own != Refusals::default() || asked.is_some() {
            self.tell_refused(own, asked);
        }
    }

    #[cold]
    fn tell_refused(&self, own: Refusals, asked: Option<&Status>) {
        let asked = asked.map(|status| (status_name(status.code), 1));
        let own = [("busy", own.busy), ("denied", own.denied), ("invalid", own.other)];
        for (status, count) in own.into_iter().chain(asked).filter(|(_, count)| *count > 0) {
            tracing::debug!(
                target: "pointsub::admission",
                peer = %self.peer,
                protocol = %self.protocol,
                status,
                count,
                "requests are refused"
            );
            if let Some(recorder) = self.shared.telemetry.recorder() {
                recorder.refused(self.protocol.as_str(), status, u64::from(count));
            }
        }
    }

    /// Tells how many bytes have travelled.
    pub(super) fn tell_bytes(&mut self) {
        if let Some(recorder) = self.shared.telemetry.recorder() {
            self.io.tell(&**recorder, self.protocol.as_str(), Side::Server);
        }
    }
}
