//! Makes a connection of the bytes that a transport brings: who is at the other end, and streams.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt};
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p_core::{Multiaddr, Negotiated, Transport};
use libp2p_identity::{Keypair, PeerId};
use multistream_select::{Version, dialer_select_proto, listener_select_proto};
use parking_lot::Mutex;
use pointsub_core::Timestamp;
use yamux::Mode;

use super::muxer::{Muxer, Way};
use super::security::{Dialect, Secured, Security, is_refusal};
use crate::clock::Clock;
use crate::node::heard;

/// What libp2p calls the muxer.
const YAMUX: &str = "/yamux/1.0.0";
/// A handshake that took less says that the way is short. It crosses the way four times or more, and
/// takes some 2 ms by itself.
const QUICK: Duration = Duration::from_millis(10);

/// Secures what a transport of plain bytes brings, and shares it among streams, for a node that speaks
/// [`Dialects::default`](crate::Dialects). The same as [`Security::establish`] with a [`Security`] of
/// its own.
///
/// # Errors
/// If the key cannot sign.
pub fn establish<T>(transport: T, keypair: &Keypair) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Dial: Send,
    T::ListenerUpgrade: Send,
    T::Error: Send + Sync,
{
    Ok(Security::new(keypair)?.establish(transport))
}

impl Security {
    /// Secures what a transport of plain bytes brings, and shares it among streams.
    ///
    /// Connections are encrypted with TLS 1.3 or, with peers that do not speak it, with Noise. TLS comes
    /// first since it may use AES, for which processors have instructions: bodies of 64 KiB take half
    /// the processor time that they take with Noise, which knows ChaCha20 alone. To find out that a peer
    /// has it costs one round trip per connection. What a processor without these instructions dials
    /// uses ChaCha20 under TLS too.
    ///
    /// They are shared by Yamux, with larger frames than the stock upgrade's and one flush for all that
    /// is written, and with windows that suit the way: how long the handshake took says which it is. To
    /// peers all of it is what libp2p's own upgrades would be, or those of go-dep2p, as
    /// [`dialects`](Self::dialects) says. A peer whose dialect is not known costs a second connection
    /// if it does not speak libp2p's.
    ///
    /// A handshake that leads nowhere is not ended: [`Node`](crate::Node) does that, a swarm of your own
    /// should too (`TransportTimeout`).
    pub fn establish<T>(&self, transport: T) -> Boxed<(PeerId, StreamMuxerBox)>
    where
        T: Transport + Send + Unpin + 'static,
        T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        T::Dial: Send,
        T::ListenerUpgrade: Send,
        T::Error: Send + Sync,
    {
        let bytes = Arc::new(Mutex::new(transport));
        Established { bytes, security: self.clone() }.boxed()
    }
}

/// A transport of plain bytes, and what makes connections of them.
struct Established<T> {
    /// Dials use it again when a peer has refused the first connection. Not locked for long.
    bytes: Arc<Mutex<T>>,
    security: Security,
}

impl<T> Transport for Established<T>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Dial: Send,
    T::ListenerUpgrade: Send,
    T::Error: Send + Sync,
{
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Self::Output>>;
    type Dial = BoxFuture<'static, io::Result<Self::Output>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        let listening = self.bytes.lock().listen_on(id, address);
        listening.map_err(|error| error.map(io::Error::other))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.bytes.lock().remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        let dial = self.bytes.lock().dial(address.clone(), options);
        let dial = dial.map_err(|error| error.map(io::Error::other))?;
        let security = self.security.clone();
        // In a hole punch both have dialled, and one of them listens.
        if options.role.is_listener() {
            return Ok(async move {
                let bytes = dial.await.map_err(io::Error::other)?;
                accept(bytes, &address, &security).await
            }
            .boxed());
        }
        // A dial does not keep the listeners of a node that has ended.
        let (bytes, mut dial) = (Arc::downgrade(&self.bytes), Some(dial));
        Ok(async move {
            let attempt = |dialect| {
                let again = || Some(bytes.upgrade()?.lock().dial(address.clone(), options));
                let dial = dial.take().map(Ok).or_else(again);
                let security = &security;
                async move {
                    let dial = dial.ok_or(io::ErrorKind::NotConnected)?;
                    let bytes = dial.map_err(io::Error::other)?.await;
                    connect(bytes.map_err(io::Error::other)?, dialect, security).await
                }
            };
            security.dial(&address, attempt, is_refusal).await
        }
        .boxed())
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let event = ready!(Pin::new(&mut *self.bytes.lock()).poll(cx));
        let remote = match &event {
            TransportEvent::Incoming { send_back_addr, .. } => send_back_addr.clone(),
            _ => Multiaddr::empty(),
        };
        let security = self.security.clone();
        let upgrade = |bytes: T::ListenerUpgrade| {
            async move {
                let bytes = bytes.await.map_err(io::Error::other)?;
                accept(bytes, &remote, &security).await
            }
            .boxed()
        };
        Poll::Ready(event.map_err(io::Error::other).map_upgrade(upgrade))
    }
}

