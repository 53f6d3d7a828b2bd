//! Who is let in: registered protocols, the limit of concurrency and its shares, memory, and the
//! counters.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use thiserror::Error;

use super::capacity::{Capacity, Protocol};
use super::memory::Stalled;
use super::shares::{Connections, Kind, Origin, ProtocolKey, StreamKey};
use super::stats::ServerStats;
use crate::config::ServerConfig;
use crate::connection::{Events, Grant, Samples, ServerReport, ServerVerdict};
use crate::endpoint::stream_info::StreamInfo;
use crate::id::ProtocolName;
use crate::time::Timestamp;
use crate::wire::Format;

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
    pub(super) capacity: Capacity,
    pub(super) connections: Connections,
    by_name: BTreeMap<ProtocolName, ProtocolKey>,
    pub(super) stalled: Stalled,
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
            capacity: Capacity::new(config),
            connections: Connections::default(),
            by_name: BTreeMap::new(),
            stalled: Stalled::default(),
        }
    }

    /// Lets requests for a protocol in.
    ///
    /// # Errors
    /// [`RegisterError`] if it is registered already, or the server is stopping.
    pub fn register(&mut self, protocol: &ProtocolName) -> Result<(), RegisterError> {
        if self.capacity.draining {
            return Err(RegisterError::Draining);
        }
        if self.by_name.contains_key(protocol) {
            return Err(RegisterError::Exists(protocol.clone()));
        }
        let key = self.capacity.protocols.insert(Protocol::default());
        self.by_name.insert(protocol.clone(), key);
        Ok(())
    }

    /// Lets nothing in for a protocol any more: later requests are answered `not found`, those at work are
    /// finished. Returns whether it was registered.
    pub fn unregister(&mut self, protocol: &str) -> bool {
        let key = self.by_name.remove(protocol);
        let Some(gone) = key.and_then(|key| self.capacity.protocols.remove(key)) else {
            return false;
        };
        self.capacity.forget_protocol(&gone);
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
        !self.capacity.draining && !self.by_name.is_empty()
    }

    /// Whether the server is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.capacity.draining
    }

    /// Unregisters everything and lets no further request in, until [`reopen`](Self::reopen).
    pub fn drain(&mut self) {
        self.capacity.draining = true;
        self.by_name.clear();
        for gone in core::mem::take(&mut self.capacity.protocols).values() {
            self.capacity.forget_protocol(gone);
        }
    }

    /// Ends a drain: protocols can be registered again.
    pub fn reopen(&mut self) {
        self.capacity.draining = false;
    }

    /// Counters so far, and how things stood when a report last came.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        ServerStats {
            in_flight: self.capacity.requests.taken() as u64,
            stopping: self.capacity.requests.taken().saturating_sub(self.capacity.limit.active())
                as u64,
            raw_streams: self.capacity.raws.taken() as u64,
            calls: self.capacity.calls.taken() as u64,
            limit: self.capacity.limit.limit() as u64,
            load: self.capacity.limit.load(),
            streams: self.connections.open.len() as u64,
            peers: self.connections.peers.len() as u64,
            memory: self.capacity.budget.used() as u64,
            ..self.capacity.counters
        }
    }

    /// All open streams, in no particular order.
    #[doc(alias = "connections_info")]
    #[must_use]
    pub fn streams(&self, now: Timestamp) -> Vec<StreamInfo> {
        self.connections.info(now).collect()
    }

    /// An open stream, on which bytes came or left at `active`, whether it has reported that or not.
    pub(crate) fn stream_info(
        &self,
        stream: StreamKey,
        active: Timestamp,
        now: Timestamp,
    ) -> Option<StreamInfo> {
        self.connections.info_of(self.connections.open.get(stream)?, active, now)
    }

    /// Makes room for another stream on a connection that carries these and may carry no more:
    /// [drain](crate::connection::ServerStream::drain) the one that is returned, which has been idle for the
    /// longest time. `None` if none is: each is at work, in the middle of a message, or waits for
    /// its first request, which may be on its way.
    pub fn make_room(&mut self, among: impl IntoIterator<Item = StreamKey>) -> Option<StreamKey> {
        let (key, connection) = self.connections.longest_idle(among)?;
        // It is not chosen again while it ends, even if it reports before it hears of it.
        connection.displaced = true;
        self.capacity.counters.displaced += 1;
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
        let serves = room && self.serves(protocol.as_str());
        let Self { capacity, connections, .. } = self;
        let mut account = connections.account(stream);
        let served = serves && account.as_mut().is_some_and(|account| capacity.place(account));
        if !served {
            capacity.counters.refused += 1;
        }
        let answer = (!served).then_some(Grant::Unserved);
        (stream, capacity.verdict(account.as_ref(), answer))
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
        let Self { capacity, connections, .. } = self;
        let Some(mut account) = connections.account(stream) else {
            return self.capacity.verdict_of_none(&report);
        };
        capacity.take_in(&mut account, &report, now);
        let answer = capacity.answer(&mut account, &report, now);
        if capacity.lacking > 0 {
            self.make_memory(now);
            let account = self.connections.account(stream);
            return self.capacity.verdict(account.as_ref(), answer);
        }
        capacity.verdict(Some(&account), answer)
    }

    /// Takes in the [last report](crate::connection::ServerStream::close) of a stream, and forgets it.
    pub fn close(&mut self, stream: StreamKey, report: ServerReport, now: Timestamp) {
        let Self { capacity, connections, .. } = self;
        if let Some(mut account) = connections.account(stream) {
            capacity.take_in(&mut account, &report, now);
            if report.withdrawn && account.stream.in_flight > 0 {
                // The places that it had asked for did not reach it any more.
                let lost = u32::try_from(account.stream.in_flight).unwrap_or(u32::MAX);
                let samples = Samples { ended: lost, ..Samples::default() };
                let events = Events { abandoned: lost, samples, any: true, ..Events::default() };
                capacity.take_in(&mut account, &ServerReport { events, ..report }, now);
            }
        }
        self.forget(stream, now);
    }

    /// Notes a stream that a peer opened, until it is [forgotten](Self::forget).
    pub(super) fn open_stream(
        &mut self,
        origin: Origin,
        protocol: &ProtocolName,
        format: Option<Format>,
        now: Timestamp,
    ) -> StreamKey {
        self.capacity.counters.streams_total += 1;
        let key = self.by_name.get(protocol).copied().unwrap_or_default();
        self.connections.open(origin, key, protocol.clone(), format, now)
    }

    /// Forgets a stream, after the last of its requests.
    pub(super) fn forget(&mut self, stream: StreamKey, now: Timestamp) {
        if let Some(mut account) = self.connections.account(stream) {
            account.charge(&mut self.capacity.budget, 0);
            self.capacity.keep_calls(&mut account, 0);
            if account.stream.placed {
                self.capacity.give(&mut account, Kind::Stream, 1);
            }
        }
        self.connections.close(stream, now);
    }
}
