//! Who is let in: registered protocols, the concurrency limit, and the counters.

use alloc::collections::BTreeMap;
use core::time::Duration;

use slotmap::{SlotMap, new_key_type};
use thiserror::Error;

use crate::error::{Status, StatusCode};
use crate::id::ProtocolName;

new_key_type! {
    /// A registered protocol. Stale once the protocol is unregistered.
    pub struct ProtocolKey;
}

/// What a client that was answered `busy` is told to wait.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The server's policy: which protocols exist, how many requests run at a time, what is counted.
#[derive(Debug)]
pub struct Gate {
    max_concurrent: usize,
    protocols: SlotMap<ProtocolKey, ProtocolName>,
    by_name: BTreeMap<ProtocolName, ProtocolKey>,
    draining: bool,
    stats: ServerStats,
}

/// Counters of a server since it began. At every instant
/// `started == ok + failed + abandoned + in_flight`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServerStats {
    /// Requests that were handed to a handler.
    pub started: u64,
    /// Requests answered with a response.
    pub ok: u64,
    /// Requests answered with a failure.
    pub failed: u64,
    /// Requests whose handler was stopped because nobody waited any more.
    pub abandoned: u64,
    /// Requests whose handler is at work.
    pub in_flight: u64,
    /// Requests refused before any handler saw them: busy, draining, not registered, too large.
    pub refused: u64,
    /// Streams closed because the peer broke the format.
    pub violations: u64,
}

/// How a handler's work on a request ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Failed,
    Abandoned,
}

/// Why a protocol was not registered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The protocol has a handler already. Unregister it first.
    #[error("protocol {0} is registered already")]
    Exists(ProtocolName),
    /// The server is stopping.
    #[error("the server is stopping")]
    Draining,
}

impl Gate {
    /// A gate without protocols that lets `max_concurrent` requests work at a time.
    #[must_use]
    pub fn new(max_concurrent: usize) -> Self {
        Self {
            max_concurrent,
            protocols: SlotMap::with_key(),
            by_name: BTreeMap::new(),
            draining: false,
            stats: ServerStats::default(),
        }
    }

    /// Opens the gate for a protocol.
    ///
    /// # Errors
    /// [`RegisterError`] if it is open already, or the server is stopping.
    pub fn register(&mut self, protocol: &ProtocolName) -> Result<ProtocolKey, RegisterError> {
        if self.draining {
            return Err(RegisterError::Draining);
        }
        if self.by_name.contains_key(protocol) {
            return Err(RegisterError::Exists(protocol.clone()));
        }
        let key = self.protocols.insert(protocol.clone());
        self.by_name.insert(protocol.clone(), key);
        Ok(key)
    }

    /// Closes the gate for a protocol: later requests are answered `not found`, those at work are
    /// finished. Returns whether it was open.
    pub fn unregister(&mut self, protocol: &str) -> bool {
        let key = self.by_name.remove(protocol);
        key.is_some_and(|key| self.protocols.remove(key).is_some())
    }

    /// The key of a registered protocol.
    #[must_use]
    pub fn protocol(&self, protocol: &str) -> Option<ProtocolKey> {
        self.by_name.get(protocol).copied()
    }

    /// Whether the server is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Lets no further request in.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Counters so far.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.stats
    }

    /// Lets a request in, or says with which status to refuse it.
    pub(crate) fn admit(&mut self, protocol: ProtocolKey) -> Result<(), Status> {
        let refusal = if self.draining {
            Status::new(StatusCode::Draining, "")
        } else if !self.protocols.contains_key(protocol) {
            Status::new(StatusCode::NotFound, "")
        } else if self.stats.in_flight >= self.max_concurrent as u64 {
            let mut status = Status::new(StatusCode::Busy, "");
            status.retry_after = Some(RETRY_AFTER);
            status
        } else {
            self.stats.started += 1;
            self.stats.in_flight += 1;
            return Ok(());
        };
        self.stats.refused += 1;
        Err(refusal)
    }

    /// Counts a request refused for a reason of its stream's.
    pub(crate) fn refuse(&mut self) {
        self.stats.refused += 1;
    }

    /// Counts a stream whose peer broke the format.
    pub(crate) fn violation(&mut self) {
        self.stats.violations += 1;
    }

    /// The handler of an admitted request is done.
    pub(crate) fn release(&mut self, outcome: Outcome) {
        self.stats.in_flight = self.stats.in_flight.saturating_sub(1);
        match outcome {
            Outcome::Ok => self.stats.ok += 1,
            Outcome::Failed => self.stats.failed += 1,
            Outcome::Abandoned => self.stats.abandoned += 1,
        }
    }
}
