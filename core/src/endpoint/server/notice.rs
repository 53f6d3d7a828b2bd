//! What admission control tells of peers, for whoever owns their connections and for the application.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::admission::Admission;
use super::penalty::Penalty;
use super::rate::{RateLimit, RateScope};
use super::shares::{Origin, StreamKey};
use crate::id::{PeerId, ProtocolName};
use crate::time::Timestamp;

/// How many notices wait for whoever takes them.
const WAITING: usize = 1024;

/// Something that [`Admission`] has decided about a peer as a whole.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A peer has cost more than it may. Close its connections, and let none in for that long.
    KeptOut {
        /// The peer.
        peer: PeerId,
        /// For how long.
        time: Duration,
        /// Which time it is, without those that are forgotten.
        times: u32,
    },
}

/// Notices that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Notices(VecDeque<Notice>);

impl Notices {
    pub(super) fn kept_out(&mut self, peer: PeerId, penalty: &Penalty, now: Timestamp) {
        if self.0.len() < WAITING {
            let (time, times) = (penalty.remaining(now), penalty.bans());
            self.0.push_back(Notice::KeptOut { peer, time, times });
        }
    }
}

impl Admission {
    /// The next thing to know about a peer. Ask when a [verdict](crate::connection::ServerVerdict) cuts
    /// a stream off, and when a stream was closed.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.capacity.notices.0.pop_front()
    }

    /// Whether there is a [notice](Self::poll_notice), or a [stream to reset](Self::take_stalled).
    #[must_use]
    #[inline]
    pub fn has_news(&self) -> bool {
        !self.capacity.notices.0.is_empty() || self.has_stalled()
    }

    /// Whose stream it is, and under which protocol.
    #[must_use]
    pub fn whose(&self, stream: StreamKey) -> Option<(PeerId, ProtocolName)> {
        let stream = self.connections.open.get(stream)?;
        Some((self.connections.peers.get(stream.peer)?.id, stream.name.clone()))
    }

    /// For how long a peer is kept out from now on, if it is: no connection of it is to be let in. It
    /// is counted.
    pub fn kept_out(&mut self, origin: impl Into<Origin>, now: Timestamp) -> Option<Duration> {
        let origin = origin.into();
        let penalty = self.connections.penalty(&origin.peer, now)?;
        if origin.trusted || !penalty.is_lost() {
            return None;
        }
        // It may be time, and the points are not back yet.
        let time = penalty.remaining(now).max(Duration::from_millis(1));
        self.capacity.counters.kept_out += 1;
        Some(time)
    }

    /// Counts a request, a stream or a connection that a rule of the application's does not allow.
    pub fn note_denied(&mut self) {
        self.capacity.counters.denied += 1;
    }

    /// Limits how much may come in a while, or lifts a limit with [`RateLimit::new`]. What comes beyond
    /// is answered `busy`, with the time after which it may come. Everybody begins with full buckets.
    pub fn set_rate_limit(&mut self, scope: RateScope, limit: RateLimit) {
        self.capacity.rates.set(scope, limit);
    }
}
