//! One stream that we opened: requests out, answers in.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;

use slab::Slab;

use super::batch::BULK;
use super::calls::ClientCalls;
use super::report::{Report, Slot};
use crate::config::ClientConfig;
use crate::connection::link::{Link, Overdue};
use crate::connection::operation::{StreamEvent, StreamOp};
use crate::error::{
    Cause, Delivery, Phase, RequestError, SendError, Status, StatusCode, StreamError,
};
use crate::id::RequestId;
use crate::time::{Timestamp, earliest};
use crate::wire::compress::Body;
use crate::wire::outcome;
use crate::wire::{Buffers, Features, Flags, Format, FrameError, Kind, Settings, tag};

/// The low bits of a wire id are the slot of its call; those above only ever increase.
const SLOT_BITS: u32 = 20;
pub(super) const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;

/// Why a stream counts as lost that ended.
const INSIDE_A_FRAME: &str = "the stream ended inside a frame";
/// Bytes of buffer that a stream keeps for the next requests while it has none to write.
const BUFFER: usize = 4 * 1024;

/// The wire machine of one stream that the client opened.
///
/// It frames requests, matches answers to them, times and cancels them, and reports to the
/// [`Dispatcher`](crate::endpoint::Dispatcher) what became of each. It knows nothing about other streams.
#[derive(Debug)]
pub struct ClientStream {
    pub(super) link: Link,
    pub(super) max_in_flight: usize,
    pub(super) read_timeout: Duration,
    pub(super) peer: Settings,
    pub(super) calls: Slab<PendingRequest>,
    seq: u64,
    /// Calls whose last byte is not known to have left: where it lies, and the wire id.
    pub(super) unsent: VecDeque<(u64, u64)>,
    /// No call is due before this, unless a message arrives; it may be earlier than the truth.
    pub(super) due: Option<Timestamp>,
    /// Calls that are due wait for the end of the message that arrives.
    pub(super) held: bool,
    pub(super) draining: bool,
    /// Because the server said so.
    pub(super) drained: bool,
    /// Frames since the last answer that are none.
    pub(super) unasked: u32,
    /// The peer has said something: it has taken the stream.
    heard: bool,
    /// Its connection goes through a relay.
    relayed: bool,
    pub(super) closed: bool,
    /// The peer's settings have come.
    pub(super) has_settings: bool,
    pub(super) streaming: Option<Box<ClientCalls>>,
    pub(super) reports: VecDeque<Report>,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct PendingRequest {
    pub(super) id: u64,
    /// `None` once nobody waits for the answer; its slot stays taken until the server says that
    /// it has stopped.
    pub(super) request: Option<RequestId>,
    pub(super) deadline: Option<Timestamp>,
    /// Set when the last byte has left, unless the caller has a deadline of its own.
    pub(super) read_due: Option<Timestamp>,
    /// Bytes of the request.
    pub(super) len: u64,
    /// Where on the stream its last byte lies, or that of its cancellation.
    pub(super) end: u64,
}

impl ClientStream {
    /// A stream that was just negotiated.
    #[must_use]
    pub fn new(format: Format, config: &ClientConfig, now: Timestamp) -> Self {
        let max_body = config.max_block_size;
        let (read, write) = (config.read_timeout, config.write_timeout);
        let mut link = Link::new(format, max_body, BUFFER, read, write, now);
        let mut peer = Settings { max_body: u32::MAX, max_in_flight: 1, ..Settings::ASSUMED };
        if format == Format::Native {
            peer = Settings::ASSUMED;
            peer.max_body = peer.max_body.max(max_body as u32);
            link.outbox.settings(Settings {
                max_body: max_body as u32,
                max_in_flight: config.max_in_flight as u32,
                ..Settings::ASSUMED
            });
        }
        Self {
            link,
            max_in_flight: config.max_in_flight,
            read_timeout: config.read_timeout,
            peer,
            calls: Slab::new(),
            seq: 0,
            unsent: VecDeque::new(),
            due: None,
            held: false,
            draining: false,
            drained: false,
            unasked: 0,
            heard: false,
            relayed: false,
            closed: false,
            has_settings: false,
            streaming: None,
            reports: VecDeque::new(),
        }
    }

