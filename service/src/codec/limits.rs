//! How much is taken of what peers have sent.

/// No encoded value is longer, unless the application says so.
const LEN: usize = 4 * 1024 * 1024;
/// No value is nested more deeply, unless the application says so.
const DEPTH: u16 = 64;

/// How large and how deeply nested a value may be that a peer has sent. They hold for each request, each
/// answer and each message.
///
/// Besides, memory for the elements of a sequence is not made before they have come, and a value has hardly
/// more elements than bytes.
///
/// ```
/// use pointsub_service::{Codec, CodecError, Limits};
///
/// let strict = Limits::new().max_len(100).max_depth(4);
/// let error = Codec::Json.decode::<Vec<u8>>(&[b' '; 101], strict).unwrap_err();
/// assert_eq!(error, CodecError::TooLong { len: 101, limit: 100 });
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    len: usize,
    depth: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Limits {
    pub(crate) const DEFAULT: Self = Self { len: LEN, depth: DEPTH };

    /// The default limits.
    #[must_use]
    pub const fn new() -> Self {
        Self::DEFAULT
    }

    /// The most bytes of an encoded value. Default 4 MiB.
    #[must_use]
    pub const fn max_len(mut self, len: usize) -> Self {
        self.len = len;
        self
    }

    /// How deeply a value may be nested: structures, sequences, maps, variants and options count. Default 64;
    /// more than 128 is 128.
    #[must_use]
    pub const fn max_depth(mut self, depth: u16) -> Self {
        self.depth = if depth > 128 { 128 } else { depth };
        self
    }

    pub(crate) const fn len(self) -> usize {
        self.len
    }

    pub(crate) const fn depth(self) -> u16 {
        self.depth
    }
}
