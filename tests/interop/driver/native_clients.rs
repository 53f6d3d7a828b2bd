//! The peer serves; this library is the client. Both speak native.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use pointsub_swarm::{
    Cause, ClientConfig, Delivery, Format, RequestError, ServerConfig, StatusCode, StreamingCall,
};

use crate::Node;
use crate::checks::{Body, Checks, MIB, NUMBERS, name, node, once};
use crate::native::{Receipts, messages, receipt_of};
use crate::native_servers::SIZES;
use crate::native_services::GATHERED;
use crate::peer::{Peer, Program};

pub(crate) async fn check(checks: &mut Checks, language: &str, program: &Program) {
    let subject = &format!("{language} server");
    let peer = &mut program.start().await;
    for (size, len) in SIZES {
        checks.check(subject, &format!("{size} body"), body(peer, len)).await;
        let name = format!("{size} body, compressed where that wins something");
        checks.check(subject, &name, compressed(peer, len)).await;
    }
    checks.check(subject, "methods and metadata", metadata(peer)).await;
    checks.check(subject, "a handler's own error", handler_error(peer)).await;
    checks.check(subject, "statuses, also one that we do not know", statuses(peer)).await;
    checks.check(subject, "a protocol that it does not serve", unknown_protocol(peer)).await;
    checks.check(subject, "a method that it does not have", unknown_method(peer)).await;
    checks.check(subject, "a call of a protocol of requests", no_calls(peer)).await;
    checks.check(subject, "the deadline of a request passes", deadline(peer)).await;
    checks.check(subject, "a request is cancelled", cancelled(peer)).await;
    checks
        .check(subject, "64 requests on one stream, the last answered first", out_of_order(peer))
        .await;
    for size in [0, 100, 5000] {
        let name = format!("a call pushes 1000 messages of {size} B");
        checks.check(subject, &name, pushes(peer, 1000, size)).await;
        let name = format!("a call uploads 1000 messages of {size} B");
        checks.check(subject, &name, uploads(peer, 1000, size)).await;
    }
    checks.check(subject, "a call pushes 5 messages of 1 MiB", pushes(peer, 5, MIB)).await;
    checks.check(subject, "a call uploads 5 messages of 1 MiB", uploads(peer, 5, MIB)).await;
    checks.check(subject, "messages both ways", talks(peer, "talk")).await;
    checks.check(subject, "messages both ways, compressed", talks(peer, "packed-talk")).await;
    checks.check(subject, "64 calls at once on one stream", calls_at_once(peer)).await;
    checks.check(subject, "a call fails behind some messages", breaks(peer)).await;
    checks.check(subject, "the client cancels a call that pushes", cancels(peer, "flood")).await;
    checks.check(subject, "the client cancels a call that waits", cancels(peer, "hold")).await;
    checks.check(subject, "the deadline of a call passes", call_deadline(peer)).await;
    checks.check(subject, "a drain loses neither requests nor calls", drains(program)).await;
    checks.check(subject, "a drain ends calls that do not heed it", drains_in_vain(peer)).await;
    checks.check(subject, "killed with a request and a call open", killed(program)).await;
}

async fn client_of(peer: &Peer, config: ClientConfig) -> Node {
    let node = node(peer, config, ServerConfig::default()).await;
    assert_eq!(node.connect(peer.address.clone()).await.expect("the peer listens"), peer.id);
    node
}

async fn client(peer: &Peer) -> Node {
    client_of(peer, once()).await
}

async fn send(node: &Node, peer: &Peer, habit: &str, body: &Body) -> Result<Bytes, RequestError> {
    let answer = node.client().send(peer.id, &name(habit), body.bytes()).await?;
    Ok(answer.body().clone())
}

async fn check_echo(node: &Node, peer: &Peer, body: &Body) {
    let answer = send(node, peer, "echo", body).await.expect("an answer");
    assert!(answer == body.bytes(), "{} bytes came back changed", body.size);
    assert!(node.client().streams().iter().all(|stream| stream.format == Some(Format::Native)));
}

