//! Who is let in: registered protocols, the limit of concurrency and its shares, memory, and the
//! counters.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use slotmap::{SlotMap, new_key_type};
use thiserror::Error;

use super::budget::MemoryBudget;
use super::limit::Limit;
use super::memory::Stalled;
use super::notice::Notices;
use super::origin::Origin;
use super::rate::Rates;
use super::share::{Places, Shares};
use super::stats::ServerStats;
use super::streams::{Connections, Kind, StreamKey};
use crate::config::ServerConfig;
use crate::connection::{Ask, Events, Grant, Samples, ServerReport, ServerVerdict};
use crate::endpoint::stream_info::StreamInfo;
use crate::error::{Status, StatusCode};
use crate::id::ProtocolName;
use crate::time::Timestamp;
use crate::wire::Format;

new_key_type! {
    /// A registered protocol. Stale once the protocol is unregistered.
    pub(crate) struct ProtocolKey;
}

/// What a client that was answered `busy` is told to wait.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The server's policy: which protocols exist, how many requests run at a time and for whom, how
/// many bytes are held, what is counted.
///
/// A request is let in while fewer than the limit are at work, and while neither its peer nor its
/// protocol has more than its fair share: a multiple of what is free. Whoever has less than an equal
/// part of the limit, or nothing at all, is let in beyond it, as far as the ceiling leaves room: so
/// what one peer holds keeps no other out, wherever it drives the limit. Everything else is answered
/// `busy`.
///
/// A handler that was told to stop, because nobody waits for it, is no load any more: it does not
/// move the limit, and leaves its place within the limit to others. Until it has stopped, it takes a
/// place below the ceiling, and of its peer's and its protocol's share.
///
/// Raw streams are no load either: one that is open does nothing as a rule. They share a limit of
/// their own by the same rules, which does not move.
///
/// Everything per request takes constant time: streams, peers and protocols are known by keys.
#[derive(Debug)]
pub struct Admission {
    pub(super) limit: Limit,
    /// The most handlers there may be, those that were told to stop included.
    ceiling: usize,
    /// Handlers at work, those that were told to stop included.
    pub(super) requests: Shares,
    pub(super) max_raws: usize,
    pub(super) raws: Shares,
    pub(super) max_calls: usize,
    pub(super) calls: Shares,
    pub(super) max_streams: usize,
    pub(super) streams: Shares,
    pub(super) budget: MemoryBudget,
    pub(super) rates: Rates,
    pub(super) protocols: SlotMap<ProtocolKey, Protocol>,
    by_name: BTreeMap<ProtocolName, ProtocolKey>,
    pub(super) connections: Connections,
    pub(super) notices: Notices,
    pub(super) stalled: Stalled,
    draining: bool,
    /// Only what happened; how things stand is known elsewhere.
    pub(super) counters: ServerStats,
}

/// What a protocol has of everything.
#[derive(Debug, Default)]
pub(super) struct Protocol {
    pub(super) streams: usize,
    pub(super) requests: usize,
    pub(super) raws: usize,
    pub(super) calls: usize,
}

/// Why a protocol was not registered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The protocol has a handler already. Unregister it first.
    #[error("protocol {0} is registered already")]
    Exists(ProtocolName),
    /// The server is stopping. Once it has stopped, protocols can be registered again.
    #[error("the server is stopping")]
    Draining,
    /// The node that the server belongs to was shut down or dropped. Keep the node for as long as
    /// something is to be served.
    #[error("the server's node was shut down or dropped")]
    Closed,
}

