//! A table of calls against any frames and any application.

use std::collections::BTreeSet;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use pointsub_core::connection::{
    CallEvent, CallKey, CallLimits, CallMessage, CallOpening, CallStart, Calls,
};
use pointsub_core::wire::{CallRequest, Credit, Decoder, Frame, Kind, MAX_PART, Outbox, tag};
use pointsub_core::{
    Body, Cause, Format, FrameError, Metadata, Payload, Status, StatusCode, Timestamp,
};

use super::{LIMIT, MAX_OPS, body, kind, native, written};
use crate::calls_sim::Ledger;

const CALLS: u64 = 6;
const MEMORY: usize = 64 * 1024;

#[derive(Debug, Arbitrary)]
enum Op {
    /// Anything.
    Frame {
        kind: u8,
        flags: u8,
        call: u8,
        fields: Vec<(u8, Vec<u8>)>,
        len: u32,
    },
    Credit {
        call: u8,
        bytes: u16,
        messages: u8,
    },
    Data {
        call: u8,
        more: bool,
        length: Option<u32>,
        len: u16,
    },
    Answer {
        call: u8,
        status: Option<u8>,
    },
    Open {
        call: u8,
        bytes: u16,
        messages: u8,
        idle: Option<u8>,
        silent: bool,
    },
    Accept {
        call: u8,
    },
    Send {
        call: u8,
        len: u32,
    },
    Finish {
        call: u8,
    },
    Taken {
        call: u8,
        bytes: u16,
        messages: u8,
    },
    End {
        call: u8,
        failed: bool,
    },
    Fill {
        bytes: u16,
    },
    Time {
        millis: u16,
    },
    Drain {
        last: u8,
    },
}

#[derive(Debug, Arbitrary)]
struct Script {
    server: bool,
    ops: Vec<Op>,
}

struct Table {
    calls: Calls,
    server: bool,
    now: Timestamp,
    ledger: Ledger,
    /// Calls whose last event has come.
    over: BTreeSet<CallKey>,
}

fn key(call: u8) -> CallKey {
    CallKey(1 + u64::from(call) % CALLS)
}

/// What a decoder makes of a frame; `None` if it is refused on sight.
fn decoded(bytes: Bytes) -> Option<Frame> {
    let mut decoder = Decoder::new(Format::Native, LIMIT);
    decoder.push(bytes);
    decoder.next_frame().ok().flatten()
}

/// Frames and applications of any kind: nothing panics, no call ends twice, nothing is sent without
/// credit, and what is held stays within its limit and is given back.
pub fn call_inputs(data: &[u8]) {
    let Ok(script) = Script::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let limits = CallLimits {
        max_calls: 4,
        max_message: LIMIT,
        max_memory: MEMORY,
        answer_within: Duration::from_secs(1),
    };
    let now = Timestamp::ZERO;
    let calls = if script.server { Calls::server(limits, now) } else { Calls::client(limits, now) };
    let mut table = Table {
        calls,
        server: script.server,
        now,
        ledger: Ledger::default(),
        over: BTreeSet::new(),
    };
    for op in script.ops.into_iter().take(MAX_OPS) {
        let broken = table.op(op).is_err();
        table.check();
        if broken {
            break;
        }
    }
    table.end();
}

