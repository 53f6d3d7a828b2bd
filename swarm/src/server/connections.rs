//! The report on open streams, in terms of libp2p and the machine's clock.

use std::time::{Duration, Instant};

use libp2p_identity::PeerId;
use pointsub_core::{Format, ProtocolName};

use crate::clock::Clock;
use crate::peer;

/// One stream that a peer has open at the server. Named after the Go original's report, where
/// each stream is a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Who opened it.
    pub peer: PeerId,
    /// Under which protocol.
    pub protocol: ProtocolName,
    /// The format that was negotiated.
    pub format: Format,
    /// When it was opened.
    pub created: Instant,
    /// When bytes of it last came or left, or a request began or ended.
    pub last_active: Instant,
    /// How long ago that was.
    pub idle: Duration,
    /// How many requests were handed to a handler so far.
    pub requests: u64,
    /// How many of them are at work.
    pub in_flight: usize,
    /// Bytes held for it: incomplete requests, bodies of those at work, unwritten answers.
    pub memory: usize,
}

impl ConnectionInfo {
    pub(super) fn new(info: pointsub_core::ConnectionInfo, clock: Clock) -> Self {
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
