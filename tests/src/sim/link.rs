//! A modelled stream: bytes arrive later, in other pieces, or not at all.

use std::collections::VecDeque;

use bytes::Bytes;
use pointsub_core::wire::Decoder;
use pointsub_core::{Format, ProtocolName, StreamId, Timestamp};

use super::Rng;
use super::intruder::Intruder;

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// To whoever opened the stream.
    Client,
    /// To whoever accepted it.
    Server,
}

impl Side {
    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Who opened a stream.
#[derive(Debug)]
pub enum Opener {
    /// The client, which calls it this.
    Client(StreamId),
    /// A stranger.
    Intruder(Intruder),
}

/// Who is at the other end.
#[derive(Debug)]
pub enum End {
    /// Nobody yet.
    Opening,
    /// A server of ours, which calls it this.
    Machine(StreamId),
    /// A server that answers once.
    SingleShot {
        /// What came of the request so far.
        request: Vec<u8>,
        /// The request is complete.
        complete: bool,
    },
    /// One that says what it likes.
    Byzantine {
        /// Reads requests.
        decoder: Box<Decoder>,
        /// What it was asked.
        ids: Vec<u64>,
        /// How much it will still say.
        left: u32,
    },
    /// Nobody any more.
    Gone,
}

/// One stream.
#[derive(Debug)]
pub struct Link {
    /// To which peer.
    pub peer: usize,
    /// Who opened it.
    pub opener: Opener,
    /// On which connection, if it is the client's.
    pub conn: Option<usize>,
    /// Under which protocol.
    pub protocol: ProtocolName,
    /// In which format.
    pub format: Format,
    /// Who is at the other end.
    pub end: End,
    /// One direction.
    pub to_server: Pipe,
    /// The other one.
    pub to_client: Pipe,
    /// After how many bytes it breaks.
    pub reset_after: Option<u32>,
    /// It has broken; the ends are about to hear of it.
    pub broken: bool,
    /// Handlers that ended since the server last wrote.
    pub(super) answers: u32,
}

impl Link {
    /// The direction towards a side.
    pub fn pipe(&mut self, to: Side) -> &mut Pipe {
        match to {
            Side::Client => &mut self.to_client,
            Side::Server => &mut self.to_server,
        }
    }

    /// Whether somebody reads on that side: whoever has ended a stream has forgotten it.
    #[must_use]
    pub fn has_reader(&self, side: Side) -> bool {
        match side {
            Side::Client => !self.to_server.closed,
            Side::Server => !self.to_client.closed,
        }
    }

    /// Whether nobody has taken it yet.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        matches!(self.end, End::Opening)
    }

    /// What the client calls it.
    #[must_use]
    pub fn at_client(&self) -> Option<StreamId> {
        match self.opener {
            Opener::Client(stream) => Some(stream),
            Opener::Intruder(_) => None,
        }
    }
}

/// One direction of a stream.
#[derive(Debug)]
pub struct Pipe {
    /// What is on its way, and when each piece arrives.
    pub(super) sent: VecDeque<(Timestamp, Bytes)>,
    /// What has arrived and was not read.
    pub(super) arrived: VecDeque<Bytes>,
    /// Bytes of both.
    pub(super) unread: usize,
    /// The writer waits for its bytes to be taken; they may be from this time on.
    pub writing: Option<Timestamp>,
    /// The writer has done its last operation.
    pub closed: bool,
    /// When the end arrives, if it is on its way.
    pub(super) end: Option<Timestamp>,
    /// The reader was told of the end, or will never be.
    pub ended: bool,
    /// Nothing arrives before.
    pub(super) stalled_until: Timestamp,
    /// When the last of it arrives: nothing overtakes.
    pub(super) last: Timestamp,
    pub(super) rng: Rng,
}

impl Pipe {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            sent: VecDeque::new(),
            arrived: VecDeque::new(),
            unread: 0,
            writing: None,
            closed: false,
            end: None,
            ended: false,
            stalled_until: Timestamp::ZERO,
            last: Timestamp::ZERO,
            rng,
        }
    }

    /// Forgets what has not been read.
    pub(super) fn clear(&mut self) {
        self.sent.clear();
        self.arrived.clear();
        self.unread = 0;
    }
}
