//! Two peers that have no dialect in common.

use std::io;

use thiserror::Error;

use super::Dialect;

/// Why a peer and this node do not understand each other's handshakes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DialectError {
    /// The peer does not speak the only dialect that this node dials. Allow the other one
    /// ([`Dialects`](crate::Dialects)), if that is what it speaks.
    #[error("the peer does not speak {0}, and nothing else may be dialled (NodeBuilder::dialects)")]
    Refused(Dialect),
    /// The peer does not speak one dialect, and there is no connection in the other one.
    #[error("the peer does not speak {refused}; and as {tried}: {why}")]
    Neither {
        /// What the peer does not speak.
        refused: Dialect,
        /// What was tried then.
        tried: Dialect,
        /// What came of it.
        why: String,
    },
    /// The peer that dials speaks what this node does not serve. It is let in if the other dialect is
    /// allowed ([`Dialects`](crate::Dialects)).
    #[error("the peer offers {0}, which is not served: NodeBuilder::dialects would let it in")]
    NotServed(Dialect),
    /// The peer that dials does not offer what is served, and a transport does not tell what it does
    /// offer. It is let in if that is the other dialect and allowed ([`Dialects`](crate::Dialects)).
    #[error(
        "the peer does not offer {0}: if it speaks {other}, NodeBuilder::dialects would let it in",
        other = .0.other()
    )]
    NotOffered(Dialect),
}

impl From<DialectError> for io::Error {
    fn from(error: DialectError) -> Self {
        Self::new(io::ErrorKind::Unsupported, error)
    }
}
