//! One stream that a peer opened: requests in, answers out.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use slab::Slab;

use super::gate::{Gate, Outcome, ProtocolKey};
use crate::compress::{Body, Payload};
use crate::config::ServerConfig;
use crate::error::{Delivery, Status, StatusCode};
use crate::frame::{Flags, Format, Frame, FrameError, HeadReader, Kind, Settings, tag};
use crate::link::Link;
use crate::port::{StreamEvent, StreamOp};
use crate::time::{Timestamp, earliest};

/// No further requests are read while more than this waits to be written: a peer that does not
/// read its answers gets no more of them.
const OUTBOX_HIGH: usize = 256 * 1024;

const SLOT_BITS: u32 = 20;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;

/// A request as its stream knows it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u64);

/// The wire machine of one stream that a peer opened.
///
/// It reads requests, asks the [`Gate`] whether to let each in, and frames the answers. Every
/// [`ServerEvent::Request`] is to be ended by exactly one [`respond`](Self::respond) or
/// [`abandoned`](Self::abandoned), whatever became of the stream meanwhile.
#[derive(Debug)]
pub struct ServerStream {
    pub(super) link: Link,
    protocol: ProtocolKey,
    pub(super) max_body: usize,
    max_in_flight: usize,
    idle_timeout: Duration,
    pub(super) peer: Settings,
    calls: Slab<Call>,
    seq: u64,
    /// The highest request id seen.
    last_id: u64,
    /// No call is due before this; it may be earlier than the truth.
    due: Option<Timestamp>,
    /// When the stream is closed unless a request comes.
    idle_due: Option<Timestamp>,
    draining: bool,
    /// The peer will send no more; what it has sent may still wait to be looked at.
    finished: bool,
    /// Nothing of what the peer sends is looked at any more.
    deaf: bool,
    events: VecDeque<ServerEvent>,
}

#[derive(Debug)]
pub(super) struct Call {
    id: CallId,
    pub(super) wire_id: u64,
    deadline: Option<Timestamp>,
    /// The answer was sent, or nobody waits for one: the handler's end only frees the place.
    pub(super) answered: bool,
    /// The status to answer with when the handler has stopped.
    pub(super) stopping: Option<StatusCode>,
}

/// What a [`ServerStream`] asks of whoever runs the handlers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// Run the handler.
    Request {
        /// Names the request in [`ServerStream::respond`].
        call: CallId,
        /// The body, perhaps compressed: inflate it on the handler's task.
        payload: Payload,
        /// When the caller stops waiting, if it said so.
        deadline: Option<Timestamp>,
    },
    /// Stop the handler, nobody waits for it; then call [`ServerStream::abandoned`].
    Abandon {
        /// The request.
        call: CallId,
    },
}

impl ServerStream {
    /// A stream that a peer opened under `protocol`.
    #[must_use]
    pub fn new(
        format: Format,
        protocol: ProtocolKey,
        config: &ServerConfig,
        now: Timestamp,
    ) -> Self {
        let max_body = config.max_block_size;
        let mut link = Link::new(format, max_body, config.read_timeout, config.write_timeout, now);
        let mut peer = Settings { max_body: u32::MAX, max_in_flight: 1 };
        if format == Format::Native {
            peer = Settings::ASSUMED;
            link.outbox.settings(Settings {
                max_body: max_body as u32,
                max_in_flight: config.max_in_flight as u32,
            });
        }
        Self {
            link,
            protocol,
            max_body,
            max_in_flight: config.max_in_flight,
            idle_timeout: config.idle_timeout,
            peer,
            calls: Slab::new(),
            seq: 0,
            last_id: 0,
            due: None,
            idle_due: Some(now + config.read_timeout),
            draining: false,
            finished: false,
            deaf: false,
            events: VecDeque::new(),
        }
    }

    /// A stream that is refused: it says so as far as its format can, and closes.
    #[must_use]
    pub fn refused(format: Format, config: &ServerConfig, gate: &mut Gate, now: Timestamp) -> Self {
        let mut stream = Self::new(format, ProtocolKey::default(), config, now);
        gate.refuse();
        stream.drain(now);
        stream
    }

