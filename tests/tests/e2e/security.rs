//! Peers that encrypt connections in one way alone, each of which a node understands.

use std::time::Duration;

use futures::channel::mpsc;
use futures::future::Ready;
use futures::{AsyncRead, AsyncWrite, FutureExt, StreamExt};
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use libp2p_core::upgrade::{
    InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo, Version,
};
use libp2p_core::{Multiaddr, Transport};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{Config, DialError, Swarm, SwarmEvent};
use pointsub_swarm::{Behaviour, Client, ConnectError, Runtime, ServerConfig};

use crate::common::*;
use crate::support::{rt, tcp};

/// TCP with one way to encrypt and the Yamux of libp2p.
type Over = fn(&Keypair) -> Boxed<(PeerId, StreamMuxerBox)>;

fn noise_alone(keypair: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    let noise = libp2p_noise::Config::new(keypair).expect("the key can sign");
    let secured = tcp().upgrade(Version::V1).authenticate(noise);
    secured.multiplex(libp2p_yamux::Config::default()).boxed()
}

fn tls_alone(keypair: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    let tls = libp2p_tls::Config::new(keypair).expect("the key can sign");
    let secured = tcp().upgrade(Version::V1).authenticate(tls);
    secured.multiplex(libp2p_yamux::Config::default()).boxed()
}

/// A muxer under a name that no node knows.
#[derive(Debug, Clone)]
struct OtherMuxer;

