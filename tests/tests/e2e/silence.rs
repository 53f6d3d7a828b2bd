//! Connections that are dead although nobody said so.

use std::time::Duration;

use futures::AsyncReadExt;
use futures::future::join_all;
use libp2p_identity::Keypair;
use pointsub_swarm::{Cause, ClientConfig, Delivery, ServerConfig};

use crate::common::*;
use crate::proxy::Proxy;

/// What is asked next goes over a connection that works, although the old one never ended.
#[test]
fn a_frozen_connection_is_replaced() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let way = Proxy::to(address(&server).await).start();
        let node = client(ClientConfig::default()).await;
        let peer = node.connect(way.address()).await.expect("it listens");
        check_echo(&node, peer, "before").await;
        way.freeze();
        node.add_address(peer, address(&server).await).await;
        check_echo(&node, peer, "after").await;
        // And so does what comes then.
        check_echo(&node, peer, "later").await;
    });
}

/// A request that was under way is tried on the new connection.
#[test]
fn a_request_on_a_frozen_connection_moves() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let (opener, gate) = Gate::new();
        server.server().register(&echo_name(), echo_behind(gate)).expect("first");
        let way = Proxy::to(address(&server).await).start();
        let node = client(ClientConfig::default()).await;
        let peer = node.connect(way.address()).await.expect("it listens");
        let asking = node.client();
        let call = spawn(async move { asking.send(peer, &echo_name(), "?").await });
        until(|| server.server().stats().in_flight == 1).await;
        node.add_address(peer, address(&server).await).await;
        way.freeze();
        drop(opener);
        assert_eq!(call.await.expect("there is another way"), "?");
        assert!(node.client().stats().retries <= 1);
    });
}

/// Both have the same identity; the old one is a corpse.
#[test]
fn a_peer_that_comes_back_replaces_its_corpse() {
    run(async {
        let keypair = Keypair::generate_ed25519();
        let serve = || async {
            let node = Node::builder().keypair(keypair.clone()).listen(loopback());
            let node = node.client_config(once()).build().await.expect("a node");
            node.server().register(&echo_name(), echo).expect("first");
            node
        };
        let old = serve().await;
        let way = Proxy::to(address(&old).await).start();
        let node = echo_server(ServerConfig::default()).await;
        let peer = node.connect(way.address()).await.expect("it listens");
        check_echo(&node, peer, "old").await;
        way.freeze();
        let new = serve().await;
        let to = connect(&new, &node).await;
        check_echo(&new, to, "here I am").await;
        let limit = Duration::from_secs(5);
        let answer = node.client().send(peer, &echo_name(), "new").timeout(limit).await;
        assert_eq!(answer.expect("it is back"), "new");
        assert_eq!(new.server().stats().ok, 1);
    });
}

/// Somebody who only listens hears of it too, and so does who may not ask twice.
#[test]
fn a_raw_stream_over_a_frozen_connection_fails() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let mut listener = server.server().listen(&name("/raw")).expect("first");
        let alive = Alive::default();
        let at_work = alive.clone();
        let handler = move |_| hang(at_work.clone());
        server.server().register(&echo_name(), handler).expect("first");
        let way = Proxy::to(address(&server).await).start();
        // Nothing but the silence of the peer ends anything.
        let config = ClientConfig::default().with_read_timeout(Duration::from_secs(600));
        let node = client(config).await;
        let peer = node.connect(way.address()).await.expect("it listens");
        let mut stream = node.client().dial(peer, &name("/raw")).await.expect("it listens");
        let _other = listener.accept().await.expect("it was dialled");
        let asking = node.client();
        let call =
            spawn(async move { asking.send(peer, &echo_name(), "?").idempotent(false).await });
        until(|| alive.now() == 1).await;
        way.freeze();
        let read = AsyncReadExt::read(&mut stream, &mut [0; 8]).await;
        read.expect_err("the peer is silent");
        let error = call.await.expect_err("the peer is silent");
        assert!(matches!(error.cause, Cause::Lost(_)), "{error}");
        assert_eq!(error.delivery, Delivery::Unknown, "its handler is at work");
        assert_eq!(node.client().stats().retries, 0);
    });
}

