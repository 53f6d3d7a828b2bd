//! Layers of tower that need tokio, in time that is paused.

use std::time::Duration;

use pointsub_tokio::middleware::{Layered, OutgoingRequest};
use pointsub_tokio::{
    BoxError, Bytes, Client, HandlerError, Node, PeerId, ProtocolName, Request, Status, StatusCode,
};
use tokio::time::{Instant, sleep};
use tower::timeout::error::Elapsed;
use tower::{ServiceBuilder, ServiceExt};

const SLOW: ProtocolName = ProtocolName::from_static("/slow/1.0.0");
const MINUTE: Duration = Duration::from_secs(60);

/// Takes so many minutes.
async fn slow(request: Request) -> Result<Bytes, BoxError> {
    let minutes: u32 = std::str::from_utf8(&request.body)?.parse()?;
    sleep(minutes * MINUTE).await;
    Ok(request.body)
}

fn late(error: BoxError) -> HandlerError {
    match error.is::<Elapsed>() {
        true => Status::new(StatusCode::DeadlineExceeded, "").into(),
        false => error.into(),
    }
}

/// A server whose handler has three minutes by tower's `timeout`, and a client.
async fn nodes() -> (Node, Node, Client, PeerId) {
    let server = Node::builder().in_memory().listen("/memory/0".parse().expect("an address"));
    let server = server.build().await.expect("a node");
    let layers = ServiceBuilder::new().map_err(late).timeout(3 * MINUTE);
    server.server().register(&SLOW, Layered::new(slow, layers)).expect("the first");
    let node = Node::builder().in_memory().build().await.expect("a node");
    let peer = node.connect(server.address().await.expect("it listens")).await.expect("there");
    let client = node.client().clone();
    (server, node, client, peer)
}

#[tokio::test(start_paused = true)]
async fn towers_timeout_ends_handlers_and_requests() {
    let (_server, _node, client, peer) = nodes().await;
    assert_eq!(client.send(peer, &SLOW, "2").timeout(9 * MINUTE).await.expect("in time"), "2");
    let error = client.send(peer, &SLOW, "4").timeout(9 * MINUTE).await.expect_err("late");
    assert_eq!(error.status().expect("a status").code, StatusCode::DeadlineExceeded);
    let error = client.send(peer, &SLOW, "x").await.expect_err("no number");
    let status = error.status().expect("a status");
    assert!(status.message.starts_with("internal error, reference "), "{status}");

    let quick = ServiceBuilder::new().timeout(MINUTE).service(client.to_peer(peer));
    let request = OutgoingRequest::new(&SLOW, "2").timeout(9 * MINUTE);
    let error = quick.oneshot(request).await.expect_err("the layer does not wait for it");
    assert!(error.is::<Elapsed>(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn towers_rate_limit_spaces_requests() {
    let (_server, _node, client, peer) = nodes().await;
    let layers = ServiceBuilder::new().buffer(8).rate_limit(2, MINUTE);
    let service = layers.service(client.to_peer(peer));
    let began = Instant::now();
    let send = || service.clone().oneshot(OutgoingRequest::new(&SLOW, "0"));
    for answer in futures::future::join_all((0..6).map(|_| send())).await {
        assert_eq!(answer.expect("an answer"), "0");
    }
    assert!((2 * MINUTE..3 * MINUTE).contains(&began.elapsed()), "{:?}", began.elapsed());
}