async fn open(node: &Node, peer: &Peer, habit: &str, argument: String) -> StreamingCall {
    node.client().open(peer.id, &name(habit), argument).await.expect("it is accepted")
}

fn code(error: &RequestError) -> StatusCode {
    error.status().unwrap_or_else(|| panic!("{error}")).code
}

async fn body(peer: &Peer, size: usize) {
    check_echo(&client(peer).await, peer, &Body::new(size, "body,")).await;
}

async fn compressed(peer: &Peer, size: usize) {
    let node = client_of(peer, once().with_compression(true)).await;
    let body = Body::new(size, NUMBERS).bytes();
    let answer = node.client().send(peer.id, &name("packed"), body.clone()).await;
    let answer = answer.expect("an answer");
    assert!(*answer.body() == body, "{size} bytes came back changed");
    // A client compresses what is worth it.
    let packed = if size > 4096 { "true" } else { "false" };
    assert_eq!(answer.metadata().get("packed"), Some(packed.as_bytes()));
}

async fn metadata(peer: &Peer) {
    let node = client(peer).await;
    let send = || node.client().send(peer.id, &name("mirror"), "x");
    let answer = send().method("named").metadata("tenant", "blue").metadata("k", "").await;
    let answer = answer.expect("an answer");
    let metadata: Vec<_> = answer.metadata().iter().collect();
    assert_eq!(metadata, [("tenant", &b"blue"[..]), ("k", b""), ("method", b"named")]);
    let answer = send().await.expect("an answer");
    assert_eq!(answer.metadata().get("method"), Some(&b""[..]));
}

fn assert_no(error: &RequestError) {
    let status = error.status().unwrap_or_else(|| panic!("{error}"));
    assert_eq!((status.code, &*status.message), (StatusCode::Application(7), "no"));
    assert_eq!((&status.detail[..], error.delivery), (&[1, 2, 3][..], Delivery::Processed));
}

async fn handler_error(peer: &Peer) {
    let node = client(peer).await;
    assert_no(&send(&node, peer, "fail", &Body::text("x")).await.expect_err("it fails"));
}

async fn statuses(peer: &Peer) {
    let node = client(peer).await;
    for (number, status) in [
        (2, StatusCode::NotFound),
        (3, StatusCode::Busy),
        (5, StatusCode::DeadlineExceeded),
        (7, StatusCode::Internal),
        (10, StatusCode::BadRequest),
        (11, StatusCode::ResponseTooLarge),
        (12, StatusCode::Unauthenticated),
        (13, StatusCode::PermissionDenied),
        (14, StatusCode::NoSuchResource),
        (200, StatusCode::Unknown(200)),
    ] {
        let error = send(&node, peer, "status", &Body::text(number)).await.expect_err("it fails");
        assert_eq!(code(&error), status);
    }
    assert_eq!(node.client().stats().opens, 1);
}

async fn unknown_protocol(peer: &Peer) {
    let node = client(peer).await;
    let error = send(&node, peer, "unknown", &Body::text("x")).await.expect_err("no answer");
    assert_eq!((error.cause, error.delivery), (Cause::Unsupported, Delivery::NotProcessed));
}

async fn unknown_method(peer: &Peer) {
    let node = client(peer).await;
    let sent = node.client().send(peer.id, &name("mirror"), "x").method("unknown").await;
    let error = sent.expect_err("no answer");
    assert_eq!(code(&error), StatusCode::Unimplemented);
    assert_eq!(error.delivery, Delivery::NotProcessed);
}

async fn no_calls(peer: &Peer) {
    let node = client(peer).await;
    let error = node.client().open(peer.id, &name("echo"), "x").await.expect_err("there are none");
    assert_eq!(code(&error), StatusCode::Unimplemented);
    assert_eq!(error.delivery, Delivery::NotProcessed);
    check_echo(&node, peer, &Body::text("goes-on")).await;
}

