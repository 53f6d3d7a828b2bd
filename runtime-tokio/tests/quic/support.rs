//! Ends of connections, and the way between them.

use std::future::{poll_fn, ready};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p_core::multiaddr::Protocol;
use libp2p_core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p_core::transport::{Boxed, DialOpts, ListenerId, PortUse, TransportEvent};
use libp2p_core::{Endpoint, Multiaddr, Transport as _};
use libp2p_identity::{Keypair, PeerId};
use pointsub_tokio::Security;
use pointsub_tokio::quic::Transport;
use tokio::net::UdpSocket;

/// No test takes nearly as long: whatever does hangs.
const HUNG: Duration = Duration::from_secs(60);

pub(crate) type Muxed = Boxed<(PeerId, StreamMuxerBox)>;
pub(crate) type Event = TransportEvent<
    <Muxed as libp2p_core::Transport>::ListenerUpgrade,
    <Muxed as libp2p_core::Transport>::Error,
>;

pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = runtime();
    runtime.block_on(async {
        tokio::time::timeout(HUNG, test).await.expect("a test that ends");
    });
    runtime.shutdown_background();
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

/// A transport and who it belongs to.
pub(crate) struct Node {
    pub(crate) peer: PeerId,
    pub(crate) transport: Muxed,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::of(&Keypair::generate_ed25519())
    }

    pub(crate) fn of(keypair: &Keypair) -> Self {
        Self::secured(&Security::new(keypair).expect("the key can sign"))
    }

    pub(crate) fn secured(security: &Security) -> Self {
        let transport = Transport::with_security(security).expect("its TLS will do");
        let transport = transport.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
        Self { peer: security.keypair().public().to_peer_id(), transport: transport.boxed() }
    }

    /// One of the other implementation.
    pub(crate) fn theirs() -> Self {
        let keypair = Keypair::generate_ed25519();
        let transport = libp2p_quic::tokio::Transport::new(libp2p_quic::Config::new(&keypair));
        let transport = transport.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
        Self { peer: keypair.public().to_peer_id(), transport: transport.boxed() }
    }

    pub(crate) async fn next(&mut self) -> Event {
        poll_fn(|cx| Pin::new(&mut self.transport).poll(cx)).await
    }

    /// Begins to listen, and waits for an address.
    pub(crate) async fn listen(&mut self, address: &str) -> (ListenerId, Multiaddr) {
        let id = ListenerId::next();
        self.transport.listen_on(id, parsed(address)).expect("it can be listened on");
        match self.next().await {
            TransportEvent::NewAddress { listener_id, listen_addr } => {
                assert_eq!(listener_id, id);
                (id, listen_addr)
            }
            event => panic!("no address: {event:?}"),
        }
    }

    pub(crate) fn dial(
        &mut self,
        to: &Multiaddr,
        (role, port_use): (Endpoint, PortUse),
    ) -> BoxFuture<'static, io::Result<(PeerId, StreamMuxerBox)>> {
        match self.transport.dial(to.clone(), DialOpts { role, port_use }) {
            Ok(dial) => dial.boxed(),
            Err(error) => ready(Err(io::Error::other(error))).boxed(),
        }
    }

    /// The next connection; wildcards may tell of more addresses before.
    pub(crate) async fn accept(&mut self) -> io::Result<Accepted> {
        loop {
            match self.next().await {
                TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr } => {
                    let (peer, muxer) = upgrade.await?;
                    let (listener, local, remote) = (listener_id, local_addr, send_back_addr);
                    return Ok(Accepted { peer, muxer, listener, local, remote });
                }
                TransportEvent::NewAddress { .. } => {}
                event => panic!("no connection: {event:?}"),
            }
        }
    }
}

pub(crate) const NEW: (Endpoint, PortUse) = (Endpoint::Dialer, PortUse::New);
pub(crate) const REUSE: (Endpoint, PortUse) = (Endpoint::Dialer, PortUse::Reuse);
pub(crate) const PUNCH: (Endpoint, PortUse) = (Endpoint::Listener, PortUse::Reuse);

pub(crate) struct Accepted {
    pub(crate) peer: PeerId,
    pub(crate) muxer: StreamMuxerBox,
    pub(crate) listener: ListenerId,
    pub(crate) local: Multiaddr,
    pub(crate) remote: Multiaddr,
}

/// A connection from one node to a listener of the other: both its ends.
pub(crate) async fn connect(
    from: &mut Node,
    to: &mut Node,
    at: &Multiaddr,
) -> (StreamMuxerBox, StreamMuxerBox) {
    let (dialled, accepted) = futures::join!(from.dial(at, NEW), to.accept());
    (dialled.expect("a connection").1, accepted.expect("a connection").muxer)
}

