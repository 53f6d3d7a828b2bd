//! Why there is no connection.

use std::io;
use std::net::SocketAddr;

use libp2p_identity::PeerId;
use pointsub_swarm::DialectError;
use pointsub_swarm::certificate::CertificateError;
use thiserror::Error;

/// Why something could not be listened on, or a connection not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No socket of the kind that is needed; the operating system says why.
    #[error("cannot use a UDP socket: {0}")]
    Io(#[from] io::Error),
    /// The address cannot be reached from the socket, or the socket is about to be closed.
    #[error("cannot dial: {0}")]
    Dial(#[from] quinn::ConnectError),
    /// There was no connection, or it was lost. Nobody may be there: try again later, or another
    /// address.
    #[error("no connection: {0}")]
    Connection(#[from] quinn::ConnectionError),
    /// The other end has not completed the handshake in time. Try again later, or another address.
    #[error("the handshake has taken too long")]
    HandshakeTimedOut,
    /// Somebody else is at this address, or does not speak libp2p. Try another address.
    #[error("whoever answers is not {expected}: {reason}")]
    WrongPeer {
        /// Who was to be there.
        expected: PeerId,
        /// What the handshake says.
        reason: String,
    },
    /// The handshake has agreed on something else than was offered.
    #[error("the handshake does not say what the other end speaks")]
    Unknown,
    /// The other end does not prove who it is.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The other end and this node have no dialect in common.
    #[error(transparent)]
    Dialect(#[from] DialectError),
    /// A hole is being punched towards this address. Wait for that.
    #[error("a hole is being punched towards {0} already")]
    PunchingAlready(SocketAddr),
}
