//! What all streams of a server share: the limit of concurrency, the places, the memory, the rates and
//! the counters; and what becomes of it by the report of one stream.

use alloc::boxed::Box;
use core::time::Duration;

use slotmap::SlotMap;

use super::limit::Limit;
use super::notice::Notices;
use super::rate::Rates;
use super::shares::{Account, Flow, Kind, MemoryBudget, Places, ProtocolKey, Shares};
use super::stats::ServerStats;
use crate::config::ServerConfig;
use crate::connection::{Ask, Behind, Grant, ServerReport, ServerVerdict};
use crate::error::{Status, StatusCode};
use crate::time::Timestamp;

/// What a client that was answered `busy` is told to wait.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What there is, and who has it.
#[derive(Debug)]
pub(super) struct Capacity {
    pub(super) limit: Limit,
    /// The most handlers there may be, those that were told to stop included.
    ceiling: usize,
    /// Handlers at work, those that were told to stop included.
    pub(super) requests: Shares,
    max_raws: usize,
    pub(super) raws: Shares,
    max_calls: usize,
    pub(super) calls: Shares,
    max_streams: usize,
    streams: Shares,
    pub(super) budget: MemoryBudget,
    pub(super) rates: Rates,
    pub(super) protocols: SlotMap<ProtocolKey, Protocol>,
    pub(super) notices: Notices,
    /// Bytes that were refused for want of memory, until streams are given up for them.
    pub(super) lacking: usize,
    pub(super) draining: bool,
    /// Only what happened; how things stand is known elsewhere.
    pub(super) counters: ServerStats,
}

/// What a protocol has of everything.
#[derive(Debug, Default)]
pub(super) struct Protocol {
    streams: usize,
    requests: usize,
    raws: usize,
    calls: usize,
}

impl Protocol {
    fn has_mut(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Stream => &mut self.streams,
            Kind::Request => &mut self.requests,
            Kind::Raw => &mut self.raws,
            Kind::Call => &mut self.calls,
        }
    }
}

impl Capacity {
    pub(super) fn new(config: &ServerConfig) -> Self {
        Self {
            limit: Limit::configured(config),
            ceiling: config.concurrency_ceiling(),
            requests: Shares::default(),
            max_raws: config.max_raw_streams(),
            raws: Shares::default(),
            max_calls: config.max_open_calls(),
            calls: Shares::default(),
            max_streams: config.max_streams(),
            streams: Shares::default(),
            budget: MemoryBudget::configured(config),
            rates: Rates::default(),
            protocols: SlotMap::with_key(),
            notices: Notices::default(),
            lacking: 0,
            draining: false,
            counters: ServerStats::default(),
        }
    }

    /// A protocol is unregistered that has these places still.
    pub(super) fn forget_protocol(&mut self, gone: &Protocol) {
        self.requests.forget(gone.requests);
        self.raws.forget(gone.raws);
        self.calls.forget(gone.calls);
        self.streams.forget(gone.streams);
    }

    /// Counts what a stream reports.
    #[inline]
    pub(super) fn take_in(
        &mut self,
        account: &mut Account<'_>,
        report: &ServerReport,
        now: Timestamp,
    ) {
        account.charge(&mut self.budget, report.held);
        let stream = &mut *account.stream;
        stream.last_active = stream.last_active.max(report.active);
        (stream.idle, stream.waiting) = (report.idle, report.waiting);
        if report.events.any {
            self.count(account, report, now);
        }
    }

    fn count(&mut self, account: &mut Account<'_>, report: &ServerReport, now: Timestamp) {
        let events = &report.events;
        self.counters.add(events);
        // Nothing has begun on these.
        self.counters.started = self.counters.started.saturating_sub(u64::from(events.unused));
        self.limit.settle(now, events.samples, events.renewed);
        account.peer.penalty.earn(events.ok);
        if events.ok > 0 && !account.peer.answered {
            account.peer.answered = true;
            account.requests_changed(false);
        }
        if events.offences > 0 {
            self.offend(account, events.offences, now);
        }
        if events.renewed > 0 {
            account.stream.requests += u64::from(events.renewed);
            if !self.rates.is_empty() {
                let renewed = (u64::from(events.renewed), events.renewed_bytes);
                self.rates.pay(account.peer.id, &account.stream.name, renewed, now);
            }
        }
        if events.ended() > 0 {
            account.stream.last_active = account.stream.last_active.max(now);
        }
        let freed = events.freed();
        if freed > 0 {
            account.stream.in_flight = account.stream.in_flight.saturating_sub(freed);
            self.give(account, Kind::Request, freed);
        }
        if events.offences > 0 || events.ok > 0 {
            account.settle(events.offences, events.ok, now);
        }
        if let Some(calls) = events.calls {
            self.keep_calls(account, calls);
        }
    }

