//! The peer is the client; this library serves. Both speak native.

use std::time::Duration;

use futures::future::join_all;
use pointsub_swarm::{Format, ServerConfig};

use crate::Node;
use crate::checks::{Body, Checks, MIB, NUMBERS, address, name, node, once, receipt, until};
use crate::native::{messages, receipt_of};
use crate::native_services::{GATHERED, Stopped, serve};
use crate::peer::{Peer, Program};

pub(crate) const SIZES: [(&str, usize); 5] =
    [("0 B", 0), ("1 B", 1), ("512 B", 512), ("65 536 B", 65_536), ("1 MiB", MIB)];
/// What a peer says of status 7 of the application, with everything that the handler gives to it.
const NO: &str = "status 1 code 7 unknown detail 010203 message no";
const GRACE: Duration = Duration::from_secs(10);

pub(crate) async fn check(checks: &mut Checks, language: &str, program: &Program) {
    let subject = &format!("{language} client");
    let peer = &program.start().await;
    for (size, len) in SIZES {
        checks.check(subject, &format!("{size} body"), body(peer, len)).await;
        let name = format!("{size} body, compressed where that wins something");
        checks.check(subject, &name, compressed(peer, len)).await;
    }
    checks.check(subject, "methods and metadata", metadata(peer)).await;
    checks.check(subject, "a handler's own error", handler_error(peer)).await;
    checks.check(subject, "statuses of a handler", statuses(peer)).await;
    checks.check(subject, "a protocol that we do not serve", unknown_protocol(peer)).await;
    checks.check(subject, "a call of a protocol of requests", no_calls(peer)).await;
    checks.check(subject, "a request of a protocol of calls", calls_alone(peer)).await;
    checks.check(subject, "the deadline of a request passes at the server", deadline(peer)).await;
    checks.check(subject, "a request is cancelled", cancelled(peer)).await;
    checks
        .check(subject, "64 requests on one stream, the last answered first", out_of_order(peer))
        .await;
    checks.check(subject, "64 requests each way at once", both_ways(peer)).await;
    for size in [0, 100, 5000] {
        let name = format!("a call pushes 1000 messages of {size} B");
        checks.check(subject, &name, pushes(peer, 1000, size)).await;
        let name = format!("a call uploads 1000 messages of {size} B");
        checks.check(subject, &name, uploads(peer, 1000, size)).await;
    }
    checks.check(subject, "a call pushes 5 messages of 1 MiB", pushes(peer, 5, MIB)).await;
    checks.check(subject, "a call uploads 5 messages of 1 MiB", uploads(peer, 5, MIB)).await;
    checks.check(subject, "messages both ways", talks(peer, "")).await;
    checks.check(subject, "messages both ways, compressed", talks(peer, "compress")).await;
    checks.check(subject, "64 calls at once on one stream", calls_at_once(peer)).await;
    checks.check(subject, "a call fails behind some messages", breaks(peer)).await;
    checks.check(subject, "the client cancels a call that pushes", cancels(peer, "flood")).await;
    checks.check(subject, "the client cancels a call that waits", cancels(peer, "hold")).await;
    checks.check(subject, "the deadline of a call passes", call_deadline(peer)).await;
    checks.check(subject, "a drain loses neither requests nor calls", drains(peer)).await;
    checks.check(subject, "a drain ends calls that do not heed it", drains_in_vain(peer)).await;
}

/// A node that serves the peer, which has connected to it.
async fn server(peer: &Peer) -> (Node, Stopped) {
    let node = node(peer, once(), ServerConfig::default().with_compression(true)).await;
    let stopped = serve(&node.server());
    peer.connect(address(&node).await).await;
    (node, stopped)
}

async fn body(peer: &Peer, size: usize) {
    let (server, _) = server(peer).await;
    let client = peer.client(server.peer_id(), "echo").await;
    peer.check_echoed(client, &Body::new(size, "body,")).await;
    let streams = server.server().streams();
    assert!(streams.iter().all(|stream| stream.format == Some(Format::Native)), "{streams:?}");
}

async fn compressed(peer: &Peer, size: usize) {
    let (server, _) = server(peer).await;
    let client = peer.client(server.peer_id(), "echo").await;
    let body = Body::new(size, NUMBERS);
    let answer = peer.request(client, &body, "compress").await.expect("an answer");
    let packed = answer.strip_prefix(&body.receipt()).expect("the same body");
    // A server compresses what is worth it.
    assert_eq!(packed, if size > 4096 { " packed" } else { "" });
}

async fn metadata(peer: &Peer) {
    let (server, _) = server(peer).await;
    let client = peer.client(server.peer_id(), "mirror").await;
    let (body, options) = (Body::text("x"), "method=named meta=tenant=626c7565 meta=k=");
    let expected = format!("{} tenant=626c7565 k= method=6e616d6564", body.receipt());
    assert_eq!(peer.request(client, &body, options).await, Ok(expected));
    let expected = format!("{} method=", body.receipt());
    assert_eq!(peer.request(client, &body, "").await, Ok(expected));
}