async fn deadline(peer: &mut Peer) {
    let node = client(peer).await;
    let sent = node.client().send(peer.id, &name("slow"), "60000");
    let error = sent.timeout(Duration::from_millis(200)).await.expect_err("it takes too long");
    assert!(error.is_timeout(), "{error}");
    peer.event("given-up").await;
    assert!(send(&node, peer, "slow", &Body::text(1)).await.expect("an answer") == "1");
    assert_eq!(node.client().stats().opens, 1);
}

async fn cancelled(peer: &mut Peer) {
    let node = client(peer).await;
    send(&node, peer, "slow", &Body::text(1)).await.expect("the stream is open");
    let sent = node.client().send(peer.id, &name("slow"), "60000").into_future();
    drop(tokio::time::timeout(Duration::from_millis(200), sent).await);
    peer.event("given-up").await;
    assert!(send(&node, peer, "slow", &Body::text(1)).await.expect("an answer") == "1");
    assert_eq!(node.client().stats().opens, 1);
}

/// The handler of each request waits until the next one was answered.
async fn out_of_order(peer: &Peer) {
    let node = &client(peer).await;
    let ask = |number: usize| async move {
        let answer = send(node, peer, "gather", &Body::text(number)).await.expect("an answer");
        assert_eq!(answer, number.to_string());
    };
    join_all((0..GATHERED).map(ask)).await;
    assert_eq!(peer.accepted("gather", node.peer_id()).await, 1);
}

/// Receives everything, and compares it.
async fn check_messages(call: &mut StreamingCall, expected: impl Iterator<Item = Vec<u8>>) {
    for (number, expected) in expected.enumerate() {
        let message = call.recv().await.expect("open").expect("more");
        assert!(message == expected, "message {number}");
    }
}

async fn pushes(peer: &Peer, count: usize, size: usize) {
    let node = client(peer).await;
    let argument = format!("{count}/{size}");
    let open = node.client().open(peer.id, &name("count"), argument.clone()).receive_only();
    let open = open.metadata("k", "v").window(3, 8192);
    let mut call = open.await.expect("it is accepted");
    check_messages(&mut call, messages(count, size, "count,")).await;
    assert_eq!(call.recv().await.expect("it went well"), None);
    let result = call.finish().await.expect("a result");
    assert_eq!(*result.body(), argument);
    assert_eq!(result.metadata().get("k"), Some(&b"v"[..]));
}

async fn uploads(peer: &Peer, count: usize, size: usize) {
    let node = client(peer).await;
    let mut call = open(&node, peer, "sum", String::new()).await;
    for message in messages(count, size, "upload,") {
        call.send(message).await.expect("open");
    }
    let result = call.finish().await.expect("a result");
    assert_eq!(*result.body(), receipt_of(messages(count, size, "upload,")));
}

async fn talks(peer: &Peer, habit: &str) {
    let node = client_of(peer, once().with_compression(true)).await;
    let mut call = open(&node, peer, habit, "bye".to_owned()).await;
    for size in [0, 1, 1023, 1024, 5000, 32_768, 32_769, 100_000, MIB] {
        for seed in ["talk,", NUMBERS] {
            let message = Body::new(size, seed).bytes();
            call.send(message.clone()).await.expect("open");
            let echo = call.recv().await.expect("open").expect("an echo");
            assert!(echo == message, "{size} bytes came back changed");
        }
    }
    assert_eq!(*call.finish().await.expect("a result").body(), "bye");
}

