//! Encrypts connections, and proves who is at their other end.

mod buffer;
mod dialect;
mod gathered;
mod noise;
mod read_ahead;
mod tls;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::Either;
use futures::{AsyncRead, AsyncWrite};
use libp2p_identity::{Keypair, PeerId};

pub use self::dialect::Dialect;
use self::gathered::Gathered;
use self::noise::NoiseStream;
#[cfg(any(test, fuzzing))]
pub use self::noise::fuzz::noise_payload;
use self::read_ahead::ReadAhead;
use self::tls::{Tls, TlsStream};

/// What libp2p calls them.
const TLS: &str = "/tls/1.0.0";
const NOISE: &str = "/noise";

/// Encrypts connections of a node with TLS 1.3 or Noise, whichever the peer has.
#[derive(Clone)]
pub(crate) struct Security {
    tls: Tls,
    noise: noise::Keys,
}

impl Security {
    /// What a node speaks, the better first.
    pub(crate) const NAMES: [&str; 2] = [TLS, NOISE];

    /// For a node with this key.
    pub(crate) fn new(keypair: &Keypair) -> io::Result<Self> {
        Ok(Self { tls: Tls::new(keypair)?, noise: noise::Keys::new(keypair)? })
    }

    /// Encrypts what we have dialled, with one of [`NAMES`](Self::NAMES).
    pub(crate) async fn connect<C>(self, io: C, name: &str) -> io::Result<(PeerId, Secured<C>)>
    where
        C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let io = ReadAhead::new(io);
        Ok(if name == TLS {
            Secured::with_tls(self.tls.connect(io).await?)
        } else {
            let allowed = [Dialect::Libp2p];
            let (peer, _, stream) = noise::connect(io, &self.noise, &allowed).await?;
            Secured::with_noise((peer, stream))
        })
    }

    /// Encrypts what the peer has dialled, likewise.
    pub(crate) async fn accept<C>(self, io: C, name: &str) -> io::Result<(PeerId, Secured<C>)>
    where
        C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let io = ReadAhead::new(io);
        Ok(if name == TLS {
            Secured::with_tls(self.tls.accept(io).await?)
        } else {
            Secured::with_noise(noise::accept(io, &self.noise, Dialect::Libp2p).await?)
        })
    }
}

/// Bytes that only the peer can read.
pub(crate) struct Secured<C>(Either<WithTls<C>, WithNoise<C>>);

type WithTls<C> = Gathered<TlsStream<ReadAhead<C>>>;
type WithNoise<C> = Gathered<NoiseStream<ReadAhead<C>>>;

impl<C> Secured<C> {
    fn with_tls((peer, stream): (PeerId, TlsStream<ReadAhead<C>>)) -> (PeerId, Self) {
        (peer, Self(Either::Left(Gathered::new(stream))))
    }

    fn with_noise((peer, stream): (PeerId, NoiseStream<ReadAhead<C>>)) -> (PeerId, Self) {
        (peer, Self(Either::Right(Gathered::new(stream))))
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
