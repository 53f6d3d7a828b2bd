//! Scenarios of `FIELD.md` that belong to nothing else here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use futures_timer::Delay;
use libp2p_core::multiaddr::Protocol;
use libp2p_identity::Keypair;
use pointsub_swarm::{
    Cause, ClientConfig, ConnectError, Delivery, Listener, Multiaddr, PeerId, RawStream,
    RelayConfig, Request, ServerConfig,
};

use crate::common::*;

/// A node of this identity that answers many of its own byte.
async fn twin(keypair: &Keypair, byte: u8) -> Node {
    let node = Node::builder().keypair(keypair.clone()).client_config(once()).build().await;
    let node = node.expect("a node");
    let handler = move |_: Request| async move { vec![byte; 200_000] };
    node.server().register(&echo_name(), handler).expect("first");
    node
}

/// Both are the same peer to everybody else: who answers is open, but one answers alone.
#[test]
fn of_two_machines_with_one_key_one_answers_each_request() {
    run(async {
        const CALLS: u64 = 20;
        let node = start(ServerConfig::default(), once()).await;
        node.server().register(&echo_name(), echo).expect("first");
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let (mut twins, mut calls) = (Vec::new(), Vec::new());
        for byte in [b'a', b'b'] {
            let twin = twin(&keypair, byte).await;
            let to = connect(&twin, &node).await;
            check_echo(&twin, to, "here I am").await;
            twins.push(twin);
            calls.extend((0..CALLS).map(|_| {
                let client = node.client();
                spawn(async move { client.send(peer, &echo_name(), "?").idempotent(false).await })
            }));
        }
        for answer in join_all(calls).await {
            let answer = answer.expect("both are there");
            assert_eq!(answer.len(), 200_000);
            assert!(answer.iter().all(|byte| *byte == answer[0]), "a part of each");
        }
        let by_each = || twins.iter().map(|twin| twin.server().stats().ok).sum::<u64>();
        until(|| by_each() == 2 * CALLS).await;
    });
}

/// A relay for 16 connections, which is what libp2p's defaults allow, and one more.
#[test]
fn the_limit_of_a_relay_is_named() {
    run(async {
        let config = RelayConfig::default();
        let most = config.max_circuits;
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr();
        let port = port.expect("it is bound").port();
        let at: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address");
        let relay = Node::builder().listen(at.clone()).external_address(at).relay_server(config);
        let relay = relay.build().await.expect("a relay");
        let circuit = address(&relay).await.with(Protocol::P2pCircuit);
        let server = Node::builder().listen(circuit).build().await.expect("a reservation");
        server.server().register(&echo_name(), echo).expect("first");
        let mut connected = Vec::new();
        for _ in 0..most {
            let node = client_of(&server, once()).await;
            check_echo(&node, server.peer_id(), "through the relay").await;
            connected.push(node);
        }
        let node = client(once()).await;
        let error = node.connect(address(&server).await).await.expect_err("one too many");
        let ConnectError::Unreachable { reason, .. } = error else { panic!("{error:?}") };
        assert!(reason.contains("resource limit exceeded"), "{reason}");
        let error = node.client().send(server.peer_id(), &echo_name(), "?").await;
        let error = error.expect_err("one too many");
        let Cause::Unreachable(why) = &error.cause else { panic!("{error:?}") };
        assert!(why.contains("resource limit exceeded"), "{why}");
    });
}

/// A relay that accepts and says nothing may come to itself later: a node starts without it.
#[test]
fn a_silent_relay_does_not_keep_a_node_from_starting() {
    run(async {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = silent.local_addr().expect("it is bound").port();
        let relay = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}/p2p-circuit", PeerId::random());
        // Twice this is the time of a handshake.
        let config = once().with_connect_timeout(Duration::from_millis(100));
        let node = Node::builder().listen(relay.parse().expect("an address"));
        let node = node.client_config(config).build().await;
        assert!(node.expect("it starts").addresses().await.is_empty());
    });
}

/// A raw stream: the nodes, the listener, and both ends.
async fn raw_stream() -> (Node, Node, Listener, RawStream, RawStream) {
    let server = echo_server(ServerConfig::default()).await;
    let mut listener = server.server().listen(&name("/raw")).expect("first");
    let node = client_of(&server, once()).await;
    let (one, two) = another(&node, &server, &mut listener).await;
    (server, node, listener, one, two)
}

async fn another(node: &Node, server: &Node, listener: &mut Listener) -> (RawStream, RawStream) {
    let one = node.client().dial(server.peer_id(), &name("/raw")).await.expect("it listens");
    (one, listener.accept().await.expect("it was dialled"))
}

