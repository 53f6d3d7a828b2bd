//! What one libp2p connection carries, and what is to be done about it.

use core::time::Duration;

use alloc::vec::Vec;

use hashbrown::HashSet;

use super::liveness::{Liveness, Verdict};
use crate::endpoint::StreamKey;
use crate::error::StreamError;
use crate::hash::FixedState;
use crate::id::StreamId;
use crate::time::Timestamp;

/// How many idle streams beyond the limit may be about to end, each to make room for another one.
const ENDING: usize = 64;

/// The streams of one connection as far as decisions depend on them: whether the peer may open
/// another one, whether its silence means something, and which streams a retired connection ends.
///
/// Whoever does the I/O reports what happens to streams, and asks. Raw streams belong to the
/// application, which does not report: how many there are is part of each question.
///
/// ```
/// use core::time::Duration;
/// use pointsub_core::connection::{Connection, Signs};
/// use pointsub_core::{Timestamp, Verdict};
///
/// let at = |seconds| Timestamp::ZERO + Duration::from_secs(seconds);
/// let mut connection = Connection::new(128, at(0));
/// connection.opening();
/// let silence = Signs { heard: at(0), written: 0, requests_due: false, raw_streams: 0 };
/// for second in 0..3 {
///     assert_eq!(connection.look(silence, at(second)), None);
/// }
/// assert_eq!(connection.look(silence, at(3)), Some(Verdict::Probe), "the peer has agreed to no stream");
/// ```
#[derive(Debug, Clone)]
pub struct Connection {
    max_inbound: usize,
    /// Streams for requests that the peer opened.
    inbound: HashSet<StreamKey, FixedState>,
    /// Streams for requests that this end opened.
    outbound: HashSet<StreamId, FixedState>,
    /// Streams that this end is opening.
    opening: usize,
    /// There is a better connection.
    is_retired: bool,
    /// Its silence means something although nothing is due.
    is_kept: bool,
    liveness: Liveness,
    next_look: Option<Timestamp>,
}

/// What is observed on a connection.
#[derive(Debug, Clone, Copy)]
pub struct Signs {
    /// When there was last a sign of life.
    pub heard: Timestamp,
    /// Bytes written since then.
    pub written: u64,
    /// The peer owes an answer to a request.
    pub requests_due: bool,
    /// Raw streams that are open, whoever opened them.
    pub raw_streams: usize,
}

impl Signs {
    /// Whether the peer owes something by itself.
    const fn is_due(&self) -> bool {
        self.requests_due || self.raw_streams > 0
    }
}

/// What is done with a stream that a peer has opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is served.
    Accept,
    /// It is served if an idle stream of the connection is told to end for it, and refused if there
    /// is none.
    MakeRoom,
    /// It is refused.
    Refuse,
}

impl Connection {
    /// A connection that was just made, on which the peer may have `max_inbound` streams.
    #[must_use]
    pub fn new(max_inbound: usize, now: Timestamp) -> Self {
        Self {
            max_inbound,
            inbound: HashSet::default(),
            outbound: HashSet::default(),
            opening: 0,
            is_retired: false,
            is_kept: false,
            liveness: Liveness::new(now),
            next_look: None,
        }
    }

    /// How long the peer may be silent before the connection is suspect: see
    /// [`Liveness::tolerate`](crate::Liveness::tolerate).
    #[must_use]
    pub fn tolerate(self, silence: Duration, random: u64) -> Self {
        Self { liveness: self.liveness.tolerate(silence, random), ..self }
    }

    /// How long the way to the peer and back is.
    pub fn measured(&mut self, rtt: Duration) {
        self.liveness.measured(rtt);
    }

    /// This end begins to open a stream. [`opened`](Self::opened), [`dialled`](Self::dialled) or
    /// [`open_failed`](Self::open_failed) follows.
    pub const fn opening(&mut self) {
        self.opening += 1;
    }

