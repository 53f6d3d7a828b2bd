//! Calls on a stream that we opened.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;

use super::report::{Report, Slot};
use super::stream::{ClientStream, SLOT_MASK, closing};
use crate::connection::calls::{
    CallError, CallEvent, CallKey, CallLimits, CallMessage, CallOpening, Calls,
};
use crate::error::{Cause, Delivery, Phase, RequestError, SendError, Status, StatusCode};
use crate::id::RequestId;
use crate::time::Timestamp;
use crate::wire::{CallViolation, Credit, Features, Format, Frame, FrameError, Kind};

/// So much of messages goes into one write, behind what ends and regulates calls.
const FILL: usize = 64 * 1024;
/// So much goes into it at least, whatever requests wait.
const LEAST: usize = 16 * 1024;
/// Bytes of messages that have come or may come on one stream.
const MEMORY: usize = 64 * 1024 * 1024;

/// The calls of a stream, which most streams do not have.
#[derive(Debug)]
pub(super) struct ClientCalls {
    pub(super) table: Calls,
    /// Calls that are not accepted, as the dispatcher knows them.
    requests: BTreeMap<u64, RequestId>,
    events: VecDeque<(CallKey, CallEvent)>,
}

impl ClientStream {
    /// Opens a call. [`Report::Accepted`] says that a handler has it, and any other report about the
    /// request that it has ended before that. What happens in it is said by
    /// [`poll_call_event`](Self::poll_call_event).
    pub fn open(
        &mut self,
        request: RequestId,
        opening: CallOpening,
        now: Timestamp,
    ) -> Option<CallKey> {
        self.link.advance_clock(now);
        if let Some((cause, slot)) = self.refuses_calls() {
            let (phase, delivery) = (Phase::Connect, Delivery::NotProcessed);
            self.report_failed(request, cause, phase, delivery, slot);
            return None;
        }
        let key = CallKey(self.next_id(SLOT_MASK));
        let (max_message, now) = (self.max_message(), self.link.now);
        let calls = self.calls_here(now);
        calls.table.set_peer_limit(max_message);
        match calls.table.open(key, opening, now) {
            Ok(()) => {
                calls.requests.insert(key.0, request);
                Some(key)
            }
            Err(error) => {
                let cause = match error {
                    CallError::TooLarge { len, limit } => {
                        Cause::Refused(SendError::TooLarge { len, limit })
                    }
                    error => Cause::Lost(Arc::from(alloc::format!("{error}"))),
                };
                let (phase, delivery) = (Phase::Send, Delivery::NotProcessed);
                self.report_failed(request, cause, phase, delivery, Slot::Free);
                None
            }
        }
    }

    /// The call is not wanted any more that this request was to open.
    pub fn decline(&mut self, request: RequestId) {
        let (phase, delivery) = (Phase::Connect, Delivery::NotProcessed);
        let slot = if self.closed || self.draining { Slot::Gone } else { Slot::Free };
        self.report_failed(request, Cause::Cancelled, phase, delivery, slot);
    }

    /// Why no call can be opened here, and what becomes of its slot.
    fn refuses_calls(&self) -> Option<(Cause, Slot)> {
        let unimplemented = |why: &str| {
            let status = Status::new(StatusCode::Unimplemented, why);
            Some((Cause::Remote(status), Slot::Free))
        };
        if self.closed || self.draining {
            Some((closing(self.drained), Slot::Gone))
        } else if self.link.format == Format::Plain {
            unimplemented("the peer speaks the plain format, which has no calls")
        } else if self.has_settings && !self.peer.features.contains(Features::CALLS) {
            unimplemented("the peer does not take calls")
        } else {
            None
        }
    }

    fn calls_here(&mut self, now: Timestamp) -> &mut ClientCalls {
        let limits = CallLimits {
            max_calls: self.max_in_flight,
            max_message: self.link.decoder.max_body(),
            max_memory: MEMORY,
            answer_within: self.read_timeout,
        };
        self.streaming.get_or_insert_with(|| {
            let table = Calls::client(limits, now);
            Box::new(ClientCalls { table, requests: BTreeMap::new(), events: VecDeque::new() })
        })
    }

    /// The longest message that the peer takes in a call.
    #[must_use]
    pub fn max_message(&self) -> usize {
        self.peer.max_body as usize
    }

    /// The peer's settings have come.
    pub(super) fn limit_calls(&mut self) {
        self.has_settings = true;
        let max_message = self.max_message();
        if let Some(calls) = &mut self.streaming {
            calls.table.set_peer_limit(max_message);
        }
    }

    /// The next event of a call.
    pub fn poll_call_event(&mut self) -> Option<(CallKey, CallEvent)> {
        self.streaming.as_mut()?.events.pop_front()
    }

    /// Sends several messages in a call: see [`Calls::send_all`].
    ///
    /// # Errors
    /// [`CallError`] of the first message that is not sent.
    pub fn send_messages(
        &mut self,
        key: CallKey,
        messages: impl IntoIterator<Item = CallMessage>,
        now: Timestamp,
    ) -> Result<(), CallError> {
        self.table()?.send_all(key, messages, now)
    }

    /// Sends a message in a call: see [`Calls::send`].
    ///
    /// # Errors
    /// [`CallError`], and the message is not sent.
    pub fn send_message(
        &mut self,
        key: CallKey,
        message: CallMessage,
        now: Timestamp,
    ) -> Result<(), CallError> {
        self.table()?.send(key, message, now)
    }

    /// Says that no more messages come in a call: see [`Calls::finish`].
    ///
    /// # Errors
    /// [`CallError`] if that was said already, or the call is over.
    pub fn finish_messages(&mut self, key: CallKey, now: Timestamp) -> Result<(), CallError> {
        self.table()?.finish(key, now)
    }

