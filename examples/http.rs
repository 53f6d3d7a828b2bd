//! An axum application that is reached by Peer ID, and a hyper client: `cargo run --example http`.

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use pointsub_tokio::axum::{Caller, PeerListener};
use pointsub_tokio::{Node, ProtocolName};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let http = ProtocolName::new("/http/1.1")?;

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
    let listener = PeerListener::new(server.server().listen(&http)?);
    tokio::spawn(async move { axum::serve(listener, app).await });

    // A client: any HTTP client that takes a connection.
    let client = Node::builder().build().await?;
    let peer = client.connect(server.address().await.ok_or("it listens nowhere")?).await?;
    let stream = client.client().dial(peer, &http).await?;
    let (mut requests, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);

    let greeting = ask(&mut requests, Method::GET, "/", Bytes::new()).await?;
    assert_eq!(greeting, format!("hello, {}", client.peer_id()));
    println!("GET / says: {greeting}");
    let length = ask(&mut requests, Method::POST, "/length", vec![7; 1 << 20].into()).await?;
    assert_eq!(length, "1048576");
    println!("POST /length of 1 MiB says: {length}");
    Ok(())
}

async fn ask(
    requests: &mut hyper::client::conn::http1::SendRequest<Full<Bytes>>,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<String, Failure> {
    let request = Request::builder().method(method).uri(path).header("host", "peer");
    requests.ready().await?;
    let response = requests.send_request(request.body(Full::new(body))?).await?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec())?)
}
