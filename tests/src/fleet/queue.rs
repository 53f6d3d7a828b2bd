//! What is to happen when, in the order of time; among equal times, in the order of planning.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::event::Event;

/// A slot of the wheel is 2^17 ns, an eighth of a millisecond.
const SLOT_BITS: u32 = 17;
/// The wheel reaches 2^13 slots into the future, a good second.
const SLOTS: u64 = 1 << 13;

/// A planned event: when, in which order among equals, and where its body lies.
type Entry = (u64, u64, u32);

/// A queue of events by time. A wheel of slots holds the next second, a heap all that is later. The
/// slot that is under way is a heap of its own, so that most events cost no more than a push.
#[derive(Debug)]
pub(super) struct Queue {
    soon: BinaryHeap<Reverse<Entry>>,
    wheel: Vec<Vec<Entry>>,
    /// Events in the wheel.
    turning: usize,
    later: BinaryHeap<Reverse<Entry>>,
    /// The slot that is under way.
    slot: u64,
    bodies: Vec<Option<Event>>,
    free: Vec<u32>,
    planned: u64,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            soon: BinaryHeap::new(),
            wheel: (0..SLOTS).map(|_| Vec::new()).collect(),
            turning: 0,
            later: BinaryHeap::new(),
            slot: 0,
            bodies: Vec::new(),
            free: Vec::new(),
            planned: 0,
        }
    }

    /// Plans an event. One that lies in the past comes next.
    pub(super) fn plan(&mut self, at: u64, event: Event) {
        let body = match self.free.pop() {
            Some(free) => {
                self.bodies[free as usize] = Some(event);
                free
            }
            None => {
                self.bodies.push(Some(event));
                u32::try_from(self.bodies.len() - 1).expect("fewer events than 2^32")
            }
        };
        self.planned += 1;
        self.place((at, self.planned, body));
    }

    fn place(&mut self, entry: Entry) {
        let slot = entry.0 >> SLOT_BITS;
        if slot <= self.slot {
            self.soon.push(Reverse(entry));
        } else if slot < self.slot + SLOTS {
            self.wheel[(slot % SLOTS) as usize].push(entry);
            self.turning += 1;
        } else {
            self.later.push(Reverse(entry));
        }
    }

    /// The next event and its time.
    pub(super) fn next(&mut self) -> Option<(u64, Event)> {
        while self.soon.is_empty() {
            if !self.turn() {
                return None;
            }
        }
        let Reverse((at, _, body)) = self.soon.pop()?;
        self.free.push(body);
        Some((at, self.bodies[body as usize].take().expect("planned once")))
    }

    /// Goes on to the next slot that has events; `false` if there is none.
    fn turn(&mut self) -> bool {
        if self.turning == 0 {
            let Some(Reverse((at, ..))) = self.later.peek() else { return false };
            self.slot = self.slot.max(at >> SLOT_BITS);
        } else {
            self.slot += 1;
        }
        while let Some(Reverse((at, ..))) = self.later.peek() {
            if at >> SLOT_BITS >= self.slot + SLOTS {
                break;
            }
            let Some(Reverse(entry)) = self.later.pop() else { break };
            self.place(entry);
        }
        let mut due = std::mem::take(&mut self.wheel[(self.slot % SLOTS) as usize]);
        self.turning -= due.len();
        self.soon.extend(due.drain(..).map(Reverse));
        self.wheel[(self.slot % SLOTS) as usize] = due;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that events come in the order of time whatever part of the queue held them: a broken
    /// wheel would let effects come before their causes.
    #[test]
    fn events_come_in_the_order_of_time() {
        let mut queue = Queue::new();
        let mut rng = crate::sim::Rng::new(1);
        let (mut now, mut seen) = (0, 0);
        for _ in 0..100 {
            queue.plan(rng.below(10_000_000_000), Event::Watch);
        }
        while let Some((at, _)) = queue.next() {
            assert!(at >= now, "{at} comes after {now}");
            now = at;
            seen += 1;
            if seen < 5000 {
                queue.plan(now + rng.below(3_000_000_000), Event::Watch);
            }
        }
        assert_eq!(seen, 5099);
    }
}