    /// The application has taken messages of a call: see [`Calls::taken`].
    pub fn taken(&mut self, key: CallKey, credit: Credit, now: Timestamp) {
        if let Ok(table) = self.table() {
            table.taken(key, credit, now);
        }
    }

    /// Nobody waits for an accepted call any more. One that is not accepted is
    /// [cancelled](Self::cancel) as a request.
    pub fn cancel_call(&mut self, key: CallKey, now: Timestamp) {
        let Some(calls) = &mut self.streaming else { return };
        if calls.requests.contains_key(&key.0) {
            return;
        }
        let before = calls.table.has(key);
        calls.table.cancel(key, now);
        calls.events.retain(|(other, _)| *other != key);
        if before {
            self.reports.push_back(Report::Vacated);
        }
        self.finish_drain();
    }

    fn table(&mut self) -> Result<&mut Calls, CallError> {
        self.streaming.as_mut().map(|calls| &mut calls.table).ok_or(CallError::Over)
    }

    /// Cancels the call that the dispatcher knows under this name.
    pub(super) fn cancel_opening(&mut self, request: RequestId, now: Timestamp) {
        let Some(calls) = &mut self.streaming else { return };
        let key = calls.requests.iter().find(|(_, other)| **other == request).map(|(key, _)| *key);
        if let Some(key) = key {
            calls.requests.remove(&key);
            calls.table.cancel(CallKey(key), now);
            self.reports.push_back(Report::Vacated);
            self.finish_drain();
        }
    }

    /// Takes in a frame that belongs to a call.
    pub(super) fn take_call_frame(&mut self, frame: Frame) -> Result<(), FrameError> {
        let (now, kind) = (self.link.now, frame.header.kind);
        let Some(calls) = &mut self.streaming else {
            return Err(FrameError::Call(CallViolation::NotOpen));
        };
        calls.table.handle(frame, now)?;
        self.unasked = match calls.table.take_offences() {
            0 => 0,
            points => self.unasked.saturating_add(points),
        };
        // Messages are many, and the dispatcher need not know of them.
        if kind != Some(Kind::Data) {
            self.report_calls(false);
            self.finish_drain();
        }
        Ok(())
    }

    /// Tells the dispatcher what it has to know of the events in calls.
    pub(super) fn report_calls(&mut self, lost: bool) {
        let Some(calls) = &mut self.streaming else { return };
        while let Some((key, event)) = calls.table.poll_event() {
            match &event {
                CallEvent::Accepted { load, .. } => {
                    if let Some(request) = calls.requests.remove(&key.0) {
                        self.reports.push_back(Report::Accepted { request, load: *load });
                    }
                }
                CallEvent::Ended(end) => match (calls.requests.remove(&key.0), &end.outcome) {
                    // Its caller hears of these from the dispatcher.
                    (Some(request), Err((Cause::Remote(status), delivery))) => {
                        let answer = Err((status.clone(), *delivery));
                        self.reports.push_back(Report::Answered { request, answer, load: None });
                        calls.events.push_back((key, CallEvent::Unopened));
                        continue;
                    }
                    (Some(request), Err((cause, delivery))) => {
                        let error = RequestError::new(cause.clone(), Phase::Wait, *delivery);
                        let slot = if lost { Slot::Gone } else { Slot::Free };
                        self.reports.push_back(Report::Failed { request, error, slot });
                        calls.events.push_back((key, CallEvent::Unopened));
                        continue;
                    }
                    (Some(request), Ok(_)) => {
                        self.reports.push_back(Report::Accepted { request, load: None });
                        self.reports.push_back(Report::Vacated);
                    }
                    (None, _) => self.reports.push_back(Report::Vacated),
                },
                _ => {}
            }
            calls.events.push_back((key, event));
        }
    }

    /// Lets time pass for calls.
    pub(super) fn expire_calls(&mut self, now: Timestamp) {
        let Some(calls) = &mut self.streaming else { return };
        if calls.table.next_deadline().is_none_or(|due| due > now) {
            return;
        }
        if calls.table.handle_timeout(now).is_err() {
            let cause = Cause::Lost(Arc::from("the peer does not confirm cancellation"));
            return self.close_with(&cause);
        }
        self.report_calls(false);
        self.finish_drain();
    }

    /// The stream is gone, or takes no more.
    pub(super) fn lose_calls(&mut self, cause: &Cause) {
        if let Some(calls) = &mut self.streaming {
            calls.table.lose(cause);
            self.report_calls(true);
        }
    }

    /// The server takes no request beyond `last`, or this end sends no more.
    pub(super) fn drain_calls(&mut self, last: Option<u64>) {
        let now = self.link.now;
        if let Some(calls) = &mut self.streaming {
            match last {
                Some(last) => calls.table.drain(last, now),
                None => calls.table.retire(now),
            }
            self.report_calls(false);
        }
    }

    /// Adds frames of calls to the write that is about to be taken.
    pub(super) fn fill_calls(&mut self) {
        if let Some(calls) = &mut self.streaming
            && self.link.is_ready()
            && calls.table.wants_write()
        {
            let bytes = FILL.saturating_sub(self.link.outbox.len()).max(LEAST);
            calls.table.fill(&mut self.link.outbox, bytes);
            // What is written makes room for more.
            self.report_calls(false);
        }
    }

    /// Whether no call is left on the stream.
    pub(super) fn has_no_calls(&self) -> bool {
        self.streaming.as_ref().is_none_or(|calls| calls.table.is_empty())
    }
}
