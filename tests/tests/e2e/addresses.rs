//! Which of a peer's addresses lead to it, and who waits for which.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{join, join_all};

use pointsub_swarm::{
    Cause, ClientConfig, ConnectError, DialError, Keypair, Multiaddr, PeerId, ServerConfig,
};

use crate::common::*;

/// A listener, and the address it has.
fn listener() -> (TcpListener, Multiaddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address"))
}

/// An address where nobody listens.
fn nobody() -> Multiaddr {
    listener().1
}

/// Waits for a connection on a thread of its own.
async fn blocking_accept(listener: &TcpListener) -> TcpStream {
    let (done, accepted) = oneshot::channel();
    let listener = listener.try_clone().expect("another handle");
    thread::spawn(move || drop(done.send(listener.accept())));
    accepted.await.expect("the thread tells").expect("a connection").0
}

/// Where connections are closed at once, and how many there were.
fn counting() -> (Arc<AtomicUsize>, Multiaddr) {
    let (listener, address) = listener();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    thread::spawn(move || {
        while let Ok(connection) = listener.accept() {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(connection);
        }
    });
    (count, address)
}

fn without_peer(mut address: Multiaddr) -> Multiaddr {
    address.pop();
    address
}

/// Somebody else at one of the addresses does not spoil the others.
#[test]
fn another_peer_at_an_address_does_not_hide_the_right_one() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let stranger = echo_server(ServerConfig::default()).await;
        for _ in 0..10 {
            let node = client(once()).await;
            for at in [&stranger, &server] {
                let at = without_peer(address(at).await);
                node.add_address(server.peer_id(), at).await;
            }
            check_echo(&node, server.peer_id(), "found").await;
        }
        assert_eq!(stranger.server().stats().started, 0);
    });
}

/// Each address has its own time, and the last one its turn.
#[test]
fn the_ninth_of_nine_addresses_is_reached() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let silent: Vec<_> = (0..8).map(|_| listener()).collect();
        let config = ClientConfig::default().with_connect_timeout(Duration::from_secs(1));
        let node = client(config).await;
        for (_, at) in &silent {
            node.add_address(server.peer_id(), at.clone()).await;
        }
        node.add_address(server.peer_id(), address(&server).await).await;
        check_echo(&node, server.peer_id(), "found").await;
    });
}

/// An address that is learned while a dial hangs is tried at once, for all who wait.
#[test]
fn an_address_that_comes_later_joins_the_dial() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let (silent, hanging) = listener();
        let node = Arc::new(client(once()).await);
        let peer = server.peer_id();
        node.add_address(peer, hanging).await;
        let waits = node.clone();
        let first = spawn(async move { check_echo(&waits, peer, "waits").await });
        let _silent = blocking_accept(&silent).await;
        node.add_address(peer, address(&server).await).await;
        check_echo(&node, peer, "comes later").await;
        first.await;
    });
}

/// Who connects shares the dial of who connects already, and brings an address to it.
#[test]
fn connects_to_a_peer_share_a_dial() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let (silent, hanging) = listener();
        let node = Arc::new(client(once()).await);
        let waits = node.clone();
        let peer = server.peer_id();
        let hanging = hanging.with_p2p(peer).expect("an address without a peer");
        let first = spawn(async move { waits.connect(hanging).await });
        let _silent = blocking_accept(&silent).await;
        let second = node.connect(address(&server).await).await;
        assert_eq!((first.await.expect("it joined"), second.expect("it is there")), (peer, peer));
    });
}

/// However many connect at once or in turn, and in whatever form the address is.
#[test]
fn connecting_is_shared_and_can_be_repeated() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let with_peer = address(&server).await;
        for at in [with_peer.clone(), without_peer(with_peer.clone())] {
            let node = client(once()).await;
            let connects = join_all((0..20).map(|_| node.connect(at.clone()))).await;
            for peer in connects {
                assert_eq!(peer.expect("it is there"), server.peer_id());
            }
            for _ in 0..20 {
                let peer = node.connect(at.clone()).await.expect("it is still there");
                assert_eq!(peer, server.peer_id());
            }
            check_echo(&node, server.peer_id(), "connected").await;
        }
    });
}

