//! Why a peer was turned away.

use std::io;

use libp2p_identity::{DecodingError, SigningError};

use crate::transport::security::Dialect;

/// A handshake that failed. The connection is of no further use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// The connection broke, or ended too early.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A message is too short, or does not decrypt, or its key is of no use.
    #[error("a message of the Noise handshake is invalid ({0}): see whether the peer speaks Noise")]
    Noise(#[from] snow::Error),
    #[error(
        "a message of the Noise handshake has {len} bytes, and {most} are allowed: see whether the \
         peer speaks Noise"
    )]
    TooLong { len: usize, most: usize },
    #[error("the first message of the Noise handshake has a payload, which nothing protects yet")]
    EarlyPayload,
    #[error("the peer's Noise payload is malformed")]
    Payload(#[from] prost::DecodeError),
    #[error("the peer's identity key is malformed or of a kind that is not supported")]
    IdentityKey(#[from] DecodingError),
    /// Neither dialect's text is what was signed, or another key has signed it.
    #[error("the signature of the peer's static key does not verify: it is not who it says it is")]
    Signature,
    /// The peer has proved who it is.
    #[error("the peer speaks {}'s handshakes, which NodeBuilder::dialects would allow", name(*.0))]
    OtherDialect(Dialect),
    #[error("our identity key cannot sign")]
    Signing(#[from] SigningError),
}

fn name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Libp2p => "libp2p",
        Dialect::Dep2p => "dep2p",
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            error => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
