//! A queue in which nobody waits for more than one of each other.

use std::collections::{BTreeMap, VecDeque};

use pointsub_core::PeerId;
use pointsub_core::endpoint::{GroupId, Origin};

/// Networks take turns, and so do the peers of a network. What a peer has put in comes out in order.
#[derive(Debug)]
pub(super) struct FairQueue<T>(Turns<Option<GroupId>, Turns<PeerId, VecDeque<T>>>);

/// Queues that take turns. None of them is empty.
#[derive(Debug)]
struct Turns<K, Q> {
    queues: BTreeMap<K, Q>,
    order: VecDeque<K>,
}

trait Queue: Default {
    type Item;

    fn pop(&mut self) -> Option<Self::Item>;
    fn is_empty(&self) -> bool;
}

impl<T> Queue for VecDeque<T> {
    type Item = T;

    fn pop(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl<K, Q> Default for Turns<K, Q> {
    fn default() -> Self {
        Self { queues: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<K: Ord + Copy, Q: Queue> Turns<K, Q> {
    /// The queue with this name, into which something is put.
    fn queue(&mut self, key: K) -> &mut Q {
        self.queues.entry(key).or_insert_with(|| {
            self.order.push_back(key);
            Q::default()
        })
    }
}

impl<K: Ord + Copy, Q: Queue> Queue for Turns<K, Q> {
    type Item = Q::Item;

    fn pop(&mut self) -> Option<Q::Item> {
        let key = self.order.pop_front()?;
        let queue = self.queues.get_mut(&key)?;
        let item = queue.pop();
        if queue.is_empty() {
            self.queues.remove(&key);
        } else {
            self.order.push_back(key);
        }
        item
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self(Turns::default())
    }
}

impl<T> FairQueue<T> {
    pub(super) fn push(&mut self, origin: &Origin, item: T) {
        self.0.queue(origin.group()).queue(origin.peer()).push_back(item);
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(network: u64, peer: u8) -> Origin {
        let peer = PeerId::from_bytes(&[0, 1, peer]).expect("a peer id");
        Origin::from(peer).within(GroupId::new(network), None)
    }

    #[test]
    fn networks_take_turns_and_so_do_peers() {
        let mut queue = FairQueue::default();
        for n in 0..100 {
            queue.push(&of(1, 1), (1, 1, n));
        }
        queue.push(&of(1, 2), (1, 2, 0));
        queue.push(&of(2, 3), (2, 3, 0));
        queue.push(&of(2, 3), (2, 3, 1));
        let first: Vec<_> = std::iter::from_fn(|| queue.pop()).take(6).collect();
        assert_eq!(first, [(1, 1, 0), (2, 3, 0), (1, 2, 0), (2, 3, 1), (1, 1, 1), (1, 1, 2)]);
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), 97);
        assert!(queue.0.queues.is_empty(), "nothing is left of those who have waited");
        queue.push(&of(1, 1), (1, 1, 0));
        assert_eq!(queue.pop(), Some((1, 1, 0)));
    }
}
