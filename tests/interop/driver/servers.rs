//! The peer serves; this library is the client.

use std::time::Duration;

use futures::future::join_all;
use pointsub_swarm::{
    Cause, ClientConfig, Delivery, Format, Phase, RequestError, Response, SendError, ServerConfig,
};

use crate::Node;
use crate::checks::{Body, Checks, LIMIT, SIZES, name, node, once};
use crate::peer::{Peer, Program};

const READ_TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) async fn check(checks: &mut Checks, language: &str, program: &Program) {
    let subject = &format!("{language} server");
    let peer = &mut program.start().await;
    for (size, len) in SIZES {
        checks.check(subject, &format!("{size} body"), body(peer, len)).await;
    }
    let name = "a request of 8 MiB and a byte is refused, and the connection lives";
    checks.check(subject, name, request_too_large_for_the_peer(peer)).await;
    let name = "a request above our own limit is not sent";
    checks.check(subject, name, request_too_large_for_us(peer)).await;
    let name = "an answer above our limit is refused on sight of its length";
    checks.check(subject, name, answer_too_large(peer)).await;
    let name = "300 requests in turn on one stream that the server keeps";
    checks.check(subject, name, keeps_streams(peer)).await;
    let name = "100 requests in turn, each stream closed after one answer";
    checks.check(subject, name, closes_streams(peer)).await;
    let name = "64 requests at once";
    checks.check(subject, name, at_once(peer, "echo")).await;
    let name = "64 requests at once, each stream closed after one answer";
    checks.check(subject, name, at_once(peer, "once")).await;
    checks.check(subject, "a handler error is a closed stream", handler_error(peer)).await;
    checks.check(subject, "an answer within read_timeout", slow_enough(peer)).await;
    checks.check(subject, "no answer within read_timeout", too_slow(peer)).await;
    checks.check(subject, "a reset after half an answer", torn(peer)).await;
    checks.check(subject, "killed after half an answer", killed(program)).await;
    checks.check(subject, "a protocol that it does not serve", unknown_protocol(peer)).await;
}

async fn client(peer: &Peer, config: ClientConfig) -> Node {
    let node = node(peer, config, ServerConfig::default()).await;
    assert_eq!(node.connect(peer.address.clone()).await.expect("the peer listens"), peer.id);
    node
}

async fn send(
    node: &Node,
    peer: &Peer,
    habit: &str,
    body: &Body,
) -> Result<Response, RequestError> {
    node.client().send(peer.id, &name(habit), body.bytes()).await
}

async fn fails(node: &Node, peer: &Peer, habit: &str, body: &Body) -> RequestError {
    send(node, peer, habit, body).await.expect_err("no answer")
}

async fn check_echo(node: &Node, peer: &Peer, habit: &str, body: &Body) {
    let answer = send(node, peer, habit, body).await.expect("an answer");
    assert!(answer == body.bytes(), "{} bytes came back changed", body.size);
}

async fn body(peer: &Peer, size: usize) {
    check_echo(&client(peer, once()).await, peer, "echo", &Body::new(size, "body,")).await;
}

/// The stream broke, and nobody can say what the peer's handler saw.
fn assert_broken(error: &RequestError) {
    assert!(matches!(error.cause, Cause::Lost(_) | Cause::RemoteClosed), "{error}");
    assert_eq!(error.delivery, Delivery::Unknown, "{error}");
}

async fn request_too_large_for_the_peer(peer: &Peer) {
    let node = client(peer, once()).await;
    let error = fails(&node, peer, "echo", &Body::new(LIMIT + 1, "large,")).await;
    // It depends on the transport's queues whether the last byte has left by then.
    if error.cause == (Cause::CutShort { len: LIMIT + 1 }) {
        assert_eq!(error.delivery, Delivery::NotProcessed, "{error}");
    } else {
        assert_broken(&error);
    }
    check_echo(&node, peer, "echo", &Body::text("small")).await;
}

