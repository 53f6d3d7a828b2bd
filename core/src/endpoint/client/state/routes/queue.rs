//! Requests that wait for a stream of one route.

use alloc::collections::VecDeque;

use crate::id::RequestId;

/// Requests in the order in which they were accepted, each with its number in that order. One that
/// is put back takes its old place.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<(u64, RequestId)>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The request that has waited for the longest time.
    pub(crate) fn first(&self) -> Option<(u64, RequestId)> {
        self.waiting.front().copied()
    }

    /// The first of which that is not so, or the last if it is so of all. It is so of whichever was
    /// accepted before one of which it is so.
    pub(crate) fn first_behind(
        &self,
        is_old: impl Fn(RequestId) -> bool,
    ) -> Option<(u64, RequestId)> {
        let at = self.waiting.partition_point(|(_, id)| is_old(*id));
        self.waiting.get(at).or(self.waiting.back()).copied()
    }

    pub(crate) fn insert(&mut self, seq: u64, id: RequestId) {
        if self.waiting.back().is_none_or(|(last, _)| *last < seq) {
            self.waiting.push_back((seq, id));
        } else {
            let at = self.waiting.partition_point(|(other, _)| *other < seq);
            self.waiting.insert(at, (seq, id));
        }
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, seq: u64) -> bool {
        if self.waiting.front().is_some_and(|(first, _)| *first == seq) {
            self.waiting.pop_front();
            return true;
        }
        let found = self.waiting.binary_search_by_key(&seq, |(other, _)| *other);
        found.is_ok_and(|at| self.waiting.remove(at).is_some())
    }

    /// All that wait, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = RequestId> {
        self.waiting.iter().map(|(_, id)| *id)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use slotmap::SlotMap;

    use super::*;

    #[test]
    fn a_request_that_is_put_back_takes_its_old_place() {
        let mut names: SlotMap<RequestId, ()> = SlotMap::with_key();
        let [a, b, c] = core::array::from_fn(|_| names.insert(()));
        let mut queue = Queue::default();
        for (seq, id) in [(1, a), (5, c), (3, b)] {
            queue.insert(seq, id);
        }
        assert_eq!(queue.iter().collect::<Vec<_>>(), [a, b, c]);
        assert!(queue.remove(3) && !queue.remove(3), "from the middle, once");
        assert_eq!((queue.first(), queue.len()), (Some((1, a)), 2));
        assert!(queue.remove(1) && queue.remove(5) && queue.is_empty());
    }
}
