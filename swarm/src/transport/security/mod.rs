//! Encrypts connections, and proves who is at their other end.

mod buffer;
mod buffered_reader;
pub mod certificate;
mod coalescing_writer;
mod dialect;
mod error;
mod memory;
mod noise;
#[cfg(test)]
mod tests;
mod tls;
#[cfg(test)]
mod wire;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::Either;
use futures::{AsyncRead, AsyncWrite};
use libp2p_core::Multiaddr;
use libp2p_identity::{Keypair, PeerId};
use pointsub_core::Timestamp;
use rustls::pki_types::CertificateDer;

use self::buffered_reader::BufferedReader;
use self::certificate::CertificateError;
use self::coalescing_writer::CoalescingWriter;
pub use self::dialect::{Dialect, Dialects};
pub use self::error::DialectError;
use self::memory::Memory;
use self::noise::NoiseStream;
#[cfg(any(test, fuzzing))]
pub use self::noise::fuzz::noise_payload;
use self::tls::TlsStream;
use crate::clock::Clock;
use crate::node::dialing::reason::{innermost, root};

/// What libp2p calls them.
const TLS: &str = "/tls/1.0.0";
const NOISE: &str = "/noise";

/// How a node proves who it is and has peers prove who they are, in which dialects, and what it
/// remembers of the dialects of peers. Clones share everything. All transports of a node should share
/// one.
#[derive(Clone)]
pub struct Security(Arc<Shared>, Clock);

struct Shared {
    keypair: Keypair,
    dialects: Dialects,
    tls: tls::Configs,
    noise: noise::Keys,
    memory: Memory,
}

impl Security {
    /// What a node speaks, the better first.
    pub(crate) const NAMES: [&str; 2] = [TLS, NOISE];

    /// For a node with this key that speaks the dialects of [`Dialects::default`].
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn new(keypair: &Keypair) -> io::Result<Self> {
        Self::with_dialects(keypair, Dialects::default())
    }