/// An address that turns out to be that of a peer which is connected keeps that connection.
#[test]
fn another_address_of_a_connected_peer_keeps_the_connection() {
    run(async {
        let server = Node::builder().listen(loopback()).listen(loopback()).build().await;
        let server = server.expect("a node");
        server.server().register(&echo_name(), echo).expect("first");
        let node = client(once()).await;
        let addresses = server.addresses().await;
        assert_eq!(addresses.len(), 2);
        let peer = node.connect(addresses[0].clone()).await.expect("it is there");
        check_echo(&node, peer, "warm").await;
        for _ in 0..20 {
            let other = without_peer(addresses[1].clone());
            assert_eq!(node.connect(other).await.expect("it is there too"), peer);
            check_echo(&node, peer, "still warm").await;
        }
        assert_eq!(node.client().stats().opens, 1, "the stream was never moved");
    });
}

/// The same address with and without the peer is dialled once.
#[test]
fn an_address_is_dialled_once_in_whatever_form_it_is_known() {
    run(async {
        let (count, at) = counting();
        let peer = PeerId::random();
        let node = client(once()).await;
        let with_peer = at.clone().with_p2p(peer).expect("an address without a peer");
        node.add_address(peer, at.clone()).await;
        node.add_address(peer, with_peer.clone()).await;
        let error = node.client().send(peer, &echo_name(), "x").await.expect_err("it closes");
        assert!(matches!(error.cause, Cause::Unreachable(_)), "{error:?}");
        assert_eq!(count.load(Ordering::SeqCst), 1);
        node.connect(with_peer).await.expect_err("it closes");
        assert_eq!(count.load(Ordering::SeqCst), 2);
    });
}

/// What went wrong is told once, in few words, and of each address.
#[test]
fn an_error_names_each_address_and_its_reason() {
    run(async {
        let stranger = echo_server(ServerConfig::default()).await;
        let node = client(once()).await;
        let (refuses, taken) = (nobody(), without_peer(address(&stranger).await));
        let peer = PeerId::random();
        for at in [&refuses, &taken] {
            node.add_address(peer, at.clone()).await;
        }
        let error = node.client().send(peer, &echo_name(), "x").await.expect_err("not there");
        let Cause::Unreachable(why) = &error.cause else { panic!("{error:?}") };
        let mut lines: Vec<&str> = why.lines().collect();
        lines.sort_unstable();
        let refused = format!(": {refuses}");
        assert!(
            lines[0].starts_with("Connection refused") && lines[0].ends_with(&refused),
            "{why}"
        );
        let other = format!("another peer answers, {}: {taken}", stranger.peer_id());
        assert_eq!(lines[1..], [other.as_str()]);
        let error = node.connect(refuses.clone()).await.expect_err("nobody listens");
        let ConnectError::Unreachable { address, reason, tried } = error else {
            panic!("{error:?}")
        };
        assert_eq!(address, refuses);
        assert_eq!(tried.len(), 1);
        assert_eq!(tried[0].address.as_ref(), Some(&refuses));
        assert!(matches!(tried[0].why, DialError::Transport(_)), "{tried:?}");
        assert!(reason.starts_with("Connection refused") && !reason.contains(':'), "{reason}");
    });
}

/// Of a peer that nobody has heard of there is nothing to try again.
#[test]
fn a_peer_without_an_address_fails_at_once_whatever_may_be_tried_again() {
    run(async {
        let config = ClientConfig::default().with_retry_interval(Duration::from_secs(3600));
        let node = client(config).await;
        let error = node.client().send(PeerId::random(), &echo_name(), "x").await;
        let error = error.expect_err("no address is known");
        assert_eq!(error.cause, Cause::NoAddress);
        assert!(error.to_string().contains("add_address"), "{error}");
    });
}

/// A peer that was there and has gone may come back: that is no reason to give up at once.
#[test]
fn a_peer_that_was_connected_may_come_back() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let visitor = || Node::builder().keypair(keypair.clone()).build();
        let node = visitor().await.expect("a node");
        node.server().register(&echo_name(), echo).expect("first");
        connect(&node, &server).await;
        // The end that was dialled may hear of the connection later.
        while server.client().send(peer, &echo_name(), "here?").await.is_err() {}
        node.shutdown(Duration::ZERO).await;
        let back = async {
            let node = visitor().await.expect("a node");
            node.server().register(&echo_name(), echo).expect("first");
            connect(&node, &server).await;
            node
        };
        let asks = async {
            loop {
                match server.client().send(peer, &echo_name(), "back?").await {
                    Ok(_) => break,
                    Err(error) => assert!(error.cause != Cause::NoAddress, "{error:?}"),
                }
            }
        };
        let _back = join(back.boxed(), asks.boxed()).await;
    });
}
