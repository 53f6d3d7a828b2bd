//! From a socket to a connection of which it is known who is at the other end.

use futures::future::BoxFuture;
use libp2p_identity::PeerId;
use quinn::{ConnectionError, Endpoint};
use tokio::time::timeout;

use super::Error;
use super::address::Target;
use super::config::Config;
use super::connection::Connection;

/// A connection that is being made.
pub(super) type Upgrade = BoxFuture<'static, Result<(PeerId, Connection), Error>>;

/// An address for a name: with that TLS says nothing of it.
const NAMELESS: &str = "0.0.0.0";
/// Where the codes of errors in TLS are among those of QUIC (RFC 9001, section 4.8).
const TLS: std::ops::Range<u64> = 0x100..0x200;

/// Dials from the socket of `endpoint`.
pub(super) async fn connect(
    endpoint: Endpoint,
    to: Target,
    config: Config,
) -> Result<(PeerId, Connection), Error> {
    let client = config.client(to.peer)?;
    let connecting = endpoint.connect_with(client, to.socket, NAMELESS)?;
    let outcome = complete(connecting, config).await;
    match (outcome, to.peer) {
        (Err(Error::Connection(ConnectionError::TransportError(error))), Some(expected))
            if TLS.contains(&error.code.into()) =>
        {
            Err(Error::WrongPeer { expected, reason: error.to_string() })
        }
        (outcome, _) => outcome,
    }
}

/// Waits for the end of a handshake.
pub(super) async fn complete(
    connecting: quinn::Connecting,
    config: Config,
) -> Result<(PeerId, Connection), Error> {
    let connected = timeout(config.handshake, connecting).await;
    let connection = connected.map_err(|_| Error::HandshakeTimedOut)??;
    Ok((config.dialect.peer(&connection)?, Connection::new(connection)))
}
