//! What lies unread in the muxers of this process, in all.
//!
//! Each stream has a window, so that one connection can hold little. Many connections hold much, and
//! Yamux keeps each frame in a buffer of its own, however small. So what is unread is counted, and if it
//! is too much, the connection that holds most of it ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::Waker;

use futures::task::AtomicWaker;
use parking_lot::Mutex;

/// What may lie unread in the muxers of a process. More than twice what one connection can hold.
const UNREAD: usize = 512 * 1024 * 1024;
/// What a frame takes beside its bytes.
const FRAME_COST: usize = 64;

static PROCESS: LazyLock<Arc<Total>> = LazyLock::new(|| Total::new(UNREAD));

/// A limit that connections share.
#[derive(Debug)]
struct Total {
    limit: usize,
    held: AtomicUsize,
    next: AtomicU64,
    connections: Mutex<HashMap<u64, Arc<Held>>>,
}

/// What one connection holds.
#[derive(Debug, Default)]
struct Held {
    bytes: AtomicUsize,
    ended: AtomicBool,
    reader: AtomicWaker,
}

/// The part of one connection. What it holds is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Unread {
    id: u64,
    total: Arc<Total>,
    held: Arc<Held>,
}

/// What one stream holds of its connection's part.
#[derive(Debug, Default)]
pub(super) struct OfStream {
    bytes: AtomicUsize,
    cost: AtomicUsize,
}

impl Total {
    fn new(limit: usize) -> Arc<Self> {
        let (held, next, connections) = (AtomicUsize::new(0), AtomicU64::new(0), Mutex::default());
        Arc::new(Self { limit, held, next, connections })
    }

    fn connection(self: &Arc<Self>) -> Unread {
        let (id, held) = (self.next.fetch_add(1, Ordering::Relaxed), Arc::<Held>::default());
        self.connections.lock().insert(id, held.clone());
        Unread { id, total: self.clone(), held }
    }

    /// Ends the connection that holds most.
    fn end_largest(&self) {
        let connections = self.connections.lock();
        if self.held.load(Ordering::Relaxed) <= self.limit {
            return;
        }
        let bytes = |held: &&Arc<Held>| held.bytes.load(Ordering::Relaxed);
        if let Some(largest) = connections.values().max_by_key(bytes) {
            // It counts no more, so that the next one is only chosen if that is not enough.
            self.held.fetch_sub(largest.bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
            largest.ended.store(true, Ordering::Relaxed);
            largest.reader.wake();
        }
    }
}

impl Unread {
    pub(super) fn new() -> Self {
        PROCESS.connection()
    }

    /// Whether the connection is to end. Whoever reads from it is woken when that changes.
    pub(super) fn is_over(&self, reader: &Waker) -> bool {
        self.held.reader.register(reader);
        self.held.ended.load(Ordering::Relaxed)
    }

    /// A frame with so many bytes has come for a stream.
    pub(super) fn came(&self, stream: &OfStream, bytes: usize) {
        let cost = bytes + FRAME_COST;
        stream.bytes.fetch_add(bytes, Ordering::Relaxed);
        stream.cost.fetch_add(cost, Ordering::Relaxed);
        if self.held.ended.load(Ordering::Relaxed) {
            return;
        }
        self.held.bytes.fetch_add(cost, Ordering::Relaxed);
        if self.total.held.fetch_add(cost, Ordering::Relaxed) + cost > self.total.limit {
            self.total.end_largest();
        }
    }

    /// So many bytes of a stream were read.
    pub(super) fn read(&self, stream: &OfStream, bytes: usize) {
        let left = stream.bytes.load(Ordering::Relaxed).saturating_sub(bytes);
        stream.bytes.store(left, Ordering::Relaxed);
        let cost = stream.cost.load(Ordering::Relaxed);
        let kept = if left == 0 { 0 } else { cost.saturating_sub(bytes).max(left) };
        stream.cost.store(kept, Ordering::Relaxed);
        self.give_back(cost.saturating_sub(kept));
    }

    /// A stream is gone, with what was not read of it.
    pub(super) fn gone(&self, stream: &OfStream) {
        stream.bytes.store(0, Ordering::Relaxed);
        self.give_back(stream.cost.swap(0, Ordering::Relaxed));
    }

    fn give_back(&self, cost: usize) {
        let less = |held: usize| Some(held.saturating_sub(cost));
        let before = self.held.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        let given = before.unwrap_or_default().min(cost);
        self.total.held.fetch_sub(given, Ordering::Relaxed);
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.total.connections.lock().remove(&self.id);
        self.give_back(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_over(connection: &Unread) -> bool {
        connection.is_over(Waker::noop())
    }

    #[test]
    fn the_connection_that_holds_most_ends() {
        let total = Total::new(10_000);
        let [one, two, three] = [(); 3].map(|()| total.connection());
        let streams: [OfStream; 3] = Default::default();
        one.came(&streams[0], 1_000);
        two.came(&streams[1], 6_000);
        three.came(&streams[2], 2_000);
        assert!(![&one, &two, &three].into_iter().any(is_over));
        one.came(&streams[0], 2_000);
        assert_eq!([&one, &two, &three].map(is_over), [false, true, false]);
        two.came(&streams[1], 50_000);
        assert_eq!(total.held.load(Ordering::Relaxed), 5_000 + 3 * FRAME_COST);
        drop(two);
        three.came(&streams[2], 4_000);
        assert!(!is_over(&three), "there is room again");
        drop((one, three));
        assert_eq!(total.held.load(Ordering::Relaxed), 0);
        assert!(total.connections.lock().is_empty());
    }

    #[test]
    fn what_was_read_or_dropped_counts_no_more() {
        let total = Total::new(10_000);
        let (connection, stream) = (total.connection(), OfStream::default());
        let held = || total.held.load(Ordering::Relaxed);
        for _ in 0..10 {
            connection.came(&stream, 1);
        }
        assert_eq!(held(), 10 + 10 * FRAME_COST, "single bytes are dear");
        connection.read(&stream, 4);
        assert_eq!(held(), 6 + 10 * FRAME_COST);
        connection.read(&stream, 6);
        assert_eq!(held(), 0);
        connection.came(&stream, 500);
        connection.gone(&stream);
        assert_eq!(held(), 0);
    }
}