    /// Whether answers may be compressed on this stream.
    #[must_use]
    pub fn compresses(&self) -> bool {
        self.link.format == Format::Native
    }

    /// Takes in what happened on the stream.
    pub fn handle(&mut self, event: StreamEvent, gate: &mut Gate, now: Timestamp) {
        self.link.advance_clock(now);
        match event {
            StreamEvent::Received(data) => {
                self.link.decoder.push(data);
                self.take_frames(gate);
            }
            StreamEvent::Filled(n) => {
                self.link.decoder.filled(n);
                self.take_frames(gate);
            }
            StreamEvent::Written => {
                self.link.on_written();
                self.take_frames(gate);
            }
            StreamEvent::Finished => {
                self.finished = true;
                self.take_frames(gate);
            }
            StreamEvent::Failed(_) => {
                self.link.gone();
                self.abandon_all();
            }
        }
    }

    /// Answers a request. An answer for which nobody waits any more is dropped.
    pub fn respond(
        &mut self,
        call: CallId,
        answer: Result<Body, Status>,
        gate: &mut Gate,
        now: Timestamp,
    ) {
        self.link.advance_clock(now);
        let Some(call) = self.remove(call) else { return };
        if call.answered || call.stopping.is_some() {
            gate.release(Outcome::Abandoned);
            self.answer_stopped(&call);
        } else {
            match self.within_limit(answer) {
                Ok(body) => {
                    gate.release(Outcome::Ok);
                    self.answer_ok(call.wire_id, body);
                }
                Err(status) => {
                    gate.release(Outcome::Failed);
                    self.answer_failed(call.wire_id, &status, Delivery::Unknown);
                }
            }
        }
        self.settle();
        self.take_frames(gate);
    }

    /// Says that the handler of an abandoned request has stopped.
    pub fn abandoned(&mut self, call: CallId, gate: &mut Gate, now: Timestamp) {
        self.respond(call, Err(Status::new(StatusCode::Internal, "")), gate, now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.link.advance_clock(now);
        let now = self.link.now;
        if self.link.overdue(now).is_some() {
            self.link.reset();
            self.abandon_all();
            return;
        }
        if self.idle_due().is_some_and(|due| due <= now) {
            self.drain(now);
        }
        if self.due.is_some_and(|due| due <= now) {
            self.expire(now);
        }
    }

    /// Takes no further requests, finishes those at work, then closes the stream. Tells the peer
    /// which requests it will not look at, if the format can.
    pub fn drain(&mut self, now: Timestamp) {
        self.link.advance_clock(now);
        if !self.draining && self.link.is_open() {
            self.draining = true;
            if self.link.format == Format::Native {
                let id = self.last_id;
                let none = bytes::Bytes::new();
                self.link.outbox.native(Kind::Drain, Flags::default(), id, none, |_| {});
            }
        }
        self.settle();
    }

    /// Aborts the stream; its handlers are to be stopped.
    pub fn reset(&mut self) {
        self.link.reset();
        self.abandon_all();
    }

    /// The next operation on the stream.
    pub fn poll_op(&mut self) -> Option<StreamOp> {
        self.link.poll_op()
    }

    /// Whether there is an event.
    #[must_use]
    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// The next event for whoever runs the handlers.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        earliest(earliest(self.link.next_deadline(), self.due), self.idle_due())
    }

