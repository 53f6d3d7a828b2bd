//! The peer is the client; this library serves.

use std::time::Duration;

use futures::future::join_all;
use futures_timer::Delay;
use pointsub_swarm::{HandlerError, Request, ServerConfig};
use tokio::time::timeout;

use crate::Node;
use crate::checks::{Body, Checks, LIMIT, MIB, SIZES, address, name, node, once, until};
use crate::peer::{END, Peer, Program, Stream};

/// Far less than a peer waits by itself.
const SOON: Duration = Duration::from_secs(5);

pub(crate) async fn check(checks: &mut Checks, language: &str, program: &Program) {
    let subject = &format!("{language} client");
    let peer = &mut program.start().await;
    for (size, len) in SIZES {
        checks.check(subject, &format!("{size} body"), body(peer, len)).await;
    }
    let name = "a request above our limit ends its stream, and no handler sees it";
    checks.check(subject, name, request_too_large(peer)).await;
    let name = "an answer of 8 MiB and a byte is refused by the client alone";
    checks.check(subject, name, answer_too_large(peer)).await;
    let name = "300 requests in turn on one stream";
    checks.check(subject, name, one_stream(peer)).await;
    let name = "100 requests, each on a stream that is closed behind it";
    checks.check(subject, name, closes_its_half(peer)).await;
    let name = "600 streams left open are cleaned up";
    checks.check(subject, name, leaves_streams_open(peer)).await;
    let name = "streams left open up to the cap";
    checks.check(subject, name, reaches_the_cap(peer)).await;
    checks.check(subject, "64 requests at once", at_once(peer)).await;
    checks.check(subject, "64 requests each way at once", both_ways(peer)).await;
    let name = "a handler error ends the stream without an answer";
    checks.check(subject, name, handler_error(peer)).await;
    checks.check(subject, "a slow answer", slow_answer(peer)).await;
    checks.check(subject, "a slow request within read_timeout", slow_enough(peer)).await;
    checks.check(subject, "a slow request beyond read_timeout", too_slow(peer)).await;
    checks.check(subject, "a reset after half a request", torn(peer)).await;
    checks.check(subject, "killed after half a request", killed(peer, program)).await;
    checks.check(subject, "a protocol that we do not serve", unknown_protocol(peer)).await;
}

/// A node that serves the peer, which has connected to it.
async fn server(peer: &Peer, config: ServerConfig) -> Node {
    let node = node(peer, once(), config).await;
    let server = node.server();
    let echo = |request: Request| async { request.body };
    let large = |request: Request| async move { vec![0; number(&request)] };
    let fail = |_: Request| async { Err::<&[u8], _>(HandlerError::new(7, "no")) };
    let slow = |request: Request| async move {
        // On whatever runtime the node is.
        Delay::new(Duration::from_millis(number(&request) as u64)).await;
        request.body
    };
    server.register(&name("echo"), echo).expect("the first");
    server.register(&name("large"), large).expect("the first");
    server.register(&name("fail"), fail).expect("the first");
    server.register(&name("slow"), slow).expect("the first");
    peer.connect(address(&node).await).await;
    node
}

fn number(request: &Request) -> usize {
    str::from_utf8(&request.body).expect("text").parse().expect("a number")
}

/// The peer can go on after whatever has happened on other streams.
async fn check_next(peer: &Peer, server: &Node) {
    peer.check_echo(peer.open(server.peer_id(), "echo").await, &Body::text("next")).await;
}

async fn body(peer: &Peer, size: usize) {
    let server = server(peer, ServerConfig::default()).await;
    let stream = peer.open(server.peer_id(), "echo").await;
    peer.check_echo(stream, &Body::new(size, "body,")).await;
}

/// A request gets no answer, and the peer is not left waiting for room to write it.
async fn assert_refused(peer: &Peer, stream: Stream, body: &Body) {
    let sent = timeout(SOON, peer.send(stream, body)).await;
    let _refused_meanwhile = sent.expect("the peer learns of it while it writes");
    assert_no_answer(peer, stream).await;
}

