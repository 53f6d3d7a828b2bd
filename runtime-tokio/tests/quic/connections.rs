//! Who connects to whom, and from where.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p_core::Transport as _;
use libp2p_core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p_identity::{Keypair, PeerId};

use crate::support::{
    Accepted, NEW, Node, PUNCH, REUSE, connect, inbound, outbound, parsed, run, socket, stream, why,
};

const LOOPBACK: [&str; 2] = ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip6/::1/udp/0/quic-v1"];

async fn speak(from: &mut libp2p_core::muxing::StreamMuxerBox, to: &mut Accepted) {
    let (mut one, mut two) = stream(from, &mut to.muxer).await;
    one.write_all(b"there").await.expect("written");
    one.close().await.expect("closed");
    let mut text = String::new();
    two.read_to_string(&mut text).await.expect("text, then the end");
    assert_eq!(text, "there");
    two.write_all(b"back").await.expect("written");
    two.close().await.expect("closed");
    text.clear();
    one.read_to_string(&mut text).await.expect("text, then the end");
    assert_eq!(text, "back");
}

#[test]
fn both_families_carry_bytes_both_ways() {
    run(async {
        for address in LOOPBACK {
            let (mut one, mut two) = (Node::new(), Node::new());
            let (id, at) = one.listen(address).await;
            let (dialled, accepted) = futures::join!(two.dial(&at, NEW), one.accept());
            let (peer, mut muxer) = dialled.expect("a connection");
            let mut accepted = accepted.expect("a connection");
            assert_eq!((peer, accepted.peer), (one.peer, two.peer));
            assert_eq!((accepted.listener, &accepted.local), (id, &at));
            assert_eq!(socket(&accepted.remote).ip(), socket(&at).ip());
            speak(&mut muxer, &mut accepted).await;
        }
    });
}

#[test]
fn the_other_implementation_is_understood_at_either_end() {
    run(async {
        for (mut one, mut two) in [(Node::new(), Node::theirs()), (Node::theirs(), Node::new())] {
            let (_, at) = one.listen(LOOPBACK[0]).await;
            let at = at.with_p2p(one.peer).expect("it has no peer yet");
            let (dialled, accepted) = futures::join!(two.dial(&at, NEW), one.accept());
            let (peer, mut muxer) = dialled.expect("a connection");
            let mut accepted = accepted.expect("a connection");
            assert_eq!((peer, accepted.peer), (one.peer, two.peer));
            speak(&mut muxer, &mut accepted).await;
        }
    });
}

#[test]
fn only_the_expected_peer_is_connected_to() {
    run(async {
        let (mut one, mut two) = (Node::new(), Node::new());
        let (_, at) = one.listen(LOOPBACK[0]).await;
        let its = at.clone().with_p2p(one.peer).expect("it has no peer yet");
        connect(&mut two, &mut one, &its).await;
        let other = Keypair::generate_ed25519().public().to_peer_id();
        let others = at.with_p2p(other).expect("it has no peer yet");
        let (dialled, accepted) = futures::join!(two.dial(&others, NEW), one.accept());
        let error = why(&dialled.expect_err("it is not there"));
        assert!(error.contains("WrongPeer") && error.contains(&other.to_string()), "{error}");
        assert!(accepted.is_err(), "it has not said who it is");
    });
}

#[test]
fn where_nobody_listens_dialling_fails() {
    run(async {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let free = UdpSocket::bind(address).expect("a free port");
            let at = crate::support::multiaddr(free.local_addr().expect("it is bound"));
            drop(free);
            for from in [NEW, REUSE] {
                Node::new().dial(&at, from).await.expect_err("nobody");
            }
        }
    });
}

#[test]
fn what_is_not_supported_is_left_to_others() {
    run(async {
        let mut node = Node::new();
        for address in
            ["/ip4/127.0.0.1/udp/1", "/ip4/127.0.0.1/tcp/0", "/dns/localhost/udp/1/quic-v1"]
        {
            let outcome = node.transport.listen_on(ListenerId::next(), parsed(address));
            assert!(matches!(outcome, Err(TransportError::MultiaddrNotSupported(_))), "{address}");
        }
        for address in ["/ip4/0.0.0.0/udp/1/quic-v1", "/ip4/127.0.0.1/udp/0/quic-v1", "/memory/1"] {
            let (role, port_use) = NEW;
            let outcome = node.transport.dial(parsed(address), DialOpts { role, port_use });
            assert!(matches!(outcome, Err(TransportError::MultiaddrNotSupported(_))), "{address}");
        }
    });
}

async fn dialled_from(from: &mut Node, to: &mut Node, at: &libp2p_core::Multiaddr) -> SocketAddr {
    let (dialled, accepted) = futures::join!(from.dial(at, REUSE), to.accept());
    dialled.expect("a connection");
    socket(&accepted.expect("a connection").remote)
}

#[test]
fn connections_start_from_a_listeners_port_when_that_is_asked_for() {
    run(async {
        for address in LOOPBACK {
            let (mut one, mut two) = (Node::new(), Node::new());
            let (_, at) = one.listen(address).await;
            let before = dialled_from(&mut two, &mut one, &at).await;
            assert_eq!(dialled_from(&mut two, &mut one, &at).await, before, "one port for all");
            let (id, own) = two.listen(address).await;
            let port = socket(&own).port();
            for _ in 0..2 {
                assert_eq!(dialled_from(&mut two, &mut one, &at).await.port(), port);
            }
            let (dialled, accepted) = futures::join!(two.dial(&at, NEW), one.accept());
            dialled.expect("a connection");
            assert_ne!(socket(&accepted.expect("a connection").remote).port(), port);
            // The listener still listens.
            connect(&mut one, &mut two, &own).await;
            assert!(two.transport.remove_listener(id));
            assert_ne!(dialled_from(&mut two, &mut one, &at).await.port(), port, "it is closed");
        }
    });
}

