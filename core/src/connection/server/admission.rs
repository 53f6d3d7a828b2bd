//! Questions of a served stream to admission control, and the verdicts on them.

use super::answer::Answering;
use super::report::{Ask, Behind, Events, Grant, ServerReport, ServerVerdict};
use super::stream::{ServerStream, ServerStreamEvent};
use crate::endpoint::SampleOutcome;
use crate::error::{Delivery, Status, StatusCode};
use crate::time::{Timestamp, earliest};
use crate::wire::Format;
use crate::wire::compress::Payload;

/// How many requests one after the other may use the place of one at work before the stream asks for
/// a place again.
const MAX_RENEWALS: u32 = 64;
/// How many requests that have arrived behind one get their places with it, at most.
const MAX_BEHIND: usize = 64;

/// A request that waits to be let in.
#[derive(Debug)]
pub(super) struct Waiting {
    wire_id: u64,
    payload: Payload,
    pub(super) deadline: Option<Timestamp>,
    bytes: usize,
}

impl Waiting {
    pub(super) const fn wire_id(&self) -> u64 {
        self.wire_id
    }
}

/// A question that is under way.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Request,
    /// The same, but its request does not wait any longer.
    Withdrawn,
    /// For the answer that waits longest.
    Answer,
    /// For the decoder.
    Frame,
}

/// What a stream knows of the rest of the server, as it was when it last heard from there.
#[derive(Debug)]
pub(super) struct Known {
    /// So many bytes the stream may hold.
    pub(super) room: usize,
    idle: bool,
    active: Timestamp,
    /// Calls that have a place, as far as was reported and granted.
    pub(super) calls: usize,
    /// Requests at work, and how many there may be.
    at_work: u32,
    limit: u32,
}

/// What a stream has to tell, to ask, and to wait for.
#[derive(Debug)]
pub(super) struct Exchange {
    /// To be reported.
    pub(super) events: Events,
    pub(super) known: Known,
    /// When bytes last came or left.
    pub(super) active: Timestamp,
    /// A report, or the stream's opening, is under way, and its verdict will come.
    reported: bool,
    pub(super) asked: Option<Asked>,
    /// For a call.
    asked_call: bool,
    /// The request that waits for a place, or for its turn on one.
    pub(super) waiting: Option<Waiting>,
    /// Places that no request uses yet: for the one that waits, and for those behind it.
    pub(super) places: u32,
    /// Places of requests that ended since the last report, which others can have.
    pub(super) free: u32,
    renewals: u32,
    /// What the decoder needs, and at best.
    pub(super) wanted: Option<(usize, usize)>,
    /// Whether it gets it.
    pub(super) granted: Option<bool>,
    /// Room that is asked for beside a place.
    spare: usize,
}

impl Exchange {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            events: Events::default(),
            known: Known { room: 0, idle: false, active: now, calls: 0, at_work: 0, limit: 1 },
            active: now,
            reported: true,
            asked: None,
            asked_call: false,
            waiting: None,
            places: 0,
            free: 0,
            renewals: 0,
            wanted: None,
            granted: None,
            spare: 0,
        }
    }

    /// Whether what the peer sends is not looked at before a verdict comes.
    pub(super) const fn is_waiting_for_verdict(&self) -> bool {
        self.waiting.is_some() || self.wanted.is_some() && self.granted.is_none()
    }

    /// The decoder needs no room any more.
    pub(super) fn want_nothing(&mut self) {
        (self.wanted, self.granted) = (None, None);
    }

    /// The load in thousandths, without what has ended since.
    pub(super) fn load(&self) -> u16 {
        let ended = self.events.samples.ended.saturating_sub(self.events.renewed);
        let at_work = u64::from(self.known.at_work.saturating_sub(ended));
        u16::try_from(at_work * 1000 / u64::from(self.known.limit.max(1))).unwrap_or(u16::MAX)
    }
}

impl ServerStream {
    /// The same stream with room for `bytes` more with each place. While a place is in use and that
    /// much is not, further requests are let in on the same place, one after the other: for a driver
    /// that answers many requests before it reports.
    #[must_use]
    pub fn with_allowance(mut self, bytes: usize) -> Self {
        self.exchange.spare = bytes;
        self
    }

    /// Whether there is a question that [`take_report`](Self::take_report) has not taken.
    #[must_use]
    #[inline]
    pub fn is_asking(&self) -> bool {
        let exchange = &self.exchange;
        let request = exchange.waiting.is_some() && exchange.places == 0;
        let frame = exchange.wanted.is_some() && exchange.granted.is_none();
        !exchange.reported && (request || frame || !self.answers.is_empty())
    }

    /// Whether something has happened that admission control counts, beside bytes that came or left.
    #[must_use]
    #[inline]
    pub fn has_news(&self) -> bool {
        self.exchange.events.any
    }

