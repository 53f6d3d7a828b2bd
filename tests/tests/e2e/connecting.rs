//! Peers that are not there, or not who they should be.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::pin::pin;
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, join, select};
use libp2p_identity::PeerId;

use libp2p_core::multiaddr::Protocol;
use pointsub_swarm::{
    Cause, ConnectError, Delivery, ListenFailure, Multiaddr, NodeError, Phase, SendError,
    ServerConfig,
};

use crate::common::*;

/// An address where nobody listens.
fn nobody() -> Multiaddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address")
}

/// A listener that takes connections and says nothing.
fn silent() -> (TcpListener, Multiaddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address"))
}

/// Waits for a connection on a thread of its own.
async fn blocking_accept(listener: TcpListener) -> TcpStream {
    let (done, accepted) = oneshot::channel();
    thread::spawn(move || drop(done.send(listener.accept())));
    accepted.await.expect("the thread tells").expect("a connection").0
}

#[test]
fn connecting_where_nobody_listens_is_a_typed_error() {
    run(async {
        let node = client(once()).await;
        let somebody = PeerId::random();
        for at in [nobody(), nobody().with_p2p(somebody).expect("an address without a peer")] {
            let error = node.connect(at.clone()).await.expect_err("nobody listens");
            match error {
                ConnectError::Unreachable { address, .. } => assert_eq!(address, at),
                error => panic!("{error:?}"),
            }
        }
    });
}

/// C3: the limit covers the handshake.
#[test]
fn connecting_to_a_silent_listener_times_out() {
    run(async {
        let limit = Duration::from_millis(300);
        let (_listener, address) = silent();
        let node = client(once().with_connect_timeout(limit)).await;
        for _ in 0..5 {
            let error = node.connect(address.clone()).await.expect_err("nobody speaks");
            match error {
                ConnectError::TimedOut { after, .. } => assert_eq!(after, limit),
                error => panic!("{error:?}"),
            }
        }
    });
}

/// C3: the same limit, when a request has to connect first.
#[test]
fn a_request_to_a_silent_listener_times_out() {
    run(async {
        let limit = Duration::from_millis(300);
        let (_listener, address) = silent();
        let node = client(once().with_connect_timeout(limit)).await;
        for _ in 0..5 {
            let peer = PeerId::random();
            node.add_address(peer, address.clone()).await;
            let error = node.client().send(peer, &echo_name(), "x").await;
            let error = error.expect_err("nobody speaks");
            assert_eq!(error.cause, Cause::TimedOut(limit));
            assert_eq!((error.phase, error.delivery), (Phase::Connect, Delivery::NotProcessed));
        }
    });
}

/// C1: a caller's deadline is kept before there is a connection too.
#[test]
fn a_callers_deadline_ends_the_wait_for_a_connection() {
    run(async {
        let (_listener, address) = silent();
        let node = client(once()).await;
        let peer = PeerId::random();
        node.add_address(peer, address).await;
        let echo = echo_name();
        let call = node.client().send(peer, &echo, "x").timeout(Duration::from_millis(200));
        let error = call.await.expect_err("nobody speaks");
        assert_eq!(error.cause, Cause::Deadline);
        assert_eq!((error.phase, error.delivery), (Phase::Connect, Delivery::NotProcessed));
    });
}

#[test]
fn a_request_to_a_peer_without_an_address_fails() {
    run(async {
        let node = client(once()).await;
        for _ in 0..3 {
            let error = node.client().send(PeerId::random(), &echo_name(), "x").await;
            let error = error.expect_err("no address is known");
            assert_eq!(error.cause, Cause::NoAddress);
            assert_eq!((error.phase, error.delivery), (Phase::Connect, Delivery::NotProcessed));
        }
        let stats = node.client().stats();
        assert_eq!((stats.in_flight, stats.streams, stats.failed), (0, 0, 3));
    });
}

#[test]
fn a_request_where_nobody_listens_is_unreachable() {
    run(async {
        let node = client(once()).await;
        let peer = PeerId::random();
        node.add_address(peer, nobody()).await;
        let error = node.client().send(peer, &echo_name(), "x").await;
        let error = error.expect_err("nobody listens");
        assert!(matches!(error.cause, Cause::Unreachable(_)), "{error:?}");
        assert_eq!(error.delivery, Delivery::NotProcessed);
    });
}

/// O3: whoever has awaited `add_address` can send.
#[test]
fn an_address_is_known_as_soon_as_it_was_added() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let at = address(&server).await;
        for _ in 0..50 {
            let node = client(once()).await;
            node.add_address(server.peer_id(), at.clone()).await;
            check_echo(&node, server.peer_id(), "found").await;
        }
    });
}

/// An address book that is wrong in part is no obstacle.
#[test]
fn one_good_address_among_bad_ones_is_enough() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client(once()).await;
        node.add_address(server.peer_id(), nobody()).await;
        node.add_address(server.peer_id(), address(&server).await).await;
        node.add_address(server.peer_id(), nobody()).await;
        check_echo(&node, server.peer_id(), "found").await;
    });
}

