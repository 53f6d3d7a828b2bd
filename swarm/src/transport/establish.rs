//! Makes connections of the bytes that a transport brings: encryption, streams and the driver.

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

use super::muxer::{Muxer, RttClass};
use super::security::{Dialect, Secured, Security, is_refusal};
use crate::clock::Clock;
use crate::connection::driver::MuxerProxy;
use crate::node::heard;

/// What libp2p calls the muxer.
const YAMUX: &str = "/yamux/1.0.0";
/// A handshake that took less time says that round trips are short. It takes two or more of them, and
/// some 2 ms of processor time.
const QUICK: Duration = Duration::from_millis(10);

/// Makes connections of what a transport of plain bytes brings: encryption, streams, and the
/// connection driver. The same as [`Security::establish`] with [`Security::new`].
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
    /// Makes connections of what a transport of plain bytes brings: encryption, streams, and the
    /// connection driver. It takes the place of libp2p's `upgrade`, `authenticate` and `multiplex`. To
    /// peers it is the same as these, or as those of go-dep2p: [`dialects`](Self::dialects) says which.
    ///
    /// * **Encryption** is TLS 1.3, or Noise with peers that do not have TLS. TLS comes first because it
    ///   can use AES, for which processors have instructions. Bodies of 64 KiB take half the processor
    ///   time that they take with Noise, which has ChaCha20 only. A processor without these instructions
    ///   uses ChaCha20 under TLS too, if it dials. The choice costs one round trip per connection with a
    ///   peer that has Noise only. If a peer's dialect is not known and is not libp2p's, it costs a
    ///   second connection.
    /// * **Streams** are those of Yamux. Frames are larger than the stock upgrade's, and one flush
    ///   serves all that is written. The windows depend on the round trip time, which the handshake
    ///   shows.
    /// * **The connection driver** runs the muxer and the streams of a [`Behaviour`](crate::Behaviour) in
    ///   one task, on the behaviour's executor. [`with_driver`](crate::with_driver) says what that saves.
    ///
    /// There is no limit to the duration of a handshake. [`Node`](crate::Node) sets one. In a swarm of
    /// your own, wrap the result in libp2p's `TransportTimeout`.
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

/// A transport of plain bytes with encryption and streams on top.
struct Established<T> {
    /// A dial uses it again if the peer refuses the first connection. It is locked for moments only.
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

/// Makes a connection of bytes that this end dialled.
async fn connect<C>(
    bytes: C,
    dialect: Dialect,
    security: &Security,
) -> io::Result<(PeerId, Dialect, StreamMuxerBox)>
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (clock, began) = security.clock();
    let (name, bytes) = negotiate(bytes, Mode::Client, Security::NAMES).await?;
    let (peer, dialect, bytes) = security.connect(bytes, name, dialect).await?;
    Ok((peer, dialect, share(bytes, Mode::Client, clock, began).await?))
}

/// Makes a connection of bytes that the peer dialled.
async fn accept<C>(
    bytes: C,
    remote: &Multiaddr,
    security: &Security,
) -> io::Result<(PeerId, StreamMuxerBox)>
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (clock, began) = security.clock();
    let (name, bytes) = negotiate(bytes, Mode::Server, Security::NAMES).await?;
    heard();
    let accepted = security.accept(bytes, name).await;
    let (peer, dialect, bytes) = accepted.inspect_err(|why| security.refused(remote, why))?;
    security.accepted(remote, peer, dialect);
    Ok((peer, share(bytes, Mode::Server, clock, began).await?))
}

/// Gives streams to a connection whose handshake has begun then.
async fn share<C>(
    bytes: Secured<C>,
    mode: Mode,
    clock: Clock,
    began: Timestamp,
) -> io::Result<StreamMuxerBox>
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let rtt = rtt_class(clock.now().since(began));
    let (_, bytes) = negotiate(bytes, mode, [YAMUX]).await?;
    Ok(MuxerProxy::wrap(StreamMuxerBox::new(Muxer::new(bytes, mode, rtt, clock))))
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

/// What the duration of a handshake says.
fn rtt_class(handshake: Duration) -> RttClass {
    if handshake < QUICK { RttClass::Short } else { RttClass::Long }
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
    fn a_handshake_tells_how_long_round_trips_are() {
        assert_eq!(rtt_class(Duration::from_millis(2)), RttClass::Short);
        assert_eq!(rtt_class(QUICK - Duration::from_nanos(1)), RttClass::Short);
        assert_eq!(rtt_class(QUICK), RttClass::Long);
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
