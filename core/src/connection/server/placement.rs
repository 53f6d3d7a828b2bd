//! What is done in the task that serves a connection, and what elsewhere: others on the connection
//! wait meanwhile.

use bytes::Bytes;

use crate::wire::compress::{Payload, is_futile};

/// Responses above this size are not compressed in the task that serves the connection.
const INLINE_COMPRESS: usize = 4 * 1024;
/// Requests above this size are not handled in the task that serves the connection.
const INLINE_BODY: usize = 64 * 1024;

/// Whether a request may be handled in the task that serves its connection: neither its body nor
/// what has to be done before the handler sees it keeps others waiting.
#[must_use]
pub fn runs_inline(payload: &Payload) -> bool {
    !payload.is_compressed() && payload.len() <= INLINE_BODY
}

/// Whether an answer is compressed, and where.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Compression {
    /// It is not: nothing would be won, or it is not wanted.
    None,
    /// In the task that serves the connection.
    Inline,
    /// In a task of its own.
    Spawned,
}

impl Compression {
    /// What is done with an answer, if both ends may compress.
    #[must_use]
    pub fn of(answer: &Bytes, allowed: bool) -> Self {
        if !allowed || is_futile(answer) {
            Self::None
        } else if answer.len() <= INLINE_COMPRESS {
            Self::Inline
        } else {
            Self::Spawned
        }
    }
}
