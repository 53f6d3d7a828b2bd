//! What a peer says on a stream that we opened.

use alloc::vec::Vec;

use super::report::{Report, Slot};
use super::stream::{ClientStream, SLOT_MASK};
use crate::error::{Cause, Delivery, Phase, Status, StatusCode};
use crate::wire::compress::Payload;
use crate::wire::outcome;
use crate::wire::{Format, Frame, FrameError, Kind};

/// How many frames in a row a server may send that answer no request. A large one counts once more for
/// each KiB.
const MAX_UNASKED: u32 = 10_000;

impl ClientStream {
    pub(super) fn take_frames(&mut self) {
        self.take_each_frame();
        self.report_calls(false);
        self.finish_drain();
    }

    fn take_each_frame(&mut self) {
        while !self.closed {
            let next = self.link.next_frame();
            let slow = self.link.take_slow();
            if slow.is_some() || self.held && !self.link.is_receiving() {
                self.go_on_waiting(slow.unwrap_or_default());
            }
            let result = match next {
                Ok(None) => return,
                Ok(Some(frame)) if self.link.format == Format::Plain => self.take_plain(frame),
                Ok(Some(frame)) => self.take_native(frame),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                self.violated(error);
            }
        }
    }

    fn take_plain(&mut self, frame: Frame) -> Result<(), FrameError> {
        let slot = self.calls.iter().next().map(|(slot, _)| slot);
        let call = slot.and_then(|slot| self.calls.try_remove(slot));
        let Some(request) = call.and_then(|call| call.request) else {
            return Err(FrameError::Unexpected("an answer to a request never made"));
        };
        let answer = Ok(Payload::new(frame.body, None));
        self.reports.push_back(Report::Answered { request, answer, load: None });
        self.finish_drain();
        Ok(())
    }

    fn take_native(&mut self, frame: Frame) -> Result<(), FrameError> {
        let kind = frame.header.kind;
        if kind == Some(Kind::Response) {
            self.unasked = 0;
        } else if matches!(kind, Some(Kind::Data | Kind::Accept | Kind::Credit | Kind::Finish)) {
            // Those of calls are counted elsewhere.
        } else if self.unasked >= MAX_UNASKED {
            return Err(FrameError::Unexpected("too many frames that answer nothing"));
        } else {
            let len = frame.head.len() + frame.body.len();
            let kib = u32::try_from(len / 1024).unwrap_or(MAX_UNASKED);
            self.unasked = self.unasked.saturating_add(kib).saturating_add(1);
        }
        match frame.header.kind {
            None => {}
            Some(Kind::Settings) => {
                self.peer.update(&frame.head)?;
                self.limit_calls();
                let limit = self.max_in_flight.min(self.peer.max_in_flight as usize);
                self.reports.push_back(Report::Limit(limit));
            }
            Some(Kind::Response) => self.take_response(frame)?,
            Some(Kind::Drain) => self.take_drain(frame.header.id),
            Some(Kind::Request | Kind::Cancel) => {
                return Err(FrameError::Unexpected("a frame that only clients send"));
            }
            Some(Kind::Data | Kind::Accept | Kind::Credit | Kind::Finish) => {
                return self.take_call_frame(frame);
            }
        }
        Ok(())
    }

    fn take_response(&mut self, frame: Frame) -> Result<(), FrameError> {
        let id = frame.header.id;
        let slot = (id & SLOT_MASK) as usize;
        if self.calls.get(slot).is_none_or(|call| call.id != id) {
            return match self.streaming {
                Some(_) => self.take_call_frame(frame),
                None => Err(FrameError::Unexpected("an answer to a request never made")),
            };
        }
        self.unasked = 0;
        let (answer, load) = outcome::parse(frame)?;
        let Some(request) = self.calls.remove(slot).request else {
            self.reports.push_back(Report::Vacated);
            self.finish_drain();
            return Ok(());
        };
        let limit = self.link.decoder.max_body();
        match answer.as_ref().map(|payload| payload.check(limit)) {
            Ok(Err(error)) => {
                let phase = Phase::Answer;
                self.report_failed(request, error.into(), phase, Delivery::Processed, Slot::Free);
            }
            _ => self.reports.push_back(Report::Answered { request, answer, load }),
        }
        self.finish_drain();
        Ok(())
    }

    /// The server takes nothing beyond `last`: those requests were surely not processed.
    fn take_drain(&mut self, last: u64) {
        self.draining = true;
        self.drained = true;
        self.reports.push_back(Report::Draining);
        self.drain_calls(Some(last));
        let beyond: Vec<usize> =
            self.calls.iter().filter(|(_, call)| call.id > last).map(|(slot, _)| slot).collect();
        for slot in beyond {
            if let Some(request) = self.calls.remove(slot).request {
                let status = Status::new(StatusCode::Draining, "");
                let answer = Err((status, Delivery::NotProcessed));
                self.reports.push_back(Report::Answered { request, answer, load: None });
            }
        }
        self.finish_drain();
    }

    /// The peer broke the format: the answer that is too large fails as such, the rest as lost.
    fn violated(&mut self, error: FrameError) {
        if let FrameError::TooLarge { id, .. } = error {
            let slot = match self.link.format {
                Format::Native => (id & SLOT_MASK) as usize,
                Format::Plain => self.calls.iter().next().map_or(usize::MAX, |(slot, _)| slot),
            };
            let native = self.link.format == Format::Native;
            if self.calls.get(slot).is_some_and(|call| call.id == id || !native)
                && let Some(request) = self.calls.remove(slot).request
            {
                let cause = Cause::Violation(error.clone());
                let (phase, delivery) = (Phase::Answer, Delivery::Unknown);
                self.report_failed(request, cause, phase, delivery, Slot::Gone);
            }
        }
        self.close_with(&Cause::Violation(error));
    }
}