async fn calls_at_once(peer: &Peer) {
    let node = &client(peer).await;
    let talk = |number: usize| async move {
        let seed = format!("talk{number},");
        let (mut sender, mut receiver) = open(node, peer, "talk", String::new()).await.split();
        let send = async {
            for message in messages(50, 1000, &seed) {
                sender.send(message).await.expect("open");
            }
            sender.finish();
        };
        let receive = async {
            let mut receipts = Receipts::default();
            while let Some(message) = receiver.recv().await.expect("open") {
                receipts.add(&message);
            }
            assert_eq!(receipts.say(), receipt_of(messages(50, 1000, &seed)));
        };
        futures::join!(send, receive);
    };
    join_all((0..64).map(talk)).await;
    assert_eq!(peer.accepted("talk", node.peer_id()).await, 1);
}

async fn breaks(peer: &Peer) {
    let node = client(peer).await;
    let mut call = open(&node, peer, "breaks", String::new()).await;
    check_messages(&mut call, messages(3, 10, "breaks,")).await;
    assert_no(&call.recv().await.expect_err("it fails"));
}

async fn cancels(peer: &mut Peer, habit: &str) {
    let node = client(peer).await;
    let mut call = open(&node, peer, habit, String::new()).await;
    call.recv().await.expect("open").expect("a message");
    drop(call);
    peer.event("cancelled").await;
    // The stream goes on.
    let mut next = open(&node, peer, habit, String::new()).await;
    next.recv().await.expect("open").expect("a message");
    assert_eq!(peer.accepted(habit, node.peer_id()).await, 1);
    drop(next);
    peer.event("cancelled").await;
}

/// It passes while the handler waits for credit.
async fn call_deadline(peer: &mut Peer) {
    let node = client(peer).await;
    let open = node.client().open(peer.id, &name("flood"), "");
    let call = open.timeout(Duration::from_millis(300)).await.expect("it is accepted");
    peer.event("cancelled").await;
    let error = call.finish().await.expect_err("it takes too long");
    assert!(error.is_timeout(), "{error}");
}

async fn drains(program: &Program) {
    let peer = &mut program.start().await;
    let id = peer.id;
    let node = client(peer).await;
    let mut call = open(&node, peer, "hold", String::new()).await;
    assert_eq!(call.recv().await.expect("open").expect("a message"), "begun");
    let body = Body::text(700);
    let drain = async {
        peer.event("begun").await;
        peer.drain(10_000).await;
    };
    let hears = async {
        call.draining().await;
        assert_eq!(call.recv().await.expect("open").expect("a message"), "drains");
        assert_eq!(call.recv().await.expect("it went well"), None);
        assert_eq!(*call.finish().await.expect("a result").body(), "drained");
    };
    let slow = node.client().send(id, &name("slow"), body.bytes()).into_future();
    let (answer, (), ()) = futures::join!(slow, drain, hears);
    assert!(*answer.expect("an answer").body() == body.bytes());
    // What comes later goes over other streams.
    assert!(send(&node, peer, "slow", &Body::text(1)).await.expect("an answer") == "1");
    assert_eq!(peer.accepted("slow", node.peer_id()).await, 2);
}

async fn drains_in_vain(peer: &Peer) {
    let node = client(peer).await;
    let call = open(&node, peer, "flood", String::new()).await;
    peer.drain(200).await;
    let error = call.finish().await.expect_err("the server waits no longer");
    assert_eq!(code(&error), StatusCode::Draining);
    assert_ne!(error.delivery, Delivery::NotProcessed, "{error}");
}

async fn killed(program: &Program) {
    let mut peer = program.start().await;
    let node = client(&peer).await;
    let mut call = open(&node, &peer, "hold", String::new()).await;
    call.recv().await.expect("open").expect("a message");
    let (client, id, slow) = (node.client(), peer.id, name("slow"));
    let request = client.send(id, &slow, "60000").into_future();
    let kill = async {
        peer.event("begun").await;
        peer.kill().await;
    };
    let (answer, ()) = futures::join!(request, kill);
    assert_eq!(answer.expect_err("no answer").delivery, Delivery::Unknown);
    call.recv().await.expect_err("the call is lost");
}
