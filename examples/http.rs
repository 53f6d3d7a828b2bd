//! An axum application that is reached by Peer ID, and a hyper client: `cargo run --example http`.

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use pointsub_tokio::axum::{Caller, PeerListener};
use pointsub_tokio::hyper::PeerConnector;
use pointsub_tokio::{Node, ProtocolName};

const HTTP: ProtocolName = ProtocolName::from_static("/http/1.1");

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // A server: any axum application.
    let server = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
    let app = Router::new()
        .route(
            "/",
            get(|ConnectInfo(Caller(peer)): ConnectInfo<Caller>| async move {
                format!("hello, {peer}")
            }),
        )
        .route("/length", post(|body: Bytes| async move { body.len().to_string() }))
        .into_make_service_with_connect_info::<Caller>();
    let listener = PeerListener::new(server.server().listen(&HTTP)?);
    tokio::spawn(async move { axum::serve(listener, app).await });

    // A client: hyper's, with its pool. The host of a URI is a Peer ID.
    let node = Node::builder().build().await?;
    let peer = node.connect(server.address().await.ok_or("it listens nowhere")?).await?;
    let connector = PeerConnector::new(node.client(), HTTP);
    let client = Client::builder(TokioExecutor::new()).build(connector);

    let get = Request::get(format!("http://{peer}/")).body(Full::default())?;
    let greeting = client.request(get).await?.into_body().collect().await?.to_bytes();
    assert_eq!(greeting, format!("hello, {}", node.peer_id()));
    println!("GET / says: {}", String::from_utf8_lossy(&greeting));

    let body = Full::new(Bytes::from(vec![7; 1 << 20]));
    let post = Request::post(format!("http://{peer}/length")).body(body)?;
    let length = client.request(post).await?.into_body().collect().await?.to_bytes();
    assert_eq!(length, "1048576");
    println!("POST /length of 1 MiB says: {}", String::from_utf8_lossy(&length));
    Ok(())
}
