//! The requests at work on one stream: from their admission to the end of their handlers.

use super::stream::{ServerStream, ServerStreamEvent};
use crate::endpoint::{Offence, Sample, SampleOutcome};
use crate::error::{Delivery, Status, StatusCode};
use crate::time::{Timestamp, earliest};
use crate::wire::Headers;
use crate::wire::compress::{Body, Payload};

const SLOT_BITS: u32 = 20;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;

/// A request as its stream knows it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u64);

#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) wire_id: u64,
    pub(super) deadline: Option<Timestamp>,
    /// Why its handler was told to stop.
    pub(super) stopped: Option<Stop>,
    /// When it was let in.
    started: Timestamp,
    /// Its bytes, before and after decompression.
    pub(super) bytes: usize,
}

/// Why a handler was told to stop, and so what remains to be answered when it has.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The caller's time was over. It was told.
    Deadline,
    /// The caller cancelled. It is told when the handler has stopped.
    Cancel,
    /// The stream is gone, and nobody is there to be told.
    Lost,
}

impl ServerStream {
    /// Answers a request. An answer for which nobody waits any more is dropped.
    pub fn respond(&mut self, call: CallId, answer: Result<Body, Status>, now: Timestamp) {
        self.link.advance_clock(now);
        let Some(call) = self.remove(call) else { return };
        self.exchange.active = self.link.now;
        if let Some(stop) = call.stopped {
            self.exchange.events.abandon();
            if stop == Stop::Cancel {
                self.batch.add();
                let status = Status::new(StatusCode::Cancelled, "");
                self.answer_failed(call.wire_id, &status, Delivery::Unknown);
            }
        } else {
            self.answer(call, answer);
        }
        self.settle();
    }

    /// Answers a request whose body of `len` bytes, once inflated, is not what it said: no handler saw
    /// it, and its peer pays for the attempt.
    pub fn malformed(&mut self, call: CallId, len: usize, status: Status, now: Timestamp) {
        self.exchange.events.offence(Offence::Inflation(len));
        self.respond(call, Err(status), now);
    }

    /// Says that the handler of an abandoned request has stopped.
    pub fn abandoned(&mut self, call: CallId, now: Timestamp) {
        self.respond(call, Err(Status::new(StatusCode::Internal, "")), now);
    }

    /// Notes a request that was let in.
    pub(super) fn begin(
        &mut self,
        wire_id: u64,
        payload: Payload,
        deadline: Option<Timestamp>,
    ) -> ServerStreamEvent {
        let bytes = bytes_at_work(&payload);
        let (entry, started) = (self.calls.vacant_entry(), self.link.now);
        let longest = self.handler_time.map(|time| started + time);
        let deadline = earliest(deadline, longest);
        self.seq += 1;
        let id = CallId(self.seq << SLOT_BITS | entry.key() as u64);
        self.by_wire_id.begun(wire_id, entry.key());
        entry.insert(Call { id, wire_id, deadline, stopped: None, started, bytes });
        self.work += bytes;
        self.idle_due = None;
        self.due = earliest(self.due, deadline);
        ServerStreamEvent::Request { call: id, payload, deadline }
    }

    /// The caller's remaining time is over: it is answered at once, whatever the handler does.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let mut due = None;
        for slot in 0..self.calls.capacity() {
            let Some(call) = self.calls.get_mut(slot) else { continue };
            if call.deadline.is_none_or(|deadline| deadline > now) {
                due = earliest(due, call.deadline);
                continue;
            }
            self.exchange.events.sample(call.stop(Stop::Deadline, now));
            let wire_id = call.wire_id;
            self.abandons.push_back(call.id);
            let status = Status::new(StatusCode::DeadlineExceeded, "");
            self.answer_failed(wire_id, &status, Delivery::Unknown);
        }
        self.due = due;
        self.expire_waiting(now);
    }

    /// The wire id of a request at work.
    pub(super) fn wire_id(&self, call: CallId) -> Option<u64> {
        let found = self.calls.get((call.0 & SLOT_MASK) as usize);
        found.filter(|found| found.id == call).map(|found| found.wire_id)
    }

    /// Whether the handler of a request was told to stop.
    pub(super) fn is_stopped(&self, call: CallId) -> bool {
        let found = self.calls.get((call.0 & SLOT_MASK) as usize);
        found.is_some_and(|found| found.id == call && found.stopped.is_some())
    }

    pub(super) fn remove(&mut self, call: CallId) -> Option<Call> {
        let slot = (call.0 & SLOT_MASK) as usize;
        self.calls.get(slot).filter(|found| found.id == call)?;
        let call = self.calls.try_remove(slot)?;
        self.work -= call.bytes;
        self.drop_terms(call.wire_id);
        Some(call)
    }

    /// A handler that was not told to stop has ended, and its place is free.
    pub(super) fn release(&mut self, call: &Call, outcome: SampleOutcome) {
        self.exchange.free += 1;
        self.release_sample(call, outcome);
    }

    pub(super) fn release_sample(&mut self, call: &Call, outcome: SampleOutcome) {
        self.exchange.events.sample(sample(call.started, outcome, self.link.now));
    }

    /// The peer or the network has broken the stream.
    pub(super) fn lose_all(&mut self) {
        let lost = self.calls.iter().filter(|(_, call)| call.stopped.is_none()).count();
        if lost > 0 {
            self.exchange.events.offence(Offence::Lost(lost));
        }
        self.abandon_all();
    }

    /// Nobody waits any more: all handlers that are still at work are to stop.
    pub(super) fn abandon_all(&mut self) {
        for (_, call) in &mut self.calls {
            if call.stopped.is_none() {
                self.exchange.events.sample(call.stop(Stop::Lost, self.link.now));
                self.abandons.push_back(call.id);
            }
        }
        self.lose_calls();
        self.drop_waiting();
        self.give_back_places();
        self.drop_answers();
        self.due = None;
    }

    /// All handlers have ended, and their places are free.
    pub(super) fn release_all(&mut self) {
        self.lose_all();
        self.work = 0;
        for _ in core::mem::take(&mut self.calls) {
            self.exchange.events.abandon();
        }
    }
}

impl Call {
    /// Its handler is told to stop: it is no load any more, though it keeps its place until it
    /// has stopped.
    pub(super) fn stop(&mut self, why: Stop, now: Timestamp) -> Sample {
        self.stopped = Some(why);
        self.deadline = None;
        sample(self.started, why.sample(), now)
    }
}

/// What a request that was let in at `started` tells about the server.
pub(super) fn sample(started: Timestamp, outcome: SampleOutcome, now: Timestamp) -> Sample {
    Sample { latency: now.since(started), outcome }
}

impl Stop {
    /// What a request that was stopped so tells about the server.
    const fn sample(self) -> SampleOutcome {
        match self {
            Self::Deadline => SampleOutcome::Dropped,
            Self::Cancel | Self::Lost => SampleOutcome::Cancelled,
        }
    }
}

/// What a request costs while its handler works: its bytes, what they inflate to, and what came beside
/// them.
pub(super) fn bytes_at_work(payload: &Payload) -> usize {
    let inflated = if payload.is_compressed() { payload.len() } else { 0 };
    payload.wire_len() + inflated + payload.headers().map_or(0, Headers::wire_len)
}
