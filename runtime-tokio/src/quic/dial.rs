//! From a socket to a connection of which it is known who is at the other end.

use futures::future::BoxFuture;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use pointsub_swarm::{Dialect, DialectError, Dialects};
use quinn::{ConnectionError, Endpoint};
use quinn_proto::TransportErrorCode;
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
/// TLS's alert that nothing that is offered in ALPN is served (RFC 7301, section 3.2).
const NO_APPLICATION_PROTOCOL: u8 = 120;
/// TLS's alert that the other end failed by itself. The QUIC listeners of go-libp2p and go-dep2p look for
/// a name of the hello before TLS does, and say this if they find none.
const INTERNAL_ERROR: u8 = 80;

/// Dials from the socket of `endpoint`, in one dialect after the other if need be.
pub(super) async fn connect(
    endpoint: Endpoint,
    address: Multiaddr,
    to: Target,
    config: Config,
) -> Result<(PeerId, Connection), Error> {
    let attempt = |dialect| connect_in(dialect, &endpoint, &to, &config);
    config.security.dial(&address, attempt, is_refusal).await
}

/// Dials in one dialect.
async fn connect_in(
    dialect: Dialect,
    endpoint: &Endpoint,
    to: &Target,
    config: &Config,
) -> Result<(PeerId, Dialect, Connection), Error> {
    let client = config.client(dialect, to.peer)?;
    let connecting = endpoint.connect_with(client, to.socket, NAMELESS)?;
    match (complete(connecting, config).await, to.peer) {
        (Err(Error::Connection(ConnectionError::TransportError(error))), Some(expected))
            if TLS.contains(&error.code.into()) =>
        {
            Err(Error::WrongPeer { expected, reason: error.to_string() })
        }
        (outcome, _) => outcome,
    }
}

/// Whether the peer says that it does not speak the dialect.
fn is_refusal(error: &Error) -> bool {
    match error {
        Error::Connection(ConnectionError::ConnectionClosed(closed)) => {
            let refusals = [NO_APPLICATION_PROTOCOL, INTERNAL_ERROR];
            refusals.map(TransportErrorCode::crypto).contains(&closed.error_code)
        }
        _ => false,
    }
}

/// Waits for the end of a handshake that another node has begun.
pub(super) async fn accept(
    connecting: quinn::Connecting,
    remote: Multiaddr,
    config: Config,
) -> Result<(PeerId, Connection), Error> {
    let accepted = complete(connecting, &config).await.map_err(|error| not_served(error, &config));
    let accepted = accepted.inspect_err(|why| config.security.refused(&remote, why));
    let (peer, dialect, connection) = accepted?;
    config.security.accepted(&remote, peer, dialect);
    Ok((peer, connection))
}

/// QUIC does not tell what a peer has offered that is refused. If both dialects are served, it was
/// neither.
fn not_served(error: Error, config: &Config) -> Error {
    match (&error, config.security.dialects()) {
        (Error::Connection(ConnectionError::TransportError(failed)), Dialects::Only(served))
            if failed.code == TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL) =>
        {
            DialectError::NotOffered(served).into()
        }
        _ => error,
    }
}

/// Waits for the end of a handshake.
async fn complete(
    connecting: quinn::Connecting,
    config: &Config,
) -> Result<(PeerId, Dialect, Connection), Error> {
    let connected = timeout(config.handshake, connecting).await;
    let connection = connected.map_err(|_| Error::HandshakeTimedOut)??;
    let (peer, dialect) = config.peer(&connection)?;
    Ok((peer, dialect, Connection::new(connection)))
}
