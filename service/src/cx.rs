//! Who calls, and what is known of the call.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pointsub_swarm::{GroupId, Metadata, PeerId};

/// The context of a call, which every method gets first.
///
/// ```
/// use pointsub_service::{Cx, PeerId};
///
/// // Methods are called in a unit test as a server calls them.
/// let peer = PeerId::random();
/// let cx = Cx::new(peer).with_metadata("tenant", "blue");
/// assert_eq!((cx.peer(), cx.metadata().get("tenant")), (peer, Some(&b"blue"[..])));
/// ```
#[derive(Debug, Clone)]
pub struct Cx {
    peer: PeerId,
    network: Option<GroupId>,
    metadata: Metadata,
    deadline: Option<Instant>,
    resume: Option<Bytes>,
}

impl Cx {
    /// The context of a call by this peer.
    #[must_use]
    pub fn new(peer: PeerId) -> Self {
        Self { peer, network: None, metadata: Metadata::new(), deadline: None, resume: None }
    }

    pub(crate) fn of(
        peer: PeerId,
        metadata: Metadata,
        remaining: Option<Duration>,
        resume: Option<Bytes>,
    ) -> Self {
        let deadline = remaining.and_then(|remaining| Instant::now().checked_add(remaining));
        Self { peer, network: None, metadata, deadline, resume }
    }

    /// Sets the network from which the caller is connected.
    #[must_use]
    pub const fn with_network(mut self, network: Option<GroupId>) -> Self {
        self.network = network;
        self
    }

    /// Sets how much time is left.
    #[must_use]
    pub fn with_remaining(mut self, remaining: Duration) -> Self {
        self.deadline = Instant::now().checked_add(remaining);
        self
    }

    /// Adds metadata of the caller's. A key that [cannot travel](Metadata::insert) is left out.
    #[must_use]
    pub fn with_metadata(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.add_metadata(key, value.as_ref());
        self
    }

    pub(crate) fn add_metadata(&mut self, key: &str, value: &[u8]) {
        let _left_out = self.metadata.insert(key, value);
    }

    pub(crate) fn set_resume(&mut self, cursor: Bytes) {
        self.resume = Some(cursor);
    }

    /// Who calls; authenticated by the connection.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// The network from which the caller is connected, as
    /// [`IncomingCall::network`](pointsub_swarm::IncomingCall::network) has it: many peers of one network may
    /// be one machine. `None` if the method has no messages, or is called in the same program.
    #[must_use]
    pub const fn network(&self) -> Option<GroupId> {
        self.network
    }

    /// What the caller says beside the arguments.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// How long the caller still waits, if it said so. The method is stopped (its future is dropped) when
    /// that is over. It is counted by the system's clock, also where a test pauses that of a runtime.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The cursor behind which the caller wants to go on, if it has opened the call again.
    #[must_use]
    pub const fn resume(&self) -> Option<&Bytes> {
        self.resume.as_ref()
    }

    /// The keys of the metadata that name a trace, as the W3C does, with their values.
    pub(crate) fn trace(&self) -> impl Iterator<Item = (&str, &[u8])> {
        const KEYS: [&str; 3] = ["traceparent", "tracestate", "baggage"];
        self.metadata.iter().filter(|(key, _)| KEYS.contains(key))
    }
}
