//! How many bytes are held for whom.
//!
//! Bytes are shared like places are ([`places`](super::places)): whoever holds some may have eight times
//! what is left for everybody. What cannot be taken back has to be shared before it is short, so that a
//! sixteenth is kept for messages of peers that hold next to nothing.

use super::places::MULTIPLE;
use crate::config::ServerConfig;

/// A peer that holds no more than this may use what is kept for such peers.
const SMALL: usize = 64 * 1024;
/// What is kept for peers that hold little: one part of so many, where that leaves room for as many of
/// the largest messages.
const KEPT: usize = 16;

/// The limits on bytes held for a stream, a peer and all peers together, and how many are.
#[derive(Debug)]
pub(in crate::endpoint::server) struct MemoryBudget {
    stream: usize,
    peer: usize,
    server: usize,
    /// For peers that hold little.
    kept: usize,
    used: usize,
}

/// Bytes that are held for one of a kind, and how many of its kind there are.
#[derive(Copy, Clone, Debug)]
pub(in crate::endpoint::server) struct Holder {
    pub(in crate::endpoint::server) holds: usize,
    pub(in crate::endpoint::server) known: usize,
}

impl MemoryBudget {
    pub(in crate::endpoint::server) fn configured(config: &ServerConfig) -> Self {
        let (server, block) = (config.max_memory(), config.max_block_size());
        let kept = if server / block.max(1) >= 2 * KEPT { server / KEPT } else { 0 };
        let (stream, peer) = (config.max_memory_per_stream(), config.max_memory_per_peer());
        Self { stream, peer, server, kept, used: 0 }
    }

    /// Bytes held in all.
    pub(in crate::endpoint::server) fn used(&self) -> usize {
        self.used
    }

    /// Whether a stream that holds `before` bytes may hold `after`, as far as its peer and its groups
    /// hold so many.
    pub(in crate::endpoint::server) fn fits(
        &self,
        before: usize,
        after: usize,
        peer: Holder,
        groups: impl IntoIterator<Item = Holder>,
    ) -> bool {
        let with = |used: usize| used.saturating_sub(before).saturating_add(after);
        let (of_peer, all) = (with(peer.holds), with(self.used));
        let kept = if of_peer <= SMALL { 0 } else { self.kept };
        if after > self.stream || of_peer > self.peer || all > self.server - kept {
            return false;
        }
        let left = self.server - kept - all;
        // The first message of whoever holds nothing is never too large a share.
        let fair = |holder: Holder| {
            let more = with(holder.holds);
            holder.known <= 1 || more == after || more <= left.saturating_mul(MULTIPLE)
        };
        fair(peer) && groups.into_iter().all(fair)
    }

    /// Whether a request of so many bytes would not fit, whoever had it.
    pub(in crate::endpoint::server) fn is_short_of(&self, bytes: usize) -> bool {
        self.used.saturating_add(bytes) > self.server - self.kept
    }

    /// A stream that held `before` bytes holds `after`.
    pub(in crate::endpoint::server) fn charge(&mut self, before: usize, after: usize) {
        self.used = moved(self.used, before, after);
    }
}

/// What is held in all when a part of it has changed.
pub(in crate::endpoint::server) fn moved(all: usize, before: usize, after: usize) -> usize {
    all.saturating_sub(before).saturating_add(after)
}
