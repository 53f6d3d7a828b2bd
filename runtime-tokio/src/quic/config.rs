//! What connections are made with.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use libp2p_identity::{Keypair, PeerId};
use pointsub_swarm::{Dialect, Security};
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::rustls::pki_types::CertificateDer;
use quinn::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;

use super::Error;

/// How many streams a peer may have open on a QUIC connection.
const STREAMS: u32 = 256;
/// How much a peer may send on a stream of QUIC beyond what was read from it.
const WINDOW: u32 = 512 * 1024;
/// How much may be on its way to the peer of a QUIC connection, on all its streams together.
const SEND: u64 = 4 * 1024 * 1024;
/// How long a QUIC connection lives on without a sign of the peer. The peer's own time counts if that
/// is shorter, and three probe timeouts if these are longer, as they are on a slow way. A peer that owes
/// something is asked long before by the connection itself, so this is for one that owes nothing.
const IDLE: Duration = Duration::from_secs(15);
/// How long nothing is heard before whoever has dialled asks the peer for a sign, which is asked again
/// and again until [`IDLE`] has passed. It keeps the way through a NAT open, too.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// The same for the other end, which asks only if the one that has dialled does not.
const LISTENER_KEEP_ALIVE: Duration = Duration::from_secs(7);
/// How long a handshake of QUIC may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How many handshakes of others may be under way at a QUIC listener before further ones have to prove
/// that they come from where they say they do. That takes them one round trip.
const UNPROVEN: usize = 128;
/// How many attempts to connect wait at a QUIC listener until it is polled.
const WAITING: usize = 1024;
/// What each of them may send meanwhile.
const EARLY: u64 = 16 * 1024;

/// Each end asks twice at least.
const _: () = assert!(2 * LISTENER_KEEP_ALIVE.as_millis() < IDLE.as_millis());

/// What the connections of one node are made with.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) security: Security,
    pub(super) endpoint: EndpointConfig,
    pub(super) server: ServerConfig,
    /// See [`HANDSHAKE`].
    pub(super) handshake: Duration,
    /// See [`UNPROVEN`].
    pub(super) unproven: usize,
    /// Of connections that are dialled.
    dialler: Arc<TransportConfig>,
}

impl Config {
    pub(super) fn new(security: &Security) -> io::Result<Self> {
        let [dialler, listener] =
            [KEEP_ALIVE, LISTENER_KEEP_ALIVE].map(|pause| Arc::new(transport(pause)));
        let tls = QuicServerConfig::try_from(security.tls_server()).map_err(io::Error::other)?;
        let mut server = ServerConfig::with_crypto(Arc::new(tls));
        server
            .transport_config(listener)
            // The swarm would have to learn of new addresses.
            .migration(false)
            .max_incoming(WAITING)
            .incoming_buffer_size(EARLY)
            .incoming_buffer_size_total(EARLY * WAITING as u64);
        // They are found again by the server's name, which says nothing in libp2p.
        server.validation_token.sent(0);
        let mut endpoint = endpoint(security.keypair());
        endpoint.supported_versions(vec![1]);
        Ok(Self {
            security: security.clone(),
            endpoint,
            server,
            handshake: HANDSHAKE,
            unproven: UNPROVEN,
            dialler,
        })
    }

    /// For one dial. Whoever answers and is not the expected peer does not learn who dialled.
    pub(super) fn client(
        &self,
        dialect: Dialect,
        expected: Option<PeerId>,
    ) -> io::Result<ClientConfig> {
        let tls = self.security.tls_client(dialect, expected)?;
        let tls = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
        let mut client = ClientConfig::new(Arc::new(tls));
        client.transport_config(self.dialler.clone());
        Ok(client)
    }

    /// Who is at the other end of a connection, and in which dialect it says so.
    pub(super) fn peer(&self, connection: &quinn::Connection) -> Result<(PeerId, Dialect), Error> {
        let data = connection.handshake_data().and_then(|any| any.downcast::<HandshakeData>().ok());
        let agreed = data.and_then(|data| data.protocol);
        let dialect = Dialect::of_alpn(agreed.as_deref()).ok_or(Error::Unknown)?;
        let identity = connection.peer_identity();
        let chain = identity.and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
        let peer = self.security.identify(&chain.unwrap_or_default(), dialect)?;
        Ok((peer, dialect))
    }
}

fn transport(keep_alive: Duration) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        // libp2p has no use for these.
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(WINDOW))
        // Streams that nobody reads take no room from others.
        .receive_window(VarInt::from_u32(STREAMS * WINDOW))
        .send_window(SEND)
        .max_idle_timeout(Some(VarInt::from_u32(IDLE.as_millis() as u32).into()))
        .keep_alive_interval(Some(keep_alive))
        // Tells anybody on the way how long it is.
        .allow_spin(false);
    transport
}

/// A node that starts again with the same key can tell peers of its former life that this is over: it
/// knows the ids of connections that it has given out, and answers with the tokens that belong to them.
fn endpoint(keypair: &Keypair) -> EndpointConfig {
    let Some(secret) = keypair.derive_secret(b"pointsub quic stateless reset") else {
        return EndpointConfig::default();
    };
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
    let ids = ring::hmac::sign(&key, b"connection ids");
    let ids = ids.as_ref().iter().fold(0, |ids: u64, byte| ids.rotate_left(8) ^ u64::from(*byte));
    let mut endpoint = EndpointConfig::new(Arc::new(key));
    endpoint.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    endpoint
}
