//! What came of a request to the closest of several servers: whom it was sent to, and why none answered.

use std::time::Duration;

use libp2p_identity::PeerId;
use pointsub_core::{NodeOutcome, RequestError, Source};
use thiserror::Error;

/// Why no node answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no node answered, {} tried: {error}", attempts.len())]
#[non_exhaustive]
pub struct ClosestError {
    /// The last failure. Its delivery and number of attempts are those of the whole call. The text of
    /// this error has its text, so that it is not the source as well.
    pub error: RequestError,
    /// Every node that was asked, in the order in which they were done.
    pub attempts: Vec<NodeAttempt>,
}

impl ClosestError {
    /// A failure before any node was asked.
    pub(super) const fn before(error: RequestError) -> Self {
        Self { error, attempts: Vec::new() }
    }

    /// Whether time ran out: the caller's own, or one of the client's limits.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        self.error.is_timeout()
    }

    /// Whether the last try failed before a connection or a stream was there for it.
    #[must_use]
    pub const fn is_connect(&self) -> bool {
        self.error.is_connect()
    }

    /// Whether a limit was reached, at the last server or of this client: there may be room later.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.error.is_busy()
    }

    /// Whether it makes sense to try the request again: [`RequestError::may_retry`].
    #[must_use]
    pub fn may_retry(&self, idempotent: bool) -> bool {
        self.error.may_retry(idempotent)
    }
}

/// One node that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeAttempt {
    /// Which node.
    pub node: PeerId,
    /// How it was found.
    pub source: Source,
    /// When it was asked, counted from the beginning of the call.
    pub after: Duration,
    /// How long it took until the outcome.
    pub took: Duration,
    /// What came of it.
    pub outcome: NodeOutcome,
}
