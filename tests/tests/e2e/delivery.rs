//! What was answered or written arrives, although the node that did so ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use futures::{AsyncReadExt, AsyncWriteExt};
use pointsub_swarm::{Delivery, RegisterError, Request, ServerConfig, Shutdown, Stopped};

use crate::common::*;
use crate::proxy::Proxy;

const GRACE: Duration = Duration::from_secs(30);

/// Answers `answer` once the gate is open.
fn answer_behind(gate: Gate, answer: bytes::Bytes) -> impl pointsub_swarm::Handler {
    move |_: Request| {
        let (gate, answer) = (gate.clone(), answer.clone());
        async move {
            gate.opened().await;
            answer
        }
    }
}

/// Shuts a server down while a handler is at work that answers so much, and waits for the answer.
async fn answered_while_it_ends(len: usize, proxied: bool) {
    let server = start(ServerConfig::default(), once()).await;
    let (opener, gate) = Gate::new();
    let body = noise(len, len as u64 | 1);
    server.server().register(&echo_name(), answer_behind(gate, body.clone())).expect("first");
    let direct = address(&server).await;
    let way = proxied.then(|| {
        let way = Proxy::to(direct.clone()).delay(Duration::from_millis(100)).rate(1_000_000);
        way.buffers(64 * 1024).start()
    });
    let node = client(once()).await;
    let at = way.as_ref().map_or(direct, Proxy::address);
    let peer = node.connect(at).await.expect("it listens");
    let (asking, handle) = (node.client(), server.server());
    let call = spawn(async move { asking.send(peer, &echo_name(), "?").await });
    until(|| handle.stats().in_flight == 1).await;
    let end = spawn(server.shutdown(GRACE));
    let late = name("/late");
    until(|| handle.register(&late, echo) == Err(RegisterError::Closed)).await;
    drop(opener);
    let answer = call.await.expect("the handler has answered within the grace");
    assert!(answer == body, "{} of {len} bytes came", answer.len());
    assert!(end.await.is_clean());
}

/// Today's figures were 2 to 4 of 20 lost.
#[test]
fn a_node_that_ends_delivers_what_its_handlers_answered() {
    run(async {
        for _ in 0..20 {
            answered_while_it_ends(1000, false).await;
        }
        for _ in 0..5 {
            answered_while_it_ends(4 * MIB, false).await;
        }
    });
}

#[test]
fn a_node_that_ends_delivers_over_a_slow_link() {
    run(async {
        let calls = (0..4).map(|_| answered_while_it_ends(900 * 1024, true));
        join_all(calls).await;
    });
}

/// The end of the stream and that of the connection come in one piece.
#[test]
fn a_client_that_ends_with_its_last_answer_has_confirmed_it() {
    run(async {
        for _ in 0..3 {
            let server = start(ServerConfig::default(), once()).await;
            let (opener, gate) = Gate::new();
            let answer = bytes::Bytes::from_static(b"late");
            server.server().register(&echo_name(), answer_behind(gate, answer)).expect("first");
            let way = Proxy::to(address(&server).await).delay(Duration::from_millis(20)).start();
            let node = client(once()).await;
            let peer = node.connect(way.address()).await.expect("it listens");
            let handle = server.server();
            let asks = spawn(async move {
                let answer = node.client().send(peer, &echo_name(), "?").await;
                way.freeze();
                node.shutdown(Duration::ZERO).await;
                way.thaw();
                (answer, way)
            });
            until(|| handle.stats().in_flight == 1).await;
            let end = spawn(server.shutdown(GRACE));
            until(|| handle.register(&name("/late"), echo) == Err(RegisterError::Closed)).await;
            drop(opener);
            let (answer, _way) = asks.await;
            assert_eq!(answer.expect("it is answered"), "late");
            assert_eq!(end.await, Shutdown::default());
        }
    });
}

