//! Compression at the edge: pure functions for whoever prepares or consumes a body.
//!
//! The machines carry bodies as they are. Whoever drives them compresses before handing a body
//! over and inflates after taking one, on the task of the caller or of the handler, because the
//! cost grows with the body and the loop that serves everyone must not pay it.
//!
//! [`Body::compressed`] and [`Payload::into_bytes`] take as long as the body is large, some 3 ms for
//! each MiB. Where others share the thread, [`Deflate`] and [`Inflate`] do the same in steps.

mod deflate;
mod inflate;

use core::ops::ControlFlow;

use bytes::Bytes;

pub use self::deflate::{Deflate, is_futile};
pub use self::inflate::{Inflate, InflateError};

/// Bodies below this size are sent as they are: the gain would be a few hundred bytes.
pub const MIN_SIZE: usize = 1024;
/// A compressed body may stand for at most this many times its own size (`WIRE.md` section 2.6).
/// DEFLATE could reach 1032; text and JSON stay far below 100.
pub const MAX_RATIO: usize = 128;

/// Bodies up to this size are compressed or inflated in one step. The state that is kept between
/// steps takes more than 300 KiB for compression.
pub const ONE_STEP: usize = 64 * 1024;
/// So much of a larger body is worked on in one step.
const STEP: usize = 8 * 1024;

/// A body on its way out: as it is and, if that pays, compressed.
///
/// Both are kept because only the stream that the request ends up on knows its format, and the
/// plain format has no compression.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    raw: Bytes,
    deflated: Option<Bytes>,
}

impl Body {
    /// A body that is sent as it is.
    #[must_use]
    pub const fn uncompressed(raw: Bytes) -> Self {
        Self { raw, deflated: None }
    }

    /// Compresses `raw` if that saves at least an eighth: not if it is smaller than
    /// [`MIN_SIZE`], and not if a sample from its middle looks random or does not shrink.
    #[must_use]
    pub fn compressed(raw: Bytes) -> Self {
        finish(Deflate::new(raw), Deflate::step)
    }

    /// The body as it is.
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Bytes on the wire of a native stream.
    pub(crate) fn wire_len(&self) -> usize {
        self.deflated.as_ref().unwrap_or(&self.raw).len()
    }

    /// What goes on the wire of a native stream.
    pub(crate) fn into_payload(self) -> Payload {
        match self.deflated {
            Some(bytes) => Payload { bytes, original: Some(self.raw.len() as u32) },
            None => Payload { bytes: self.raw, original: None },
        }
    }
}

impl From<Body> for Payload {
    fn from(body: Body) -> Self {
        body.into_payload()
    }
}

impl From<Bytes> for Body {
    fn from(raw: Bytes) -> Self {
        Self::uncompressed(raw)
    }
}

/// A body as it came from the wire, perhaps compressed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Payload {
    pub(crate) bytes: Bytes,
    pub(crate) original: Option<u32>,
}

impl Payload {
    /// Bytes on the wire.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that [`into_bytes`](Self::into_bytes) gives.
    #[must_use]
    pub fn len(&self) -> usize {
        self.original.map_or(self.bytes.len(), |original| original as usize)
    }

    /// Whether the body has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether taking the bytes costs an inflation.
    #[must_use]
    pub const fn is_compressed(&self) -> bool {
        self.original.is_some()
    }

    /// The body, inflated if it was compressed. Allocates exactly its length, which the machine
    /// has checked against the size limit and [`MAX_RATIO`] already.
    ///
    /// # Errors
    /// [`InflateError`] if the compressed bytes are broken or do not have the announced length.
    pub fn into_bytes(self) -> Result<Bytes, InflateError> {
        finish(Inflate::new(self), Inflate::step)
    }

    /// Checks that the body is no longer than this, before anything is inflated.
    ///
    /// # Errors
    /// [`InflateError::TooLong`] if it is longer.
    pub fn check_len(&self, limit: usize) -> Result<(), InflateError> {
        if self.len() > limit {
            return Err(InflateError::TooLong { len: self.len(), limit });
        }
        Ok(())
    }

    /// Checks the announced length of a compressed body before anything is inflated.
    pub(crate) fn check(&self, max_body: usize) -> Result<(), InflateError> {
        let Some(announced) = self.original else { return Ok(()) };
        let limit = max_body.min(self.bytes.len().saturating_mul(MAX_RATIO));
        if announced as usize > limit {
            return Err(InflateError::Bomb { announced, limit });
        }
        Ok(())
    }
}

/// How much of a body of this size is worked on in one step.
const fn step_of(len: usize) -> usize {
    if len > ONE_STEP { STEP } else { len }
}

/// All steps of some work.
fn finish<W, T>(mut work: W, step: impl Fn(W) -> ControlFlow<T, W>) -> T {
    loop {
        match step(work) {
            ControlFlow::Break(done) => return done,
            ControlFlow::Continue(rest) => work = rest,
        }
    }
}