/// The stream has ended or was reset, and gave no answer.
async fn assert_no_answer(peer: &Peer, stream: Stream) {
    if let Ok(answer) = peer.read(stream).await {
        assert_eq!(answer, END);
    }
}

async fn request_too_large(peer: &Peer) {
    let server = server(peer, ServerConfig::default().with_max_block_size(LIMIT)).await;
    let stream = peer.open(server.peer_id(), "echo").await;
    assert_refused(peer, stream, &Body::new(LIMIT + 1, "large,")).await;
    assert_eq!((server.server().stats().started, server.server().stats().refused), (0, 1));
    check_next(peer, &server).await;
}

async fn answer_too_large(peer: &Peer) {
    let server = server(peer, ServerConfig::default()).await;
    let stream = peer.open(server.peer_id(), "large").await;
    let error = peer.ask(stream, &Body::text(LIMIT + 1)).await.expect_err("the reader stops");
    assert!(error.contains("too"), "{error}");
    peer.reset(stream).await;
    until(|| server.server().stats().streams == 0).await;
    check_next(peer, &server).await;
}

async fn one_stream(peer: &Peer) {
    let server = server(peer, ServerConfig::default()).await;
    let stream = peer.open(server.peer_id(), "echo").await;
    for number in 0..300 {
        peer.check_echo(stream, &Body::text(number)).await;
    }
    let stats = server.server().stats();
    assert_eq!((stats.ok, stats.streams_total), (300, 1));
}

/// The habit of Go 1.0.x.
async fn closes_its_half(peer: &Peer) {
    let server = server(peer, ServerConfig::default()).await;
    for number in 0..100 {
        let (stream, body) = (peer.open(server.peer_id(), "echo").await, Body::text(number));
        peer.send(stream, &body).await.expect("the server reads");
        peer.shut(stream).await;
        assert_eq!(peer.read(stream).await, Ok(body.receipt()));
        assert_eq!(peer.read(stream).await.as_deref(), Ok(END));
    }
    until(|| server.server().stats().streams == 0).await;
    assert_eq!(server.server().stats().streams_total, 100);
}

/// The habit of Go 1.1.x. Yamux would end the connection if 512 of them were open at once.
async fn leaves_streams_open(peer: &Peer) {
    let config = ServerConfig::default().with_cleanup_interval(Duration::from_millis(300));
    let server = server(peer, config).await;
    for _ in 0..6 {
        let mut streams = Vec::new();
        for number in 0..100 {
            let stream = peer.open(server.peer_id(), "echo").await;
            peer.check_echo(stream, &Body::text(number)).await;
            streams.push(stream);
        }
        for stream in streams {
            assert_eq!(peer.read(stream).await.as_deref(), Ok(END));
        }
    }
    until(|| server.server().stats().streams == 0).await;
    let stats = server.server().stats();
    assert_eq!((stats.ok, stats.streams_total, stats.idle_timeouts), (600, 600, 600));
    assert!(server.server().streams().is_empty());
}

async fn reaches_the_cap(peer: &Peer) {
    let config = ServerConfig::default()
        .with_max_streams_per_connection(8)
        .with_cleanup_interval(Duration::from_secs(3));
    let server = server(peer, config).await;
    let mut streams = Vec::new();
    for number in 0..8 {
        streams.push(peer.open(server.peer_id(), "echo").await);
        peer.check_echo(streams[number], &Body::text(number)).await;
    }
    // The one that is idle for the longest time ends, and the other is served.
    let beyond = peer.open(server.peer_id(), "echo").await;
    peer.check_echo(beyond, &Body::new(MIB, "beyond,")).await;
    assert_eq!(peer.read(streams.remove(0)).await.as_deref(), Ok(END));
    assert_eq!((server.server().stats().displaced, server.server().stats().refused), (1, 0));
    for stream in &streams {
        peer.check_echo(*stream, &Body::text("again")).await;
    }
    for stream in streams {
        assert_eq!(peer.read(stream).await.as_deref(), Ok(END));
    }
    check_next(peer, &server).await;
}