/// Calls from so many nodes, so many at a time from each, until the server they go to has ended.
async fn asked_until_it_ends(nodes: usize, callers: usize) {
    let server = echo_server(ServerConfig::default()).await;
    let (peer, handled) = (server.peer_id(), server.server());
    let (answered, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (mut clients, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..nodes {
        let node = client_of(&server, once()).await;
        calls.extend((0..callers).map(|_| {
            let (client, answered, over) = (node.client(), answered.clone(), over.clone());
            spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    match client.send(peer, &echo_name(), "?").idempotent(false).await {
                        Ok(_) => _ = answered.fetch_add(1, Ordering::Relaxed),
                        Err(error) => return Some(error),
                    }
                }
                None
            })
        }));
        clients.push(node);
    }
    until(|| answered.load(Ordering::Relaxed) > 1000).await;
    server.shutdown(GRACE).await;
    over.store(true, Ordering::Relaxed);
    for error in join_all(calls).await.into_iter().flatten() {
        assert_eq!(error.delivery, Delivery::NotProcessed, "{error}");
    }
    assert_eq!(handled.stats().ok, answered.load(Ordering::Relaxed) as u64);
}

/// Nobody may have to guess: each call is answered, or was surely not processed.
#[test]
fn a_node_that_ends_says_which_requests_it_has_not_seen() {
    run(asked_until_it_ends(1, 50));
}

/// Streams that were opened when the last answers had gone are told as well.
#[test]
fn a_node_that_ends_tells_those_whose_streams_come_last() {
    run(async {
        for _ in 0..5 {
            asked_until_it_ends(8, 6).await;
        }
    });
}

#[test]
fn a_raw_stream_that_was_closed_is_delivered_by_a_node_that_ends() {
    run(async {
        for _ in 0..10 {
            let server = start(ServerConfig::default(), once()).await;
            let mut listener = server.server().listen(&name("/raw")).expect("first");
            let node = client_of(&server, once()).await;
            let stream = node.client().dial(server.peer_id(), &name("/raw")).await;
            let mut stream = stream.expect("it listens");
            let mut other = listener.accept().await.expect("it was dialled");
            let body = noise(MIB, 5);
            let sent = body.clone();
            let sends = spawn(async move {
                AsyncWriteExt::write_all(&mut other, &sent).await.expect("it is open");
                AsyncWriteExt::close(&mut other).await.expect("it is open");
                drop(other);
                server.shutdown(GRACE).await;
            });
            let mut heard = Vec::new();
            let read = AsyncReadExt::read_to_end(&mut stream, &mut heard).await;
            read.expect("it was closed in good order");
            assert!(heard == body, "{} bytes came", heard.len());
            sends.await;
        }
    });
}

#[test]
fn a_stop_says_what_it_has_cut_off() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let alive = Alive::default();
        let counted = alive.clone();
        let handler = move |_: Request| hang(counted.clone());
        server.server().register(&echo_name(), handler).expect("first");
        let node = client_of(&server, once()).await;
        let peer = server.peer_id();
        let calls: Vec<_> = (0..3)
            .map(|_| {
                let client = node.client();
                spawn(async move { client.send(peer, &echo_name(), "?").await })
            })
            .collect();
        until(|| alive.now() == 3).await;
        let stopped = server.server().stop(Duration::from_millis(50)).await;
        assert_eq!(stopped.cut_off, 3);
        for call in join_all(calls).await {
            assert_eq!(call.expect_err("it was cut off").delivery, Delivery::Unknown);
        }
        assert_eq!(server.server().stop(GRACE).await, Stopped::default(), "that was the last stop");
    });
}

/// Whoever waits for a stop may give up; the stop does not.
#[test]
fn a_stop_that_nobody_waits_for_ends() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let alive = Alive::default();
        let counted = alive.clone();
        let handler = move |_: Request| hang(counted.clone());
        server.server().register(&echo_name(), handler).expect("first");
        let node = client_of(&server, once()).await;
        let (client, peer) = (node.client(), server.peer_id());
        let call = spawn(async move { client.send(peer, &echo_name(), "?").await });
        until(|| alive.now() == 1).await;
        let handle = server.server();
        {
            let mut stop = Box::pin(handle.stop(Duration::from_millis(200)));
            assert!(futures::poll!(&mut stop).is_pending());
        }
        call.await.expect_err("it was cut off");
        until(|| handle.register(&echo_name(), echo).is_ok()).await;
        check_echo(&node, peer, "again").await;
    });
}
