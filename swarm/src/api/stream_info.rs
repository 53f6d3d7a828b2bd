//! The report on open streams, in terms of libp2p and the machine's clock.

use std::time::{Duration, Instant};

use libp2p_identity::PeerId;
use pointsub_core::{Format, ProtocolName};

use crate::clock::Clock;
use crate::peer;

/// One open stream: of a server, one that a peer has opened; of a client, one to a peer.
#[doc(alias = "ConnectionInfo")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Who is at the other end.
    pub peer: PeerId,
    /// Under which protocol.
    pub protocol: ProtocolName,
    /// The format that was negotiated; `None` for a raw stream.
    pub format: Option<Format>,
    /// When it was opened.
    pub created: Instant,
    /// When a request last began or ended; at a server also when bytes last came or left.
    pub last_active: Instant,
    /// How long ago that was.
    pub idle: Duration,
    /// How many requests it has had so far: at a server, those handed to a handler.
    pub requests: u64,
    /// How many of them are under way.
    pub in_flight: usize,
    /// Bytes held for it: bodies of requests under way; at a server also incomplete requests and
    /// unwritten answers.
    pub memory: usize,
}

impl StreamInfo {
    pub(crate) fn new(info: pointsub_core::StreamInfo, clock: &Clock) -> Self {
        Self {
            peer: peer::to_libp2p(&info.peer),
            protocol: info.protocol,
            format: info.format,
            created: clock.instant(info.created),
            last_active: clock.instant(info.last_active),
            idle: info.idle,
            requests: info.requests,
            in_flight: info.in_flight,
            memory: info.memory,
        }
    }
}