    /// Whether bytes of the stream are wanted now. They are not while a plain request is at work
    /// or too many answers wait to be written.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        self.link.is_open() && !self.finished && !self.deaf && !self.paused()
    }

    /// Where the next bytes of a large request belong; see [`StreamEvent::Filled`].
    pub fn space(&mut self) -> Option<&mut [u8]> {
        if self.wants_read() { self.link.decoder.space() } else { None }
    }

    /// Whether the last operation was handed out and every handler has ended: the machine can be
    /// dropped.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.link.is_ended() && self.calls.is_empty()
    }

    /// Bytes held for incomplete requests and unwritten answers.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.link.decoder.buffered() + self.link.outbox.len()
    }

    /// When the stream counts as idle: not while a message arrives, which has a timer of its own.
    fn idle_due(&self) -> Option<Timestamp> {
        self.idle_due.filter(|_| !self.link.is_receiving())
    }

    fn paused(&self) -> bool {
        match self.link.format {
            Format::Plain => !self.calls.is_empty() || self.draining,
            Format::Native => self.link.outbox.len() > OUTBOX_HIGH,
        }
    }

    fn take_frames(&mut self, gate: &mut Gate) {
        while self.link.is_open() && !self.deaf && !self.paused() {
            let result = match self.link.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) if self.link.format == Format::Plain => {
                    self.take_plain(frame, gate);
                    Ok(())
                }
                Ok(Some(frame)) => self.take_native(frame, gate),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                self.violated(&error, gate);
            }
        }
        if self.paused() {
            self.link.pause_message();
        } else if self.finished && !self.deaf && self.link.is_open() {
            self.deaf = true;
            if self.link.decoder.mid_frame() {
                self.violated(&FrameError::Truncated, gate);
            }
        }
        self.settle();
    }

    fn take_plain(&mut self, frame: Frame, gate: &mut Gate) {
        match gate.admit(self.protocol) {
            Ok(()) => self.request(0, Payload { bytes: frame.body, original: None }, None),
            // The format has no way to say more than that.
            Err(_) => self.link.finish(),
        }
    }

    fn take_native(&mut self, frame: Frame, gate: &mut Gate) -> Result<(), FrameError> {
        match frame.header.kind {
            None => Ok(()),
            Some(Kind::Settings) => self.peer.update(&frame.head),
            Some(Kind::Request) => self.take_request(frame, gate),
            Some(Kind::Cancel) => {
                self.take_cancel(frame.header.id);
                Ok(())
            }
            Some(Kind::Response | Kind::Drain | Kind::Data) => {
                Err(FrameError::Unexpected("a frame that only servers send"))
            }
        }
    }

    fn take_request(&mut self, frame: Frame, gate: &mut Gate) -> Result<(), FrameError> {
        let id = frame.header.id;
        if self.draining && id > self.last_id {
            // DRAIN has told the client that this one is not looked at.
            return Ok(());
        }
        if id <= self.last_id {
            return Err(FrameError::Unexpected("a request id that does not increase"));
        }
        self.last_id = id;
        let flags = frame.header.flags;
        let (mut timeout, mut original, mut unknown) = (None, None, flags.unsupported());
        for field in HeadReader::new(&frame.head) {
            let field = field?;
            match field.tag {
                tag::TIMEOUT => timeout = Some(field.u32()?),
                tag::SIZE => original = Some(field.u32()?),
                _ => unknown |= !field.ignorable(),
            }
        }
        if flags.contains(Flags::COMPRESSED) != original.is_some() {
            return Err(FrameError::Field { tag: tag::SIZE });
        }
        let payload = Payload { bytes: frame.body, original };
        let refusal = if unknown {
            Some(Status::new(StatusCode::Unimplemented, ""))
        } else if let Err(error) = payload.check(self.max_body) {
            let code = if payload.len() > self.max_body {
                StatusCode::TooLarge
            } else {
                StatusCode::BadRequest
            };
            Some(Status::new(code, alloc::format!("{error}")))
        } else if timeout == Some(0) {
            Some(Status::new(StatusCode::DeadlineExceeded, ""))
        } else if self.calls.len() >= self.max_in_flight {
            Some(Status::new(StatusCode::Busy, "more requests on one stream than were agreed on"))
        } else {
            None
        };
        if let Some(status) = refusal {
            gate.refuse();
            self.answer_failed(id, &status, Delivery::NotProcessed);
            return Ok(());
        }
        if let Err(status) = gate.admit(self.protocol) {
            self.answer_failed(id, &status, Delivery::NotProcessed);
            if status.code == StatusCode::NotFound {
                // Should the protocol come back, it will not do so on this stream.
                self.drain(self.link.now);
            }
            return Ok(());
        }
        let deadline =
            timeout.map(|millis| self.link.now + Duration::from_millis(u64::from(millis)));
        self.request(id, payload, deadline);
        Ok(())
    }

    fn request(&mut self, wire_id: u64, payload: Payload, deadline: Option<Timestamp>) {
        let entry = self.calls.vacant_entry();
        self.seq += 1;
        let id = CallId(self.seq << SLOT_BITS | entry.key() as u64);
        entry.insert(Call { id, wire_id, deadline, answered: false, stopping: None });
        self.idle_due = None;
        self.due = earliest(self.due, deadline);
        self.events.push_back(ServerEvent::Request { call: id, payload, deadline });
    }

    fn take_cancel(&mut self, wire_id: u64) {
        // Not found: the answer and the cancellation have crossed.
        if let Some((_, call)) = self.calls.iter_mut().find(|(_, call)| call.wire_id == wire_id)
            && !call.answered
            && call.stopping.is_none()
        {
            call.stopping = Some(StatusCode::Cancelled);
            call.deadline = None;
            self.events.push_back(ServerEvent::Abandon { call: call.id });
        }
    }

    /// The caller's remaining time is over: it is answered at once, whatever the handler does.
    fn expire(&mut self, now: Timestamp) {
        let is_due = |call: &Call| call.deadline.is_some_and(|due| due <= now);
        let due: Vec<usize> =
            self.calls.iter().filter(|(_, call)| is_due(call)).map(|(slot, _)| slot).collect();
        for slot in due {
            let call = &mut self.calls[slot];
            call.answered = true;
            call.deadline = None;
            let (id, wire_id) = (call.id, call.wire_id);
            self.events.push_back(ServerEvent::Abandon { call: id });
            let status = Status::new(StatusCode::DeadlineExceeded, "");
            self.answer_failed(wire_id, &status, Delivery::Unknown);
        }
        self.due = self.calls.iter().filter_map(|(_, call)| call.deadline).min();
    }

    fn remove(&mut self, call: CallId) -> Option<Call> {
        let slot = (call.0 & SLOT_MASK) as usize;
        self.calls.get(slot).filter(|found| found.id == call)?;
        self.calls.try_remove(slot)
    }

    fn abandon_all(&mut self) {
        for (_, call) in &mut self.calls {
            call.deadline = None;
            if !call.answered && call.stopping.is_none() {
                self.events.push_back(ServerEvent::Abandon { call: call.id });
            }
            call.answered = true;
        }
        self.due = None;
        self.idle_due = None;
    }

    /// The peer broke the format. A request that is too large is answered as such, and what is
    /// at work is finished; anything else ends the stream.
    fn violated(&mut self, error: &FrameError, gate: &mut Gate) {
        let native = self.link.format == Format::Native;
        match *error {
            FrameError::TooLarge { request: true, .. } if self.draining || !native => {
                // Not looked at anyway, or there is no way to say so.
                gate.refuse();
                self.deaf = true;
                self.settle();
            }
            FrameError::TooLarge { id, request: true, announced, limit } if id > self.last_id => {
                gate.refuse();
                self.last_id = id;
                let message = alloc::format!("{announced} bytes, the limit is {limit}");
                let status = Status::new(StatusCode::TooLarge, message);
                self.answer_failed(id, &status, Delivery::NotProcessed);
                self.deaf = true;
                self.drain(self.link.now);
            }
            _ => {
                gate.violation();
                self.reset();
            }
        }
    }

    /// Closes the stream when nothing is left to do on it, or starts the idle timer.
    fn settle(&mut self) {
        if !self.link.is_open() {
            self.idle_due = None;
        } else if self.calls.is_empty() {
            if self.draining || self.deaf {
                self.link.finish();
                self.idle_due = None;
            } else if self.idle_due.is_none() {
                self.idle_due = Some(self.link.now + self.idle_timeout);
            }
        }
    }
}