    /// What admission control is to be told, if there is news. Its verdict goes to
    /// [`handle_verdict`](Self::handle_verdict). There is one report under way at a time: until the
    /// verdict comes, and before that on the stream's opening, news is summed up.
    #[inline]
    pub fn take_report(&mut self) -> Option<ServerReport> {
        let asks = self.is_asking();
        let (held, idle) = (self.held(), self.is_idle());
        if self.exchange.reported || !asks && !self.has_news() && self.is_known(held, idle) {
            return None;
        }
        let ask = if asks { self.ask(held) } else { None };
        let waiting = held.saturating_sub(self.work + self.unstalled_for_calls());
        let Exchange { events, known, active, .. } = &mut self.exchange;
        (known.room, known.idle, known.active) = (held, idle, *active);
        let events = core::mem::take(events);
        known.calls = events.calls.unwrap_or(known.calls);
        let active = *active;
        self.exchange.free = 0;
        self.exchange.reported = true;
        Some(ServerReport { events, held, waiting, idle, active, ask, withdrawn: false })
    }

    /// Whether this is how admission control has it.
    #[inline]
    fn is_known(&self, held: usize, idle: bool) -> bool {
        let Exchange { known, active, places, granted, .. } = &self.exchange;
        // What was just granted is to be used first.
        let granted = *places > 0 || *granted == Some(true);
        let holds = known.room == held || known.room > held && granted;
        holds && (known.idle, known.active) == (idle, *active)
    }

    pub(super) fn last_report(&mut self) -> ServerReport {
        let active = self.exchange.active;
        let events = core::mem::take(&mut self.exchange.events);
        // One that is under way is not taken in any more.
        let withdrawn = matches!(self.exchange.asked, Some(Asked::Request | Asked::Withdrawn));
        ServerReport { events, held: 0, waiting: 0, idle: false, active, ask: None, withdrawn }
    }

    #[inline]
    fn ask(&mut self, held: usize) -> Option<Ask> {
        let (asked, ask) = if let Some(answer) = self.answers.front() {
            let bytes = held.saturating_add(answer.len());
            (Asked::Answer, Ask::Room { bytes, best: bytes })
        } else if self.exchange.waiting.is_some() {
            let waiting = self.exchange.waiting.as_ref();
            let (bytes, id) = waiting.map_or((0, 0), |waiting| (waiting.bytes, waiting.wire_id));
            let call = self.opens_call(id);
            self.exchange.asked_call = call;
            let behind = if call { Behind::default() } else { self.behind() };
            (Asked::Request, Ask::Request { spare: self.exchange.spare, bytes, call, behind })
        } else {
            let (bytes, best) = self.exchange.wanted?;
            let elsewhere = self.held_elsewhere();
            let with = |bytes: usize| elsewhere.saturating_add(bytes);
            (Asked::Frame, Ask::Room { bytes: with(bytes), best: with(best) })
        };
        self.exchange.asked = Some(asked);
        Some(ask)
    }

    /// Takes in a verdict. Whatever became of the stream since it asked, nothing is lost: a place
    /// that nobody needs any more is given back with the next report.
    #[inline]
    pub fn handle_verdict(&mut self, verdict: ServerVerdict, now: Timestamp) {
        self.link.advance_clock(now);
        let ServerVerdict { answer, room, active, limit, cut_off } = verdict;
        let known = &mut self.exchange.known;
        (known.room, known.at_work, known.limit) = (room, active, limit);
        self.exchange.renewals = 0;
        self.exchange.reported = false;
        if let Some(answer) = answer {
            self.on_grant(answer);
            self.settle();
        }
        if cut_off && self.link.is_open() {
            self.link.reset();
            self.abandon_all();
            self.settle();
        }
    }

    #[inline]
    fn on_grant(&mut self, grant: Grant) {
        if grant == Grant::Unserved {
            self.refused = true;
            return self.drain(self.link.now);
        }
        if let Grant::Place { behind } = grant {
            self.exchange.known.calls += usize::from(self.exchange.asked_call);
            self.exchange.places += 1 + behind;
        }
        match (self.exchange.asked.take(), grant) {
            (Some(Asked::Request), Grant::Place { .. }) => {}
            (_, Grant::Place { .. }) => self.give_back_place(),
            (Some(Asked::Withdrawn), _) => {}
            (_, Grant::Refused(status)) => {
                if let Some(waiting) = self.exchange.waiting.take() {
                    self.work -= waiting.bytes;
                    self.drop_terms(waiting.wire_id);
                    self.refuse_request(waiting.wire_id, &status);
                }
            }
            (Some(Asked::Answer), grant) => {
                if let Some(answering) = self.answers.pop_front() {
                    self.finish_answer(answering, grant == Grant::Room);
                }
            }
            (_, grant) => {
                let granted = self.exchange.wanted.map(|_| grant == Grant::Room);
                self.exchange.granted = granted;
            }
        }
    }

    fn refuse_request(&mut self, wire_id: u64, status: &Status) {
        if self.link.format == Format::Plain {
            // The format has no way to say more than that.
            return self.link.finish();
        }
        self.answer_failed(wire_id, status, Delivery::NotProcessed);
        if status.code == StatusCode::NotFound {
            // Should the protocol come back, it will not do so on this stream.
            self.drain(self.link.now);
        }
    }

