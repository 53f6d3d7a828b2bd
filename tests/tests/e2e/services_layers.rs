//! Layers around typed services and around their clients.

use std::time::Duration;

use pointsub_service::middleware::LayeredService;
use pointsub_service::{CallError, Codec, Cx, Failure, Stub, Tx, service};
use pointsub_swarm::middleware::{
    AuthorizeLayer, Head, OutgoingCall, OutgoingRequest, TimeoutLayer,
};
use pointsub_swarm::{Delivery, Request, ServerConfig, StatusCode, Verdict};
use tower::ServiceBuilder;

use crate::common::*;

#[service("/count/1")]
trait Count {
    async fn add(&self, cx: &Cx, number: u32) -> Result<u32, Failure>;
    async fn up_to(&self, cx: &Cx, last: u32, out: Tx<u32>) -> Result<u32, Failure>;
}

struct Counter;

impl Count for Counter {
    async fn add(&self, cx: &Cx, number: u32) -> Result<u32, Failure> {
        match number {
            0 => Err(Failure::new(7, "not zero")),
            1 => std::future::pending().await,
            2 => Ok(cx.metadata().iter().filter(|(key, _)| *key == "mark").count() as u32),
            _ => Ok(number + 1),
        }
    }

    async fn up_to(&self, _cx: &Cx, last: u32, mut out: Tx<u32>) -> Result<u32, Failure> {
        for number in 1..=last {
            out.send(number).await?;
        }
        if last == 0 { Err(Failure::new(7, "not zero")) } else { Ok(last) }
    }
}

fn has_token(head: &Head<'_>) -> Verdict {
    match (head.method.map(|method| method.as_str()), head.metadata.get("token")) {
        (Some("add" | "up_to"), Some(b"secret")) => Verdict::Allow,
        _ => Verdict::unauthenticated("send a token"),
    }
}

async fn guarded() -> (Node, Node) {
    let server = start(ServerConfig::default(), once()).await;
    let layers = ServiceBuilder::new()
        .layer(AuthorizeLayer::new(has_token))
        .layer(TimeoutLayer::new(Duration::from_millis(50)))
        .concurrency_limit(8);
    let layered = LayeredService::new(CountServer::new(Counter), layers);
    layered.serve(server.server()).expect("first");
    let node = client_of(&server, once()).await;
    node.client().add_server_node(&CountClient::PROTOCOL, server.peer_id()).expect("a node");
    (server, node)
}

/// Layers around a service are around all of its methods.
#[test]
fn every_method_of_a_service_is_behind_its_layers() {
    run(async {
        let (server, node) = guarded().await;
        let plain = CountClient::peer(node.client(), server.peer_id());
        let code = |error: &CallError<Failure>| error.status().expect("a status").code;
        let error = plain.add(3).await.expect_err("no token");
        assert_eq!(code(&error), StatusCode::Unauthenticated);
        let error = plain.up_to(3).await.expect_err("no token");
        assert_eq!(code(&error), StatusCode::Unauthenticated);
        assert_eq!(plain.add(3).metadata("token", "secret").await.expect("it may"), 4);
        let late = plain.add(1).metadata("token", "secret").await.expect_err("it hangs");
        assert!(late.is_timeout(), "{late}");
    });
}

async fn every_kind(client: CountClient) {
    for codec in [Codec::Cbor, Codec::Postcard, Codec::Json] {
        let client = client.clone().with_codec(codec);
        assert_eq!(client.add(3).timeout(Duration::from_secs(9)).await.expect("a sum"), 4);
        let marked = client.add(2).metadata("mark", "a").metadata("mark", "b").idempotent(false);
        assert_eq!(marked.await.expect("a count"), 2);
        let error = client.add(0).await.expect_err("not zero");
        assert_eq!(error.service(), Some(&Failure::new(7, "not zero")), "{error}");
        let late = client.add(1).await.expect_err("it hangs");
        assert!(late.is_timeout(), "{late}");
        let delivery = late.request().expect("a failure of the request").delivery;
        assert!(delivery > Delivery::NotProcessed, "{delivery}");

        let mut count = client.up_to(3).window(2, 8192).await.expect("it is open");
        for number in 1..=3 {
            assert_eq!(count.recv().await.expect("it goes on"), Some(number));
        }
        assert_eq!(count.finish().await.expect("a result"), 3);
        let error = client.up_to(0).await.expect_err("not zero");
        assert_eq!(error.service(), Some(&Failure::new(7, "not zero")), "{error}");
    }
}

/// Calls through layers of tower are as they are without: results, errors of the service, options.
#[test]
fn a_typed_client_calls_through_layers() {
    run(async {
        let (server, node) = guarded().await;
        let token = |request: OutgoingRequest| request.metadata("token", "secret");
        let call_token = |call: OutgoingCall| call.metadata("token", "secret");
        let requests = ServiceBuilder::new().concurrency_limit(4).load_shed().map_request(token);
        let calls = ServiceBuilder::new().concurrency_limit(4).load_shed().map_request(call_token);
        let to_peer = node.client().to_peer(server.peer_id());
        let stub = Stub::through_each(
            requests.clone().service(to_peer.clone()),
            calls.clone().service(to_peer),
            CountClient::PROTOCOL,
        );
        every_kind(CountClient::from(stub)).await;
        let to_closest = node.client().to_closest();
        let stub = Stub::through_each(
            requests.service(to_closest.clone()),
            calls.service(to_closest),
            CountClient::PROTOCOL,
        );
        every_kind(CountClient::from(stub)).await;
    });
}

/// A stack that takes both, and what its layers say themselves.
#[test]
fn an_error_of_a_layer_is_told_from_those_of_the_request() {
    run(async {
        let (server, node) = guarded().await;
        let limited = ServiceBuilder::new().load_shed().concurrency_limit(0);
        let service = limited.service(node.client().to_peer(server.peer_id()));
        let client = CountClient::from(Stub::through(service, CountClient::PROTOCOL));
        let error = client.add(3).await.expect_err("there is no room");
        let CallError::Layer(overloaded) = &error else { panic!("{error:?}") };
        assert!(overloaded.is::<tower::load_shed::error::Overloaded>(), "{overloaded}");
        let error = client.up_to(3).await.expect_err("there is no room");
        assert!(matches!(error, CallError::Layer(_)) && error.request().is_none(), "{error:?}");
    });
}

/// Layers that take requests alone go around methods without messages.
#[test]
fn methods_with_and_without_messages_have_different_layers() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let mark = |mut request: Request| {
            request.metadata.insert("mark", "x").expect("there is room");
            request
        };
        let layered = LayeredService::each(
            CountServer::new(Counter),
            ServiceBuilder::new().map_request(mark),
            AuthorizeLayer::new(has_token),
        );
        layered.serve(server.server()).expect("first");
        let node = client_of(&server, once()).await;
        let client = CountClient::peer(node.client(), server.peer_id());
        assert_eq!(client.add(2).await.expect("nobody asks for a token"), 1);
        let error = client.up_to(3).await.expect_err("no token");
        assert_eq!(error.status().expect("a status").code, StatusCode::Unauthenticated);
        client.up_to(3).metadata("token", "secret").await.expect("it is open");
    });
}