    /// The same stream with the buffers of bodies larger than 64 KiB from there instead of new ones.
    #[must_use]
    pub fn with_buffers(mut self, buffers: Arc<dyn Buffers>) -> Self {
        self.link = self.link.with_buffers(buffers);
        self
    }

    /// The same stream on a connection that goes through a relay, or does not.
    #[must_use]
    pub fn with_relay(mut self, relayed: bool) -> Self {
        self.relayed = relayed;
        self
    }

    /// Sends a request. A [`Report`] says what became of it.
    pub fn start(
        &mut self,
        request: RequestId,
        body: Body,
        deadline: Option<Timestamp>,
        now: Timestamp,
    ) {
        self.link.advance_clock(now);
        if self.closed || self.draining {
            let (phase, delivery) = (Phase::Connect, Delivery::NotProcessed);
            let cause = closing(self.drained);
            self.report_failed(request, cause, phase, delivery, Slot::Gone);
            return;
        }
        if deadline.is_some_and(|deadline| deadline <= self.link.now) {
            let (phase, delivery) = (Phase::Connect, Delivery::NotProcessed);
            self.report_failed(request, Cause::Deadline, phase, delivery, Slot::Free);
            return;
        }
        if let Some(cause) = self.refuses_headers(&body) {
            let (phase, delivery) = (Phase::Connect, Delivery::NotProcessed);
            self.report_failed(request, cause, phase, delivery, Slot::Free);
            return;
        }
        let native = self.link.format == Format::Native;
        let len = body.raw().len();
        let limit = self.peer.max_body as usize;
        if native && len > limit {
            let cause = Cause::Refused(SendError::TooLarge { len, limit });
            let (phase, delivery) = (Phase::Send, Delivery::NotProcessed);
            self.report_failed(request, cause, phase, delivery, Slot::Free);
            return;
        }
        let begin = self.link.queued();
        let id = self.next_id(self.calls.vacant_key() as u64);
        let entry = self.calls.vacant_entry();
        if native {
            frame_request(&mut self.link, id, body, deadline);
        } else {
            self.link.outbox.plain(body.raw().clone());
        }
        let end = self.link.queued();
        let len = end - begin;
        entry.insert(PendingRequest {
            id,
            request: Some(request),
            deadline,
            read_due: None,
            len,
            end,
        });
        self.unsent.push_back((end, id));
        self.due = earliest(self.due, deadline);
    }

    /// Why what travels beside a body cannot be sent here.
    #[inline]
    fn refuses_headers(&self, body: &Body) -> Option<Cause> {
        body.headers()?;
        let why = if self.link.format == Format::Plain {
            "the peer speaks the plain format, which has no methods and metadata"
        } else if self.has_settings && !self.peer.features.contains(Features::METHODS) {
            "the peer does not take methods and metadata of requests"
        } else {
            return None;
        };
        Some(Cause::Remote(Status::new(StatusCode::Unimplemented, why)))
    }

    /// Nobody waits for the answer to `request` any more. Tells the server, if the format can;
    /// a plain stream is reset. No report names the request from here on.
    pub fn cancel(&mut self, request: RequestId, now: Timestamp) {
        self.link.advance_clock(now);
        let call = self.calls.iter().find(|(_, call)| call.request == Some(request));
        if let Some((slot, _)) = call {
            self.abandon(slot);
            if self.link.format == Format::Plain {
                self.close_with(&Cause::Cancelled);
            }
        } else {
            self.cancel_opening(request, now);
        }
    }

    /// The wire id of the next request.
    pub(super) fn next_id(&mut self, slot: u64) -> u64 {
        self.seq += 1;
        self.seq << SLOT_BITS | slot
    }

    /// Takes no further requests, and closes the stream when those in flight have ended: there is
    /// a better way to the peer.
    pub fn retire(&mut self, now: Timestamp) {
        self.link.advance_clock(now);
        if !self.closed && !self.draining {
            self.draining = true;
            self.reports.push_back(Report::Retired);
            self.drain_calls(None);
            self.finish_drain();
        }
    }

