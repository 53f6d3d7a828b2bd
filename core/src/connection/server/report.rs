//! The messages between a served stream and [admission control](crate::endpoint::Admission).

use alloc::boxed::Box;
use core::time::Duration;

use crate::endpoint::{Offence, Sample, SampleOutcome, StreamTimer};
use crate::error::Status;
use crate::time::Timestamp;

/// What a [`ServerStream`](crate::connection::ServerStream) tells
/// [`Admission`](crate::endpoint::Admission): what has happened since its last report, in sums, how
/// the stream stands, and at most one question.
///
/// Reports of one stream are to arrive in the order in which they were made. Each is answered by one
/// [`ServerVerdict`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "admission control counts what reports say"]
pub struct ServerReport {
    pub(crate) events: Events,
    /// Bytes that the stream holds.
    pub(crate) held: usize,
    /// Those of them that wait for the peer: of a message that is not complete, and of answers.
    pub(crate) waiting: usize,
    /// It has answered what it was asked, and nothing is on its way in or out.
    pub(crate) idle: bool,
    /// When bytes last came or left.
    pub(crate) active: Timestamp,
    pub(crate) ask: Option<Ask>,
    /// It is the last one, and a place may be on its way to the stream.
    pub(crate) withdrawn: bool,
}

impl ServerReport {
    /// Whether it asks something, so that the stream waits for the verdict.
    #[must_use]
    pub const fn asks(&self) -> bool {
        self.ask.is_some()
    }

    /// The requests that the stream itself has refused since its last report.
    #[must_use]
    pub const fn refusals(&self) -> Refusals {
        let Events { refused, busy, denied, .. } = self.events;
        Refusals { busy, denied, other: refused.saturating_sub(busy + denied) }
    }
}

/// Requests that a stream has refused without a question: [`ServerReport::refusals`].
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Refusals {
    /// For want of room.
    pub busy: u32,
    /// Because a rule of the application's does not allow them.
    pub denied: u32,
    /// For any other reason: they are too large, or want what is not implemented.
    pub other: u32,
}

/// A question of a stream.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// May a handler begin to work on a request of so many bytes? `held` has them already; `spare` more
    /// are welcome, for what follows it.
    /// It may be to open a call, which needs a place of its own for as long as it lasts.
    Request { spare: usize, bytes: usize, call: bool, behind: Behind },
    /// May the stream hold so many bytes, and if possible `best`?
    Room { bytes: usize, best: usize },
}

/// Requests that have arrived behind the one that a place is asked for: as many places more are
/// welcome.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Behind {
    pub(crate) requests: u32,
    /// What all of them hold while they are at work.
    pub(crate) bytes: usize,
}

/// What has happened on a stream since it last reported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Events {
    /// Handlers that ended with an answer, with a failure, and after they were told to stop.
    pub(crate) ok: u32,
    pub(crate) failed: u32,
    pub(crate) abandoned: u32,
    /// Places for requests that have arrived behind one, which no request has used.
    pub(crate) unused: u32,
    /// Requests that began on the place of one of `ended()`, without a question.
    pub(crate) renewed: u32,
    /// The bytes of these.
    pub(crate) renewed_bytes: u64,
    /// What requests that are no longer at work tell about the server.
    pub(crate) samples: Samples,
    /// Requests that the stream itself refused, and those of them for want of room.
    pub(crate) refused: u32,
    pub(crate) busy: u32,
    /// Those of them that a rule of the application's does not allow.
    pub(crate) denied: u32,
    /// Times that the peer broke the format.
    pub(crate) violations: u32,
    pub(crate) timed_out: Option<StreamTimer>,
    /// How many calls there are that have a place, if that has changed.
    pub(crate) calls: Option<usize>,
    /// What the peer did, in points of its penalty.
    pub(crate) offences: u32,
    /// Whether anything of this is not zero.
    pub(crate) any: bool,
}

impl Events {
    /// Handlers that ended.
    pub(crate) const fn ended(&self) -> u32 {
        self.ok + self.failed + self.abandoned
    }

    /// Places that nobody uses any more.
    pub(crate) const fn freed(&self) -> usize {
        (self.ended() + self.unused).saturating_sub(self.renewed) as usize
    }