/// Makes a connection of what was dialled.
async fn connect<C>(
    bytes: C,
    dialect: Dialect,
    security: &Security,
) -> io::Result<(PeerId, Dialect, StreamMuxerBox)>
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let clock = Clock::start();
    let (name, bytes) = negotiate(bytes, Mode::Client, Security::NAMES).await?;
    let (peer, dialect, bytes) = security.connect(bytes, name, dialect).await?;
    Ok((peer, dialect, share(bytes, Mode::Client, clock).await?))
}

/// Makes a connection of what the peer has dialled.
async fn accept<C>(
    bytes: C,
    remote: &Multiaddr,
    security: &Security,
) -> io::Result<(PeerId, StreamMuxerBox)>
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let clock = Clock::start();
    let (name, bytes) = negotiate(bytes, Mode::Server, Security::NAMES).await?;
    heard();
    let accepted = security.accept(bytes, name).await;
    let (peer, dialect, bytes) = accepted.inspect_err(|why| security.refused(remote, why))?;
    security.accepted(remote, peer, dialect);
    Ok((peer, share(bytes, Mode::Server, clock).await?))
}

/// Shares a connection among streams, whose handshake has begun when the clock did.
async fn share<C>(bytes: Secured<C>, mode: Mode, clock: Clock) -> io::Result<StreamMuxerBox>
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let way = way(clock.now().since(Timestamp::ZERO));
    let (_, bytes) = negotiate(bytes, mode, [YAMUX]).await?;
    Ok(StreamMuxerBox::new(Muxer::new(bytes, mode, way)))
}

/// Agrees with the peer on one of several protocols.
async fn negotiate<C, const N: usize>(
    bytes: C,
    mode: Mode,
    names: [&'static str; N],
) -> io::Result<(&'static str, Negotiated<C>)>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    Ok(match mode {
        // A sole proposal goes out with what follows it, without waiting for the answer.
        Mode::Client => dialer_select_proto(bytes, names, Version::V1Lazy).await?,
        Mode::Server => listener_select_proto(bytes, names).await?,
    })
}

/// How far it is to a peer whose handshake took so long.
fn way(handshake: Duration) -> Way {
    if handshake < QUICK { Way::Short } else { Way::Long }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::future::{Either, select};
    use futures::{FutureExt, StreamExt};
    use libp2p_core::Endpoint;
    use libp2p_core::transport::{
        DialOpts, ListenerId, MemoryTransport, PortUse, Transport as _, TransportEvent,
    };

    use super::*;

    #[test]
    fn a_handshake_tells_how_far_it_is() {
        assert_eq!(way(Duration::from_millis(2)), Way::Short);
        assert_eq!(way(QUICK - Duration::from_nanos(1)), Way::Short);
        assert_eq!(way(QUICK), Way::Long);
    }

    /// What a node that dials as `role` agrees on with a peer that has Noise and TLS and behaves as
    /// the other end would.
    fn agreed(role: Endpoint) -> &'static str {
        let mut peer = MemoryTransport::default().boxed();
        let any = "/memory/0".parse().expect("an address");
        peer.listen_on(ListenerId::next(), any).expect("memory can be listened on");
        let Some(Some(TransportEvent::NewAddress { listen_addr, .. })) = peer.next().now_or_never()
        else {
            panic!("it has an address at once");
        };
        let keypair = Keypair::generate_ed25519();
        let mut node = establish(MemoryTransport::default(), &keypair).expect("the key can sign");
        let options = DialOpts { role, port_use: PortUse::New };
        let dial = node.dial(listen_addr, options).expect("memory can be dialled");
        let theirs = async move {
            let bytes = loop {
                if let TransportEvent::Incoming { upgrade, .. } = peer.select_next_some().await {
                    break upgrade.await.expect("memory does not fail");
                }
            };
            let names = ["/noise", "/tls/1.0.0"];
            let agreed = match role {
                Endpoint::Dialer => listener_select_proto(bytes, names).await,
                Endpoint::Listener => dialer_select_proto(bytes, names, Version::V1).await,
            };
            agreed.expect("both have a name in common").0
        };
        match block_on(select(dial, theirs.boxed())) {
            Either::Left(_) => panic!("there was no handshake yet"),
            Either::Right((name, _)) => name,
        }
    }

    #[test]
    fn a_peer_is_asked_for_tls_first() {
        assert_eq!(agreed(Endpoint::Dialer), "/tls/1.0.0");
    }

    #[test]
    fn of_two_that_dial_each_other_one_listens() {
        assert_eq!(agreed(Endpoint::Listener), "/noise", "the peer chooses");
    }
}