impl Table {
    fn op(&mut self, op: Op) -> Result<(), FrameError> {
        let now = self.now;
        match op {
            Op::Frame { kind: number, flags, call, fields, len } => {
                let frame = native(kind(number), flags, key(call).0, body(len), |head| {
                    fields.iter().for_each(|(tag, value)| head.bytes(*tag, value));
                });
                return self.receive(frame);
            }
            Op::Credit { call, bytes, messages } => {
                return self.receive(native(Kind::Credit, 0, key(call).0, Bytes::new(), |head| {
                    head.u32(tag::BYTES, bytes.into());
                    head.u32(tag::MESSAGES, messages.into());
                }));
            }
            Op::Data { call, more, length, len } => {
                let body = body(u32::from(len) % (MAX_PART as u32 + 1));
                let flags = if more { 4 } else { 0 };
                return self.receive(native(Kind::Data, flags, key(call).0, body, |head| {
                    if let Some(length) = length {
                        head.u32(tag::LENGTH, length % (2 * LIMIT as u32));
                    }
                }));
            }
            Op::Answer { call, status } => {
                let id = key(call).0;
                return self.receive(native(Kind::Response, 0, id, Bytes::new(), |head| {
                    if let Some(status) = status {
                        head.u8(tag::STATUS, status);
                    }
                }));
            }
            Op::Open { call, bytes, messages, idle, silent } => {
                let credit = Credit::new(bytes.into(), messages.into());
                let idle = idle.map(|idle| Duration::from_millis(idle.into()));
                self.open(key(call), credit, idle, silent);
            }
            Op::Accept { call } if self.server => {
                let _late = self.calls.accept(key(call), Metadata::new(), None, now);
            }
            Op::Send { call, len } => {
                let _full = self.calls.send(key(call), CallMessage::from(body(len)), now);
            }
            Op::Finish { call } => _ = self.calls.finish(key(call), now),
            Op::Taken { call, bytes, messages } => {
                let credit = Credit::new(bytes.into(), messages.into());
                self.calls.taken(key(call), credit, now);
            }
            Op::End { call, failed } if self.server => self.respond(key(call), failed),
            Op::End { call, .. } => {
                // One that was never opened has not ended.
                if self.calls.has(key(call)) {
                    self.over.insert(key(call));
                }
                self.calls.cancel(key(call), now);
            }
            Op::Fill { bytes } => self.fill(bytes.into()),
            Op::Time { millis } => {
                self.now = now + Duration::from_millis(millis.into());
                if self.calls.handle_timeout(self.now).is_err() {
                    return Err(FrameError::Truncated);
                }
                assert!(self.calls.next_deadline().is_none_or(|due| due > self.now), "time stands");
            }
            Op::Drain { last } if !self.server => self.calls.drain(key(last).0, now),
            Op::Drain { .. } => self.calls.drain_handlers(now),
            Op::Accept { .. } => {}
        }
        Ok(())
    }

    fn receive(&mut self, bytes: Bytes) -> Result<(), FrameError> {
        let Some(frame) = decoded(bytes) else { return Ok(()) };
        if frame.header.kind == Some(Kind::Request) {
            return self.calls.read(frame).map(|_| ());
        }
        let credit = frame.clone();
        self.calls.handle(frame, self.now)?;
        self.ledger.received(&credit);
        Ok(())
    }

    fn open(&mut self, key: CallKey, credit: Credit, idle: Option<Duration>, silent: bool) {
        let now = self.now;
        let grows_to = credit + credit;
        if self.server {
            let window = credit;
            let start =
                CallStart { window, grows_to, credit, silent, idle, ..CallStart::default() };
            if !self.over.contains(&key) && self.calls.begin(key, start, now).is_ok() {
                self.calls.saw(key.0);
                self.ledger.grant(key.0, credit);
            }
        } else {
            let request = CallRequest { credit, silent, ..CallRequest::default() };
            let opening = CallOpening { request, grows_to, deadline: None, idle };
            let _full = self.calls.open(key, opening, now);
        }
    }

    fn respond(&mut self, key: CallKey, failed: bool) {
        let outcome = match failed {
            true => Err(Status::new(StatusCode::Internal, "")),
            false => Ok(Payload::from(Body::default())),
        };
        if self.calls.knows(key) {
            self.over.insert(key);
        }
        self.calls.respond(key, outcome, Metadata::new(), self.now);
    }

    fn fill(&mut self, bytes: usize) {
        let mut outbox = Outbox::new(0);
        self.calls.fill(&mut outbox, bytes);
        let mut decoder = Decoder::new(Format::Native, LIMIT);
        decoder.push(written(&mut outbox));
        while let Some(frame) = decoder.next_frame().expect("its own frames") {
            self.ledger.sent(&frame).expect("never without credit");
        }
    }

    fn check(&mut self) {
        while let Some((key, event)) = self.calls.poll_event() {
            assert!(!self.over.contains(&key), "{event:?} behind the end of {key:?}");
            if matches!(event, CallEvent::Ended(_)) {
                self.over.insert(key);
            }
        }
        let floor = 8192 * self.calls.len();
        assert!(self.calls.reserved() <= MEMORY + floor, "{} bytes", self.calls.reserved());
    }

    fn end(&mut self) {
        if self.server {
            self.calls.lose_handlers();
            (0..CALLS as u8).for_each(|call| self.respond(key(call), true));
        } else {
            self.calls.lose(&Cause::Closed);
        }
        assert!(self.calls.is_empty() && self.calls.reserved() == 0, "something is left");
        assert_eq!(self.calls.next_deadline(), None, "a timer is left");
    }
}
