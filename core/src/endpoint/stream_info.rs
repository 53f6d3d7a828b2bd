//! The report on open streams.

use core::time::Duration;

use crate::id::{PeerId, ProtocolName};
use crate::time::Timestamp;
use crate::wire::Format;

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
    pub created: Timestamp,
    /// When a request last began or ended; at a server also when bytes last came or left.
    pub last_active: Timestamp,
    /// The time since then.
    pub idle: Duration,
    /// How many requests it has had so far: at a server, those handed to a handler.
    pub requests: u64,
    /// How many of them are under way.
    pub in_flight: usize,
    /// Bytes held for it: bodies of requests under way; at a server also incomplete requests and
    /// unwritten answers.
    pub memory: usize,
}
