//! Deadlines that callers keep themselves.
//!
//! Time passes for a dispatcher when its driver says so, and a driver that is held up lets no deadline
//! pass. A caller that must not be held up with it says itself that its deadline is over.

use super::Dispatcher;
use crate::connection::StreamCommand;
use crate::endpoint::client::state::keys::DialId;
use crate::error::{Cause, Delivery, Phase, RequestError};
use crate::id::{ClosestId, RequestId, StreamId};
use crate::time::Timestamp;

impl Dispatcher {
    /// The deadline of a request has passed. It fails with [`Cause::Deadline`], unless it has an
    /// outcome already or its deadline is still to come.
    ///
    /// `begun` says whether the stream that has the request may have sent some of it; if not, the
    /// request was not processed.
    pub fn expire(
        &mut self,
        request: RequestId,
        begun: impl FnOnce(StreamId) -> bool,
        now: Timestamp,
    ) {
        self.now = self.now.max(now);
        let Some(waiting) = self.requests.get(request) else { return };
        if waiting.call().is_some() || waiting.deadline().is_none_or(|due| due > self.now) {
            return;
        }
        let (mut phase, mut delivery) = (Phase::Connect, Delivery::NotProcessed);
        if let Some(stream) = waiting.stream() {
            if begun(stream) {
                (phase, delivery) = (Phase::Wait, Delivery::Unknown);
            }
            self.command(stream, StreamCommand::Cancel { request });
        }
        self.fail(request, RequestError::new(Cause::Deadline, phase, delivery));
        self.finish_drain();
    }

    /// The deadline of a call to the closest node has passed. It fails with [`Cause::Deadline`],
    /// unless it has an outcome already or its deadline is still to come.
    pub fn expire_closest(&mut self, call: ClosestId, now: Timestamp) {
        self.now = self.now.max(now);
        if self.calls.get(call).is_some_and(|call| call.is_over(self.now)) {
            // Whether one of its nodes may have seen it is added there.
            let unsent = Delivery::NotProcessed;
            self.fail_call(call, RequestError::new(Cause::Deadline, Phase::Wait, unsent));
            self.finish_drain();
        }
    }

    /// The deadline of a raw stream that is dialled has passed. It fails, unless it is there already
    /// or its deadline is still to come.
    pub fn expire_dial(&mut self, dial: DialId, now: Timestamp) {
        self.now = self.now.max(now);
        if self.dials.get(dial).is_some_and(|dial| dial.is_late(self.now)) {
            self.dial_due(dial);
            self.finish_drain();
        }
    }
}
