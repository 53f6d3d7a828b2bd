//! One stream of the pool.

use crate::endpoint::client::state::keys::{PeerKey, RouteKey};
use crate::id::{PeerId, ProtocolName};
use crate::time::Timestamp;
use crate::wire::{Format, Settings};

/// How many requests one plain stream carries. A server of the Go library closes a stream after 10
/// 000, and nobody can tell whether a request that crosses with that was processed.
const MAX_PLAIN_USES: u64 = 9_000;

/// Which formats to propose on a new stream, in this order, in one negotiation.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Offer {
    /// Nothing is known about the peer: native, then plain.
    Both,
    /// The one that worked before.
    Only(Format),
}

/// What a stream is opened for.
#[derive(Clone, Debug)]
pub(crate) struct Purpose {
    pub(crate) peer: PeerKey,
    pub(crate) peer_id: PeerId,
    pub(crate) route: RouteKey,
    pub(crate) protocol: ProtocolName,
    pub(crate) offer: Offer,
}

/// A stream that is kept for requests, from when it is opened until it is gone.
#[derive(Debug)]
pub(crate) struct PooledStream {
    pub(super) purpose: Purpose,
    pub(super) state: StreamState,
    pub(super) format: Format,
    pub(super) in_flight: usize,
    pub(super) capacity: usize,
    /// Whether the peer has said how much it takes.
    pub(super) capacity_known: bool,
    /// The server takes no further requests on it.
    pub(super) drained: bool,
    /// Carries a large body now.
    pub(super) bulk: bool,
    /// A request timed out here, or its caller's deadline passed without any sign of life, and there
    /// was none since; or the stream is on trial.
    pub(super) suspect: bool,
    /// How often the peer has said anything.
    pub(super) signs: u64,
    /// When its timer for being idle runs out.
    pub(super) watched_until: Timestamp,
    /// When it last fell idle.
    pub(super) idle_since: Timestamp,
    pub(super) created: Timestamp,
    /// When a request was last put on it or left it.
    pub(super) last_active: Timestamp,
    pub(super) placed: u64,
    pub(super) answered: u64,
}

/// ```text
///  Opening ──▶ Ready ──draining, failing or expired──▶ Draining ──▶ (removed)
///     └───────────────failed or abandoned──────────────────────────▲
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamState {
    Opening {
        due: Timestamp,
    },
    Ready,
    /// It takes no further requests.
    Draining,
}

impl PooledStream {
    /// A stream that is to be opened, until `due`.
    pub(super) fn new(purpose: Purpose, due: Timestamp, now: Timestamp) -> Self {
        Self {
            purpose,
            state: StreamState::Opening { due },
            format: Format::Plain,
            in_flight: 0,
            capacity: 1,
            capacity_known: false,
            drained: false,
            bulk: false,
            suspect: false,
            signs: 0,
            watched_until: now,
            idle_since: now,
            created: now,
            last_active: now,
            placed: 0,
            answered: 0,
        }
    }

    /// It is open, for at most `max_in_flight` requests at a time.
    pub(super) fn opened(&mut self, format: Format, max_in_flight: usize, now: Timestamp) {
        self.state = StreamState::Ready;
        self.format = format;
        self.idle_since = now;
        self.created = now;
        self.last_active = now;
        if format == Format::Native {
            self.capacity = max_in_flight.min(Settings::ASSUMED.max_in_flight as usize);
        } else {
            self.capacity_known = true;
        }
    }

    pub(crate) fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.state, StreamState::Opening { .. })
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state == StreamState::Ready
    }

    /// Whether it counts against the cap on idle streams.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_ready() && self.in_flight == 0
    }

    /// Whether the peer is about to say how much more it takes.
    pub(crate) fn is_undecided(&self) -> bool {
        !self.capacity_known && !self.suspect
    }

    /// The requests that the peer may be at work on. Of a stream on which it is silent nobody knows.
    pub(crate) fn at_work(&self) -> usize {
        if self.suspect { 0 } else { self.in_flight }
    }

    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    pub(crate) fn signs(&self) -> u64 {
        self.signs
    }

    /// Whether it has carried as many requests as a plain stream should.
    pub(super) fn is_worn(&self) -> bool {
        self.format == Format::Plain && self.placed >= MAX_PLAIN_USES
    }

    /// Whether it can show what its peer does with plain streams. A peer that was asked nothing
    /// keeps any stream.
    pub(super) fn can_be_tried(&self) -> bool {
        self.format == Format::Plain && self.answered > 0
    }

    /// The peer has answered a request. Whether that was the first.
    pub(crate) fn note_answer(&mut self) -> bool {
        self.note_sign();
        self.answered += 1;
        self.answered == 1
    }

    /// The peer has said something that only a living stream says.
    pub(crate) fn note_sign(&mut self) {
        self.signs += 1;
        self.suspect = false;
    }

    pub(crate) fn note_suspicion(&mut self) {
        self.suspect = true;
    }

    /// The peer has said how many requests it takes at a time.
    pub(crate) fn note_limit(&mut self, limit: usize) {
        self.signs += 1;
        self.capacity_known = true;
        if self.format == Format::Native {
            self.capacity = limit;
        }
    }

    /// The server takes no further requests on it.
    pub(crate) fn note_drained(&mut self) {
        self.drained = true;
    }

    pub(super) fn can_take(&self, bulk: bool) -> bool {
        let alone = bulk || self.format == Format::Plain;
        let room = if alone { self.in_flight == 0 } else { self.in_flight < self.capacity };
        room && self.is_ready() && !self.suspect && !self.bulk
    }
}
