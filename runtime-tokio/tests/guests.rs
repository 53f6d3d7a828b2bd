//! What is written for TCP runs over raw streams: axum's server and hyper's client in HTTP/1 and HTTP/2,
//! WebSockets, and tonic.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, WebSocketUpgrade, ws};
use axum::routing::{any, get};
use futures::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::{Uri, Version};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioExecutor;
use pointsub_tokio::axum::PeerListener;
use pointsub_tokio::hyper::{Caller, ConnectError, PeerConnector};
use pointsub_tokio::tonic::PeerIncoming;
use pointsub_tokio::{Node, ProtocolName};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

type Failure = Box<dyn Error + Send + Sync>;

const GUEST: ProtocolName = ProtocolName::from_static("/guest/1");

/// A server and a client that knows where it is.
async fn pair() -> Result<(Node, Node), Failure> {
    let server = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
    let client = Node::builder().build().await?;
    client.connect(server.address().await.ok_or("it listens nowhere")?).await?;
    Ok((server, client))
}

fn serve_http(server: &Node) -> Result<(), Failure> {
    let greet = |ConnectInfo(Caller(peer)): ConnectInfo<Caller>| async move { peer.to_string() };
    let chat = |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(ws::Message::Text(text))) = socket.recv().await {
                let answer = format!("heard: {text}").into();
                if socket.send(ws::Message::Text(answer)).await.is_err() {
                    return;
                }
            }
        })
    };
    let app = Router::new().route("/", get(greet)).route("/chat", any(chat));
    let listener = PeerListener::new(server.server().listen(&GUEST)?);
    let app = app.into_make_service_with_connect_info::<Caller>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(())
}

fn http(node: &Node, http2: bool) -> Client<PeerConnector, Empty<&'static [u8]>> {
    let connector = PeerConnector::new(node.client(), GUEST);
    Client::builder(TokioExecutor::new()).http2_only(http2).build(connector)
}

#[tokio::test]
async fn http_1_and_2_are_spoken_and_both_ends_know_each_other() -> Result<(), Failure> {
    let (server, node) = pair().await?;
    serve_http(&server)?;

    for (http2, version) in [(false, Version::HTTP_11), (true, Version::HTTP_2)] {
        let uri = format!("http://{}/", server.peer_id()).parse()?;
        let response = http(&node, http2).get(uri).await?;
        assert_eq!(response.version(), version);
        assert_eq!(response.extensions().get(), Some(&Caller(server.peer_id())));
        let body = response.into_body().collect().await?.to_bytes();
        assert_eq!(body, node.peer_id().to_string());
    }
    Ok(())
}

#[tokio::test]
async fn a_host_that_is_no_peer_id_is_said_to_be_none() -> Result<(), Failure> {
    let node = Node::builder().build().await?;

    let failed: legacy::Error = http(&node, false)
        .get(Uri::from_static("http://example.org/"))
        .await
        .expect_err("nobody is there");

    assert!(failed.is_connect());
    let source = failed.source().ok_or("it has no source")?;
    let source = source.downcast_ref::<ConnectError>().ok_or("it is another error")?;
    assert!(matches!(source, ConnectError::NotAPeerId(uri) if uri.host() == Some("example.org")));
    Ok(())
}

#[tokio::test]
async fn a_peer_that_does_not_listen_is_a_failure_to_connect() -> Result<(), Failure> {
    let (server, node) = pair().await?;

    let uri = format!("http://{}/", server.peer_id()).parse()?;
    let failed = http(&node, false).get(uri).await.expect_err("nobody is there");

    assert!(failed.is_connect());
    let source = failed.source().ok_or("it has no source")?;
    assert!(matches!(source.downcast_ref(), Some(ConnectError::Dial(_))), "{source}");
    Ok(())
}

#[tokio::test]
async fn a_connection_is_upgraded_to_a_websocket() -> Result<(), Failure> {
    let (server, node) = pair().await?;
    serve_http(&server)?;

    let stream = node.client().dial(server.peer_id(), &GUEST).await?;
    let (mut socket, _) = client_async(format!("ws://{}/chat", server.peer_id()), stream).await?;
    socket.send(Message::text("hello")).await?;
    let answer = socket.next().await.ok_or("it has ended")??;

    assert_eq!(answer, Message::text("heard: hello"));
    Ok(())
}

#[tokio::test]
async fn a_grpc_service_is_served_and_its_handlers_know_the_caller() -> Result<(), Failure> {
    let (server, node) = pair().await?;
    let caller = node.peer_id();
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("shop", tonic_health::ServingStatus::Serving).await;
    let known = move |request: Request<()>| match request.extensions().get() {
        Some(Caller(peer)) if *peer == caller => Ok(request),
        _ => Err(Status::permission_denied("who is this?")),
    };
    let health = tonic::service::interceptor::InterceptedService::new(health, known);
    let incoming = PeerIncoming::new(server.server().listen(&GUEST)?);
    let served = tokio::spawn(Server::builder().add_service(health).serve_with_incoming(incoming));

    let endpoint = Endpoint::from_shared(format!("http://{}", server.peer_id()))?;
    let connector = PeerConnector::new(node.client(), GUEST);
    let channel = endpoint.connect_with_connector(connector).await?;
    let mut health = HealthClient::new(channel);
    let shop = HealthCheckRequest { service: "shop".to_owned() };
    let answer = health.check(shop).await?.into_inner();
    assert_eq!(answer.status().as_str_name(), "SERVING");

    // The stream of connections ends with the server.
    drop(health);
    server.server().stop(Duration::from_secs(5)).await;
    served.await??;
    Ok(())
}