impl UpgradeInfo for OtherMuxer {
    type Info = &'static str;
    type InfoIter = [&'static str; 1];

    fn protocol_info(&self) -> Self::InfoIter {
        ["/mplex/6.7.0"]
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C>
    for OtherMuxer
{
    type Output = libp2p_yamux::Muxer<C>;
    type Error = std::io::Error;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, io: C, _: &'static str) -> Self::Future {
        libp2p_yamux::Config::default().upgrade_inbound(io, "/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C>
    for OtherMuxer
{
    type Output = libp2p_yamux::Muxer<C>;
    type Error = std::io::Error;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, io: C, _: &'static str) -> Self::Future {
        libp2p_yamux::Config::default().upgrade_outbound(io, "/yamux/1.0.0")
    }
}

fn without_yamux(keypair: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    let tls = libp2p_tls::Config::new(keypair).expect("the key can sign");
    tcp().upgrade(Version::V1).authenticate(tls).multiplex(OtherMuxer).boxed()
}

/// A swarm that answers every echo.
struct Peer {
    id: PeerId,
    address: Multiaddr,
    client: Client,
    dial: mpsc::UnboundedSender<Multiaddr>,
    dialled: mpsc::UnboundedReceiver<Result<PeerId, DialError>>,
}

impl Peer {
    async fn start(over: Over) -> Self {
        let keypair = Keypair::generate_ed25519();
        let id = keypair.public().to_peer_id();
        let behaviour =
            Behaviour::new(id, once(), ServerConfig::default(), rt()).expect("defaults are valid");
        behaviour.server().register(&echo_name(), echo).expect("first");
        let client = behaviour.client();
        let config = Config::with_executor(|task| rt().spawn(task))
            .with_idle_connection_timeout(Duration::from_secs(600));
        let mut swarm = Swarm::new(over(&keypair), behaviour, id, config);
        swarm.listen_on(loopback()).expect("loopback can be listened on");
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address.with_p2p(id).expect("the address has no peer yet");
            }
        };
        let (dial, mut dials) = mpsc::unbounded::<Multiaddr>();
        let (tell, dialled) = mpsc::unbounded();
        let life = async move {
            loop {
                let outcome = futures::select! {
                    event = swarm.select_next_some() => match event {
                        SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. }
                            if endpoint.is_dialer() => Ok(peer_id),
                        SwarmEvent::OutgoingConnectionError { error, .. } => Err(error),
                        _ => continue,
                    },
                    address = dials.next() => match address {
                        Some(address) => {
                            swarm.dial(address).expect("an address");
                            continue;
                        }
                        None => return,
                    },
                };
                drop(tell.unbounded_send(outcome));
            }
        };
        rt().spawn(life.boxed());
        Self { id, address, client, dial, dialled }
    }

    async fn dial(&mut self, address: Multiaddr) -> Result<PeerId, DialError> {
        self.dial.unbounded_send(address).expect("the swarm lives");
        self.dialled.next().await.expect("the swarm lives")
    }
}

/// Sends a body of less than a record, or of many, to the echo of a node.
async fn check_asks(peer: &Peer, node: &Node, len: usize) {
    let body = noise(len, len as u64);
    let answer = peer.client.send(node.peer_id(), &echo_name(), body.clone()).await;
    assert!(answer.expect("an echo") == body, "{len} bytes came back changed");
}

async fn check_both_whoever_dials(over: Over) {
    const LENS: [usize; 4] = [0, 1, 1000, MIB + 7];

    let peer = Peer::start(over).await;
    let node = echo_server(ServerConfig::default()).await;
    assert_eq!(node.connect(peer.address.clone()).await.expect("it listens"), peer.id);
    for len in LENS {
        check_echo(&node, peer.id, noise(len, len as u64)).await;
        check_asks(&peer, &node, len).await;
    }

    let mut peer = Peer::start(over).await;
    let node = echo_server(ServerConfig::default()).await;
    let dialled = peer.dial(address(&node).await).await;
    assert_eq!(dialled.expect("it listens"), node.peer_id());
    // Who was dialled knows of the connection when it has heard something.
    for len in LENS {
        check_asks(&peer, &node, len).await;
        check_echo(&node, peer.id, noise(len, len as u64)).await;
    }
}

/// W8.
#[test]
fn a_node_and_a_peer_that_has_noise_alone_ask_each_other_whoever_dials() {
    run(check_both_whoever_dials(noise_alone));
}

/// W8.
#[test]
fn a_node_and_a_peer_that_has_the_tls_of_libp2p_alone_ask_each_other_whoever_dials() {
    run(check_both_whoever_dials(tls_alone));
}

/// However a connection is encrypted, nobody can pretend to be somebody else.
#[test]
fn somebody_else_than_was_dialled_is_refused_whoever_dials() {
    run(async {
        for over in [noise_alone, tls_alone] {
            let somebody = PeerId::random();
            let instead = |mut address: Multiaddr| {
                address.pop();
                address.with_p2p(somebody).expect("the address has no peer any more")
            };
            let mut peer = Peer::start(over).await;
            let node = echo_server(ServerConfig::default()).await;
            let error = node.connect(instead(peer.address.clone())).await;
            let error = error.expect_err("another peer is there");
            assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
            let error = peer.dial(instead(address(&node).await)).await;
            match error.expect_err("another peer is there") {
                DialError::WrongPeerId { obtained, .. } => assert_eq!(obtained, node.peer_id()),
                error => panic!("{error:?}"),
            }
            // The same addresses are good for who is there.
            assert_eq!(node.connect(peer.address.clone()).await.expect("it listens"), peer.id);
        }
    });
}

/// A node proposes its muxer along with the first bytes that it sends, so that it learns late that the
/// peer does not have it.
#[test]
fn connecting_to_a_peer_without_yamux_says_so() {
    run(async {
        let peer = Peer::start(without_yamux).await;
        let node = client(once()).await;
        for _ in 0..3 {
            let error = node.connect(peer.address.clone()).await.expect_err("no muxer in common");
            let ConnectError::Unreachable { reason, .. } = &error else { panic!("{error:?}") };
            assert!(reason.contains("does not support Yamux"), "{reason}");
        }
        // Whoever does not connect first is told as well.
        let error = node.client().send(peer.id, &echo_name(), "hello").await;
        let text = error.expect_err("no muxer in common").to_string();
        assert!(text.contains("does not support Yamux"), "{text}");
    });
}
