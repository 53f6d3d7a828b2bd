//! Frames: how messages lie on a stream. `WIRE.md` is the specification; section numbers below
//! are its.
//!
//! [`Decoder`] turns bytes, split anywhere, into frames without copying small ones and without
//! allocating for a length before bytes arrived. [`Outbox`] is the way back.

mod buffers;
pub(crate) mod call;
pub mod compress;
mod decode;
mod go12;
mod metadata;
mod native;
mod outbox;
pub(crate) mod outcome;

pub use buffers::{BufferPool, Buffers};
pub use call::{CallRequest, CallViolation, Credit, MAX_ARGUMENT, MAX_CURSOR, MAX_PART, MIN_PART};
pub(crate) use decode::Room;
pub use decode::{Decoder, Frame};
pub use go12::{Go12Error, Go12Header};
pub use metadata::{Headers, MAX_METADATA, Metadata, MetadataError, Method};
pub(crate) use native::HeadReader;
pub use native::{Features, Flags, Head, Header, Kind, Settings, tag};
pub use outbox::Outbox;

use thiserror::Error;

/// The two ways in which messages lie on a stream.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `WIRE.md` section 1: what Go `PointSub` speaks up to 1.1.7. A length and a payload; one request
    /// at a time, then its response.
    Plain,
    /// `WIRE.md` section 2: many requests in flight on one stream, typed outcomes, deadlines,
    /// cancellation, compression, drain.
    Native,
}

impl Format {
    /// Bytes before the fields and the body of a frame.
    #[must_use]
    pub const fn header_len(self) -> usize {
        match self {
            Self::Plain => 4,
            Self::Native => native::HEADER_LEN,
        }
    }
}

/// The largest number of bytes that the fields of one native frame may take (section 2.2).
pub const MAX_HEAD: usize = 16 * 1024;

/// Bytes that break the rules of the format. The stream cannot be used any further.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The announced body is larger than the limit; nothing was allocated for it.
    #[error("a body of {announced} bytes was announced, the limit is {limit}")]
    TooLarge {
        /// The id of the frame's request; 0 in the plain format.
        id: u64,
        /// Whether the frame is a request (native) or may be one (plain).
        request: bool,
        /// The announced size in bytes.
        announced: u64,
        /// The configured limit in bytes.
        limit: u64,
    },
    /// The announced body is within the limit, but there is no memory for it now.
    #[error("a body of {announced} bytes was announced, for which there is no memory now")]
    NoRoom {
        /// The id of the frame's request; 0 in the plain format.
        id: u64,
        /// Whether the frame is a request (native) or may be one (plain).
        request: bool,
        /// The announced size in bytes.
        announced: u64,
    },
    /// The length is too small for a header, or for the fields it announces, or the fields are
    /// larger than [`MAX_HEAD`].
    #[error("a frame with impossible lengths: {length} in all, {head} of fields")]
    Length {
        /// The announced length of the frame.
        length: u32,
        /// The announced length of its fields.
        head: u16,
    },
    /// A field ends beyond its frame, or has the wrong size for its tag.
    #[error("malformed field {tag:#04x}")]
    Field {
        /// The field's tag.
        tag: u8,
    },
    /// A kind of frame that must be understood and is not.
    #[error("unknown frame kind {kind:#04x}")]
    UnknownKind {
        /// The kind.
        kind: u8,
    },
    /// A frame that this side may not receive, or not now: an answer to a request never made, a
    /// request id used before.
    #[error("unexpected frame: {0}")]
    Unexpected(&'static str),
    /// A frame that its call does not allow.
    #[error("{0}")]
    Call(CallViolation),
    /// A whole message of Go `PointSub` 1.2 came, and nothing after it.
    #[error("a message of Go PointSub 1.2, which has no requests: use raw streams with that peer")]
    OtherFormat,
    /// The stream ended in the middle of a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
}
