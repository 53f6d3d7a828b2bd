//! Buffers that the connections of a thread lend each other, so that an idle one holds none.

use std::cell::RefCell;

/// The size of every buffer: as much as one system call should move.
pub(super) const SIZE: usize = 64 * 1024;
/// A connection needs one to read and one to write.
const SPARE: usize = 2;

thread_local! {
    static BUFFERS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer with anything in it.
pub(super) fn take() -> Box<[u8]> {
    BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into())
}

/// Gives a buffer to whoever needs one next.
pub(super) fn give(buffer: Box<[u8]>) {
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers.len() < SPARE {
            buffers.push(buffer);
        }
    });
}
