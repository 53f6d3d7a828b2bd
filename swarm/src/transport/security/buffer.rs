//! A pool of buffers for each thread. A connection takes one while it has bytes to keep, so that an idle
//! connection holds none.

use std::cell::RefCell;
use std::mem;
use std::ops::{Deref, DerefMut};

/// The size of every buffer: as much as one system call should move.
pub(super) const SIZE: usize = 64 * 1024;
/// The most buffers of a pool. A connection needs one to read and one to write.
const SPARE: usize = 2;

thread_local! {
    static BUFFERS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`SIZE`] bytes with any content. It goes back to the pool when it is dropped.
pub(super) struct PooledBuffer(Box<[u8]>);

impl PooledBuffer {
    pub(super) fn take() -> Self {
        Self(BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into()))
    }
}

impl Deref for PooledBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for PooledBuffer {
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
    buffer: PooledBuffer,
    start: usize,
    end: usize,
}

impl Filled {
    /// The first `len` bytes of a buffer, if that is any.
    pub(super) fn new(buffer: PooledBuffer, len: usize) -> Option<Self> {
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
