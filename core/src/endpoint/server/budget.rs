//! How many bytes are held for whom.

use crate::config::ServerConfig;

/// The limits on bytes held for a stream, a peer and all peers together, and how many are.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    stream: usize,
    peer: usize,
    server: usize,
    used: usize,
}

impl MemoryBudget {
    pub(super) fn configured(config: &ServerConfig) -> Self {
        Self {
            stream: config.max_memory_per_stream(),
            peer: config.max_memory_per_peer(),
            server: config.max_memory(),
            used: 0,
        }
    }

    /// Bytes held in all.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Whether a stream that holds `before` bytes may hold `after`, when its peer holds `peer`.
    pub(super) fn fits(&self, before: usize, after: usize, peer: usize) -> bool {
        let others = |used: usize| used.saturating_sub(before).saturating_add(after);
        after <= self.stream && others(peer) <= self.peer && others(self.used) <= self.server
    }

    /// A stream that held `memory` holds `after`, and so its peer so much more or less.
    pub(super) fn charge(&mut self, memory: &mut usize, after: usize, peer: &mut usize) {
        let before = core::mem::replace(memory, after);
        if before != after {
            *peer = peer.saturating_sub(before).saturating_add(after);
            self.used = self.used.saturating_sub(before).saturating_add(after);
        }
    }
}
