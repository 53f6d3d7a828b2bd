//! Answers on their way out of a served stream.

use core::time::Duration;

use super::calls::Call;
use super::stream::ServerStream;
use crate::endpoint::{SampleOutcome, busy};
use crate::error::{Delivery, Status, StatusCode};
use crate::wire::compress::Body;
use crate::wire::outcome;
use crate::wire::{Flags, Format, Kind, tag};

/// A peer is told the load again when it has changed by so many thousandths,
const LOAD_STEP: u16 = 50;
/// or after so long.
const LOAD_AGE: Duration = Duration::from_secs(10);

/// An answer on its way to the outbox.
#[derive(Debug)]
pub(super) struct Answering {
    pub(super) call: Call,
    answer: Result<Body, Status>,
    /// Its length on the wire.
    len: usize,
}

impl Answering {
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

impl ServerStream {
    /// A handler has ended. Its answer is written at once if there is room for it, as there is for one
    /// that is no larger than its request, and else waits for a verdict.
    pub(super) fn answer(&mut self, call: Call, answer: Result<Body, Status>) {
        let answer = self.within_limits(answer);
        let len = match (&answer, self.link.format) {
            (Ok(body), Format::Plain) => body.raw().len(),
            (Ok(body), Format::Native) => body.wire_len(),
            (Err(status), _) => status.detail.len(),
        };
        let answering = Answering { call, answer, len };
        let fits = len <= answering.call.bytes
            || self.held().saturating_add(len) <= self.exchange.known.room;
        if fits && self.answers.is_empty() {
            self.finish_answer(answering, true);
        } else {
            self.answers.push_back(answering);
        }
    }

    /// Writes an answer, or what is left of it if there is no room.
    pub(super) fn finish_answer(&mut self, answering: Answering, fits: bool) {
        let Answering { call, answer, len } = answering;
        self.batch.add();
        let answer = match answer {
            Ok(_) if !fits => {
                Err(busy(&alloc::format!("no memory for the response of {len} bytes")))
            }
            Err(mut status) if !fits => {
                status.detail.clear();
                Err(status)
            }
            answer => answer,
        };
        match answer {
            Ok(body) => {
                self.exchange.events.ok += 1;
                self.release(&call, SampleOutcome::Answered);
                self.answer_ok(call.wire_id, body);
            }
            Err(status) => {
                let sample = match status.code {
                    StatusCode::Internal => SampleOutcome::Dropped,
                    _ => SampleOutcome::Answered,
                };
                self.exchange.events.failed += 1;
                self.release(&call, sample);
                // A handler that does not have what is asked for has done nothing.
                let delivery = match status.code {
                    StatusCode::Unimplemented => Delivery::NotProcessed,
                    _ => Delivery::Unknown,
                };
                self.answer_failed(call.wire_id, &status, delivery);
            }
        }
    }

    /// The answer, if it is as small as both sides want it.
    fn within_limits(&self, answer: Result<Body, Status>) -> Result<Body, Status> {
        let limit = self.max_body.min(self.peer.max_body as usize);
        match answer {
            Ok(body) if body.raw().len() > limit => {
                let len = body.raw().len();
                let message = alloc::format!("the response has {len} bytes, the limit is {limit}");
                Err(Status::new(StatusCode::ResponseTooLarge, message))
            }
            Err(mut status) if status.detail.len() > limit => {
                status.detail.clear();
                Err(status)
            }
            answer => answer,
        }
    }

    pub(super) fn answer_ok(&mut self, wire_id: u64, body: Body) {
        if !self.link.is_open() {
            return;
        }
        match self.link.format {
            Format::Plain => self.link.outbox.plain(body.raw().clone()),
            Format::Native => {
                let load = self.load_to_tell();
                let (payload, beside) = body.split();
                let flags =
                    if payload.is_compressed() { Flags::COMPRESSED } else { Flags::default() };
                self.link.outbox.native(Kind::Response, flags, wire_id, payload.bytes, |head| {
                    if let Some(original) = payload.original {
                        head.u32(tag::SIZE, original);
                    }
                    if let Some(load) = load {
                        head.u16(tag::LOAD, load);
                    }
                    if let Some(headers) = beside.headers() {
                        headers.metadata.write(head);
                    }
                });
            }
        }
    }

    pub(super) fn answer_failed(&mut self, wire_id: u64, status: &Status, delivery: Delivery) {
        if !self.link.is_open() {
            return;
        }
        match self.link.format {
            Format::Plain => self.link.finish(),
            Format::Native => {
                let load = self.load_to_tell();
                outcome::encode(&mut self.link.outbox, wire_id, status, delivery, load);
            }
        }
    }

    /// The load, unless the peer knows about as much already.
    pub(super) fn load_to_tell(&mut self) -> Option<u16> {
        let (load, now) = (self.exchange.load(), self.link.now);
        let known = self.told_load.is_some_and(|(told, when)| {
            load.abs_diff(told) < LOAD_STEP && now.since(when) < LOAD_AGE
        });
        if known {
            return None;
        }
        self.told_load = Some((load, now));
        Some(load)
    }
}