    /// A peer pays for what it did, and may be kept out for it.
    pub(super) fn offend(&mut self, account: &mut Account<'_>, points: u32, now: Timestamp) {
        if account.peer.penalty.spend(points, now) && !account.peer.trusted {
            self.counters.cut_off += 1;
            self.notices.kept_out(account.peer.id, &account.peer.penalty, now);
        }
    }

    /// Answers what a stream asks.
    #[inline]
    pub(super) fn answer(
        &mut self,
        account: &mut Account<'_>,
        report: &ServerReport,
        now: Timestamp,
    ) -> Option<Grant> {
        Some(match *report.ask.as_ref()? {
            Ask::Request { spare, bytes, call, behind } => {
                let admitted = match call {
                    false => self.admit(account, report.held, bytes, now),
                    true => self.admit_opening(account, report.held, bytes, now),
                };
                match admitted {
                    Ok(()) => {
                        let room = report.held.saturating_add(spare);
                        let behind = self.admit_behind(account, behind, room);
                        if behind == 0 && spare > 0 {
                            account.reserve(&mut self.budget, room);
                        }
                        Grant::Place { behind }
                    }
                    Err(status) => {
                        // The stream drops the request when it hears of this.
                        account.charge(&mut self.budget, report.held.saturating_sub(bytes));
                        Grant::Refused(Box::new(status))
                    }
                }
            }
            Ask::Room { bytes, best } => {
                let budget = &mut self.budget;
                if account.reserve(budget, best) || account.reserve(budget, bytes) {
                    Grant::Room
                } else {
                    self.counters.no_memory += 1;
                    self.lacking = bytes;
                    Grant::NoRoom
                }
            }
        })
    }

    #[inline]
    pub(super) fn verdict(
        &self,
        account: Option<&Account<'_>>,
        answer: Option<Grant>,
    ) -> ServerVerdict {
        let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        ServerVerdict {
            answer,
            room: account.map_or(0, |account| account.stream.memory),
            active: small(self.limit.active()),
            limit: small(self.limit.limit()),
            cut_off: account.is_some_and(Account::is_cut_off),
        }
    }

    /// What a stream is told that was closed.
    #[cold]
    pub(super) fn verdict_of_none(&mut self, report: &ServerReport) -> ServerVerdict {
        let answer = report.ask.as_ref().map(|ask| match ask {
            Ask::Request { .. } => Grant::Refused(Box::new(self.refuse_unserved())),
            Ask::Room { .. } => Grant::NoRoom,
        });
        self.verdict(None, answer)
    }

    /// Lets a request of `bytes` in, with which its stream holds `held`, or says with which status to
    /// refuse it.
    fn admit(
        &mut self,
        account: &mut Account<'_>,
        held: usize,
        bytes: usize,
        now: Timestamp,
    ) -> Result<(), Status> {
        self.limit.handle_timeout(now);
        if !self.protocols.contains_key(account.stream.protocol) {
            return Err(self.refuse_unserved());
        }
        if account.is_cut_off() {
            return Err(self.refuse_cut_off());
        }
        let (id, limited) = (account.peer.id, !self.rates.is_empty());
        if limited && let Some(wait) = self.rates.wait(id, &account.stream.name, now) {
            self.counters.rate_limited += 1;
            let busy = self.refuse_busy("more than may come in this time");
            return Err(Status { retry_after: Some(wait), ..busy });
        }
        if !account.fits(&self.budget, held) {
            self.counters.no_memory += 1;
            self.lacking = held;
            return Err(self.refuse_busy("no memory for the request"));
        }
        let places = self.places(account);
        if !self.share(account, Kind::Request, places) {
            self.limit.refused(now);
            self.counters.no_place += 1;
            return Err(self.refuse_busy(""));
        }
        let stream = &mut *account.stream;
        stream.requests += 1;
        stream.in_flight += 1;
        stream.last_active = stream.last_active.max(now);
        if limited {
            self.rates.pay(id, &stream.name, (1, bytes as u64), now);
        }
        self.counters.started += 1;
        self.limit.begin();
        Ok(())
    }

    /// Lets requests in that follow one that was just let in, with which its stream holds `held`: all
    /// of them, if that is fair and there is memory, or none. Where it is not, each asks for itself.
    fn admit_behind(&mut self, account: &mut Account<'_>, behind: Behind, held: usize) -> u32 {
        let Behind { requests, bytes } = behind;
        if requests == 0 || !self.rates.is_empty() {
            return 0;
        }
        let places = self.places(account);
        let known = self.protocols.len();
        let protocol = self.protocols.get_mut(account.stream.protocol);
        let Some(has) = protocol.map(|protocol| &mut protocol.requests) else { return 0 };
        let flows = account.flows(Kind::Request, Flow { has: *has, known });
        let (all, held) = (requests as usize, held.saturating_add(bytes));
        if !self.requests.admits(all, places, &flows) || !account.reserve(&mut self.budget, held) {
            return 0;
        }
        self.requests.take(all, account.counts(Kind::Request, Some(has)));
        account.stream.requests += u64::from(requests);
        account.stream.in_flight += all;
        self.counters.started += u64::from(requests);
        for _ in 0..requests {
            self.limit.begin();
        }
        requests
    }

