//! Answers on their way out of a served stream.

use core::time::Duration;

use super::stream::ServerStream;
use crate::endpoint::{Gate, busy};
use crate::error::{Delivery, Status, StatusCode};
use crate::wire::compress::Body;
use crate::wire::outcome;
use crate::wire::{Flags, Format, Kind, tag};

/// A peer is told the load again when it has changed by so many thousandths,
const LOAD_STEP: u16 = 50;
/// or after so long.
const LOAD_AGE: Duration = Duration::from_secs(10);

impl ServerStream {
    /// The answer, if it is as small as both sides want it and there is memory for it.
    pub(super) fn within_limits(
        &self,
        answer: Result<Body, Status>,
        gate: &Gate,
    ) -> Result<Body, Status> {
        let limit = self.max_body.min(self.peer.max_body as usize);
        let fits = |bytes: usize| gate.fits(self.key, self.held().saturating_add(bytes));
        match answer {
            Ok(body) if body.raw().len() > limit => {
                let len = body.raw().len();
                let message = alloc::format!("the response has {len} bytes, the limit is {limit}");
                Err(Status::new(StatusCode::ResponseTooLarge, message))
            }
            Ok(body) => {
                let len = match self.link.format {
                    Format::Plain => body.raw().len(),
                    Format::Native => body.wire_len(),
                };
                if fits(len) {
                    return Ok(body);
                }
                Err(busy(&alloc::format!("no memory for the response of {len} bytes")))
            }
            Err(mut status) => {
                if status.detail.len() > limit || !fits(status.detail.len()) {
                    status.detail.clear();
                }
                Err(status)
            }
        }
    }

    pub(super) fn answer_ok(&mut self, wire_id: u64, body: Body, gate: &Gate) {
        if !self.link.is_open() {
            return;
        }
        match self.link.format {
            Format::Plain => self.link.outbox.plain(body.raw().clone()),
            Format::Native => {
                let load = self.load_to_tell(gate);
                let payload = body.into_payload();
                let flags =
                    if payload.is_compressed() { Flags::COMPRESSED } else { Flags::default() };
                self.link.outbox.native(Kind::Response, flags, wire_id, payload.bytes, |head| {
                    if let Some(original) = payload.original {
                        head.u32(tag::SIZE, original);
                    }
                    if let Some(load) = load {
                        head.u16(tag::LOAD, load);
                    }
                });
            }
        }
    }

    pub(super) fn answer_failed(
        &mut self,
        wire_id: u64,
        status: &Status,
        delivery: Delivery,
        gate: &Gate,
    ) {
        if !self.link.is_open() {
            return;
        }
        match self.link.format {
            Format::Plain => self.link.finish(),
            Format::Native => {
                let load = self.load_to_tell(gate);
                outcome::encode(&mut self.link.outbox, wire_id, status, delivery, load);
            }
        }
    }

    /// The load, unless the peer knows about as much already.
    fn load_to_tell(&mut self, gate: &Gate) -> Option<u16> {
        let (load, now) = (gate.load(), self.link.now);
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
