//! Frames as a served stream takes them in.

use core::cell::Cell;
use core::time::Duration;

use super::calls::Stop;
use super::stream::{ServerStream, ServerStreamEvent};
use crate::endpoint::{Offence, busy};
use crate::error::{Delivery, Status, StatusCode};
use crate::time::Timestamp;
use crate::wire::compress::Payload;
use crate::wire::{Flags, Format, Frame, FrameError, HeadReader, Kind, Room, tag};

/// A refused request costs its peer no more than one of this size, which may be a mistake.
const MOST_PRICED: usize = 64 * 1024;

impl ServerStream {
    /// Looks at frames until one makes an event, or has to wait for a verdict.
    pub(super) fn take_frames(&mut self) -> Option<ServerStreamEvent> {
        while self.is_listening() && !self.is_paused() && !self.exchange.is_waiting_for_verdict() {
            let taken = match self.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) if self.link.format == Format::Plain => {
                    // It has no id. A request has come, whatever becomes of it.
                    self.last_id = 1;
                    let payload = Payload::new(frame.body, None);
                    Ok(self.admit(0, payload, None))
                }
                Ok(Some(frame)) => self.take_native(frame),
                Err(error) => Err(error),
            };
            match taken {
                Ok(None) => {}
                Ok(event) => return event,
                Err(error) => self.violated(&error),
            }
        }
        if self.exchange.is_waiting_for_verdict() {
            return None;
        }
        if self.is_paused() {
            self.link.pause_message();
        } else if self.finished && self.is_listening() {
            if self.link.decoder.mid_frame() {
                self.violated(&FrameError::Truncated);
            }
            self.read_closed = true;
        }
        self.abandons.pop_front().map(|call| ServerStreamEvent::Abandon { call })
    }

    /// The next frame, as far as there is room for it.
    fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let (granted, room) = (self.exchange.granted.take(), self.exchange.known.room);
        let (elsewhere, wanted) = (self.held_elsewhere(), Cell::new(None));
        let denied = self.denied.is_some();
        let frame = self.link.next_frame_within(|bytes, best| {
            let fits = |bytes: usize| elsewhere.saturating_add(bytes) <= room;
            match granted {
                _ if denied => Room::Lacking,
                Some(false) => Room::Lacking,
                Some(true) if fits(best) => Room::Whole,
                Some(true) if fits(bytes) => Room::Part,
                _ => {
                    wanted.set(Some((bytes, best)));
                    Room::Unknown
                }
            }
        });
        self.exchange.wanted = wanted.get();
        frame
    }

    fn take_native(&mut self, frame: Frame) -> Result<Option<ServerStreamEvent>, FrameError> {
        match frame.header.kind {
            None => {
                let len = frame.head.len() + frame.body.len();
                self.exchange.events.offence(Offence::Frame(len));
                Ok(None)
            }
            Some(Kind::Settings) => {
                self.exchange.events.offence(Offence::Frame(frame.head.len()));
                self.peer.update(&frame.head).map(|()| None)
            }
            Some(Kind::Request) => self.take_request(frame),
            Some(Kind::Cancel) if self.cancels_call(&frame) => Ok(None),
            Some(Kind::Cancel) => Ok(self.take_cancel(frame.header.id)),
            Some(Kind::Response | Kind::Drain | Kind::Accept) => {
                Err(FrameError::Unexpected("a frame that only servers send"))
            }
            Some(Kind::Data | Kind::Credit | Kind::Finish) => {
                self.take_call_frame(frame).map(|()| None)
            }
        }
    }

    fn take_request(&mut self, frame: Frame) -> Result<Option<ServerStreamEvent>, FrameError> {
        let id = frame.header.id;
        if self.draining && id > self.last_id {
            // DRAIN has told the client that this one is not looked at.
            return Ok(None);
        }
        if id <= self.last_id {
            return Err(FrameError::Unexpected("a request id that does not increase"));
        }
        self.last_id = id;
        // A sign of life, whatever the answer.
        self.idle_due = None;
        let flags = frame.header.flags;
        if flags.contains(Flags::STREAM) && self.max_calls > 0 {
            return self.take_opening(frame);
        }
        let (mut timeout, mut original, mut beside) = (None, None, false);
        let mut unknown = flags.unsupported();
        for field in HeadReader::new(&frame.head) {
            let field = field?;
            match field.tag {
                tag::TIMEOUT => timeout = Some(field.u32()?),
                tag::SIZE => original = Some(field.u32()?),
                tag::METHOD | tag::META => beside = true,
                _ => unknown |= !field.ignorable(),
            }
        }
        if flags.contains(Flags::COMPRESSED) != original.is_some() {
            return Err(FrameError::Field { tag: tag::SIZE });
        }
        let mut payload = Payload::new(frame.body, original);
        let malformed = beside && !payload.read_headers(&frame.head);
        // The caller's time counts from when the request came, however long it waited here.
        let deadline = timeout.map(|ms| self.arrived + Duration::from_millis(u64::from(ms)));
        let refusal = if self.denied.is_some() {
            return Ok(self.refuse_denied(id));
        } else if unknown {
            Some(Status::new(StatusCode::Unimplemented, ""))
        } else if malformed {
            Some(Status::new(StatusCode::BadRequest, "a method that is none"))
        } else {
            self.refusal(&payload, deadline)
        };
        if let Some(status) = refusal {
            self.refuse(id, &status, payload.wire_len());
            return Ok(None);
        }
        Ok(self.admit(id, payload, deadline))
    }

    /// Answers a request of so many bytes that no handler is to see.
    fn refuse(&mut self, id: u64, status: &Status, len: usize) {
        let price = match status.code {
            StatusCode::Busy | StatusCode::DeadlineExceeded => 0,
            _ => len.min(MOST_PRICED),
        };
        self.exchange.events.offence(Offence::Frame(price));
        match status.code {
            StatusCode::Busy => self.exchange.events.refuse_busy(),
            _ => self.exchange.events.refuse(),
        }
        self.answer_failed(id, status, Delivery::NotProcessed);
    }

    /// Answers a request that a rule of the application's does not allow, with what the rule says. The
    /// rule may change, and is asked again for the next stream.
    fn refuse_denied(&mut self, id: u64) -> Option<ServerStreamEvent> {
        let status = self.denied.clone()?;
        self.exchange.events.denied += 1;
        self.exchange.events.offence(Offence::Frame(0));
        self.exchange.events.refuse();
        self.answer_failed(id, &status, Delivery::NotProcessed);
        self.drain(self.link.now);
        None
    }

    /// Why the stream itself refuses a request.
    pub(super) fn refusal(&self, payload: &Payload, deadline: Option<Timestamp>) -> Option<Status> {
        if let Err(error) = payload.check(self.max_body) {
            let too_large = payload.len() > self.max_body;
            let code = if too_large { StatusCode::TooLarge } else { StatusCode::BadRequest };
            Some(Status::new(code, alloc::format!("{error}")))
        } else if deadline.is_some_and(|deadline| deadline <= self.link.now) {
            Some(Status::new(StatusCode::DeadlineExceeded, ""))
        } else if self.calls.len() + self.answers.len() >= self.max_in_flight {
            let message = "more requests on one stream than were agreed on";
            Some(Status::new(StatusCode::Busy, message))
        } else {
            None
        }
    }

    fn take_cancel(&mut self, wire_id: u64) -> Option<ServerStreamEvent> {
        let found = self.by_wire_id.find(&self.calls, wire_id);
        let found = found.and_then(|slot| self.calls.get_mut(slot));
        let Some(call) = found.filter(|call| call.stopped.is_none()) else {
            // The answer and the cancellation have crossed.
            self.exchange.events.offence(Offence::Frame(0));
            return None;
        };
        let sample = call.stop(Stop::Cancel, self.link.now);
        let call = call.id;
        self.exchange.events.sample(sample);
        self.exchange.events.offence(Offence::Cancel);
        Some(ServerStreamEvent::Abandon { call })
    }

    /// The peer broke the format, or announced what there is no room for. A request that is too
    /// large is answered as such if the format can, and what is at work is finished; anything else
    /// ends the stream.
    fn violated(&mut self, error: &FrameError) {
        let (id, status) = match *error {
            FrameError::TooLarge { id, request: true, announced, limit } => {
                let message = alloc::format!("{announced} bytes, the limit is {limit}");
                (id, Status::new(StatusCode::TooLarge, message))
            }
            FrameError::NoRoom { id, request: true, .. }
                if self.denied.is_some() && !self.draining && id > self.last_id =>
            {
                self.read_closed = true;
                self.last_id = id;
                self.refuse_denied(id);
                return;
            }
            FrameError::NoRoom { id, request: true, announced } => {
                (id, busy(&alloc::format!("no memory for {announced} bytes")))
            }
            FrameError::NoRoom { .. } => {
                self.exchange.events.refuse_busy();
                return self.reset();
            }
            _ => {
                self.exchange.events.violation();
                return self.reset();
            }
        };
        // Not looked at anyway, or there is no way to say so.
        let unseen = self.draining || self.link.format == Format::Plain;
        if !unseen && id <= self.last_id {
            self.exchange.events.violation();
            return self.reset();
        }
        match status.code {
            StatusCode::Busy => self.exchange.events.refuse_busy(),
            _ => self.exchange.events.refuse(),
        }
        if self.link.format == Format::Plain {
            // The client may be writing still, and read only then. The end of our half would not
            // stop it, and it would wait for room that nobody makes.
            return self.reset();
        }
        self.read_closed = true;
        if !unseen {
            self.last_id = id;
            self.answer_failed(id, &status, Delivery::NotProcessed);
            self.drain(self.link.now);
        }
    }
}