    /// For a node with this key that speaks these dialects.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn with_dialects(keypair: &Keypair, dialects: Dialects) -> io::Result<Self> {
        let shared = Shared {
            keypair: keypair.clone(),
            dialects,
            tls: tls::Configs::new(keypair, dialects)?,
            noise: noise::Keys::new(keypair)?,
            memory: Memory::default(),
        };
        Ok(Self(Arc::new(shared), Clock::system()))
    }

    /// Takes the time from the node's runtime.
    pub(crate) fn with_clock(self, clock: Clock) -> Self {
        Self(self.0, clock)
    }

    /// The time, and what it is now.
    pub(crate) fn clock(&self) -> (Clock, Timestamp) {
        (self.1.clone(), self.1.now())
    }

    /// The node's key.
    #[must_use]
    pub fn keypair(&self) -> &Keypair {
        &self.0.keypair
    }

    /// What the node speaks.
    #[must_use]
    pub fn dialects(&self) -> Dialects {
        self.0.dialects
    }

    /// TLS for whoever dials the node, in any of its dialects, for a transport that encrypts by itself
    /// as QUIC does. The handshake does not prove who the peer is before [`identify`](Self::identify)
    /// says so, with the dialect that [`Dialect::of_alpn`] makes of the name that was agreed on.
    #[must_use]
    pub fn tls_server(&self) -> Arc<rustls::ServerConfig> {
        self.0.tls.server().clone()
    }

    /// TLS for a dial in one of the node's dialects, likewise. Whoever answers and is not the
    /// `expected` peer does not learn who dials.
    ///
    /// # Errors
    /// If the node does not speak the dialect.
    pub fn tls_client(
        &self,
        dialect: Dialect,
        expected: Option<PeerId>,
    ) -> io::Result<rustls::ClientConfig> {
        self.0.tls.client_for(dialect, expected)
    }

    /// Whom the certificates belong to that a peer has presented in a handshake of this dialect.
    ///
    /// # Errors
    /// [`CertificateError`]
    pub fn identify(
        &self,
        certificates: &[CertificateDer<'_>],
        dialect: Dialect,
    ) -> Result<PeerId, CertificateError> {
        tls::identify(certificates, dialect)
    }

    /// Dials in the dialect that is remembered of whoever is at `address`. If that is refused, dials
    /// again in the other one, if that is allowed. Remembers what was spoken.
    ///
    /// # Errors
    /// That of the only `attempt`, or that there is no dialect in common.
    pub async fn dial<T, E, F>(
        &self,
        address: &Multiaddr,
        mut attempt: impl FnMut(Dialect) -> F,
        is_refusal: impl Fn(&E) -> bool,
    ) -> Result<(PeerId, T), E>
    where
        F: Future<Output = Result<(PeerId, Dialect, T), E>>,
        E: std::error::Error + From<DialectError> + 'static,
    {
        let Shared { dialects, memory, .. } = &*self.0;
        let first = match dialects {
            Dialects::Only(only) => *only,
            Dialects::Both { .. } => memory.of(address),
        };
        let dialled = match attempt(first).await {
            Err(error) if is_refusal(&error) => {
                let second = first.other();
                if !dialects.contain(second) {
                    return Err(DialectError::Refused(first).into());
                }
                memory.forget(address);
                tracing::debug!(
                    target: "pointsub::security",
                    %address,
                    "the peer does not speak {first}: dialled as {second}"
                );
                attempt(second).await.map_err(|error| {
                    let why = match is_refusal(&error) {
                        true => "the peer does not speak that either".to_owned(),
                        false => root(&error),
                    };
                    DialectError::Neither { refused: first, tried: second, why }
                })?
            }
            outcome => outcome?,
        };
        let (peer, dialect, connection) = dialled;
        memory.learn(peer, Some(address), dialect);
        Ok((peer, connection))
    }

    /// Says that a peer has dialled, and in which dialect, and remembers that. Says so in the log if it
    /// is not the usual one.
    pub fn accepted(&self, remote: &Multiaddr, peer: PeerId, dialect: Dialect) {
        if matches!(self.0.dialects, Dialects::Both { .. }) && dialect != Dialect::Libp2p {
            tracing::info!(
                target: "pointsub::security",
                %peer,
                %remote,
                "a peer that speaks {dialect} has connected"
            );
        }
        self.0.memory.learn(peer, None, dialect);
    }

    /// Says that whoever has dialled was refused, and says so in the log if that is for its dialect.
    pub fn refused(&self, remote: &Multiaddr, why: &(dyn std::error::Error + 'static)) {
        let why = innermost(why);
        if is_other_dialect(why) {
            tracing::info!(target: "pointsub::security", %remote, "a peer was refused: {why}");
        }
    }

    /// Encrypts what we have dialled, with one of [`NAMES`](Self::NAMES), in this dialect. Noise tells
    /// which one it has become.
    pub(crate) async fn connect<C>(
        &self,
        io: C,
        name: &str,
        dialect: Dialect,
    ) -> io::Result<(PeerId, Dialect, Secured<C>)>
    where
        C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let io = BufferedReader::new(io);
        if name == TLS {
            let (peer, stream) = tls::connect(&self.0.tls, io, dialect).await?;
            return Ok((peer, dialect, Secured::with_tls(stream)));
        }
        let allowed: Vec<_> = self.0.dialects.iter().collect();
        let (peer, dialect, stream) = noise::connect(io, &self.0.noise, &allowed).await?;
        Ok((peer, dialect, Secured::with_noise(stream)))
    }

    /// Encrypts what the peer has dialled, likewise, in the dialect of the peer.
    pub(crate) async fn accept<C>(
        &self,
        io: C,
        name: &str,
    ) -> io::Result<(PeerId, Dialect, Secured<C>)>
    where
        C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let io = BufferedReader::new(io);
        if name == TLS {
            let (peer, dialect, stream) = tls::accept(&self.0.tls, io).await?;
            return Ok((peer, dialect, Secured::with_tls(stream)));
        }
        let dialect = self.0.dialects.noise();
        let (peer, stream) = noise::accept(io, &self.0.noise, dialect).await?;
        Ok((peer, dialect, Secured::with_noise(stream)))
    }
}

/// Whether this, which has no cause, says that a peer speaks another dialect than it may.
fn is_other_dialect(why: &(dyn std::error::Error + 'static)) -> bool {
    why.is::<DialectError>()
        || matches!(why.downcast_ref(), Some(CertificateError::OtherDialect { .. }))
        || matches!(why.downcast_ref(), Some(noise::Error::OtherDialect(_)))
}

/// Whether an attempt to dial failed because the peer does not speak its dialect.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    tls::is_refusal(error)
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security").field("dialects", &self.0.dialects).finish_non_exhaustive()
    }
}

/// Bytes that only the peer can read.
pub(crate) struct Secured<C>(Either<WithTls<C>, WithNoise<C>>);

type WithTls<C> = CoalescingWriter<TlsStream<BufferedReader<C>>>;
type WithNoise<C> = CoalescingWriter<NoiseStream<BufferedReader<C>>>;

impl<C> Secured<C> {
    fn with_tls(stream: TlsStream<BufferedReader<C>>) -> Self {
        Self(Either::Left(CoalescingWriter::new(stream)))
    }

    fn with_noise(stream: NoiseStream<BufferedReader<C>>) -> Self {
        Self(Either::Right(CoalescingWriter::new(stream)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