    /// The places for requests, as they are for one stream.
    fn places(&self, account: &Account<'_>) -> Places {
        let limit = self.limit.limit();
        Places {
            limit,
            free: limit.saturating_sub(self.limit.active()),
            room: self.ceiling.saturating_sub(self.requests.taken()),
            kept: account.kept_for_others(self.ceiling),
        }
    }

    /// Lets a request in that opens a call, with a place for the call beside its own. A call is no load:
    /// the limit of requests does not know it.
    fn admit_opening(
        &mut self,
        account: &mut Account<'_>,
        held: usize,
        bytes: usize,
        now: Timestamp,
    ) -> Result<(), Status> {
        if !self.share(account, Kind::Call, Places::of(self.max_calls, &self.calls)) {
            self.counters.no_place += 1;
            return Err(self.refuse_busy("too many calls are open"));
        }
        let admitted = self.admit(account, held, bytes, now);
        match admitted {
            Ok(()) => account.stream.calls += 1,
            Err(_) => self.give(account, Kind::Call, 1),
        }
        admitted
    }

    /// A stream has so many calls left.
    pub(super) fn keep_calls(&mut self, account: &mut Account<'_>, calls: usize) {
        let ended = account.stream.calls.saturating_sub(calls);
        if ended > 0 {
            account.stream.calls = calls;
            self.give(account, Kind::Call, ended);
        }
    }

    /// Lets a raw stream in, or says with which status a request would be refused.
    pub(super) fn admit_raw(&mut self, account: &mut Account<'_>) -> Result<(), Status> {
        if !self.protocols.contains_key(account.stream.protocol) {
            return Err(self.refuse_unserved());
        }
        if account.is_cut_off() {
            return Err(self.refuse_cut_off());
        }
        if !self.place(account) {
            return Err(self.refuse_busy("too many streams"));
        }
        if !self.share(account, Kind::Raw, Places::of(self.max_raws, &self.raws)) {
            self.counters.no_place += 1;
            return Err(self.refuse_busy(""));
        }
        Ok(())
    }

    /// Gives a stream a place among all streams, if there is one for it.
    pub(super) fn place(&mut self, account: &mut Account<'_>) -> bool {
        let places = Places::of(self.max_streams, &self.streams);
        let placed = self.share(account, Kind::Stream, places);
        account.stream.placed = placed;
        self.counters.no_stream += u64::from(!placed);
        placed
    }

    /// Takes a place for a stream, if there is a fair one. One of a protocol that is not registered
    /// gets none.
    #[inline]
    fn share(&mut self, account: &mut Account<'_>, kind: Kind, places: Places) -> bool {
        let known = self.protocols.len();
        let protocol = self.protocols.get_mut(account.stream.protocol);
        let Some(has) = protocol.map(|protocol| protocol.has_mut(kind)) else { return false };
        let flows = account.flows(kind, Flow { has: *has, known });
        let shares = match kind {
            Kind::Stream => &mut self.streams,
            Kind::Request => &mut self.requests,
            Kind::Raw => &mut self.raws,
            Kind::Call => &mut self.calls,
        };
        let admitted = shares.admit(places, &flows);
        if admitted {
            let was_idle = account.peer.is_answered_and_idle();
            shares.take(1, account.counts(kind, Some(has)));
            account.requests_changed(was_idle);
        }
        admitted
    }

    /// Gives so many places of a stream back.
    #[inline]
    pub(super) fn give(&mut self, account: &mut Account<'_>, kind: Kind, count: usize) {
        let protocol = self.protocols.get_mut(account.stream.protocol);
        let has = protocol.map(|protocol| protocol.has_mut(kind));
        let shares = match kind {
            Kind::Stream => &mut self.streams,
            Kind::Request => &mut self.requests,
            Kind::Raw => &mut self.raws,
            Kind::Call => &mut self.calls,
        };
        let was_idle = account.peer.is_answered_and_idle();
        shares.give(count, account.counts(kind, has));
        account.requests_changed(was_idle);
    }

    /// Counts a request that nobody is registered for.
    #[cold]
    pub(super) fn refuse_unserved(&mut self) -> Status {
        self.counters.refused += 1;
        let code = if self.draining { StatusCode::Draining } else { StatusCode::NotFound };
        Status::new(code, "")
    }

    /// Counts a request for which there is no place or no memory.
    #[cold]
    fn refuse_busy(&mut self, message: &str) -> Status {
        self.counters.refused += 1;
        self.counters.busy += 1;
        busy(message)
    }

    #[cold]
    fn refuse_cut_off(&mut self) -> Status {
        self.counters.kept_out += 1;
        self.refuse_busy("too many offences")
    }
}

/// The status of what can be tried again in a moment.
pub(crate) fn busy(message: &str) -> Status {
    Status { retry_after: Some(RETRY_AFTER), ..Status::new(StatusCode::Busy, message) }
}
