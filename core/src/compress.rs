//! Compression at the edge: pure functions for whoever prepares or consumes a body.
//!
//! The machines carry bodies as they are. Whoever drives them compresses before handing a body
//! over and inflates after taking one, on the task of the caller or of the handler, because the
//! cost grows with the body and the loop that serves everyone must not pay it.

use bytes::Bytes;
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_slice_iter_to_slice;
use thiserror::Error;

/// Bodies below this size are sent as they are: the gain would be a few hundred bytes.
pub const MIN_SIZE: usize = 1024;
/// A compressed body may stand for at most this many times its own size (`WIRE.md` section 2.6).
/// DEFLATE could reach 1032; text and JSON stay far below 100.
pub const MAX_RATIO: usize = 128;

/// DEFLATE level 1: most of the gain at a fraction of the time.
const LEVEL: u8 = 1;
/// Bodies from this size on are judged by a sample before the whole is compressed.
const SAMPLED_FROM: usize = 16 * 1024;
const SAMPLE: usize = 4 * 1024;
/// So much of it tells random bytes from others by how often each comes.
const COUNTED: usize = 1024;

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
        let deflated = deflate(&raw);
        Self { raw, deflated }
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

impl From<Bytes> for Body {
    fn from(raw: Bytes) -> Self {
        Self::uncompressed(raw)
    }
}

/// Whether to compress a body is certainly in vain: it is smaller than [`MIN_SIZE`], or a sample from
/// its middle looks random. Takes a few microseconds at most.
#[must_use]
pub fn is_futile(raw: &[u8]) -> bool {
    raw.len() < MIN_SIZE || looks_random(sample(raw))
}

fn sample(raw: &[u8]) -> &[u8] {
    let middle = raw.len() / 2;
    &raw[middle..raw.len().min(middle + SAMPLE)]
}

fn deflate(raw: &[u8]) -> Option<Bytes> {
    if is_futile(raw) {
        return None;
    }
    let worth_it = |deflated: usize, raw: usize| deflated <= raw - raw / 8;
    let sample = sample(raw);
    if raw.len() >= SAMPLED_FROM && !worth_it(compress_to_vec(sample, LEVEL).len(), SAMPLE) {
        return None;
    }
    let deflated = compress_to_vec(raw, LEVEL);
    // A body that shrinks beyond the ratio would be refused by the other side.
    let fits = worth_it(deflated.len(), raw.len()) && raw.len() / MAX_RATIO < deflated.len();
    fits.then(|| Bytes::from(deflated))
}

/// Whether all bytes are about equally frequent and the beginning does not come again: what is
/// encrypted, compressed or random. A fraction of what deflating it would cost, whose state alone
/// is several times the sample.
fn looks_random(sample: &[u8]) -> bool {
    let counted = &sample[..sample.len().min(COUNTED)];
    let mut counts = [0_u32; 256];
    for byte in counted {
        counts[usize::from(*byte)] += 1;
    }
    // The chance that two bytes are equal, which is 1/256 among random ones, 1/64 in base64, and
    // more than 1/20 in text.
    let equal: u64 = counts.iter().map(|count| u64::from(*count) * u64::from(*count)).sum();
    let len = counted.len() as u64;
    let flat = equal <= len + len * len / 128;
    flat && sample.first_chunk::<8>().is_some_and(|first| {
        let first = u64::from_ne_bytes(*first);
        let mut later = sample[1..].windows(8).filter_map(|window| window.first_chunk::<8>());
        !later.any(|later| u64::from_ne_bytes(*later) == first)
    })
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
        let Some(original) = self.original else { return Ok(self.bytes) };
        let mut raw = alloc::vec![0; original as usize];
        let input = core::iter::once(&self.bytes[..]);
        match decompress_slice_iter_to_slice(&mut raw, input, false, true) {
            Ok(len) if len == raw.len() => Ok(Bytes::from(raw)),
            Ok(len) => Err(InflateError::Length { announced: original, actual: len }),
            Err(_) => Err(InflateError::Broken { announced: original }),
        }
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

/// A compressed body that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InflateError {
    /// More was announced than the size limit or the ratio cap allows.
    #[error("the body claims to inflate to {announced} bytes, at most {limit} are allowed")]
    Bomb {
        /// The announced length.
        announced: u32,
        /// The most that is allowed for a compressed body of this size.
        limit: usize,
    },
    /// The bytes are no DEFLATE stream, or inflate to more than was announced.
    #[error("the body is no DEFLATE stream of {announced} bytes")]
    Broken {
        /// The announced length.
        announced: u32,
    },
    /// The bytes inflate to less than was announced.
    #[error("the body inflates to {actual} bytes instead of {announced}")]
    Length {
        /// The announced length.
        announced: u32,
        /// The length it has.
        actual: usize,
    },
}
