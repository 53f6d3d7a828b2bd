//! Results with what came beside them.

use std::ops::Deref;
use std::time::Duration;

use pointsub_swarm::{Metadata, NodeAttempt, PeerId, Response};

/// The result of a method with what came beside it: [`UnaryCall::answer`](crate::UnaryCall::answer),
/// [`Streaming::answer`](crate::Streaming::answer). It can be used as the result that it is.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    value: T,
    metadata: Metadata,
    peer: PeerId,
    elapsed: Duration,
    attempts: Vec<NodeAttempt>,
}

impl<T> Answer<T> {
    /// An answer of this peer that took no time, for tests.
    pub fn new(peer: PeerId, value: T) -> Self {
        let (metadata, attempts) = (Metadata::new(), Vec::new());
        Self { value, metadata, peer, elapsed: Duration::ZERO, attempts }
    }

    /// The same answer with metadata beside its value, for tests.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    pub(crate) fn of_response(value: T, response: &Response) -> Self {
        Self {
            value,
            metadata: response.metadata().clone(),
            peer: response.peer(),
            elapsed: response.elapsed(),
            attempts: response.attempts().to_vec(),
        }
    }

    /// The result.
    #[must_use]
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// The result alone.
    #[must_use]
    pub fn into_value(self) -> T {
        self.value
    }

    /// What the method has told beside the result: [`Cx::tell`](crate::Cx::tell).
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Who has run the method.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// How long the call took, with connecting and further tries. Zero where the service is local.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Every server that was asked, if the closest was called, in the order in which they were done.
    #[must_use]
    pub fn attempts(&self) -> &[NodeAttempt] {
        &self.attempts
    }
}

impl<T> Deref for Answer<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
