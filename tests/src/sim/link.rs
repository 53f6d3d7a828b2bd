//! A modelled stream: bytes arrive later, in other pieces, or not at all.

use std::collections::BTreeSet;

use pointsub_core::{Format, PeerId, ProtocolName, StreamId};

use super::Rng;

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Side {
    Client,
    Server,
}

/// One stream between the client and a server.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    pub(super) protocol: ProtocolName,
    pub(super) format: Format,
    /// The server's name for it; `None` while it is being opened.
    pub(super) at_server: Option<StreamId>,
    pub(super) to_server: Pipe,
    pub(super) to_client: Pipe,
}

impl Link {
    pub(super) fn new(peer: PeerId, protocol: ProtocolName, format: Format) -> Self {
        let (to_server, to_client) = (Pipe::default(), Pipe::default());
        Self { peer, protocol, format, at_server: None, to_server, to_client }
    }

    pub(super) fn pipe(&mut self, to: Side) -> &mut Pipe {
        match to {
            Side::Client => &mut self.to_client,
            Side::Server => &mut self.to_server,
        }
    }
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Bytes that have not arrived yet.
    pub(super) bytes: Vec<u8>,
    /// The writer waits for its bytes to be taken.
    pub(super) writing: bool,
    /// The writer has closed: when the bytes have arrived, the end does.
    pub(super) closed: bool,
    /// Nothing arrives any more .
    pub(super) stalled: bool,
    pub(super) ended: bool,
    /// How often bytes came while nobody wanted to read.
    pub(super) waits: u32,
}

impl Pipe {
    /// Takes what arrives next: everything, or a piece of any size.
    pub(super) fn arrive(&mut self, rng: &mut Rng) -> Vec<u8> {
        let len = self.bytes.len() as u64;
        let take = if rng.chance(50) { len } else { 1 + rng.below(len) };
        self.bytes.drain(..take.min(len) as usize).collect()
    }
}

/// Which requests reached a handler.
pub(super) type Seen = BTreeSet<u64>;