/// Nobody can pretend to be somebody else.
#[test]
fn another_peer_at_the_address_is_not_accepted() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client(once()).await;
        let mut at = address(&server).await;
        at.pop();
        let expected = PeerId::random();
        let at = at.with_p2p(expected).expect("an address without a peer");
        let error = node.connect(at).await.expect_err("another peer is there");
        assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
        let error = node.client().send(expected, &echo_name(), "secret").await;
        assert_eq!(error.expect_err("it is not there").delivery, Delivery::NotProcessed);
        assert_eq!(server.server().stats().started, 0);
    });
}

/// Many requests at once cause one connection.
#[test]
fn requests_that_have_to_connect_share_one_dial() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client(once()).await;
        node.add_address(server.peer_id(), address(&server).await).await;
        let calls = (0..100).map(|n| check_echo(&node, server.peer_id(), format!("request {n}")));
        futures::future::join_all(calls).await;
        assert_eq!(node.client().stats().opens, 1);
    });
}

/// An address that hangs holds up neither who has named it nor who comes later.
#[test]
fn a_request_does_not_wait_for_an_address_that_hangs() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let (listener, address) = silent();
        let node = client(once()).await;
        let hanging = address.with_p2p(server.peer_id()).expect("an address without a peer");
        let connecting = pin!(node.connect(hanging));
        let dialled = blocking_accept(listener);
        let Either::Right((_silent, connecting)) = select(connecting, pin!(dialled)).await else {
            panic!("nobody speaks there");
        };
        node.add_address(server.peer_id(), self::address(&server).await).await;
        let answered = check_echo(&node, server.peer_id(), "at once");
        let (_, connected) = join(answered, connecting).await;
        assert_eq!(connected.expect("through the other address"), server.peer_id());
    });
}

/// C13: nobody dials itself, or waits for itself.
#[test]
fn a_node_neither_connects_nor_sends_to_itself() {
    run(async {
        let node = echo_server(ServerConfig::default()).await;
        let with_peer = address(&node).await;
        let mut without_peer = with_peer.clone();
        without_peer.pop();
        for own in [with_peer, without_peer] {
            let error = node.connect(own).await.expect_err("it is itself");
            assert!(matches!(error, ConnectError::SelfDial), "{error:?}");
        }
        let error = node.client().send(node.peer_id(), &echo_name(), "x").await;
        let error = error.expect_err("it is itself");
        assert_eq!(error.cause, Cause::Refused(SendError::SelfRequest));
        assert_eq!((error.phase, error.delivery), (Phase::Send, Delivery::NotProcessed));
    });
}

/// More connections than are allowed are closed, and there is room again when one is gone.
#[test]
fn a_node_limits_how_many_connect_to_it() {
    run(async {
        let server = Node::builder().listen(loopback()).max_incoming_connections(2).build().await;
        let server = server.expect("a node");
        server.server().register(&echo_name(), echo).expect("first");
        let (one, two) = (client_of(&server, once()).await, client_of(&server, once()).await);
        check_echo(&one, server.peer_id(), "one").await;
        check_echo(&two, server.peer_id(), "two").await;
        let three = client(once()).await;
        let address = self::address(&server).await;
        // The handshake may end before the refusal comes.
        let _either = three.connect(address.clone()).await;
        let refused = three.client().send(server.peer_id(), &echo_name(), "three").await;
        let error = refused.expect_err("there is no room");
        assert_eq!(error.delivery, Delivery::NotProcessed, "{error:?}");
        assert_ne!(error.cause, Cause::Unsupported, "a stream that is lost is no refusal");
        check_echo(&two, server.peer_id(), "still there").await;
        one.shutdown(Duration::ZERO).await;
        loop {
            let _either = three.connect(address.clone()).await;
            if three.client().send(server.peer_id(), &echo_name(), "three").await.is_ok() {
                break;
            }
        }
    });
}

/// Two programs at one port would each get a part of the connections.
#[test]
fn nobody_listens_where_somebody_listens() {
    run(async {
        let one = echo_server(ServerConfig::default()).await;
        let mut at = address(&one).await;
        at.pop();
        let two = Node::builder().listen(at.clone()).build().await;
        match two.expect_err("it is in use") {
            NodeError::Listen { address, reason: ListenFailure::InUse } => assert_eq!(address, at),
            error => panic!("{error:?}"),
        }
        check_echo(&client_of(&one, once()).await, one.peer_id(), "alone").await;
        one.shutdown(Duration::ZERO).await;
        // Connections that are being forgotten are no obstacle.
        let _again = Node::builder().listen(at).build().await.expect("it is free");
    });
}

/// A node can be reached at all kinds of addresses of one port.
#[test]
fn both_families_share_a_port() {
    run(async {
        let one = start(ServerConfig::default(), once()).await;
        let at = address(&one).await;
        one.shutdown(Duration::ZERO).await;
        let Some(Protocol::Tcp(port)) = at.iter().nth(1) else { panic!("{at}") };
        let wildcards = ["/ip4/0.0.0.0", "/ip6/::"].map(|ip| format!("{ip}/tcp/{port}"));
        let [four, six] = wildcards.map(|at| at.parse().expect("an address"));
        let node = Node::builder().listen(four).listen(six).build().await.expect("both are free");
        assert!(!node.addresses().await.is_empty());
    });
}