    /// A stream for requests is open. Returns whether it takes none because the connection is
    /// retired.
    pub fn opened(&mut self, stream: StreamId) -> bool {
        self.opening = self.opening.saturating_sub(1);
        self.outbound.insert(stream);
        self.is_retired
    }

    /// A raw stream is open, or one that nobody wants any more.
    pub const fn dialled(&mut self) {
        self.opening = self.opening.saturating_sub(1);
    }

    /// A stream could not be opened.
    pub const fn open_failed(&mut self) {
        self.opening = self.opening.saturating_sub(1);
    }

    /// A stream for requests that this end opened has ended.
    pub fn closed(&mut self, stream: StreamId) {
        self.outbound.remove(&stream);
    }

    /// The peer has opened a stream. `raw_streams` of its raw streams are open.
    #[must_use]
    pub fn admit(&self, raw_streams: usize) -> Acceptance {
        let open = self.inbound.len() + raw_streams;
        if open < self.max_inbound {
            Acceptance::Accept
        } else if open < self.max_inbound + ENDING {
            Acceptance::MakeRoom
        } else {
            Acceptance::Refuse
        }
    }

    /// A stream for requests that the peer opened is served, or told that it is refused.
    pub fn accepted(&mut self, stream: StreamKey) {
        self.inbound.insert(stream);
    }

    /// A stream for requests that the peer opened has ended.
    pub fn ended(&mut self, stream: StreamKey) {
        self.inbound.remove(&stream);
    }

    /// Streams for requests that the peer opened.
    pub fn inbound(&self) -> impl ExactSizeIterator<Item = StreamKey> {
        self.inbound.iter().copied()
    }

    /// Streams for requests that this end opened.
    pub fn outbound(&self) -> impl ExactSizeIterator<Item = StreamId> {
        self.outbound.iter().copied()
    }

    /// There is a better connection. Returns the streams that take no further requests.
    pub fn retire(&mut self) -> Vec<StreamId> {
        self.is_retired = true;
        self.outbound().collect()
    }

    /// The connection is used again.
    pub const fn resume(&mut self) {
        self.is_retired = false;
    }

    /// From now on, the peer's silence means something although nothing is due.
    pub const fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Whether the peer's silence means something.
    #[must_use]
    pub const fn is_due(&self, signs: &Signs) -> bool {
        self.is_kept || self.opening > 0 || signs.is_due()
    }

    /// When to [look](Self::look) at the connection, which may be at once. `None` while nothing is
    /// due: ask again when something becomes due.
    #[must_use]
    pub fn next_look(&self, signs: &Signs) -> Option<Timestamp> {
        let at_once = self.is_due(signs) || self.liveness.is_watched();
        self.next_look.or(at_once.then_some(Timestamp::ZERO))
    }

    /// Looks for silence.
    pub fn look(&mut self, signs: Signs, now: Timestamp) -> Option<Verdict> {
        let verdict = self.liveness.look(self.is_due(&signs), signs.heard, signs.written, now);
        self.next_look = self.liveness.is_watched().then(|| self.liveness.next_look(now));
        verdict
    }

    /// Somebody doubts that the peer is there. Returns [`Verdict::Probe`] if it is to be probed.
    pub fn doubt(&mut self, heard: Timestamp, now: Timestamp) -> Option<Verdict> {
        self.liveness.probe(heard, now)
    }

    /// This process has slept. Otherwise like [`doubt`](Self::doubt).
    pub fn wake(&mut self, heard: Timestamp, now: Timestamp) -> Option<Verdict> {
        self.liveness.wake(heard, now)
    }

    /// A probe has ended. A peer that does not know the protocol of the probe has answered too.
    /// Returns whether this is a sign of life, on which somebody may wait: look at once.
    pub fn probed(&mut self, outcome: Result<(), &StreamError>, now: Timestamp) -> bool {
        let answered = matches!(outcome, Ok(()) | Err(StreamError::Unsupported));
        if answered {
            self.next_look = self.next_look.map(|_| now);
        }
        answered
    }
}
