//! Calls on a stream that a peer opened.
//!
//! Until a call is accepted it is a request like any other: admitted, cancelled, timed out and answered
//! as those. Then its place is free again, and it moves to the table of calls.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::time::Duration;

use bytes::Bytes;

use super::calls::CallId;
use super::stream::{ServerStream, ServerStreamEvent};
use crate::connection::calls::{
    CallError, CallEvent, CallKey, CallLimits, CallMessage, CallStart, Calls,
};
use crate::endpoint::SampleOutcome;
use crate::error::{Delivery, Status, StatusCode};
use crate::time::Timestamp;
use crate::wire::call::MIN_WINDOW;
use crate::wire::compress::{Body, Payload};
use crate::wire::{CallRequest, CallViolation, Credit, Frame, FrameError, Headers, Kind, Metadata};

/// So much of messages goes into one write, behind what ends and regulates calls.
const FILL: usize = 64 * 1024;
/// So much goes into it at least, whatever answers wait.
const LEAST: usize = 16 * 1024;
/// The least window that a client is granted, if it is to send anything.
const LEAST_WINDOW: u32 = 2 * MIN_WINDOW.bytes;

/// What a call is to be like, as its client says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallTerms {
    /// What the server may send at once.
    pub credit: Credit,
    /// The client sends no messages.
    pub silent: bool,
    /// The cursor behind which the call goes on.
    pub resume: Option<Bytes>,
}

/// How a call is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallAcceptance {
    /// What the client is told before the first message.
    pub metadata: Metadata,
    /// How much of the client's messages may wait here.
    pub window: Credit,
    /// How far that may grow, where the handler takes messages faster than it lets them come.
    pub grows_to: Credit,
    /// How long a call is kept in which nothing moves, though this end does not keep it from moving.
    pub idle: Option<Duration>,
}

/// A request that is to open a call.
#[derive(Debug)]
struct Opening {
    terms: CallTerms,
    /// Bytes that are kept for the client's messages, from when it begins until it is accepted.
    window: u32,
}

/// What a stream has beside requests, which most streams do not have.
#[derive(Debug)]
pub(super) struct ServerCalls {
    pub(super) table: Calls,
    /// Of requests that wait or are at work, by wire id.
    terms: BTreeMap<u64, Opening>,
    /// Bytes of their windows.
    opening: usize,
}

impl ServerCalls {
    fn held(&self) -> usize {
        self.table.reserved() + self.table.unwritten() + self.opening
    }
}

impl ServerStream {
    /// The same stream for a protocol that has no calls: requests that open one are answered
    /// [`StatusCode::Unimplemented`].
    #[must_use]
    pub fn without_calls(mut self) -> Self {
        self.max_calls = 0;
        self
    }

    /// What the call is to be like that a request opens, if it opens one.
    #[must_use]
    pub fn terms(&self, call: CallId) -> Option<&CallTerms> {
        let opening = self.streaming.as_ref()?.terms.get(&self.wire_id(call)?)?;
        Some(&opening.terms)
    }

    /// The handler of a request that opens a call has it. From here on the call is known by its key,
    /// and its handler ends with [`end_call`](Self::end_call). `None` if nobody waits for it any more:
    /// the handler is told to stop then, or was.
    pub fn accept_call(
        &mut self,
        call: CallId,
        terms: &CallTerms,
        acceptance: CallAcceptance,
        now: Timestamp,
    ) -> Option<CallKey> {
        self.link.advance_clock(now);
        let now = self.link.now;
        let room = self.window_of(call);
        let (key, deadline, kept) = self.leave_requests(call)?;
        let load = self.load_to_tell();
        let CallAcceptance { metadata, window, grows_to, idle } = acceptance;
        let window = Credit { bytes: window.bytes.min(room), ..window };
        let (credit, silent) = (terms.credit, terms.silent);
        let start = CallStart { window, grows_to, credit, silent, deadline, idle, kept };
        let table = &mut self.streaming_here().table;
        // Its credit was checked, and its id was new.
        table.begin(key, start, now).ok()?;
        table.accept(key, metadata, load, now).ok()?;
        self.settle();
        Some(key)
    }

    /// A request has a place that may open a call: keeps as much for the client's messages as there is
    /// memory for, and for the least window whatever the budgets say.
    pub(super) fn keep_window(&mut self, wire_id: u64) {
        let room = self.exchange.known.room.saturating_sub(self.held());
        let Some(streaming) = &mut self.streaming else { return };
        let Some(opening) = streaming.terms.get_mut(&wire_id) else { return };
        if !opening.terms.silent {
            opening.window = u32::try_from(room).unwrap_or(u32::MAX).max(LEAST_WINDOW);
            streaming.opening += opening.window as usize;
        }
    }

