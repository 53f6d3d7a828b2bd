//! Buffers of large bodies, and how they are used again.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::mem::take;

use bytes::Bytes;

/// Where the buffers of large bodies come from, and where they go when nobody has the body any
/// longer. New memory is slow: the operating system clears it page by page, each for an interrupt,
/// which for large bodies takes as long as everything else that is done with them.
///
/// [`BufferPool`] is the rule; an implementation adds a lock, since bodies are dropped anywhere.
pub trait Buffers: fmt::Debug + Send + Sync {
    /// A buffer that was given before and has room for `len` bytes, with anything in it. `None` if
    /// there is no such buffer: one of `room` bytes is about to be allocated.
    fn take(&self, len: usize, room: usize) -> Option<Vec<u8>>;

    /// Takes a buffer that nobody needs.
    fn give(&self, buffer: Vec<u8>);
}

/// A pool of buffers that wait to be used again, as many as a limit allows.
///
/// ```
/// use pointsub_core::wire::BufferPool;
///
/// let mut pool = BufferPool::new(1024);
/// assert!(pool.give(vec![1; 600]).is_empty());
/// assert_eq!(pool.give(vec![2; 600]), [vec![1; 600]], "the oldest makes way");
/// assert_eq!(pool.take(550), Some(vec![2; 600]));
/// assert_eq!(pool.take(550), None);
/// ```
#[derive(Debug)]
pub struct BufferPool {
    /// In the order in which they were given.
    waiting: VecDeque<Vec<u8>>,
    /// Bytes that they take.
    bytes: usize,
    limit: usize,
}

impl BufferPool {
    /// For buffers of at most `limit` bytes together.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, limit }
    }

    /// A buffer with room for `len` bytes, and for at most an eighth more, since what is held is
    /// counted as `len`. The smallest such, and of those the one that was given last, which the
    /// processor may still have in its cache.
    pub fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let most = len.saturating_add(len / 8);
        let fitting = self
            .waiting
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, buffer)| (len..=most).contains(&buffer.capacity()));
        let (index, _) = fitting.min_by_key(|(_, buffer)| buffer.capacity())?;
        let buffer = self.waiting.remove(index)?;
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Says that so many bytes are about to be allocated, and so to be given later. The oldest
    /// buffers make way. Returns them, to be dropped where nobody waits for it.
    pub fn make_way(&mut self, bytes: usize) -> Vec<Vec<u8>> {
        let mut surplus = self.bytes.saturating_add(bytes).saturating_sub(self.limit);
        let mut gone = Vec::new();
        while surplus > 0
            && let Some(buffer) = self.waiting.pop_front()
        {
            surplus = surplus.saturating_sub(buffer.capacity());
            self.bytes -= buffer.capacity();
            gone.push(buffer);
        }
        gone
    }

    /// Keeps a buffer, for which the oldest ones make way; or none, if it is larger than the limit.
    /// Returns those that are not kept.
    pub fn give(&mut self, buffer: Vec<u8>) -> Vec<Vec<u8>> {
        if buffer.capacity() > self.limit {
            return alloc::vec![buffer];
        }
        let gone = self.make_way(buffer.capacity());
        self.bytes += buffer.capacity();
        self.waiting.push_back(buffer);
        gone
    }
}

/// A whole body, in a buffer that is given back when it is dropped.
struct PooledBuffer {
    buffer: Vec<u8>,
    /// Whoever keeps a body for long does not keep others' buffers with it.
    home: Weak<dyn Buffers>,
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            home.give(take(&mut self.buffer));
        }
    }
}

/// The first `len` bytes of a buffer as a body.
pub(super) fn body(buffer: Vec<u8>, len: usize, home: Option<&Arc<dyn Buffers>>) -> Bytes {
    match home {
        Some(home) => {
            Bytes::from_owner(PooledBuffer { buffer, home: Arc::downgrade(home) }).slice(..len)
        }
        None => {
            let mut buffer = buffer;
            buffer.truncate(len);
            Bytes::from(buffer)
        }
    }
}