/// Reads and writes at both ends, each on a task of its own.
#[test]
fn two_tasks_share_a_raw_stream() {
    run(async {
        let (server, node, mut listener, mut one, mut two) = raw_stream().await;
        let body = noise(MIB, 7);
        for _ in 0..50 {
            let mut tasks = Vec::new();
            for end in [one, two] {
                let (mut reads, mut writes) = AsyncReadExt::split(end);
                let (said, expected) = (body.clone(), body.clone());
                tasks.push(
                    spawn(async move {
                        writes.write_all(&said).await.expect("the other end is there");
                        writes.close().await.expect("the other end is there");
                    })
                    .boxed(),
                );
                tasks.push(
                    spawn(async move {
                        let mut heard = Vec::new();
                        reads.read_to_end(&mut heard).await.expect("the other end is there");
                        assert!(heard == expected, "{} bytes came, changed", heard.len());
                    })
                    .boxed(),
                );
            }
            join_all(tasks).await;
            (one, two) = another(&node, &server, &mut listener).await;
        }
    });
}

/// Half of them have no address, half have one where nobody listens.
#[test]
fn each_of_many_unknown_peers_has_an_outcome() {
    run(async {
        let node = client(once()).await;
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr();
        let port = port.expect("it is bound").port();
        let nobody: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address");
        let peers: Vec<PeerId> = (0..2000).map(|_| PeerId::random()).collect();
        for peer in &peers[1000..] {
            node.add_address(*peer, nobody.clone()).await;
        }
        let (client, echo) = (node.client(), echo_name());
        let calls = peers.iter().map(|peer| client.send(*peer, &echo, "?").into_future());
        for (n, outcome) in join_all(calls).await.into_iter().enumerate() {
            let error = outcome.expect_err("nobody is there");
            assert_eq!(error.delivery, Delivery::NotProcessed, "{error}");
            match error.cause {
                Cause::NoAddress => assert!(n < 1000, "{n} has an address"),
                Cause::Unreachable(_) => assert!(n >= 1000, "{n} has no address"),
                _ => panic!("{n}: {error}"),
            }
        }
        let stats = client.stats();
        assert_eq!((stats.failed, stats.in_flight), (2000, 0));
    });
}

/// A request at work is no idle time of its connection.
#[test]
fn a_handler_may_take_longer_than_a_connection_may_be_idle() {
    run(async {
        let idle = Duration::from_millis(50);
        let server = Node::builder().listen(loopback()).idle_connection_timeout(idle).build().await;
        let server = server.expect("a node");
        let handler = move |request: Request| async move {
            Delay::new(20 * idle).await;
            request.body
        };
        server.server().register(&echo_name(), handler).expect("first");
        let config = ClientConfig::default().with_max_retries(0);
        let node = Node::builder().client_config(config).idle_connection_timeout(idle);
        let node = node.build().await.expect("a node");
        let peer = connect(&node, &server).await;
        check_echo(&node, peer, "worked on for long").await;
        assert_eq!(server.server().stats().started, 1);
    });
}

/// The window of one stream is full, and the connection goes on.
#[test]
fn a_raw_stream_that_nobody_reads_does_not_delay_requests() {
    run(async {
        let (server, node, _listener, mut one, _unread) = raw_stream().await;
        let written = Arc::<AtomicUsize>::default();
        let count = written.clone();
        let _writes = spawn(async move {
            while AsyncWriteExt::write_all(&mut one, &[7; 4096]).await.is_ok() {
                count.fetch_add(4096, Ordering::SeqCst);
            }
        });
        // Until the stream takes no more, and well beyond.
        let (mut last, mut unchanged) = (0, 0);
        while unchanged < 200 {
            check_echo(&node, server.peer_id(), noise(1024, 1)).await;
            let now = written.load(Ordering::SeqCst);
            unchanged = if now == last { unchanged + 1 } else { 0 };
            last = now;
        }
        assert!(last > 0, "nothing was written");
    });
}

/// Who holds a stream and does not use it keeps no connection alive.
#[test]
fn a_connection_ends_although_raw_streams_of_it_are_held() {
    run(async {
        for server_goes in [true, false] {
            let (server, node, _listener, mut one, mut two) = raw_stream().await;
            for end in [&mut one, &mut two] {
                AsyncWriteExt::write_all(end, &noise(100_000, 3)).await.expect("it is open");
                AsyncWriteExt::flush(end).await.expect("it is open");
            }
            let (goes, stays) = if server_goes { (server, node) } else { (node, server) };
            let gone = goes.peer_id();
            goes.shutdown(Duration::ZERO).await;
            for mut end in [one, two] {
                let read = AsyncReadExt::read_to_end(&mut end, &mut Vec::new()).await;
                read.expect_err("nobody closed it");
            }
            stays.client().send(gone, &echo_name(), "?").await.expect_err("it is gone");
        }
    });
}