#[test]
fn a_port_of_the_other_family_or_reach_is_not_used() {
    run(async {
        let (mut one, mut two) = (Node::new(), Node::new());
        let (_, at) = one.listen(LOOPBACK[0]).await;
        let (_, own) = two.listen(LOOPBACK[1]).await;
        assert_ne!(dialled_from(&mut two, &mut one, &at).await.port(), socket(&own).port());
    });
}

#[test]
fn a_hole_is_punched_towards_a_peer_that_dials() {
    run(async {
        for address in LOOPBACK {
            let (mut one, mut two) = (Node::new(), Node::new());
            let (_, at) = one.listen(address).await;
            let (_, own) = two.listen(address).await;
            let at = at.with_p2p(one.peer).expect("it has no peer yet");
            let mut punched = two.dial(&at, PUNCH).fuse();
            let again = two.dial(&at, PUNCH).await.expect_err("one is enough");
            assert!(why(&again).contains("PunchingAlready"), "{again:?}");
            let (mut dial, mut dialled) = (one.dial(&own, REUSE).fuse(), None);
            let (peer, mut accepted) = loop {
                futures::select! {
                    outcome = punched => break outcome.expect("a connection"),
                    outcome = dial => dialled = Some(outcome),
                    event = two.next().fuse() => panic!("it is the one that was punched for: {event:?}"),
                }
            };
            let dialled = match dialled {
                Some(dialled) => dialled,
                None => dial.await,
            };
            let (other, mut muxer) = dialled.expect("a connection");
            assert_eq!((peer, other), (one.peer, two.peer));
            stream(&mut muxer, &mut accepted).await;
            stream(&mut accepted, &mut muxer).await;
        }
    });
}

#[test]
fn the_noise_of_a_punch_comes_from_the_listeners_port() {
    run(async {
        let far = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let at = crate::support::multiaddr(far.local_addr().expect("it is bound"));
        let mut node = Node::new();
        let (_, own) = node.listen(LOOPBACK[0]).await;
        let hear = async {
            let mut heard = Vec::new();
            while heard.len() < 3 {
                let mut noise = [0; 2000];
                let (n, from) = far.recv_from(&mut noise).await.expect("noise");
                assert_eq!((n, from), (64, socket(&own)));
                heard.push(noise);
            }
            assert!(heard[0] != heard[1] && heard[1] != heard[2]);
        };
        let ended = futures::future::select(Box::pin(hear), node.dial(&at, PUNCH)).await;
        assert!(matches!(ended, futures::future::Either::Left(_)));
        // Nobody waits any more, and another can be begun.
        drop(ended);
        let again = node.dial(&at, PUNCH).now_or_never();
        assert!(again.is_none(), "{again:?}");
    });
}

/// Somebody else who connects from there is not who the hole was punched for.
#[test]
fn a_punched_hole_is_for_the_expected_peer() {
    run(async {
        let (mut one, mut two) = (Node::new(), Node::new());
        let (_, at) = one.listen(LOOPBACK[0]).await;
        let (_, own) = two.listen(LOOPBACK[0]).await;
        let at = at.with_p2p(PeerId::random()).expect("it has no peer yet");
        let punch = two.dial(&at, PUNCH);
        let listening = async {
            match two.next().await {
                TransportEvent::Incoming { .. } => panic!("it came for the punch"),
                event => panic!("{event:?}"),
            }
        };
        let dial = async {
            let (_, mut muxer) = one.dial(&own, REUSE).await.expect("a connection, at first");
            inbound(&mut muxer).await.map(drop).expect_err("not for long");
        };
        let both = futures::future::join(punch, dial);
        match futures::future::select(Box::pin(both), Box::pin(listening)).await {
            futures::future::Either::Left(((outcome, ()), _)) => {
                assert!(why(&outcome.map(drop).expect_err("not the peer")).contains("WrongPeer"));
            }
            futures::future::Either::Right((never, _)) => never,
        }
    });
}

#[test]
fn without_a_listener_a_hole_is_punched_by_dialling() {
    run(async {
        let (mut one, mut two) = (Node::new(), Node::new());
        let (_, at) = one.listen(LOOPBACK[0]).await;
        let (dialled, accepted) = futures::join!(two.dial(&at, PUNCH), one.accept());
        let (mut muxer, mut accepted) =
            (dialled.expect("a connection").1, accepted.expect("a connection").muxer);
        stream(&mut muxer, &mut accepted).await;
    });
}

#[test]
fn streams_fail_on_a_connection_that_is_over() {
    run(async {
        let (mut one, mut two) = (Node::new(), Node::new());
        let (_, at) = one.listen(LOOPBACK[0]).await;
        let (mut dialled, accepted) = connect(&mut two, &mut one, &at).await;
        drop(accepted);
        inbound(&mut dialled).await.map(drop).expect_err("it is over");
        let error = outbound(&mut dialled).await.map(drop).expect_err("it is over");
        assert!(why(&error).contains(&format!("{:?}", ErrorKind::ConnectionAborted)), "{error:?}");
    });
}
