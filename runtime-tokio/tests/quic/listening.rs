//! Listeners, their addresses, and what they let in.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use futures::FutureExt;
use libp2p_core::Multiaddr;
use libp2p_core::Transport as _;
use libp2p_core::multiaddr::Protocol;
use libp2p_core::transport::{ListenerId, TransportEvent};
use libp2p_identity::Keypair;
use tokio::net::UdpSocket;

use crate::support::{NEW, Node, connect, outbound, parsed, run, socket, stream};

/// Collects the addresses of a listener until `last` is among them.
async fn addresses(node: &mut Node, last: &Protocol<'_>) -> Vec<Multiaddr> {
    let mut seen = Vec::new();
    loop {
        match node.next().await {
            TransportEvent::NewAddress { listen_addr, .. } => {
                let is_last = listen_addr.iter().next().as_ref() == Some(last);
                seen.push(listen_addr);
                if is_last {
                    return seen;
                }
            }
            event => panic!("no address: {event:?}"),
        }
    }
}

#[test]
fn a_wildcard_is_reported_as_the_addresses_of_its_family() {
    run(async {
        let mut one = Node::new();
        let wildcard = parsed("/ip4/0.0.0.0/udp/0/quic-v1");
        one.transport.listen_on(ListenerId::next(), wildcard).expect("a free port");
        let v4 = addresses(&mut one, &Protocol::Ip4([127, 0, 0, 1].into())).await;
        let at = v4.last().expect("loopback is among them").clone();
        assert!(v4.iter().all(|seen| socket(seen).is_ipv4()), "{v4:?}");
        assert!(v4.iter().all(|seen| socket(seen).port() == socket(&at).port()), "{v4:?}");

        // The other wildcard has the same port at the same time, and its own addresses.
        let mut two = Node::new();
        let wildcard = parsed(&format!("/ip6/::/udp/{}/quic-v1", socket(&at).port()));
        two.transport.listen_on(ListenerId::next(), wildcard).expect("the port is free");
        let v6 = addresses(&mut two, &Protocol::Ip6(std::net::Ipv6Addr::LOCALHOST)).await;
        assert!(v6.iter().all(|seen| socket(seen).is_ipv6()), "{v6:?}");

        for (node, at) in [(&mut one, &at), (&mut two, v6.last().expect("loopback is among them"))]
        {
            let mut dialler = Node::new();
            let (dialled, accepted) = futures::join!(dialler.dial(at, NEW), node.accept());
            dialled.expect("a connection");
            assert_eq!(accepted.expect("a connection").local, *at, "where it really arrived");
        }
    });
}

#[test]
fn a_listener_that_is_closed_lets_nobody_in_and_keeps_its_connections() {
    run(async {
        let (mut one, mut two) = (Node::new(), Node::new());
        let (first, first_at) = one.listen("/ip4/127.0.0.1/udp/0/quic-v1").await;
        let (second, second_at) = one.listen("/ip6/::1/udp/0/quic-v1").await;
        let (mut dialled, mut accepted) = connect(&mut two, &mut one, &first_at).await;

        assert!(one.transport.remove_listener(first));
        assert!(!one.transport.remove_listener(first), "it is gone");
        assert!(!one.transport.remove_listener(ListenerId::next()), "it never was");
        match one.next().await {
            TransportEvent::ListenerClosed { listener_id, reason: Ok(()) } => {
                assert_eq!(listener_id, first);
            }
            event => panic!("not closed: {event:?}"),
        }
        assert!(one.next().now_or_never().is_none(), "nothing else happens");
        two.dial(&first_at, NEW).await.expect_err("nobody listens");
        stream(&mut dialled, &mut accepted).await;
        let (third, accepted) = futures::join!(two.dial(&second_at, NEW), one.accept());
        third.expect("a connection");
        assert_eq!(accepted.expect("a connection").listener, second);
    });
}