    /// The requests that have arrived behind the one that waits. No more of them than are at work
    /// already: where handlers answer at once, a place in advance would be a load that is none.
    fn behind(&self) -> Behind {
        let at_work = self.calls.len() + self.answers.len();
        let room = self.max_in_flight.saturating_sub(at_work + 1);
        let most = at_work.min(room).min(MAX_BEHIND);
        if most == 0 {
            return Behind::default();
        }
        let (requests, bytes) = self.link.decoder.requests_behind(most);
        Behind { requests, bytes }
    }

    /// A request has come, and is let in at once if there is a place. Else it waits for one.
    #[inline]
    pub(super) fn admit(
        &mut self,
        wire_id: u64,
        payload: Payload,
        deadline: Option<Timestamp>,
    ) -> Option<ServerStreamEvent> {
        let bytes = super::calls::bytes_at_work(&payload);
        if self.take_place(bytes) || self.renew(bytes) {
            return Some(self.begin(wire_id, payload, deadline));
        }
        self.wait_for_place(wire_id, payload, deadline);
        None
    }

    /// A request waits for a place of its own.
    pub(super) fn wait_for_place(
        &mut self,
        wire_id: u64,
        payload: Payload,
        deadline: Option<Timestamp>,
    ) {
        // Those that there are were for other requests than this one.
        self.give_back_places();
        let bytes = super::calls::bytes_at_work(&payload);
        self.work += bytes;
        self.idle_due = None;
        self.due = earliest(self.due, deadline);
        self.exchange.waiting = Some(Waiting { wire_id, payload, deadline, bytes });
    }

    /// Lets a request in on the place of one that has ended since the last report.
    fn renew(&mut self, bytes: usize) -> bool {
        let fits = self.held().saturating_add(bytes) <= self.exchange.known.room;
        let exchange = &mut self.exchange;
        let renews = fits && exchange.free > 0 && exchange.renewals < MAX_RENEWALS;
        if renews {
            exchange.free -= 1;
            exchange.renewals += 1;
            exchange.events.renewed += 1;
            exchange.events.renewed_bytes += bytes as u64;
        }
        renews
    }

    /// Lets a request in on a place that was asked for with an earlier one's.
    fn take_place(&mut self, bytes: usize) -> bool {
        let fits = self.exchange.places > 0
            && self.held().saturating_add(bytes) <= self.exchange.known.room;
        self.exchange.places -= u32::from(fits);
        fits
    }

    /// The request that has waited, if there is a place for it now.
    #[inline]
    pub(super) fn begin_waiting(&mut self) -> Option<ServerStreamEvent> {
        let places = self.exchange.places.checked_sub(1)?;
        let waiting = self.exchange.waiting.take()?;
        self.exchange.places = places;
        self.work -= waiting.bytes;
        self.keep_window(waiting.wire_id);
        Some(self.begin(waiting.wire_id, waiting.payload, waiting.deadline))
    }

    /// The caller's time was over before there was a place.
    pub(super) fn expire_waiting(&mut self, now: Timestamp) {
        let due = self.exchange.waiting.as_ref().and_then(|waiting| waiting.deadline);
        if due.is_none_or(|due| due > now) {
            self.due = earliest(self.due, due);
            return;
        }
        if let Some(waiting) = self.drop_waiting() {
            self.exchange.events.refuse();
            let status = Status::new(StatusCode::DeadlineExceeded, "");
            self.answer_failed(waiting.wire_id, &status, Delivery::NotProcessed);
        }
    }

    /// Nobody waits for the request any more that has waited for a place.
    pub(super) fn drop_waiting(&mut self) -> Option<Waiting> {
        let waiting = self.exchange.waiting.take()?;
        self.work -= waiting.bytes;
        self.drop_terms(waiting.wire_id);
        if self.exchange.asked == Some(Asked::Request) {
            self.exchange.asked = Some(Asked::Withdrawn);
        }
        self.give_back_place();
        Some(waiting)
    }

    /// The request that a place is for is gone, if there is one.
    fn give_back_place(&mut self) {
        if let Some(behind) = self.exchange.places.checked_sub(1) {
            self.exchange.places = behind;
            self.exchange.events.abandon();
            self.sample_unused();
            self.give_back_places();
        }
    }

    /// Nobody needs the places for requests behind another one.
    #[inline]
    pub(super) fn give_back_places(&mut self) {
        for _ in 0..core::mem::take(&mut self.exchange.places) {
            self.exchange.events.unused += 1;
            self.sample_unused();
        }
    }

    fn sample_unused(&mut self) {
        let now = self.link.now;
        self.exchange.events.sample(super::calls::sample(now, SampleOutcome::Cancelled, now));
    }

    /// Nobody is there for the answers that wait for room.
    pub(super) fn drop_answers(&mut self) {
        for Answering { call, .. } in core::mem::take(&mut self.answers) {
            self.exchange.events.abandon();
            self.release_sample(&call, SampleOutcome::Cancelled);
        }
    }
}