/// A handler that takes long is no reason to doubt, nor is a link that is slow and busy.
#[test]
fn a_slow_peer_is_not_dead() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let (opener, gate) = Gate::new();
        server.server().register(&name("/slow"), echo_behind(gate)).expect("first");
        server.server().register(&echo_name(), echo).expect("first");
        let way = Proxy::to(address(&server).await).rate(50_000).buffers(64 * 1024).start();
        let node = client(once()).await;
        let peer = node.connect(way.address()).await.expect("it listens");
        let asking = node.client();
        let slow = spawn(async move { asking.send(peer, &name("/slow"), "?").await });
        until(|| server.server().stats().in_flight == 1).await;
        // 16 s of bytes, with nothing to read for half of them: longer than silence may last, and far
        // from the 30 s that a request has, since a link that is late on a busy machine stays behind.
        let body = noise(400_000, 3);
        let answer = node.client().send(peer, &echo_name(), body.clone()).await;
        assert!(answer.expect("bytes move all the time") == body);
        drop(opener);
        assert_eq!(slow.await.expect("it was on the same connection"), "?");
        assert_eq!(way.accepted(), 1, "there was never a reason for another");
    });
}

/// Whoever asks to be connected is, although a connection is there that looks alive.
#[test]
fn connect_finds_another_way_when_the_connection_is_dead() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let way = Proxy::to(address(&server).await).start();
        let node = client(ClientConfig::default()).await;
        let peer = node.connect(way.address()).await.expect("it listens");
        check_echo(&node, peer, "before").await;
        way.freeze();
        assert_eq!(connect(&node, &server).await, peer);
        let limit = Duration::from_secs(5);
        let answer = node.client().send(peer, &echo_name(), "after").timeout(limit).await;
        assert_eq!(answer.expect("there is a new connection"), "after");
    });
}

/// Eight are as many connections as one peer may have.
#[test]
fn corpses_do_not_keep_the_living_out() {
    run(async {
        let keypair = Keypair::generate_ed25519();
        let server = echo_server(ServerConfig::default()).await;
        let (mut ways, mut corpses) = (Vec::new(), Vec::new());
        for _ in 0..8 {
            let way = Proxy::to(address(&server).await).start();
            let node = Node::builder().keypair(keypair.clone()).client_config(once());
            let node = node.build().await.expect("a node");
            let peer = node.connect(way.address()).await.expect("it listens");
            check_echo(&node, peer, "warm").await;
            way.freeze();
            ways.push(way);
            corpses.push(node);
        }
        let ninth = Node::builder().keypair(keypair).client_config(once());
        let ninth = ninth.build().await.expect("a node");
        let peer = connect(&ninth, &server).await;
        check_echo(&ninth, peer, "alive").await;
    });
}

/// Both ends close a connection that nobody uses, each by its own clock. A request that is put on it at
/// that moment is answered, or was surely not processed.
#[test]
fn a_request_on_a_connection_that_is_closing_is_never_in_doubt() {
    run(async {
        let idle = Duration::from_millis(300);
        let server = Node::builder().listen(loopback()).idle_connection_timeout(idle).build().await;
        let server = server.expect("a node");
        server.server().register(&echo_name(), echo).expect("first");
        let way = Proxy::to(address(&server).await).delay(Duration::from_millis(40)).start();
        let races = (0..16).map(|race| {
            let at = way.address();
            async move {
                let config = once()
                    .with_idle_stream_timeout(Duration::from_millis(1))
                    // Sixteen handshakes happen at once.
                    .with_connect_timeout(Duration::from_secs(60));
                let node = Node::builder().client_config(config).idle_connection_timeout(2 * idle);
                let node = node.build().await.expect("a node");
                let peer = node.connect(at).await.expect("it listens");
                for round in 0..10 {
                    let send = node.client().send(peer, &echo_name(), "?").idempotent(false).await;
                    if let Err(error) = send {
                        assert_eq!(error.delivery, Delivery::NotProcessed, "{error}");
                    }
                    until(|| node.client().stats().streams == 0).await;
                    // The server has let go of it some 40 ms later, and closes after 300 ms more.
                    let pause = Duration::from_millis(260 + (race * 10 + round) % 160);
                    futures_timer::Delay::new(pause).await;
                }
            }
        });
        join_all(races).await;
    });
}