#[test]
fn a_transport_that_is_gone_lets_nobody_in() {
    run(async {
        let (mut one, mut two) = (Node::new(), Node::new());
        let (_, at) = one.listen("/ip4/127.0.0.1/udp/0/quic-v1").await;
        let (mut dialled, mut accepted) = connect(&mut two, &mut one, &at).await;
        drop(one);
        two.dial(&at, NEW).await.expect_err("nobody listens");
        stream(&mut dialled, &mut accepted).await;
    });
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Flag {
    fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Polls until nothing happens, and nobody is woken to see that again.
fn fall_asleep(node: &mut Node) -> Arc<Flag> {
    loop {
        let woken = Arc::new(Flag(AtomicBool::new(false)));
        let waker = Waker::from(woken.clone());
        let event = Pin::new(&mut node.transport).poll(&mut Context::from_waker(&waker));
        if event.is_pending() && !woken.is_raised() {
            return woken;
        }
    }
}

/// A swarm that is asleep hears of listeners that come and go.
#[test]
fn adding_and_removing_a_listener_wakes_the_transport() {
    run(async {
        let mut node = Node::new();
        let woken = fall_asleep(&mut node);
        let id = ListenerId::next();
        let address = parsed("/ip4/127.0.0.1/udp/0/quic-v1");
        node.transport.listen_on(id, address).expect("a free port");
        assert!(woken.is_raised(), "by the new listener");
        let woken = fall_asleep(&mut node);
        assert!(node.transport.remove_listener(id));
        assert!(woken.is_raised(), "by the removed listener");
    });
}

/// First packets of `n` handshakes, all different.
async fn initials(n: usize) -> Vec<Vec<u8>> {
    let trap = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let at = trap.local_addr().expect("it is bound");
    let keypair = Keypair::generate_ed25519();
    let tls = libp2p_tls::make_client_config(&keypair, None).expect("it can sign");
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("TLS 1.3");
    let config = quinn::ClientConfig::new(Arc::new(tls));
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a socket");
    let mut handshakes = Vec::new();
    let mut packets = BTreeMap::new();
    while packets.len() < n {
        handshakes.push(endpoint.connect_with(config.clone(), at, "l").expect("a handshake"));
        while packets.len() < handshakes.len() {
            let mut packet = [0; 2000];
            let n = trap.recv(&mut packet).await.expect("a packet");
            // Behind a byte and the version is who it is for, by which handshakes are told apart.
            let id = packet[6..6 + usize::from(packet[5])].to_vec();
            packets.entry(id).or_insert_with(|| packet[..n].to_vec());
        }
    }
    packets.into_values().collect()
}

/// A long header with a type of three is that of a Retry (RFC 9000, section 17.2.5).
fn is_retry(packet: &[u8]) -> bool {
    packet[0] & 0b1011_0000 == 0b1011_0000
}

#[test]
fn whoever_comes_in_a_crowd_has_to_prove_its_address() {
    run(async {
        let mut node = Node::new();
        let (_, at) = node.listen("/ip4/127.0.0.1/udp/0/quic-v1").await;
        let spoofer = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        spoofer.connect(socket(&at)).await.expect("connected");
        let (mut under_way, mut reply) = (Vec::new(), [0; 2000]);
        for packet in initials(140).await {
            spoofer.send(&packet).await.expect("sent");
            let is_in = futures::select! {
                event = node.next().fuse() => match event {
                    TransportEvent::Incoming { upgrade, .. } => {
                        under_way.push(upgrade);
                        true
                    }
                    event => panic!("{event:?}"),
                },
                // Others than these come for the handshakes that are under way.
                _ = async {
                    loop {
                        let n = spoofer.recv(&mut reply).await.expect("a packet");
                        if is_retry(&reply[..n]) {
                            return;
                        }
                    }
                }.fuse() => false,
            };
            assert!(is_in || under_way.len() == 128, "{}", under_way.len());
        }
        assert_eq!(under_way.len(), 128, "the others have to come again");
        // Which somebody who is there does.
        let (mut dialled, _accepted) = connect(&mut Node::new(), &mut node, &at).await;
        outbound(&mut dialled).await.expect("a stream");
    });
}
