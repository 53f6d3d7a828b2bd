//! What an I/O error means for a stream, and for the requests on it.

use alloc::sync::Arc;

use crate::error::StreamError;

/// How opening, reading or writing a stream failed, as far as its transport can tell.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoFailure {
    /// The peer refused every protocol that was proposed. Where a proposal is optimistic, that shows
    /// only when the stream is read or written.
    Refused,
    /// The connection ended before the peer took the stream.
    NotAccepted,
    /// The peer reset the stream.
    Reset,
    /// The stream or its connection broke in some other way.
    Broken,
}

/// How far a stream had come when it failed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its protocol was negotiated: nothing of a request was on it.
    Negotiating,
    /// It was open.
    Open,
}

impl IoFailure {
    /// What the machines are told. `why` is the text of the error.
    ///
    /// ```
    /// use pointsub_core::StreamError;
    /// use pointsub_core::connection::{IoFailure, Stage};
    ///
    /// let refused = IoFailure::Refused.into_error(Stage::Negotiating, "refused".into());
    /// assert_eq!(refused, StreamError::Unsupported);
    /// ```
    #[must_use]
    pub fn into_error(self, stage: Stage, why: Arc<str>) -> StreamError {
        match (self, stage) {
            (Self::Refused, _) => StreamError::Unsupported,
            (Self::NotAccepted, _) => StreamError::NotAccepted(why),
            (Self::Reset, Stage::Open) => StreamError::Reset,
            // A peer that resets what it negotiates is not one that does not want the requests.
            (Self::Reset, Stage::Negotiating) | (Self::Broken, _) => StreamError::Lost(why),
        }
    }
}

impl StreamError {
    /// What it means on a connection through a relay: what breaks there is told apart, since relays
    /// have limits of their own.
    #[must_use]
    pub fn over_relay(self) -> Self {
        match self {
            Self::Lost(why) => Self::RelayLost(why),
            error => error,
        }
    }
}
