//! The client's policy: which request goes on which stream, and what is done when it fails.

mod asking;
mod calls;
mod closing;
mod expiry;
mod opening;
mod placing;
mod raw;
mod reports;
mod requests;
mod retrying;
mod windows;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use slotmap::SecondaryMap;

use super::directive::{ClientEvent, ClientStats, Directive};
use super::state::dials::Dials;
use super::state::endpoints::EndpointSets;
use super::state::failover::FailoverCalls;
use super::state::memory::{KeepAlive, PeerMemory};
use super::state::pool::Pool;
use super::state::requests::Requests;
use super::state::retry::{Backoff, Retries};
use super::state::routes::Routes;
use super::state::timers::{TimerKind, Timers};
use crate::config::ClientConfig;
use crate::connection::StreamCommand;
use crate::endpoint::stream_info::StreamInfo;
use crate::error::Cause;
use crate::id::{PeerId, StreamId};
use crate::time::Timestamp;
use crate::wire::Format;
use crate::wire::compress::MIN_SIZE;

/// The client's policy: it owns no bytes and no stream, and decides for all of them.
///
/// Small things come in (a request, a [`Report`](crate::connection::Report), the outcome of an open), and [`Directive`]s
/// come out, to be carried out in order. [`Client`](crate::client::Client) does so for a custom event
/// loop; the libp2p half does so with its streams in the tasks of their connections.
#[derive(Debug)]
pub struct Dispatcher {
    local: Option<PeerId>,
    now: Timestamp,
    requests: Requests,
    routes: Routes,
    pool: Pool,
    dials: Dials,
    calls: FailoverCalls,
    endpoints: EndpointSets,
    memory: PeerMemory,
    retries: Retries,
    timers: Timers,
    stopping: Stopping,
    directives: VecDeque<Directive>,
    /// Questions that were asked, each of which has a number.
    questions: u64,
    stats: ClientStats,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    Draining,
    Drained,
}

impl Dispatcher {
    /// A dispatcher for the peer `local`, to which no request can be sent. `seed` decides the
    /// jitter of its pauses.
    #[must_use]
    pub fn new(config: ClientConfig, local: Option<PeerId>, seed: u64) -> Self {
        let backoff = Backoff::new(config.max_retries, config.retry_interval);
        Self {
            local,
            now: Timestamp::ZERO,
            retries: Retries::new(Arc::new(backoff), &config, seed),
            requests: Requests::default(),
            routes: Routes::default(),
            dials: Dials::default(),
            calls: FailoverCalls::default(),
            endpoints: EndpointSets::new(local),
            memory: PeerMemory::default(),
            pool: Pool::new(config),
            timers: Timers::default(),
            stopping: Stopping::No,
            directives: VecDeque::new(),
            questions: 0,
            stats: ClientStats::default(),
        }
    }

    /// The latest time of all that it was told of.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        self.pool.config()
    }

    /// Counters so far.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        ClientStats {
            in_flight: self.requests.len() as u64,
            waiting: self.routes.waiting() as u64,
            streams: self.pool.len() as u64,
            raw_streams: self.dials.len() as u64,
            peers: self.pool.peers() as u64,
            routes: self.routes.len() as u64,
            idle_streams: self.pool.idle() as u64,
            ..self.stats
        }
    }

    /// The format in which the peer is expected to serve a protocol, if that is known.
    #[must_use]
    pub fn format_of(&self, peer: &PeerId, protocol: &str) -> Option<Format> {
        self.memory.format(peer, protocol)
    }

    /// Whether it makes sense to compress a body of `len` bytes for a peer under a protocol: not if
    /// it is small, nor if it will be refused, nor if the peer is known to serve the protocol in the
    /// plain format. `None` if it is not known who will get it.
    #[must_use]
    pub fn compresses(&self, whom: Option<(&PeerId, &str)>, len: usize) -> bool {
        let plain = whom.is_some_and(|(peer, protocol)| {
            self.memory.format(peer, protocol) == Some(Format::Plain)
        });
        let config = self.config();
        let sized = (MIN_SIZE..=config.max_block_size).contains(&len);
        config.compression && sized && !plain
    }

    /// One entry for each open stream, as things stand at `now`. Takes time in proportion to streams
    /// and requests.
    #[doc(alias = "connections_info")]
    #[must_use]
    pub fn streams(&self, now: Timestamp) -> Vec<StreamInfo> {
        let now = self.now.max(now);
        let mut memory: SecondaryMap<StreamId, usize> = SecondaryMap::new();
        for (stream, bytes) in self.requests.bytes_on_streams() {
            if let Some(held) = memory.entry(stream) {
                *held.or_default() += bytes;
            }
        }
        self.pool.info(&memory, now).chain(self.dials.info(now)).collect()
    }

    /// Lets time pass: gives up what took too long, closes what was idle too long.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                TimerKind::Open(stream) => {
                    self.directives.push_back(Directive::Abandon { stream });
                    let timeout = self.config().connect_timeout;
                    self.fail_open(stream, Cause::TimedOut(timeout));
                }
                TimerKind::Wait(request) => self.stop_waiting(request),
                TimerKind::Idle(stream) => self.expire_idle(stream),
                TimerKind::Retry(request) => self.retry(request),
                TimerKind::Call(call) => self.call_due(call),
                TimerKind::Dial(dial) => self.dial_due(dial),
                TimerKind::Trial(stream) => self.end_trial(stream, KeepAlive::Keeps),
                TimerKind::Backoff(route) => {
                    self.routes.set_backoff(route, None);
                    self.open_needed(route);
                }
            }
        }
        self.finish_drain();
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// The next thing to do.
    pub fn poll_directive(&mut self) -> Option<Directive> {
        self.directives.pop_front()
    }

    /// Whether nothing is left to do, and nothing can come: [`ClientEvent::Drained`] was told.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.stopping == Stopping::Drained
    }

    fn command(&mut self, stream: StreamId, command: StreamCommand) {
        self.directives.push_back(Directive::Command { stream, command });
    }

    fn tell(&mut self, event: ClientEvent) {
        self.directives.push_back(Directive::Event(event));
    }

    fn is_stopping(&self) -> bool {
        self.stopping != Stopping::No
    }
}