/// Two ends of a connection over loopback, with the nodes that have made it.
pub(crate) struct Pair {
    pub(crate) dialled: StreamMuxerBox,
    pub(crate) accepted: StreamMuxerBox,
    pub(crate) nodes: (Node, Node),
}

pub(crate) async fn pair() -> Pair {
    let mut nodes = (Node::new(), Node::new());
    let (_, at) = nodes.1.listen("/ip4/127.0.0.1/udp/0/quic-v1").await;
    let (dialled, accepted) = connect(&mut nodes.0, &mut nodes.1, &at).await;
    Pair { dialled, accepted, nodes }
}

/// A connection whose packets go through a [`Wire`].
pub(crate) async fn wired() -> (Pair, Wire) {
    let mut nodes = (Node::new(), Node::new());
    let (_, at) = nodes.1.listen("/ip4/127.0.0.1/udp/0/quic-v1").await;
    let wire = Wire::to(socket(&at)).await;
    let (dialled, accepted) = connect(&mut nodes.0, &mut nodes.1, &wire.address).await;
    (Pair { dialled, accepted, nodes }, wire)
}

pub(crate) fn parsed(address: &str) -> Multiaddr {
    address.parse().expect("a multiaddress")
}

pub(crate) fn socket(address: &Multiaddr) -> SocketAddr {
    let mut parts = address.iter();
    match (parts.next(), parts.next()) {
        (Some(Protocol::Ip4(ip)), Some(Protocol::Udp(port))) => (ip, port).into(),
        (Some(Protocol::Ip6(ip)), Some(Protocol::Udp(port))) => (ip, port).into(),
        _ => panic!("not a socket address: {address}"),
    }
}

pub(crate) fn multiaddr(socket: SocketAddr) -> Multiaddr {
    Multiaddr::from(socket.ip()).with(Protocol::Udp(socket.port())).with(Protocol::QuicV1)
}

pub(crate) async fn inbound(muxer: &mut StreamMuxerBox) -> io::Result<SubstreamBox> {
    poll_fn(|cx| muxer.poll_inbound_unpin(cx)).await
}

pub(crate) async fn outbound(muxer: &mut StreamMuxerBox) -> io::Result<SubstreamBox> {
    poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await
}

pub(crate) async fn close(mut muxer: StreamMuxerBox) -> io::Result<()> {
    poll_fn(|cx| muxer.poll_close_unpin(cx)).await
}

/// A stream of which the other end knows already: both its ends.
pub(crate) async fn stream(
    from: &mut StreamMuxerBox,
    to: &mut StreamMuxerBox,
) -> (SubstreamBox, SubstreamBox) {
    let mut one = outbound(from).await.expect("a stream");
    one.write_all(b"!").await.expect("written");
    one.flush().await.expect("flushed");
    let mut two = inbound(to).await.expect("a stream");
    two.read_exact(&mut [0]).await.expect("a byte");
    (one, two)
}

/// All that is behind an error.
pub(crate) fn why(error: &io::Error) -> String {
    format!("{error:?}")
}

/// A way from whoever sends to it to a listener and back, which can be cut in both directions.
pub(crate) struct Wire {
    pub(crate) address: Multiaddr,
    ways: Arc<Ways>,
}

#[derive(Default)]
struct Ways {
    there_is_cut: AtomicBool,
    back_is_cut: AtomicBool,
}

impl Wire {
    async fn to(listener: SocketAddr) -> Self {
        let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
        let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
        far.connect(listener).await.expect("connected");
        let address = multiaddr(near.local_addr().expect("it is bound"));
        let ways = Arc::<Ways>::default();
        let open = ways.clone();
        tokio::spawn(async move {
            let mut dialler = None;
            let (mut there, mut back) = ([0; 65_535], [0; 65_535]);
            loop {
                tokio::select! {
                    Ok((n, from)) = near.recv_from(&mut there) => {
                        dialler = Some(from);
                        if !open.there_is_cut.load(Ordering::SeqCst) {
                            let _lost = far.send(&there[..n]).await;
                        }
                    }
                    Ok(n) = far.recv(&mut back) => {
                        if let Some(dialler) = dialler
                            && !open.back_is_cut.load(Ordering::SeqCst)
                        {
                            let _lost = near.send_to(&back[..n], dialler).await;
                        }
                    }
                }
            }
        });
        Self { address, ways }
    }

    pub(crate) fn cut_back(&self, is_cut: bool) {
        self.ways.back_is_cut.store(is_cut, Ordering::SeqCst);
    }

    pub(crate) fn cut(&self) {
        self.ways.there_is_cut.store(true, Ordering::SeqCst);
        self.cut_back(true);
    }
}
