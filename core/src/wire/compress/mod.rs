//! Compression at the edge: pure functions for whoever prepares or consumes a body.
//!
//! The machines carry bodies as they are. Whoever drives them compresses before handing a body
//! over and inflates after taking one, on the task of the caller or of the handler, because the
//! cost grows with the body and the loop that serves everyone must not pay it.
//!
//! [`Body::compressed`] and [`Payload::into_bytes`] take as long as the body is large, some 3 ms for
//! each MiB. Where others share the thread, [`Deflate`] and [`Inflate`] do the same in steps.

mod deflate;
mod gain;
mod inflate;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::ControlFlow;

use bytes::Bytes;

pub use self::deflate::{Deflate, is_futile};
pub use self::gain::{Gain, Gains};
pub use self::inflate::{Inflate, InflateError};
use super::Headers;

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

/// A body on its way out, with what travels beside it: as it is and, if that pays, compressed.
///
/// Both are kept because only the stream that the request ends up on knows its format, and the
/// plain format has no compression.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    raw: Bytes,
    /// Apart, because few bodies have any of it.
    more: Option<Arc<More>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct More {
    deflated: Option<Bytes>,
    headers: Headers,
    opening: Option<u64>,
    mark: Option<u64>,
}

/// What travels beside a body, as it lies beside it: a request that may be tried again keeps it.
pub(crate) struct Beside(Option<Arc<More>>);

impl Beside {
    pub(crate) fn headers(&self) -> Option<&Headers> {
        self.0.as_ref().map(|more| &more.headers)
    }
}

impl Body {
    /// A body that is sent as it is.
    #[must_use]
    pub const fn uncompressed(raw: Bytes) -> Self {
        Self { raw, more: None }
    }

    /// Compresses `raw` if that saves at least an eighth: not if it is smaller than
    /// [`MIN_SIZE`], and not if a sample from its middle looks random or does not shrink.
    #[must_use]
    pub fn compressed(raw: Bytes) -> Self {
        finish(Deflate::new(raw), Deflate::step)
    }

    fn with(mut self, change: impl FnOnce(&mut More)) -> Self {
        change(Arc::make_mut(self.more.get_or_insert_default()));
        self
    }

    /// The same body with what travels beside it. Peers on the plain format get no such request: it
    /// fails as [`StatusCode::Unimplemented`](crate::StatusCode::Unimplemented), and so it does where
    /// a peer does not say that it takes methods. Of an answer the metadata travels alone, and to
    /// plain peers nothing.
    #[must_use]
    pub fn with_headers(self, headers: Headers) -> Self {
        if headers.is_empty() { self } else { self.with(|more| more.headers = headers) }
    }

    /// What travels beside it.
    #[must_use]
    pub fn headers(&self) -> Option<&Headers> {
        let headers = self.more.as_ref().map(|more| &more.headers);
        headers.filter(|headers| !headers.is_empty())
    }

    /// In place of a body: the request opens a call, which whoever drives the streams knows under this
    /// number. A driver that gets a
    /// [`StreamCommand::Start`](crate::connection::StreamCommand::Start) with it calls
    /// [`ClientStream::open`](crate::connection::ClientStream::open).
    #[must_use]
    pub fn opening(number: u64) -> Self {
        Self::default().with(|more| more.opening = Some(number))
    }

    /// The number of the call that is to be opened.
    #[must_use]
    pub fn opened_call(&self) -> Option<u64> {
        self.more.as_ref()?.opening
    }

    /// The same body with a number that means something to whoever drives the streams, and does not travel:
    /// a [`StreamCommand::Start`](crate::connection::StreamCommand::Start) with it belongs to that call.
    #[must_use]
    pub fn with_mark(self, mark: u64) -> Self {
        self.with(|more| more.mark = Some(mark))
    }

    /// The number that it was given.
    #[must_use]
    pub fn mark(&self) -> Option<u64> {
        self.more.as_ref()?.mark
    }

    /// The body as it is.
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Bytes on the wire of a native stream, without what travels beside them.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        let deflated = self.more.as_ref().and_then(|more| more.deflated.as_ref());
        deflated.unwrap_or(&self.raw).len()
    }

    /// What goes on the wire of a native stream, and what travels beside it.
    pub(crate) fn split(self) -> (Payload, Beside) {
        let Self { raw, more } = self;
        let payload = match more.as_ref().and_then(|more| more.deflated.clone()) {
            Some(bytes) => Payload::new(bytes, Some(raw.len() as u32)),
            None => Payload::new(raw, None),
        };
        (payload, Beside(more))
    }
}

impl From<Body> for Payload {
    fn from(body: Body) -> Self {
        let (payload, beside) = body.split();
        let headers = beside.0.map(|more| Arc::unwrap_or_clone(more).headers);
        payload.with_headers(headers.unwrap_or_default())
    }
}

impl From<Bytes> for Body {
    fn from(raw: Bytes) -> Self {
        Self::uncompressed(raw)
    }
}

/// A body as it came from the wire, perhaps compressed, with what came beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Payload {
    pub(crate) bytes: Bytes,
    pub(crate) original: Option<u32>,
    headers: Option<Box<Headers>>,
}

impl Payload {
    pub(crate) const fn new(bytes: Bytes, original: Option<u32>) -> Self {
        Self { bytes, original, headers: None }
    }

    pub(crate) fn with_headers(mut self, headers: Headers) -> Self {
        if !headers.is_empty() {
            self.headers = Some(Box::new(headers));
        }
        self
    }

    /// Takes in what lies beside it in the fields of a request. Whether the method is one.
    #[cold]
    pub(crate) fn read_headers(&mut self, head: &[u8]) -> bool {
        let headers = Headers::read(head);
        let valid = headers.is_some();
        self.headers = headers.filter(|headers| !headers.is_empty()).map(Box::new);
        valid
    }

    /// What came beside it.
    #[must_use]
    pub fn headers(&self) -> Option<&Headers> {
        self.headers.as_deref()
    }

    /// The body, and what travels beside it.
    pub(crate) fn split(mut self) -> (Self, Option<Box<Headers>>) {
        let headers = self.headers.take();
        (self, headers)
    }

    /// Takes what came beside it.
    #[must_use]
    pub fn take_headers(&mut self) -> Headers {
        self.headers.take().map_or_else(Headers::default, |headers| *headers)
    }

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
