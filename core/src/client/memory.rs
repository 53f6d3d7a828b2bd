//! What is known of each peer: which format it speaks, and whether it keeps plain streams.

use alloc::collections::VecDeque;

use hashbrown::HashMap;

use crate::frame::Format;
use crate::hash::FixedState;
use crate::id::PeerId;

/// How many peers are remembered. Forgetting one costs a round trip, no more.
const CAPACITY: usize = 8192;

/// What a peer was seen to do.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) format: Format,
    pub(super) habit: Habit,
}

/// What a plain peer does with a stream after it has answered. The format does not say, and Go
/// libraries differ: 1.1.x keeps the stream, 1.0.x closes it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    Unknown,
    Keeps,
    /// It closes them, as far as is known; looked at again after so many streams, because a
    /// connection that broke at the wrong time looks the same.
    Closes(u8),
}

impl Habit {
    pub(super) const CLOSES: Self = Self::Closes(100);
}

/// What was learned of each peer last.
#[derive(Debug, Default)]
pub(super) struct PeerMemory {
    known: HashMap<PeerId, Known, FixedState>,
    /// In the order of learning; peers forgotten meanwhile may still be listed.
    order: VecDeque<PeerId>,
}

impl PeerMemory {
    /// The format in which the peer was last spoken to: later streams propose just that.
    pub(super) fn format(&self, peer: &PeerId) -> Option<Format> {
        self.known.get(peer).map(|known| known.format)
    }

    /// What the peer does with its plain streams.
    pub(super) fn habit(&self, peer: &PeerId) -> Habit {
        self.known.get(peer).map_or(Habit::Unknown, |known| known.habit)
    }

    /// Whether the peer is expected to close its plain streams; counts the times it is asked.
    pub(super) fn expect_close(&mut self, peer: &PeerId) -> bool {
        let Some(known) = self.known.get_mut(peer) else { return false };
        let Habit::Closes(left) = known.habit else { return false };
        known.habit = left.checked_sub(1).map_or(Habit::Unknown, Habit::Closes);
        true
    }

    pub(super) fn learn_format(&mut self, peer: PeerId, format: Format) {
        if let Some(known) = self.known.get_mut(&peer) {
            known.format = format;
            return;
        }
        self.known.insert(peer, Known { format, habit: Habit::Unknown });
        self.order.push_back(peer);
        while self.order.len() > CAPACITY {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    pub(super) fn learn_habit(&mut self, peer: &PeerId, habit: Habit) {
        if let Some(known) = self.known.get_mut(peer) {
            known.habit = habit;
        }
    }

    pub(super) fn forget(&mut self, peer: &PeerId) {
        if self.known.remove(peer).is_some() {
            self.order.retain(|known| known != peer);
        }
    }
}
