//! Finds the messages in what arrives.

use std::ops::Deref;

use crate::transport::security::buffer::PooledBuffer;

/// Each message has its length in front, in two bytes. It may be as long as two bytes can say, which
/// is less than a buffer has room for.
#[derive(Default)]
pub(super) struct Incoming {
    /// The first byte of a length whose second one has not arrived.
    first: Option<u8>,
    /// The length of the message that has not arrived in full.
    len: Option<usize>,
    /// What of it has, if that was all there was.
    part: Option<Part>,
}

struct Part {
    buffer: PooledBuffer,
    filled: usize,
}

/// An encrypted message.
pub(super) enum Arrived<'a> {
    /// In one piece.
    Whole(&'a [u8]),
    /// In several.
    Joined(PooledBuffer, usize),
}

impl Deref for Arrived<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Whole(message) => message,
            Self::Joined(buffer, len) => &buffer[..*len],
        }
    }
}

impl Incoming {
    /// Whether a message has arrived in part.
    pub(super) fn is_within(&self) -> bool {
        self.first.is_some() || self.len.is_some()
    }

    #[cfg(test)]
    pub(super) fn holds_buffer(&self) -> bool {
        self.part.is_some()
    }

    /// Takes from the front of `bytes`: how many of them, and the message that they complete.
    pub(super) fn take<'a>(&mut self, bytes: &'a [u8]) -> (usize, Option<Arrived<'a>>) {
        let mut rest = bytes;
        let Some(len) = self.len.or_else(|| self.take_length(&mut rest)) else {
            return (bytes.len() - rest.len(), None);
        };
        self.len = None;
        if self.part.is_none()
            && let Some((message, rest)) = rest.split_at_checked(len)
        {
            return (bytes.len() - rest.len(), Some(Arrived::Whole(message)));
        }
        let mut part =
            self.part.take().unwrap_or_else(|| Part { buffer: PooledBuffer::take(), filled: 0 });
        let n = rest.len().min(len - part.filled);
        part.buffer[part.filled..part.filled + n].copy_from_slice(&rest[..n]);
        part.filled += n;
        let used = bytes.len() - rest.len() + n;
        if part.filled == len {
            return (used, Some(Arrived::Joined(part.buffer, len)));
        }
        self.len = Some(len);
        // A length alone is to hold no buffer.
        self.part = (part.filled > 0).then_some(part);
        (used, None)
    }

    fn take_length(&mut self, bytes: &mut &[u8]) -> Option<usize> {
        let mut next = || bytes.split_off_first().copied();
        let high = self.first.take().or_else(&mut next)?;
        let Some(low) = next() else {
            self.first = Some(high);
            return None;
        };
        Some(usize::from(u16::from_be_bytes([high, low])))
    }
}
