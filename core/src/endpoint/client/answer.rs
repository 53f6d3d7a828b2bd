//! What came of a call to the closest node.

use alloc::vec::Vec;
use core::time::Duration;

use thiserror::Error;

use crate::error::RequestError;
use crate::id::PeerId;
use crate::network::candidates::Source;
use crate::wire::compress::Payload;

/// The answer to a call to the closest node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClosestAnswer {
    /// Who answered.
    pub node: PeerId,
    /// The answer, perhaps compressed.
    pub payload: Payload,
    /// Every node that was asked, in the order in which they were done.
    pub attempts: Vec<NodeTry>,
}

/// Why a call to the closest node failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no node answered, {} tried: {error}", attempts.len())]
#[non_exhaustive]
pub struct ClosestFailure {
    /// The last failure. Its delivery and number of attempts are those of the whole call. The text of
    /// this error has its text, so that it is not the source as well.
    pub error: RequestError,
    /// Every node that was asked, in the order in which they were done.
    pub attempts: Vec<NodeTry>,
}

/// One node that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeTry {
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

/// What came of asking one node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeOutcome {
    /// It gave the answer.
    Answered,
    /// It failed, or answered with a failure.
    Failed(RequestError),
    /// Another node was faster, or the call had failed already.
    Cancelled,
}