    /// What is kept for the messages of a call that is not accepted.
    fn window_of(&self, call: CallId) -> u32 {
        let opening = self.wire_id(call).and_then(|id| self.streaming.as_ref()?.terms.get(&id));
        opening.map_or(LEAST_WINDOW, |opening| opening.window)
    }

    /// The server waits no longer for the calls that are open: their handlers are to stop, and their
    /// clients are told that it is draining. Requests go on.
    pub fn end_calls(&mut self, now: Timestamp) {
        self.link.advance_clock(now);
        let now = self.link.now;
        if let Some(streaming) = &mut self.streaming {
            streaming.table.stop_all(now);
        }
        self.settle();
    }

    /// Calls that have a place among all of them.
    fn placed_calls(&self) -> usize {
        let Some(streaming) = &self.streaming else { return 0 };
        let waiting = self.exchange.waiting.as_ref().map(|waiting| waiting.wire_id());
        let waits = waiting.is_some_and(|id| streaming.terms.contains_key(&id));
        let waits = waits && self.exchange.places == 0;
        streaming.terms.len() - usize::from(waits) + streaming.table.len()
    }

    /// Has it reported how many calls there are, if that is not known.
    pub(super) fn note_calls(&mut self) {
        let placed = self.placed_calls();
        self.call_places.set(placed);
        if placed != self.exchange.known.calls {
            self.exchange.events.note_calls(placed);
        }
    }

    /// Whether a request that waits for a place is to open a call.
    pub(super) fn opens_call(&self, wire_id: u64) -> bool {
        let terms = self.streaming.as_ref().map(|streaming| &streaming.terms);
        terms.is_some_and(|terms| terms.contains_key(&wire_id))
    }

    /// The handler of a call has ended: see [`Calls::respond`].
    pub fn end_call(
        &mut self,
        key: CallKey,
        outcome: Result<Body, Status>,
        metadata: Metadata,
        now: Timestamp,
    ) {
        self.link.advance_clock(now);
        let now = self.link.now;
        if let Some(streaming) = &mut self.streaming {
            let outcome = outcome.map(Payload::from);
            streaming.table.respond(key, outcome, metadata, now);
        }
        self.settle();
    }

    /// The longest message that the peer takes in a call.
    #[must_use]
    pub fn max_message(&self) -> usize {
        self.peer.max_body as usize
    }

