//! Buffers that the connections of a thread lend each other, so that an idle one holds none.

use std::cell::RefCell;
use std::mem;
use std::ops::{Deref, DerefMut};

/// The size of every buffer: as much as one system call should move.
pub(super) const SIZE: usize = 64 * 1024;
/// A connection needs one to read and one to write.
const SPARE: usize = 2;

thread_local! {
    static BUFFERS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`SIZE`] bytes with anything in it. When it is dropped, whoever needs one next gets it.
pub(super) struct Lent(Box<[u8]>);

impl Lent {
    pub(super) fn take() -> Self {
        Self(BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into()))
    }
}

impl Deref for Lent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let buffer = mem::take(&mut self.0);
        let give = |buffers: &RefCell<Vec<_>>| {
            let mut buffers = buffers.borrow_mut();
            if buffers.len() < SPARE {
                buffers.push(buffer);
            }
        };
        // A thread that ends may drop its connections after its buffers.
        let _ended = BUFFERS.try_with(give);
    }
}

/// Bytes in a buffer, to be taken from the front.
pub(super) struct Filled {
    buffer: Lent,
    start: usize,
    end: usize,
}

impl Filled {
    /// The first `len` bytes of a buffer, if that is any.
    pub(super) fn new(buffer: Lent, len: usize) -> Option<Self> {
        (len > 0).then_some(Self { buffer, start: 0, end: len })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Takes `n` bytes away, and the buffer with the last of them.
    pub(super) fn consume(filled: &mut Option<Self>, n: usize) {
        filled.take_if(|filled| {
            filled.start = filled.end.min(filled.start + n);
            filled.start == filled.end
        });
    }
}