async fn at_once(peer: &Peer) {
    let server = server(peer, ServerConfig::default()).await;
    all_at_once(peer, &server).await;
    assert_eq!(server.server().stats().ok, 64);
}

async fn all_at_once(peer: &Peer, server: &Node) {
    let ask = |number: usize| async move {
        let stream = peer.open(server.peer_id(), "echo").await;
        peer.check_echo(stream, &Body::new(number * 500, format!("{number},"))).await;
    };
    join_all((0..64).map(ask)).await;
}

/// Both ends are client and server on one connection.
async fn both_ways(peer: &Peer) {
    let server = server(peer, ServerConfig::default()).await;
    let (client, echo) = (&server.client(), &name("echo"));
    let ask = |number: usize| async move {
        let body = Body::new(number * 500, format!("{number};")).bytes();
        let answer = client.send(peer.id, echo, body.clone()).await.expect("an answer");
        assert!(answer == body, "request {number} came back changed");
    };
    futures::join!(all_at_once(peer, &server), join_all((0..64).map(ask)));
}

async fn handler_error(peer: &Peer) {
    let server = server(peer, ServerConfig::default()).await;
    let stream = peer.open(server.peer_id(), "fail").await;
    assert_eq!(peer.ask(stream, &Body::text("x")).await.as_deref(), Ok(END));
    assert_eq!(server.server().stats().failed, 1);
    check_next(peer, &server).await;
}

async fn slow_answer(peer: &Peer) {
    let server = server(peer, ServerConfig::default()).await;
    peer.check_echo(peer.open(server.peer_id(), "slow").await, &Body::text(500)).await;
}

/// The first half of a request, on a stream of its own.
async fn half(peer: &Peer, server: &Node) -> (Stream, Body) {
    let (stream, body) = (peer.open(server.peer_id(), "echo").await, Body::new(1000, "half,"));
    peer.part(stream, &body, 0, 500).await;
    until(|| server.server().stats().memory > 0).await;
    (stream, body)
}

async fn slow_enough(peer: &Peer) {
    let config = ServerConfig::default().with_read_timeout(Duration::from_secs(2));
    let server = server(peer, config).await;
    let (stream, body) = half(peer, &server).await;
    // A request on another stream is answered meanwhile, late.
    peer.check_echo(peer.open(server.peer_id(), "slow").await, &Body::text(500)).await;
    peer.part(stream, &body, 500, 1004).await;
    assert_eq!(peer.read(stream).await, Ok(body.receipt()));
}

async fn too_slow(peer: &Peer) {
    let config = ServerConfig::default().with_read_timeout(Duration::from_millis(500));
    let server = server(peer, config).await;
    let (stream, _) = half(peer, &server).await;
    assert_no_answer(peer, stream).await;
    assert_eq!((server.server().stats().started, server.server().stats().message_timeouts), (0, 1));
    check_next(peer, &server).await;
}

async fn torn(peer: &Peer) {
    let server = server(peer, ServerConfig::default()).await;
    let (stream, _) = half(peer, &server).await;
    peer.reset(stream).await;
    until(|| server.server().stats().streams == 0).await;
    assert_eq!((server.server().stats().started, server.server().stats().memory), (0, 0));
    check_next(peer, &server).await;
}

async fn killed(peer: &Peer, program: &Program) {
    let server = server(peer, ServerConfig::default()).await;
    let mut other = program.start().await;
    other.connect(address(&server).await).await;
    half(&other, &server).await;
    other.kill().await;
    until(|| server.server().stats().streams == 0).await;
    assert_eq!((server.server().stats().started, server.server().stats().memory), (0, 0));
    check_next(peer, &server).await;
}

async fn unknown_protocol(peer: &Peer) {
    let server = server(peer, ServerConfig::default()).await;
    // A client may open a stream optimistically and learn of the refusal when it reads.
    if let Ok(stream) = peer.try_open(server.peer_id(), "unknown").await {
        peer.ask(stream, &Body::text("x")).await.expect_err("nobody serves it");
    }
    check_next(peer, &server).await;
}
