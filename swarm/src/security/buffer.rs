//! A buffer that the connections of a thread lend each other, so that an idle one holds none.

use std::cell::Cell;

/// The size of every buffer: as much as one system call should move.
pub(super) const SIZE: usize = 64 * 1024;

thread_local! {
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// A buffer with anything in it.
pub(super) fn take() -> Box<[u8]> {
    SPARE.take().unwrap_or_else(|| vec![0; SIZE].into())
}

/// Gives a buffer to whoever needs one next.
pub(super) fn give(buffer: Box<[u8]>) {
    SPARE.set(Some(buffer));
}