    /// The next event of a call.
    pub fn poll_call_event(&mut self) -> Option<(CallKey, CallEvent)> {
        self.streaming.as_mut()?.table.poll_event()
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

    fn table(&mut self) -> Result<&mut Calls, CallError> {
        self.streaming.as_mut().map(|streaming| &mut streaming.table).ok_or(CallError::Over)
    }

    fn streaming_here(&mut self) -> &mut ServerCalls {
        let limits = CallLimits {
            max_calls: self.max_calls,
            max_message: self.max_body,
            max_memory: self.max_call_memory,
            answer_within: Duration::MAX,
        };
        let (now, peer) = (self.link.now, self.max_message());
        let streaming = self.streaming.get_or_insert_with(|| {
            let table = Calls::server(limits, now);
            Box::new(ServerCalls { table, terms: BTreeMap::new(), opening: 0 })
        });
        streaming.table.set_peer_limit(peer);
        streaming
    }

    /// A request is gone that may have been to open a call.
    #[inline]
    pub(super) fn drop_terms(&mut self, wire_id: u64) {
        if let Some(streaming) = &mut self.streaming {
            let opening = streaming.terms.remove(&wire_id);
            streaming.opening -= opening.map_or(0, |opening| opening.window as usize);
        }
    }

    /// A request that opens a call has come.
    pub(super) fn take_opening(
        &mut self,
        frame: Frame,
    ) -> Result<Option<ServerStreamEvent>, FrameError> {
        let id = frame.header.id;
        let request = self.streaming_here().table.read(frame)?;
        let refused = |status: Status| Err(status);
        let full = self.call_places.full();
        let request = request.or_else(refused).and_then(|request| {
            if let Some(limit) = full {
                let message = alloc::format!("{limit} calls are open on the connection already");
                return Err(Status::new(StatusCode::Busy, message));
            }
            let deadline =
                request.timeout.map(|ms| self.arrived + Duration::from_millis(u64::from(ms)));
            match self.refusal(&request.argument, deadline) {
                Some(status) => Err(status),
                None => Ok((request, deadline)),
            }
        });
        match request {
            Ok((request, deadline)) => {
                let CallRequest { method, metadata, argument, credit, silent, resume, .. } =
                    request;
                let terms = CallTerms { credit, silent, resume };
                self.streaming_here().terms.insert(id, Opening { terms, window: 0 });
                let argument = argument.with_headers(Headers { method, metadata });
                self.wait_for_place(id, argument, deadline);
                Ok(None)
            }
            Err(status) => {
                match status.code {
                    StatusCode::Busy => self.exchange.events.refuse_busy(),
                    _ => self.exchange.events.refuse(),
                }
                self.answer_failed(id, &status, Delivery::NotProcessed);
                Ok(None)
            }
        }
    }

    /// Takes in a frame that belongs to a call.
    pub(super) fn take_call_frame(&mut self, frame: Frame) -> Result<(), FrameError> {
        let (now, last_id, kind) = (self.link.now, self.last_id, frame.header.kind);
        if self.streaming.is_none() && frame.header.id > last_id {
            return Err(FrameError::Call(CallViolation::NotOpen));
        }
        let table = &mut self.streaming_here().table;
        table.saw(last_id);
        let result = table.handle(frame, now);
        let points = table.take_offences();
        if points > 0 {
            self.exchange.events.charge(points);
        }
        // Messages are many, and end no call.
        if kind != Some(Kind::Data) || result.is_err() {
            self.settle();
        }
        result
    }

    /// Whether a cancellation is that of a call; if so, it is taken in.
    pub(super) fn cancels_call(&mut self, frame: &Frame) -> bool {
        let key = CallKey(frame.header.id);
        let known = self.streaming.as_ref().is_some_and(|streaming| streaming.table.knows(key));
        // The frame of a cancellation cannot break the format.
        known && self.take_call_frame(frame.clone()).is_ok()
    }

    /// A request leaves for the table of calls: its place is free.
    fn leave_requests(&mut self, call: CallId) -> Option<(CallKey, Option<Timestamp>, usize)> {
        if self.is_stopped(call) {
            return None;
        }
        let call = self.remove(call)?;
        self.release(&call, SampleOutcome::Answered);
        self.exchange.events.ok += 1;
        Some((CallKey(call.wire_id), call.deadline, call.bytes))
    }

    /// Lets time pass for calls.
    pub(super) fn expire_calls(&mut self, now: Timestamp) {
        if let Some(streaming) = &mut self.streaming {
            // A server waits for no confirmation.
            let _confirmed = streaming.table.handle_timeout(now);
        }
    }

    /// The handlers of calls are told that the stream takes no more.
    pub(super) fn drain_calls(&mut self) {
        let now = self.link.now;
        if let Some(streaming) = &mut self.streaming {
            streaming.table.drain_handlers(now);
        }
    }

    /// The stream is gone: the handlers of calls are to stop.
    pub(super) fn lose_calls(&mut self) {
        if let Some(streaming) = &mut self.streaming {
            (streaming.terms, streaming.opening) = (BTreeMap::new(), 0);
            streaming.table.lose_handlers();
        }
    }

    /// Adds frames of calls to the write that is about to be taken.
    pub(super) fn fill_calls(&mut self) {
        if let Some(streaming) = &mut self.streaming
            && self.link.is_ready()
            && streaming.table.wants_write()
        {
            let bytes = FILL.saturating_sub(self.link.outbox.len()).max(LEAST);
            streaming.table.fill(&mut self.link.outbox, bytes);
        }
    }

    /// Bytes of messages that have come or may come, and of those that wait to be written.
    #[inline]
    pub(super) fn held_for_calls(&self) -> usize {
        self.streaming.as_ref().map_or(0, |streaming| streaming.held())
    }

    /// Those of them that do not wait for the peer.
    #[inline]
    pub(super) fn unstalled_for_calls(&self) -> usize {
        let unstalled = |streaming: &ServerCalls| streaming.held() - streaming.table.stalled();
        self.streaming.as_ref().map_or(0, |streaming| unstalled(streaming))
    }

    #[inline]
    pub(super) fn has_calls(&self) -> bool {
        self.streaming.as_ref().is_some_and(|streaming| !streaming.table.is_empty())
    }
}
