//! Buffers of large bodies that the streams of a process lend each other.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use pointsub_core::wire::{BufferPool, Buffers};

/// How many bytes the buffers of large bodies take that wait to be used again: one message of the
/// default `max_block_size`, or many smaller ones.
const POOLED: usize = 32 * 1024 * 1024;

/// Those of all streams that are open now: when the last one closes, they go too.
static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());

#[derive(Debug)]
struct Shared(Mutex<BufferPool>);

impl Buffers for Shared {
    fn take(&self, len: usize, room: usize) -> Option<Vec<u8>> {
        let mut pool = self.0.lock();
        let taken = pool.take(len);
        let gone = if taken.is_none() { pool.make_way(room) } else { Vec::new() };
        // Megabytes are given back to the system where no other stream waits for it.
        drop(pool);
        drop(gone);
        taken
    }

    fn give(&self, buffer: Vec<u8>) {
        let gone = self.0.lock().give(buffer);
        drop(gone);
    }
}

/// For a stream that has been opened.
pub(crate) fn shared() -> Arc<dyn Buffers> {
    let mut shared = SHARED.lock();
    shared.upgrade().unwrap_or_else(|| {
        let pool = Arc::new(Shared(Mutex::new(BufferPool::new(POOLED))));
        *shared = Arc::downgrade(&pool);
        pool
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_share_spare_buffers_until_the_last_one_closes() {
        let (one, other) = (shared(), shared());
        assert!(Arc::ptr_eq(&one, &other));
        one.give(vec![7; 100_000]);
        drop(one);
        assert_eq!(other.take(95_000, 1), Some(vec![7; 100_000]));
        assert_eq!(other.take(95_000, 1), None);
        other.give(vec![8; POOLED - 1]);
        assert_eq!(other.take(95_000, 2), None, "none fits, and a new one takes its place");
        assert_eq!(other.take(POOLED - 1, 1), None, "it made way");
        let closed = Arc::downgrade(&other);
        drop(other);
        assert!(closed.upgrade().is_none(), "nothing is kept for nobody");
        assert_eq!(shared().take(95_000, 1), None);
    }
}
