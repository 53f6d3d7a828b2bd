//! Messages under way between a stream and the policy of its node.

use std::collections::VecDeque;
use std::time::Duration;

use pointsub_core::Timestamp;

use super::super::Rng;

/// How long messages are under way at most, in microseconds: one of these in each life.
const MOST: [u32; 3] = [300, 3_000, 30_000];

/// Decides when messages arrive.
#[derive(Debug)]
pub(in crate::sim) struct Delays {
    pub(super) rng: Rng,
    most: Duration,
}

impl Delays {
    pub(super) fn new(mut rng: Rng) -> Self {
        let most = MOST[rng.below(MOST.len() as u64) as usize];
        Self { rng, most: Duration::from_micros(most.into()) }
    }

    /// When a message arrives that is sent now: often at once.
    pub(super) fn arrival(&mut self, now: Timestamp) -> Timestamp {
        let most = self.most.as_micros() as u32;
        if self.rng.chance(50) { now } else { now + self.rng.micros(most) }
    }
}

/// Messages in their order, each with the time at which it arrives.
#[derive(Debug)]
pub(in crate::sim) struct Mailbox<T>(VecDeque<(Timestamp, T)>);

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Mailbox<T> {
    /// When the next one arrives.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.0.front().map(|(due, _)| *due)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Nothing arrives before then.
    pub(super) fn hold_back(&mut self, until: Timestamp) {
        for (due, _) in &mut self.0 {
            *due = (*due).max(until);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, arrives: Timestamp, message: T) {
        let last = self.0.back().map_or(arrives, |(due, _)| *due);
        self.0.push_back((arrives.max(last), message));
    }

    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<T> {
        self.due().filter(|due| *due <= now)?;
        self.0.pop_front().map(|(_, message)| message)
    }

    /// Nobody takes them out any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, message)| message)
    }
}
