//! Frames as a served stream takes them in.

use core::time::Duration;

use super::calls::{Stop, bytes_at_work};
use super::stream::{ServerStream, ServerStreamEvent};
use crate::endpoint::Trouble;
use crate::endpoint::{Gate, busy};
use crate::error::{Delivery, Status, StatusCode};
use crate::time::Timestamp;
use crate::wire::compress::Payload;
use crate::wire::{Flags, Format, Frame, FrameError, HeadReader, Kind, tag};

impl ServerStream {
    /// Looks at frames until one makes an event.
    pub(super) fn take_frames(&mut self, gate: &mut Gate) -> Option<ServerStreamEvent> {
        while self.is_listening() && !self.is_paused() {
            let (key, elsewhere) = (self.key, self.held_elsewhere());
            let fits = |bytes: usize| gate.fits(key, elsewhere.saturating_add(bytes));
            let taken = match self.link.next_frame_within(fits) {
                Ok(None) => break,
                Ok(Some(frame)) if self.link.format == Format::Plain => {
                    Ok(self.take_plain(frame, gate))
                }
                Ok(Some(frame)) => self.take_native(frame, gate),
                Err(error) => Err(error),
            };
            match taken {
                Ok(None) => {}
                Ok(event) => return event,
                Err(error) => self.violated(&error, gate),
            }
        }
        if self.is_paused() {
            self.link.pause_message();
        } else if self.finished && self.is_listening() {
            if self.link.decoder.mid_frame() {
                self.violated(&FrameError::Truncated, gate);
            }
            self.deaf = true;
        }
        self.abandons.pop_front().map(|call| ServerStreamEvent::Abandon { call })
    }

    fn take_plain(&mut self, frame: Frame, gate: &mut Gate) -> Option<ServerStreamEvent> {
        let payload = Payload { bytes: frame.body, original: None };
        match self.admit(&payload, gate) {
            Ok(()) => Some(self.begin(0, payload, None)),
            Err(_) => {
                // The format has no way to say more than that.
                self.link.finish();
                None
            }
        }
    }

    fn take_native(
        &mut self,
        frame: Frame,
        gate: &mut Gate,
    ) -> Result<Option<ServerStreamEvent>, FrameError> {
        match frame.header.kind {
            None => {
                let len = frame.head.len() + frame.body.len();
                gate.trouble(self.key, Trouble::Frame(len), self.link.now);
                Ok(None)
            }
            Some(Kind::Settings) => {
                gate.trouble(self.key, Trouble::Frame(frame.head.len()), self.link.now);
                self.peer.update(&frame.head).map(|()| None)
            }
            Some(Kind::Request) => self.take_request(frame, gate),
            Some(Kind::Cancel) => Ok(self.take_cancel(frame.header.id, gate)),
            Some(Kind::Response | Kind::Drain | Kind::Data) => {
                Err(FrameError::Unexpected("a frame that only servers send"))
            }
        }
    }

    fn take_request(
        &mut self,
        frame: Frame,
        gate: &mut Gate,
    ) -> Result<Option<ServerStreamEvent>, FrameError> {
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
        // The caller's time counts from when the request came, however long it waited here.
        let deadline = timeout.map(|ms| self.arrived + Duration::from_millis(u64::from(ms)));
        let refusal = if unknown {
            Some(Status::new(StatusCode::Unimplemented, ""))
        } else {
            self.refusal(&payload, deadline)
        };
        if let Some(status) = refusal {
            match status.code {
                StatusCode::Busy => gate.refuse_busy(),
                _ => gate.refuse(),
            }
            self.answer_failed(id, &status, Delivery::NotProcessed, gate);
            return Ok(None);
        }
        if let Err(status) = self.admit(&payload, gate) {
            self.answer_failed(id, &status, Delivery::NotProcessed, gate);
            if status.code == StatusCode::NotFound {
                // Should the protocol come back, it will not do so on this stream.
                self.drain(gate, self.link.now);
            }
            return Ok(None);
        }
        Ok(Some(self.begin(id, payload, deadline)))
    }

    /// Why the stream itself refuses a request.
    fn refusal(&self, payload: &Payload, deadline: Option<Timestamp>) -> Option<Status> {
        if let Err(error) = payload.check(self.max_body) {
            let too_large = payload.len() > self.max_body;
            let code = if too_large { StatusCode::TooLarge } else { StatusCode::BadRequest };
            Some(Status::new(code, alloc::format!("{error}")))
        } else if deadline.is_some_and(|deadline| deadline <= self.link.now) {
            Some(Status::new(StatusCode::DeadlineExceeded, ""))
        } else if self.calls.len() >= self.max_in_flight {
            let message = "more requests on one stream than were agreed on";
            Some(Status::new(StatusCode::Busy, message))
        } else {
            None
        }
    }

    /// Asks the gate.
    fn admit(&self, payload: &Payload, gate: &mut Gate) -> Result<(), Status> {
        let bytes = self.held().saturating_add(bytes_at_work(payload));
        gate.admit(self.key, bytes, self.link.now)
    }

    fn take_cancel(&mut self, wire_id: u64, gate: &mut Gate) -> Option<ServerStreamEvent> {
        let found = self.calls.iter_mut().map(|(_, call)| call);
        let mut found = found.filter(|call| call.wire_id == wire_id && call.stopped.is_none());
        let Some(call) = found.next() else {
            // The answer and the cancellation have crossed.
            gate.trouble(self.key, Trouble::Frame(0), self.link.now);
            return None;
        };
        call.stop(Stop::Cancel, gate, self.link.now);
        gate.trouble(self.key, Trouble::Cancel, self.link.now);
        Some(ServerStreamEvent::Abandon { call: call.id })
    }

    /// The peer broke the format, or announced what there is no room for. A request that is too
    /// large is answered as such if the format can, and what is at work is finished; anything else
    /// ends the stream.
    fn violated(&mut self, error: &FrameError, gate: &mut Gate) {
        let (id, status) = match *error {
            FrameError::TooLarge { id, request: true, announced, limit } => {
                let message = alloc::format!("{announced} bytes, the limit is {limit}");
                (id, Status::new(StatusCode::TooLarge, message))
            }
            FrameError::NoRoom { id, request: true, announced } => {
                (id, busy(&alloc::format!("no memory for {announced} bytes")))
            }
            FrameError::NoRoom { .. } => {
                gate.refuse_busy();
                return self.reset(gate);
            }
            _ => {
                gate.violation(self.key, self.link.now);
                return self.reset(gate);
            }
        };
        // Not looked at anyway, or there is no way to say so.
        let unseen = self.draining || self.link.format == Format::Plain;
        if !unseen && id <= self.last_id {
            gate.violation(self.key, self.link.now);
            return self.reset(gate);
        }
        match status.code {
            StatusCode::Busy => gate.refuse_busy(),
            _ => gate.refuse(),
        }
        if self.link.format == Format::Plain {
            // The client may be writing still, and read only then. The end of our half would not
            // stop it, and it would wait for room that nobody makes.
            return self.reset(gate);
        }
        self.deaf = true;
        if !unseen {
            self.last_id = id;
            self.answer_failed(id, &status, Delivery::NotProcessed, gate);
            self.drain(gate, self.link.now);
        }
    }
}