    /// Closes the stream in good order. What is still in flight fails.
    pub fn finish(&mut self, now: Timestamp) {
        self.link.advance_clock(now);
        if !self.closed {
            self.end(&Cause::Closed);
        }
    }

    /// Takes in what happened on the stream.
    pub fn handle(&mut self, event: StreamEvent, now: Timestamp) {
        self.link.advance_clock(now);
        if self.closed {
            // What was queued before the end still goes out.
            match event {
                StreamEvent::Written => self.link.on_written(),
                StreamEvent::Failed(_) => self.link.gone(),
                _ => {}
            }
            return;
        }
        match self.over_relay(event) {
            StreamEvent::Received(data) => {
                self.heard = true;
                self.link.decoder.push(data);
                self.take_frames();
            }
            StreamEvent::Filled(n) => {
                self.link.decoder.filled(n);
                self.take_frames();
            }
            StreamEvent::Written => {
                self.link.on_written();
                self.arm_written();
            }
            StreamEvent::Finished if self.link.decoder.mid_frame() => {
                // Whether it was closed or reset, by a peer that goes or one that is broken, cannot
                // be told: Yamux reads a reset as an end.
                self.close_with(&Cause::Lost(Arc::from(INSIDE_A_FRAME)));
            }
            StreamEvent::Finished => self.end(&self.cut_short().unwrap_or(Cause::RemoteClosed)),
            StreamEvent::Failed(error) => {
                // What the peer has spoken on, it had taken.
                let untaken = matches!(error, StreamError::NotAccepted(_)) && !self.heard;
                let cut = (error == StreamError::Reset).then(|| self.cut_short()).flatten();
                self.link.gone();
                self.fail_calls(&cut.unwrap_or_else(|| error.into()), untaken);
                self.close();
            }
        }
    }

    /// What breaks on a connection through a relay is told apart.
    fn over_relay(&self, event: StreamEvent) -> StreamEvent {
        match event {
            StreamEvent::Failed(error) if self.relayed => StreamEvent::Failed(error.over_relay()),
            StreamEvent::Finished if self.relayed && self.link.decoder.mid_frame() => {
                StreamEvent::Failed(StreamError::RelayLost(Arc::from(INSIDE_A_FRAME)))
            }
            event => event,
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.link.advance_clock(now);
        let now = self.link.now;
        match self.link.overdue(now) {
            Some(Overdue::Write(limit) | Overdue::Message(limit)) if !self.closed => {
                self.close_with(&Cause::TimedOut(limit));
            }
            Some(Overdue::OtherFormat) if !self.closed => {
                self.close_with(&FrameError::OtherFormat.into());
            }
            Some(_) => self.link.reset(),
            None if self.due.is_some_and(|due| due <= now) => self.expire(now),
            None => {}
        }
        self.expire_calls(now);
    }

    /// The next operation on the stream.
    pub fn poll_op(&mut self) -> Option<StreamOp> {
        self.fill_calls();
        self.link.poll_op()
    }

    /// Whether there is a report.
    #[must_use]
    pub fn has_report(&self) -> bool {
        !self.reports.is_empty()
    }

    /// The next report.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let calls = self.streaming.as_ref().and_then(|calls| calls.table.next_deadline());
        earliest(earliest(self.link.next_deadline(), self.due), calls)
    }

    /// Whether bytes of the stream are wanted; a client always listens, if only to notice that
    /// an idle stream was closed.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        !self.closed
    }

    /// Where the next bytes of a large answer belong; see [`StreamEvent::Filled`].
    pub fn space(&mut self) -> Option<&mut [u8]> {
        if self.closed { None } else { self.link.decoder.space() }
    }

