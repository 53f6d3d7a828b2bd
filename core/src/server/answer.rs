//! Answers on their way out of a served stream.

use super::stream::{Call, ServerStream};
use crate::compress::Body;
use crate::error::{Delivery, Status, StatusCode};
use crate::frame::{Flags, Format, Kind, tag};
use crate::status;

impl ServerStream {
    pub(super) fn within_limit(&self, answer: Result<Body, Status>) -> Result<Body, Status> {
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
                let payload = body.into_payload();
                let flags =
                    if payload.is_compressed() { Flags::COMPRESSED } else { Flags::default() };
                self.link.outbox.native(Kind::Response, flags, wire_id, payload.bytes, |head| {
                    if let Some(original) = payload.original {
                        head.u32(tag::SIZE, original);
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
            Format::Native => status::encode(&mut self.link.outbox, wire_id, status, delivery),
        }
    }

    pub(super) fn answer_stopped(&mut self, call: &Call) {
        if let Some(code) = call.stopping.filter(|_| !call.answered) {
            self.answer_failed(call.wire_id, &Status::new(code, ""), Delivery::Unknown);
        }
    }
}
