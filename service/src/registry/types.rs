//! What travels between a registry and those who use it.

use bytes::Bytes;
use pointsub_core::network::registry::RegistryRefusal;
use pointsub_swarm::{Multiaddr, PeerId, PeerRecord, SignedEnvelope, StatusCode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::{CallError, ServiceError};

/// How many addresses a signed record may have.
pub(super) const MAX_ADDRESSES: usize = 16;
/// The longest record in bytes.
pub(super) const MAX_RECORD: usize = 4096;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Announcement {
    /// The names of the protocols that it serves.
    pub protocols: Vec<String>,
    /// Where it is reached: a [`PeerRecord`] of its own in the envelope that it has signed, in protobuf.
    pub record: Bytes,
    /// How much it has to do, in thousandths of what it can:
    /// [`ServerStats::load`](pointsub_swarm::ServerStats::load).
    #[serde(default)]
    pub load: u32,
}

impl Announcement {
    /// A server of these protocols, which is reached as the record says.
    #[must_use]
    pub fn new(protocols: Vec<String>, record: &PeerRecord) -> Self {
        let record = record.to_signed_envelope().into_protobuf_encoding().into();
        Self { protocols, record, load: 0 }
    }

    /// Says how much the server has to do.
    #[must_use]
    pub const fn with_load(mut self, load: u32) -> Self {
        self.load = load;
        self
    }
}

/// A registry lists the server as its last announcement says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Accepted {}

/// A server that a registry lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Listed {
    /// As the server has signed it: [`read`](Self::read).
    pub record: Bytes,
    /// How much it has to do, in thousandths of what it can.
    #[serde(default)]
    pub load: u32,
}

impl Listed {
    /// A server with this record and this much to do.
    #[must_use]
    pub const fn new(record: Bytes, load: u32) -> Self {
        Self { record, load }
    }

    /// Whose record it is, and the addresses that this peer has signed.
    ///
    /// # Errors
    /// [`RecordError`] if it is not what it should be: a registry may forge nothing.
    pub fn read(&self) -> Result<(PeerId, Vec<Multiaddr>), RecordError> {
        read(&self.record)
    }
}

/// What a registry tells those who watch a protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Change {
    /// What follows is all there is: whoever is not told again until [`Complete`](Self::Complete) is not
    /// listed any more.
    Begin,
    /// A server is listed, or something else is known of it.
    Here(Listed),
    /// The peer with this id, in bytes, is not listed any more.
    Gone(Bytes),
    /// All that are listed have been told. What follows are changes.
    Complete,
}

/// Why a record is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RecordError {
    /// It has too many bytes.
    #[error("the record is too long: it may have {MAX_RECORD} bytes")]
    TooLong,
    /// It is no signed record of a peer, or its signature is not that of the peer.
    #[error("this is no record that its peer has signed")]
    NotSigned,
    /// It is that of another peer than who has sent it.
    #[error("the record is that of another peer")]
    OtherPeer,
    /// It names nowhere, or too many places.
    #[error("the record has no addresses, or more than {MAX_ADDRESSES}")]
    Addresses,
}

/// Reads a signed record. Nothing of it is decoded before its size is known.
fn read(record: &[u8]) -> Result<(PeerId, Vec<Multiaddr>), RecordError> {
    if record.len() > MAX_RECORD {
        return Err(RecordError::TooLong);
    }
    let envelope =
        SignedEnvelope::from_protobuf_encoding(record).map_err(|_| RecordError::NotSigned)?;
    let record = PeerRecord::from_signed_envelope_interop(envelope);
    let record = record.map_err(|_| RecordError::NotSigned)?;
    let addresses = record.addresses();
    if addresses.is_empty() || addresses.len() > MAX_ADDRESSES {
        return Err(RecordError::Addresses);
    }
    Ok((record.peer_id(), addresses.to_vec()))
}

/// Whether this peer says so itself.
pub(super) fn check(record: &[u8], peer: PeerId) -> Result<(), RecordError> {
    let (of, _) = read(record)?;
    if of == peer { Ok(()) } else { Err(RecordError::OtherPeer) }
}

/// What somebody wants of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegistryUse {
    /// To be listed.
    Announce,
    /// To be told who is listed.
    Watch,
}

/// Why a registry does not list a server, or tells nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RegistryError {
    /// The application does not let this peer do so.
    #[error("this peer may not use the registry so")]
    NotAllowed,
    /// The signed record is not believed.
    #[error(transparent)]
    Record(RecordError),
    /// That is no name of a protocol.
    #[error("that is no name of a protocol: {name:?}")]
    Name {
        /// The name.
        name: String,
    },
    /// Another call of the same peer has taken the place of this one.
    #[error("another call of this peer announces it now")]
    Replaced,
    /// The announcement is too large.
    #[error("{message}")]
    TooLarge {
        /// What it has and may have.
        message: String,
    },
    /// There is no room for this peer, its network, or anybody. Another time there may be.
    #[error("{message}")]
    Full {
        /// What is full, and what to do.
        message: String,
    },
    /// The call is over. Its text is for the log of the server.
    #[error("the call is over: {0}")]
    #[serde(skip)]
    Over(String),
}

impl From<RegistryRefusal> for RegistryError {
    fn from(refusal: RegistryRefusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            RegistryRefusal::Replaced => Self::Replaced,
            RegistryRefusal::TooLarge { .. } => Self::TooLarge { message },
            _ => Self::Full { message },
        }
    }
}

impl From<RecordError> for RegistryError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<CallError> for RegistryError {
    fn from(error: CallError) -> Self {
        Self::Over(error.to_string())
    }
}

impl ServiceError for RegistryError {
    fn code(&self) -> StatusCode {
        match self {
            Self::NotAllowed => StatusCode::PermissionDenied,
            Self::Record(_) | Self::Name { .. } | Self::TooLarge { .. } => StatusCode::BadRequest,
            // A client that gets it asks elsewhere, and not again at once as after `Busy`.
            Self::Replaced | Self::Full { .. } => StatusCode::Application(1),
            Self::Over(_) => StatusCode::Internal,
        }
    }
}