    /// Whether the last operation was handed out: the machine can be dropped.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.link.is_ended() && self.reports.is_empty()
    }

    /// How many requests wait for their answers.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.calls.len()
    }

    /// Whether an answer has begun to arrive and has not ended: an end of the stream breaks it.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.link.decoder.mid_frame()
    }

    /// Bytes held for incomplete answers and unwritten requests.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.link.decoder.buffered() + self.link.outbox.len()
    }

    pub(super) fn finish_drain(&mut self) {
        if self.draining && self.calls.is_empty() && !self.closed && self.has_no_calls() {
            self.link.finish();
            self.close();
        }
    }

    /// Whether the peer, which speaks plain, ends the stream in the middle of a large request.
    fn cut_short(&self) -> Option<Cause> {
        let (_, call) = self.calls.iter().next()?;
        let begun = self.link.may_have_left(call.end - call.len + 1);
        let large = call.len > BULK as u64 && self.link.format == Format::Plain;
        let header = self.link.format.header_len();
        let cut = large && begun && !self.link.may_have_left(call.end);
        cut.then(|| Cause::CutShort { len: call.len as usize - header })
    }

    pub(super) fn progress(&self, call: &PendingRequest) -> (Phase, Delivery) {
        if !self.link.may_have_left(call.end) {
            (Phase::Write, Delivery::NotProcessed)
        } else if call.end <= self.link.written() {
            (Phase::Wait, Delivery::Unknown)
        } else {
            (Phase::Write, Delivery::Unknown)
        }
    }

    /// Ends the stream in good order, unless that would send requests which are reported as not
    /// processed: they have not left whole, and must not.
    fn end(&mut self, cause: &Cause) {
        let unsent =
            |call: &PendingRequest| call.request.is_some() && !self.link.may_have_left(call.end);
        if self.calls.iter().any(|(_, call)| unsent(call)) {
            return self.close_with(cause);
        }
        self.fail_calls(cause, false);
        self.link.finish();
        self.close();
    }

    pub(super) fn close_with(&mut self, cause: &Cause) {
        self.fail_calls(cause, false);
        self.link.reset();
        self.close();
    }

    /// Fails every call. If the peer never took the stream, none was processed.
    fn fail_calls(&mut self, cause: &Cause, untaken: bool) {
        let untaken = untaken || *cause == Cause::Unsupported;
        let calls = core::mem::take(&mut self.calls);
        for (_, call) in calls {
            let (phase, delivery) = match untaken {
                true => (Phase::Connect, Delivery::NotProcessed),
                false => self.progress(&call),
            };
            if let Some(request) = call.request {
                self.report_failed(request, cause.clone(), phase, delivery, Slot::Gone);
            }
        }
        self.lose_calls(cause);
    }

    fn close(&mut self) {
        self.closed = true;
        self.due = None;
        self.unsent.clear();
        self.reports.push_back(Report::Closed);
    }

    pub(super) fn report_failed(
        &mut self,
        request: RequestId,
        cause: Cause,
        phase: Phase,
        delivery: Delivery,
        slot: Slot,
    ) {
        let error = RequestError::new(cause, phase, delivery);
        self.reports.push_back(Report::Failed { request, error, slot });
    }
}

/// Puts a request into the outbox of a native stream.
// It is a step of `start` for every request.
#[inline]
fn frame_request(link: &mut Link, id: u64, body: Body, deadline: Option<Timestamp>) {
    let (payload, beside) = body.split();
    let flags = if payload.is_compressed() { Flags::COMPRESSED } else { Flags::default() };
    let timeout = deadline.map(|deadline| outcome::millis(deadline.since(link.now)));
    link.outbox.native(Kind::Request, flags, id, payload.bytes, |head| {
        if let Some(timeout) = timeout {
            head.u32(tag::TIMEOUT, timeout);
        }
        if let Some(original) = payload.original {
            head.u32(tag::SIZE, original);
        }
        if let Some(headers) = beside.headers() {
            headers.write(head);
        }
    });
}

/// Why a request cannot be put on a stream that takes no more, which the server may have `drained`.
pub(crate) fn closing(drained: bool) -> Cause {
    if drained {
        Cause::Remote(Status::new(StatusCode::Draining, ""))
    } else {
        Cause::Lost(Arc::from("the stream was closing"))
    }
}
