//! Which format worked with which peer.

use alloc::collections::VecDeque;

use hashbrown::HashMap;

use crate::frame::Format;
use crate::hash::FixedState;
use crate::id::PeerId;

/// How many peers are remembered. Forgetting one costs a round trip, no more.
const CAPACITY: usize = 8192;

/// What was negotiated with each peer last, so that later streams propose just that.
#[derive(Debug, Default)]
pub(super) struct FormatMemory {
    formats: HashMap<PeerId, Format, FixedState>,
    /// In the order of learning; peers forgotten meanwhile may still be listed.
    order: VecDeque<PeerId>,
}

impl FormatMemory {
    pub(super) fn get(&self, peer: &PeerId) -> Option<Format> {
        self.formats.get(peer).copied()
    }

    pub(super) fn insert(&mut self, peer: PeerId, format: Format) {
        if self.formats.insert(peer, format).is_none() {
            self.order.push_back(peer);
            while self.order.len() > CAPACITY {
                if let Some(oldest) = self.order.pop_front() {
                    self.formats.remove(&oldest);
                }
            }
        }
    }

    pub(super) fn forget(&mut self, peer: &PeerId) {
        if self.formats.remove(peer).is_some() {
            self.order.retain(|known| known != peer);
        }
    }
}