async fn handler_error(peer: &Peer) {
    let (server, _) = server(peer).await;
    let client = peer.client(server.peer_id(), "fail").await;
    assert_eq!(peer.request(client, &Body::text("x"), "").await, Err(NO.to_owned()));
}

async fn statuses(peer: &Peer) {
    let (server, _) = server(peer).await;
    let client = peer.client(server.peer_id(), "status").await;
    for status in [2, 3, 7, 10, 12, 13, 14] {
        let error = peer.request(client, &Body::text(status), "").await.expect_err("it fails");
        assert!(error.starts_with(&format!("status {status} code 0 ")), "{error}");
    }
}

async fn unknown_protocol(peer: &Peer) {
    let (server, _) = server(peer).await;
    // A client may open a stream optimistically and learn of the refusal when it reads.
    if let Ok(client) = peer.try_client(server.peer_id(), "unknown").await {
        peer.request(client, &Body::text("x"), "").await.expect_err("nobody serves it");
    }
    check_next(peer, &server).await;
}

/// The peer can go on after whatever has happened on other streams.
async fn check_next(peer: &Peer, server: &Node) {
    peer.check_echoed(peer.client(server.peer_id(), "echo").await, &Body::text("next")).await;
}

async fn no_calls(peer: &Peer) {
    let (server, _) = server(peer).await;
    let client = peer.client(server.peer_id(), "echo").await;
    let error = peer.try_call(client, "x", "").await.expect_err("there are none");
    assert!(error.starts_with("status 9 code 0 unprocessed"), "{error}");
    peer.check_echoed(client, &Body::text("goes-on")).await;
}

async fn calls_alone(peer: &Peer) {
    let (server, _) = server(peer).await;
    let client = peer.client(server.peer_id(), "talk").await;
    let error = peer.request(client, &Body::text("x"), "").await.expect_err("there are none");
    assert!(error.starts_with("status 9 code 0 "), "{error}");
    peer.call(client, "", "").await;
}

async fn deadline(peer: &Peer) {
    let (server, stopped) = server(peer).await;
    let client = peer.client(server.peer_id(), "slow").await;
    // The peer itself has no deadline.
    let error = peer.request(client, &Body::text(60_000), "timeout=200").await;
    let error = error.expect_err("it takes too long");
    assert!(error.starts_with("status 5 code 0 unknown"), "{error}");
    until(|| stopped.count() == 1).await;
    peer.check_echoed(client, &Body::text(1)).await;
}

async fn cancelled(peer: &Peer) {
    let (server, stopped) = server(peer).await;
    let client = peer.client(server.peer_id(), "slow").await;
    let error = peer.request(client, &Body::text(60_000), "cancel=200").await;
    assert_eq!(error, Err("context canceled".to_owned()));
    until(|| stopped.count() == 1).await;
    peer.check_echoed(client, &Body::text(1)).await;
    assert_eq!(server.server().stats().streams_total, 1);
}

/// The handler of each request waits until the next one was answered.
async fn out_of_order(peer: &Peer) {
    let (server, _) = server(peer).await;
    let client = peer.client(server.peer_id(), "gather").await;
    let ask = |number: usize| async move { peer.check_echoed(client, &Body::text(number)).await };
    join_all((0..GATHERED).map(ask)).await;
    let stats = server.server().stats();
    assert_eq!((stats.ok, stats.streams_total), (GATHERED as u64, 1));
}

/// Both ends are client and server on one connection.
async fn both_ways(peer: &Peer) {
    let (server, _) = server(peer).await;
    let client = peer.client(server.peer_id(), "echo").await;
    let ask = |number: usize| async move {
        peer.check_echoed(client, &Body::new(number * 500, format!("{number},"))).await;
    };
    let (ours, echo) = (&server.client(), &name("echo"));
    let send = |number: usize| async move {
        let body = Body::new(number * 500, format!("{number};")).bytes();
        let answer = ours.send(peer.id, echo, body.clone()).await.expect("an answer");
        assert!(answer == body, "request {number} came back changed");
    };
    futures::join!(join_all((0..64).map(ask)), join_all((0..64).map(send)));
}

/// The window is far smaller than what is sent.
async fn pushes(peer: &Peer, count: usize, size: usize) {
    let (server, _) = server(peer).await;
    let client = peer.client(server.peer_id(), "count").await;
    let argument = format!("{count}/{size}");
    let call = peer.call(client, &argument, "silent meta=k=76 window=8192,3").await;
    assert_eq!(peer.pull(call, 0).await, receipt_of(messages(count, size, "count,")));
    let result = format!("{} k=76", Body::text(argument).receipt());
    assert_eq!(peer.result(call).await, Ok(result));
}