async fn request_too_large_for_us(peer: &Peer) {
    let node = client(peer, once().with_max_block_size(LIMIT)).await;
    let error = fails(&node, peer, "echo", &Body::new(LIMIT + 1, "large,")).await;
    assert_eq!(error, SendError::TooLarge { len: LIMIT + 1, limit: LIMIT }.into());
    check_echo(&node, peer, "echo", &Body::new(LIMIT, "fits,")).await;
    assert_eq!(peer.accepted("echo", node.peer_id()).await, 1);
}

async fn answer_too_large(peer: &Peer) {
    let node = client(peer, once().with_max_block_size(LIMIT)).await;
    let answer = send(&node, peer, "large", &Body::text(LIMIT)).await.expect("an answer");
    assert_eq!(answer.len(), LIMIT);
    let error = fails(&node, peer, "large", &Body::text(LIMIT + 1)).await;
    assert!(matches!(error.cause, Cause::Violation(_)), "{error}");
    check_echo(&node, peer, "echo", &Body::text("small")).await;
}

async fn keeps_streams(peer: &Peer) {
    let node = client(peer, once()).await;
    // Until a stream was used again, the client does not know whether the peer keeps them.
    while node.client().stats().reused == 0 {
        check_echo(&node, peer, "echo", &Body::text("first")).await;
    }
    let opens = node.client().stats().opens;
    for number in 0..300 {
        check_echo(&node, peer, "echo", &Body::text(number)).await;
    }
    assert_eq!(node.client().stats().opens, opens);
    assert_eq!(peer.accepted("echo", node.peer_id()).await, opens);
    let streams = node.client().streams();
    assert!(streams.iter().all(|stream| stream.format == Some(Format::Plain)), "{streams:?}");
}

async fn closes_streams(peer: &Peer) {
    let node = client(peer, once()).await;
    for number in 0..100 {
        check_echo(&node, peer, "once", &Body::text(number)).await;
    }
    assert_eq!(peer.accepted("once", node.peer_id()).await, 100);
}

async fn at_once(peer: &Peer, habit: &str) {
    let node = &client(peer, once()).await;
    let ask = |number: usize| async move {
        check_echo(node, peer, habit, &Body::new(number * 500, format!("{number},"))).await;
    };
    join_all((0..64).map(ask)).await;
}

async fn handler_error(peer: &Peer) {
    let node = client(peer, once()).await;
    let error = fails(&node, peer, "fail", &Body::text("x")).await;
    assert_eq!((&error.cause, error.delivery), (&Cause::RemoteClosed, Delivery::Unknown));
}

async fn slow_enough(peer: &Peer) {
    let node = client(peer, once().with_read_timeout(READ_TIMEOUT * 4)).await;
    check_echo(&node, peer, "slow", &Body::text(READ_TIMEOUT.as_millis())).await;
}

async fn too_slow(peer: &mut Peer) {
    let node = client(peer, once().with_read_timeout(READ_TIMEOUT)).await;
    let error = fails(&node, peer, "slow", &Body::text(60_000)).await;
    assert_eq!((&error.cause, error.phase), (&Cause::TimedOut(READ_TIMEOUT), Phase::Wait));
    assert_eq!(error.delivery, Delivery::Unknown);
    // The peer learns that nobody waits any more.
    peer.event("given-up").await;
    check_echo(&node, peer, "echo", &Body::text("next")).await;
}

async fn torn(peer: &Peer) {
    let node = client(peer, once()).await;
    assert_broken(&fails(&node, peer, "torn", &Body::text("x")).await);
    check_echo(&node, peer, "echo", &Body::text("next")).await;
}

async fn killed(program: &Program) {
    let mut peer = program.start().await;
    let node = client(&peer, once()).await;
    let (client, id, half) = (node.client(), peer.id, name("half"));
    let kill = async {
        peer.event("half").await;
        peer.kill().await;
    };
    let (outcome, ()) = futures::join!(client.send(id, &half, "x").into_future(), kill);
    assert_broken(&outcome.expect_err("no whole answer was sent"));
}

async fn unknown_protocol(peer: &Peer) {
    let node = client(peer, once()).await;
    let error = fails(&node, peer, "unknown", &Body::text("x")).await;
    assert_eq!((error.cause, error.delivery), (Cause::Unsupported, Delivery::NotProcessed));
}
