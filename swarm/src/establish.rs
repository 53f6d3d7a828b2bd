//! Makes a connection of the bytes that a transport brings: who is at the other end, and streams.

use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p_core::connection::ConnectedPoint;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use libp2p_core::{Negotiated, Transport};
use libp2p_identity::{Keypair, PeerId};
use multistream_select::{Version, dialer_select_proto, listener_select_proto};
use pointsub_core::Timestamp;
use yamux::Mode;

use crate::clock::Clock;
use crate::muxer::{Muxer, Way};
use crate::node::heard;
use crate::security::Security;

/// What libp2p calls the muxer.
const YAMUX: &str = "/yamux/1.0.0";
/// A handshake that took less says that the way is short. It crosses the way four times or more, and
/// takes some 2 ms by itself.
const QUICK: Duration = Duration::from_millis(10);

/// Secures what a transport of plain bytes brings, and shares it among streams.
///
/// Connections are encrypted with TLS 1.3 or, with peers that do not speak it, with Noise. TLS comes
/// first since it may use AES, for which processors have instructions: bodies of 64 KiB take half the
/// processor time that they take with Noise, which knows ChaCha20 alone. To find out that a peer has
/// it costs one round trip per connection. What a processor without these instructions dials uses
/// ChaCha20 under TLS too.
///
/// They are shared by Yamux, with larger frames than the stock upgrade's and one flush for all that
/// is written, and with windows that suit the way: how long the handshake took says which it is. To
/// peers all of it is what libp2p's own upgrades would be.
///
/// A handshake that leads nowhere is not ended: [`Node`](crate::Node) does that, a swarm of your own
/// should too (`TransportTimeout`).
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
    let security = Security::new(keypair)?;
    Ok(transport.and_then(|bytes, end| connection(bytes, end, security)).boxed())
}

async fn connection<C>(
    bytes: C,
    end: ConnectedPoint,
    security: Security,
) -> io::Result<(PeerId, StreamMuxerBox)>
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mode = match end {
        ConnectedPoint::Dialer { role_override, .. } if role_override.is_dialer() => Mode::Client,
        // In a hole punch both have dialled, and one of them listens.
        ConnectedPoint::Dialer { .. } | ConnectedPoint::Listener { .. } => Mode::Server,
    };
    let clock = Clock::start();
    let (name, bytes) = negotiate(bytes, mode, Security::NAMES).await?;
    heard();
    let (peer, bytes) = match mode {
        Mode::Client => security.connect(bytes, name).await?,
        Mode::Server => security.accept(bytes, name).await?,
    };
    let way = way(clock.now().since(Timestamp::ZERO));
    let (_, bytes) = negotiate(bytes, mode, [YAMUX]).await?;
    Ok((peer, StreamMuxerBox::new(Muxer::new(bytes, mode, way))))
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