impl Admission {
    /// Admission control without protocols. The options should be valid:
    /// [`ServerConfig::validate`].
    #[must_use]
    pub fn new(config: &ServerConfig) -> Self {
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
            by_name: BTreeMap::new(),
            connections: Connections::default(),
            notices: Notices::default(),
            stalled: Stalled::default(),
            draining: false,
            counters: ServerStats::default(),
        }
    }

    /// Lets requests for a protocol in.
    ///
    /// # Errors
    /// [`RegisterError`] if it is registered already, or the server is stopping.
    pub fn register(&mut self, protocol: &ProtocolName) -> Result<(), RegisterError> {
        if self.draining {
            return Err(RegisterError::Draining);
        }
        if self.by_name.contains_key(protocol) {
            return Err(RegisterError::Exists(protocol.clone()));
        }
        let key = self.protocols.insert(Protocol::default());
        self.by_name.insert(protocol.clone(), key);
        Ok(())
    }

    /// Lets nothing in for a protocol any more: later requests are answered `not found`, those at work are
    /// finished. Returns whether it was registered.
    pub fn unregister(&mut self, protocol: &str) -> bool {
        let key = self.by_name.remove(protocol);
        let Some(gone) = key.and_then(|key| self.protocols.remove(key)) else { return false };
        self.forget_protocol(&gone);
        true
    }

    /// Whether streams for this protocol are let in now.
    #[must_use]
    pub fn serves(&self, protocol: &str) -> bool {
        self.by_name.contains_key(protocol)
    }

    /// Whether a protocol is registered and the server is not stopping.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.draining && !self.by_name.is_empty()
    }

    /// Whether the server is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Unregisters everything and lets no further request in, until [`reopen`](Self::reopen).
    pub fn drain(&mut self) {
        self.draining = true;
        self.by_name.clear();
        for gone in core::mem::take(&mut self.protocols).values() {
            self.forget_protocol(gone);
        }
    }

    fn forget_protocol(&mut self, gone: &Protocol) {
        self.requests.forget(gone.requests);
        self.raws.forget(gone.raws);
        self.calls.forget(gone.calls);
        self.streams.forget(gone.streams);
    }

    /// Ends a drain: protocols can be registered again.
    pub fn reopen(&mut self) {
        self.draining = false;
    }

    /// Counters so far, and how things stood when a report last came.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        ServerStats {
            in_flight: self.requests.taken() as u64,
            stopping: self.requests.taken().saturating_sub(self.limit.active()) as u64,
            raw_streams: self.raws.taken() as u64,
            calls: self.calls.taken() as u64,
            limit: self.limit.limit() as u64,
            load: self.limit.load(),
            streams: self.connections.open.len() as u64,
            peers: self.connections.peers.len() as u64,
            memory: self.budget.used() as u64,
            ..self.counters
        }
    }

    /// All open streams, in no particular order.
    #[doc(alias = "connections_info")]
    #[must_use]
    pub fn streams(&self, now: Timestamp) -> Vec<StreamInfo> {
        self.connections.info(now).collect()
    }

    /// Makes room for another stream on a connection that carries these and may carry no more:
    /// [drain](crate::connection::ServerStream::drain) the one that is returned, which has been idle for the
    /// longest time. `None` if none is: each is at work, in the middle of a message, or waits for
    /// its first request, which may be on its way.
    pub fn make_room(&mut self, among: impl IntoIterator<Item = StreamKey>) -> Option<StreamKey> {
        let (key, connection) = self.connections.longest_idle(among)?;
        // It is not chosen again while it ends, even if it reports before it hears of it.
        connection.displaced = true;
        self.counters.displaced += 1;
        Some(key)
    }

    /// Whether a request is at work on one of these streams.
    pub fn is_at_work(&self, among: impl IntoIterator<Item = StreamKey>) -> bool {
        let mut streams = among.into_iter().filter_map(|key| self.connections.open.get(key));
        streams.any(|stream| stream.in_flight > 0)
    }

    /// Takes on a stream that a peer opened, until it is [closed](Self::close). The verdict says
    /// whether it is served: not one for a protocol that is not registered, nor one for which its
    /// connection has no `room`, or which would be more than a fair share of all streams.
    pub fn open(
        &mut self,
        origin: impl Into<Origin>,
        protocol: &ProtocolName,
        format: Format,
        room: bool,
        now: Timestamp,
    ) -> (StreamKey, ServerVerdict) {
        let stream = self.open_stream(origin.into(), protocol, Some(format), now);
        let served = room && self.serves(protocol.as_str()) && self.place(stream);
        if !served {
            self.counters.refused += 1;
        }
        let answer = (!served).then_some(Grant::Unserved);
        (stream, self.verdict(stream, answer))
    }

    /// Takes in what a stream reports, and answers what it asks. Reports of one stream come in the
    /// order in which it made them.
    #[inline]
    pub fn handle(
        &mut self,
        stream: StreamKey,
        report: ServerReport,
        now: Timestamp,
    ) -> ServerVerdict {
        self.take_in(stream, &report, now);
        let answer = report.ask.map(|ask| match ask {
            Ask::Request { spare, bytes, call } => {
                let sizes = (spare, bytes);
                let admitted = match call {
                    false => self.admit(stream, &report, sizes, now),
                    true => self.admit_opening(stream, &report, sizes, now),
                };
                match admitted {
                    Ok(()) => Grant::Place,
                    Err(status) => Grant::Refused(Box::new(status)),
                }
            }
            Ask::Room { bytes, best }
                if self.reserve(stream, best) || self.reserve(stream, bytes) =>
            {
                Grant::Room
            }
            Ask::Room { bytes, .. } => {
                self.counters.no_memory += 1;
                self.make_memory(bytes, now);
                Grant::NoRoom
            }
        });
        self.verdict(stream, answer)
    }

    /// Takes in the [last report](crate::connection::ServerStream::close) of a stream, and forgets it.
    pub fn close(&mut self, stream: StreamKey, report: ServerReport, now: Timestamp) {
        self.take_in(stream, &report, now);
        let left = self.connections.open.get(stream).map_or(0, |stream| stream.in_flight);
        if report.withdrawn && left > 0 {
            // The place that it had asked for did not reach it any more.
            let samples = Samples { ended: 1, ..Samples::default() };
            let events = Events { abandoned: 1, samples, any: true, ..Events::default() };
            self.take_in(stream, &ServerReport { events, ..report }, now);
        }
        self.forget(stream, now);
    }

    #[inline]
    fn verdict(&self, stream: StreamKey, answer: Option<Grant>) -> ServerVerdict {
        let connection = self.connections.open.get(stream);
        let peer = connection.and_then(|stream| self.connections.peers.get(stream.peer));
        let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        ServerVerdict {
            answer,
            room: connection.map_or(0, |stream| stream.memory),
            active: small(self.limit.active()),
            limit: small(self.limit.limit()),
            cut_off: peer.is_some_and(|peer| peer.penalty.is_lost() && !peer.trusted),
        }
    }

    /// Counts what a stream reports.
    #[inline]
    fn take_in(&mut self, stream: StreamKey, report: &ServerReport, now: Timestamp) {
        let events = &report.events;
        if events.any {
            self.counters.add(events);
            self.limit.settle(now, events.samples, events.renewed);
        }
        self.connections.charge(&mut self.budget, stream, report.held);
        let Some((connection, peer)) = self.connections.get_mut(stream) else { return };
        connection.last_active = connection.last_active.max(report.active);
        (connection.idle, connection.waiting) = (report.idle, report.waiting);
        if !events.any {
            return;
        }
        peer.penalty.earn(events.ok);
        let id = peer.id;
        if events.offences > 0 && peer.penalty.spend(events.offences, now) && !peer.trusted {
            self.counters.cut_off += 1;
            self.notices.kept_out(id, &peer.penalty, now);
        }
        connection.requests += u64::from(events.renewed);
        if events.renewed > 0 && !self.rates.is_empty() {
            let renewed = (u64::from(events.renewed), events.renewed_bytes);
            self.rates.pay(id, &connection.name, renewed, now);
        }
        let free = events.ended().saturating_sub(events.renewed) as usize;
        if events.ended() > 0 {
            connection.last_active = connection.last_active.max(now);
        }
        let (peer, groups, protocol) = (connection.peer, connection.groups, connection.protocol);
        if free > 0 {
            connection.in_flight = connection.in_flight.saturating_sub(free);
            // Not there if it was unregistered meanwhile.
            let protocol = self.protocols.get_mut(protocol).map(|protocol| &mut protocol.requests);
            let counts = self.connections.counts(peer, groups, Kind::Request, protocol);
            self.requests.give(free, counts);
        }
        if events.offences > 0 || events.ok > 0 {
            self.connections.settle(groups, events.offences, events.ok, now);
        }
        if let Some(calls) = events.calls {
            self.keep_calls(stream, calls);
        }
    }

    /// Notes a stream that a peer opened, until it is [forgotten](Self::forget).
    pub(super) fn open_stream(
        &mut self,
        origin: Origin,
        protocol: &ProtocolName,
        format: Option<Format>,
        now: Timestamp,
    ) -> StreamKey {
        self.counters.streams_total += 1;
        let key = self.by_name.get(protocol).copied().unwrap_or_default();
        self.connections.open(origin, key, protocol.clone(), format, now)
    }

    /// Forgets a stream, after the last of its requests.
    pub(super) fn forget(&mut self, stream: StreamKey, now: Timestamp) {
        self.connections.charge(&mut self.budget, stream, 0);
        self.keep_calls(stream, 0);
        if self.connections.open.get(stream).is_some_and(|stream| stream.placed) {
            self.give(stream, Kind::Stream);
        }
        self.connections.close(stream, now);
    }

    /// Lets a stream hold so many bytes, if they fit, until it reports again.
    fn reserve(&mut self, stream: StreamKey, bytes: usize) -> bool {
        let fits = self.connections.fits(&self.budget, stream, bytes);
        if fits {
            self.connections.charge(&mut self.budget, stream, bytes);
        }
        fits
    }

    /// Lets a request of `bytes` in, with which its stream holds what it reports, and may hold `spare`
    /// more if they fit; or says with which status to refuse it.
    pub(super) fn admit(
        &mut self,
        stream: StreamKey,
        report: &ServerReport,
        (spare, bytes): (usize, usize),
        now: Timestamp,
    ) -> Result<(), Status> {
        self.limit.handle_timeout(now);
        let limit = self.limit.limit();
        let places = Places {
            limit,
            free: limit.saturating_sub(self.limit.active()),
            room: self.ceiling.saturating_sub(self.requests.taken()),
        };
        let Some((connection, peer)) = self.connections.get_mut(stream) else {
            return Err(self.refuse_unserved());
        };
        if !self.protocols.contains_key(connection.protocol) {
            return Err(self.refuse_unserved());
        }
        if peer.penalty.is_lost() && !peer.trusted {
            self.counters.kept_out += 1;
            return Err(self.refuse_busy("too many offences"));
        }
        if !self.rates.is_empty()
            && let Some(wait) = self.rates.wait(peer.id, &connection.name, now)
        {
            self.counters.rate_limited += 1;
            let busy = self.refuse_busy("more than may come in this time");
            return Err(Status { retry_after: Some(wait), ..busy });
        }
        if !self.connections.fits(&self.budget, stream, report.held) {
            self.counters.no_memory += 1;
            self.make_memory(report.held, now);
            return Err(self.refuse_busy("no memory for the request"));
        }
        if !self.share(stream, Kind::Request, places) {
            self.limit.refused(now);
            self.counters.no_place += 1;
            return Err(self.refuse_busy(""));
        }
        if let Some((connection, peer)) = self.connections.get_mut(stream) {
            connection.requests += 1;
            connection.in_flight += 1;
            connection.last_active = connection.last_active.max(now);
            if !self.rates.is_empty() {
                self.rates.pay(peer.id, &connection.name, (1, bytes as u64), now);
            }
        }
        self.counters.started += 1;
        self.limit.started(now);
        if spare > 0 {
            self.reserve(stream, report.held.saturating_add(spare));
        }
        Ok(())
    }

    /// Counts a request that nobody is registered for.
    pub(super) fn refuse_unserved(&mut self) -> Status {
        self.counters.refused += 1;
        let code = if self.draining { StatusCode::Draining } else { StatusCode::NotFound };
        Status::new(code, "")
    }

    /// Counts a request for which there is no place or no memory.
    pub(super) fn refuse_busy(&mut self, message: &str) -> Status {
        self.counters.refused += 1;
        self.counters.busy += 1;
        busy(message)
    }
}

/// The status of what can be tried again in a moment.
pub(crate) fn busy(message: &str) -> Status {
    Status { retry_after: Some(RETRY_AFTER), ..Status::new(StatusCode::Busy, message) }
}