    /// A handler that was told to stop has ended, or a place was not used.
    pub(crate) fn abandon(&mut self) {
        self.any = true;
        self.abandoned += 1;
    }

    pub(crate) fn offence(&mut self, offence: Offence) {
        self.any = true;
        self.offences = self.offences.saturating_add(offence.points());
    }

    /// The peer did something that costs so many points.
    pub(crate) fn charge(&mut self, points: u32) {
        self.any = true;
        self.offences = self.offences.saturating_add(points);
    }

    pub(crate) fn note_calls(&mut self, calls: usize) {
        self.any = true;
        self.calls = Some(calls);
    }

    pub(crate) fn refuse(&mut self) {
        self.any = true;
        self.refused += 1;
    }

    pub(crate) fn refuse_busy(&mut self) {
        self.refuse();
        self.busy += 1;
    }

    pub(crate) fn violation(&mut self) {
        self.violations += 1;
        self.offence(Offence::Breach);
    }

    /// A timer ran out, for whose time so many bytes have waited for the peer.
    pub(crate) fn timed_out(&mut self, timer: StreamTimer, waiting: usize, time: Duration) {
        self.any = true;
        self.timed_out = Some(timer);
        match timer {
            StreamTimer::Message | StreamTimer::OtherFormat | StreamTimer::Write => {
                self.offence(Offence::Timeout(waiting, time));
            }
            // An empty stream is seen when it is closed.
            StreamTimer::FirstByte | StreamTimer::Idle => {}
        }
    }

    pub(crate) fn sample(&mut self, sample: Sample) {
        self.any = true;
        self.samples.add(sample);
    }
}

/// Several [`Sample`]s, in sums.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Samples {
    /// Requests that are no longer at work.
    pub(crate) ended: u32,
    /// Those of them that were not cancelled, and the sum of their latencies in nanoseconds.
    pub(crate) counted: u32,
    pub(crate) latency: u64,
    /// Whether one was dropped.
    pub(crate) dropped: bool,
}

impl Samples {
    pub(crate) fn add(&mut self, sample: Sample) {
        self.ended += 1;
        if sample.outcome != SampleOutcome::Cancelled {
            self.counted += 1;
            let nanos = u64::try_from(sample.latency.as_nanos()).unwrap_or(u64::MAX);
            self.latency = self.latency.saturating_add(nanos);
            self.dropped |= sample.outcome == SampleOutcome::Dropped;
        }
    }
}

/// What [`Admission`](crate::endpoint::Admission) says to a report.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a stream that has asked waits for it"]
pub struct ServerVerdict {
    /// The answer to the report's question.
    pub(crate) answer: Option<Grant>,
    /// So many bytes the stream may hold, until it reports again.
    pub(crate) room: usize,
    /// Requests at work at the whole server, and how many there may be.
    pub(crate) active: u32,
    pub(crate) limit: u32,
    /// The peer has cost too much: the stream is reset.
    pub(crate) cut_off: bool,
}

/// The answer to an [`Ask`], or to the opening of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grant {
    /// The stream has a place for the handler that it has asked for, and for so many requests behind it.
    Place { behind: u32 },
    /// The request is refused with this status.
    Refused(Box<Status>),
    /// The verdict's `room` is enough for what is needed.
    Room,
    /// There is no room.
    NoRoom,
    /// Nobody serves what the stream was opened for.
    Unserved,
}

impl ServerVerdict {
    /// Whether the stream is reset, because its peer has cost too much.
    #[must_use]
    pub const fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    /// How many places the stream gets, each for one handler.
    #[must_use]
    pub fn places(&self) -> u32 {
        match self.answer {
            Some(Grant::Place { behind }) => behind.saturating_add(1),
            _ => 0,
        }
    }

    /// How the request is refused that the stream has asked for.
    #[must_use]
    pub fn refusal(&self) -> Option<&Status> {
        match &self.answer {
            Some(Grant::Refused(status)) => Some(status),
            _ => None,
        }
    }

    /// Whether the stream that was opened is served.
    #[must_use]
    pub fn is_served(&self) -> bool {
        !matches!(self.answer, Some(Grant::Unserved))
    }
}