async fn uploads(peer: &Peer, count: usize, size: usize) {
    let (server, _) = server(peer).await;
    let call = peer.call(peer.client(server.peer_id(), "sum").await, "", "window=0,0").await;
    peer.push(call, count, size, "upload,").await;
    peer.finish(call).await;
    let result = receipt_of(messages(count, size, "upload,"));
    assert_eq!(peer.result(call).await, Ok(receipt(result.as_bytes())));
}

async fn talks(peer: &Peer, options: &str) {
    let (server, _) = server(peer).await;
    let call = peer.call(peer.client(server.peer_id(), "talk").await, "bye", options).await;
    for size in [0, 1, 1023, 1024, 5000, 32_768, 32_769, 100_000, MIB] {
        let send = peer.push(call, 3, size, "talk,");
        let (echoes, ()) = futures::join!(peer.pull(call, 3), send);
        assert_eq!(echoes, receipt_of(messages(3, size, "talk,")));
    }
    peer.finish(call).await;
    assert_eq!(peer.result(call).await, Ok(Body::text("bye").receipt()));
}

async fn calls_at_once(peer: &Peer) {
    let (server, _) = server(peer).await;
    let client = peer.client(server.peer_id(), "talk").await;
    let talk = |number: usize| async move {
        let (call, seed) = (peer.call(client, "bye", "").await, format!("talk{number},"));
        let send = async {
            peer.push(call, 50, 1000, &seed).await;
            peer.finish(call).await;
        };
        let (echoes, ()) = futures::join!(peer.pull(call, 0), send);
        assert_eq!(echoes, receipt_of(messages(50, 1000, &seed)));
    };
    join_all((0..64).map(talk)).await;
    assert_eq!(server.server().stats().streams_total, 1);
}

async fn breaks(peer: &Peer) {
    let (server, _) = server(peer).await;
    let call = peer.call(peer.client(server.peer_id(), "breaks").await, "", "").await;
    let receipt = receipt_of(messages(3, 10, "breaks,"));
    assert_eq!(peer.pull(call, 0).await, format!("{receipt} {NO}"));
    assert_eq!(peer.result(call).await, Err(NO.to_owned()));
}

async fn cancels(peer: &Peer, habit: &str) {
    let (server, stopped) = server(peer).await;
    let client = peer.client(server.peer_id(), habit).await;
    let call = peer.call(client, "", "").await;
    assert!(peer.pull(call, 1).await.starts_with("1 "));
    peer.cancel(call).await;
    until(|| stopped.count() == 1).await;
    // The stream goes on.
    let next = peer.call(client, "", "").await;
    assert!(peer.pull(next, 1).await.starts_with("1 "));
    assert_eq!(server.server().stats().streams_total, 1);
}

/// It passes while the handler waits for credit.
async fn call_deadline(peer: &Peer) {
    let (server, stopped) = server(peer).await;
    let call = peer.call(peer.client(server.peer_id(), "flood").await, "", "timeout=300").await;
    let error = peer.result(call).await.expect_err("it takes too long");
    assert!(error.starts_with("status 5 code 0 unknown"), "{error}");
    until(|| stopped.count() == 1).await;
}

async fn drains(peer: &Peer) {
    let (server, _) = server(peer).await;
    let slow = peer.client(server.peer_id(), "slow").await;
    let hold = peer.client(server.peer_id(), "hold").await;
    let call = peer.call(hold, "", "").await;
    assert!(peer.pull(call, 1).await.starts_with("1 "));
    let body = Body::text(700);
    let drain = async {
        until(|| server.server().stats().started == 2).await;
        server.server().stop(GRACE).await;
    };
    let hears = async {
        peer.drained(call).await;
        assert!(peer.pull(call, 0).await.starts_with("1 "), "the handler's last message");
        assert_eq!(peer.result(call).await, Ok(Body::text("drained").receipt()));
    };
    let (answer, _, ()) = futures::join!(peer.request(slow, &body, ""), drain, hears);
    assert_eq!(answer, Ok(body.receipt()));
    // What comes later was surely not processed.
    for client in [slow, hold] {
        let error = peer.request(client, &Body::text(1), "").await.expect_err("it drains");
        assert!(error.starts_with("status 8 code 0 unprocessed"), "{error}");
    }
}

async fn drains_in_vain(peer: &Peer) {
    let (server, _) = server(peer).await;
    let call = peer.call(peer.client(server.peer_id(), "flood").await, "", "").await;
    let server = server.server();
    let (_, error) = futures::join!(server.stop(GRACE / 10), peer.result(call));
    let error = error.expect_err("the server waits no longer");
    assert!(error.starts_with("status 8 code 0 unknown"), "{error}");
}
