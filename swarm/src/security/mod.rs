//! Encrypts connections, and proves who is at their other end.

mod buffer;
mod gathered;
mod read_ahead;
mod tls;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Either};
use futures::{AsyncRead, AsyncWrite, FutureExt, TryFutureExt};
use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p_identity::{Keypair, PeerId};
use libp2p_noise as noise;

use self::gathered::Gathered;
use self::read_ahead::ReadAhead;
use self::tls::{Tls, TlsStream};

/// What libp2p calls them.
const TLS: &str = "/tls/1.0.0";
const NOISE: &str = "/noise";

/// Encrypts a connection with TLS 1.3 or, with peers that do not speak it, with Noise.
///
/// TLS comes first since it may use AES, for which processors have instructions: bodies of 64 KiB
/// take half the processor time that they take with Noise, which knows ChaCha20 alone. To find out
/// that a peer has it costs one round trip per connection. What a processor without these
/// instructions dials uses ChaCha20 under TLS too.
#[derive(Clone)]
pub struct Security {
    tls: Tls,
    noise: noise::Config,
}

impl Security {
    /// For a node with this key.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn new(keypair: &Keypair) -> io::Result<Self> {
        let noise = noise::Config::new(keypair).map_err(io::Error::other)?;
        Ok(Self { tls: Tls::new(keypair)?, noise })
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security").finish_non_exhaustive()
    }
}

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter = std::array::IntoIter<&'static str, 2>;

    fn protocol_info(&self) -> Self::InfoIter {
        [TLS, NOISE].into_iter()
    }
}

impl<C> InboundConnectionUpgrade<C> for Security
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, Secured<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_inbound(self, io: C, name: &'static str) -> Self::Future {
        let io = ReadAhead::new(io);
        if name == TLS {
            self.tls.accept(io).map_ok(Secured::with_tls).boxed()
        } else {
            let secured = self.noise.upgrade_inbound(io, name);
            secured.map_ok(Secured::with_noise).map_err(io::Error::other).boxed()
        }
    }
}

impl<C> OutboundConnectionUpgrade<C> for Security
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, Secured<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_outbound(self, io: C, name: &'static str) -> Self::Future {
        let io = ReadAhead::new(io);
        if name == TLS {
            self.tls.connect(io).map_ok(Secured::with_tls).boxed()
        } else {
            let secured = self.noise.upgrade_outbound(io, name);
            secured.map_ok(Secured::with_noise).map_err(io::Error::other).boxed()
        }
    }
}

/// What a [`Security`] upgrade gives: bytes that only the peer can read.
pub struct Secured<C>(Either<WithTls<C>, WithNoise<C>>);

type WithTls<C> = Gathered<TlsStream<ReadAhead<C>>>;
type WithNoise<C> = noise::Output<ReadAhead<C>>;

impl<C> Secured<C> {
    fn with_tls((peer, stream): (PeerId, TlsStream<ReadAhead<C>>)) -> (PeerId, Self) {
        (peer, Self(Either::Left(Gathered::new(stream))))
    }

    fn with_noise((peer, stream): (PeerId, WithNoise<C>)) -> (PeerId, Self) {
        (peer, Self(Either::Right(stream)))
    }
}

impl<C> fmt::Debug for Secured<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").finish_non_exhaustive()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_asked_for_tls_before_noise() {
        let security = Security::new(&Keypair::generate_ed25519()).expect("the key can sign");
        assert!(security.protocol_info().eq([TLS, NOISE]));
    }
}
