//! A tonic service that is reached by Peer ID, with a method that streams:
//! `cargo run --example grpc`.
//!
//! The service is gRPC's own for health checks. Whoever watches it gets a message at each change.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::StreamExt;
use hyper_util::rt::TokioIo;
use pointsub_tokio::{Node, PeerId, ProtocolName, RawStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;
use tonic::transport::{Endpoint, Server};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let grpc = ProtocolName::new("/grpc")?;

    let server = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("shop", ServingStatus::Serving).await;
    let incoming =
        server.server().listen(&grpc)?.map(|stream| Ok::<_, io::Error>(Incoming(stream)));
    tokio::spawn(Server::builder().add_service(health).serve_with_incoming(incoming));

    let node = Node::builder().build().await?;
    let peer = node.connect(server.address().await.ok_or("it listens nowhere")?).await?;
    let client = node.client();
    let connector = tower::service_fn(move |_| {
        let (client, grpc) = (client.clone(), grpc.clone());
        async move { client.dial(peer, &grpc).await.map(TokioIo::new) }
    });
    // The name is tonic's to print; the connector knows whom to dial.
    let channel = Endpoint::from_static("http://peer").connect_with_connector(connector).await?;
    let mut health = HealthClient::new(channel);

    let shop = HealthCheckRequest { service: "shop".to_owned() };
    let mut changes = health.watch(shop.clone()).await?.into_inner();
    for status in [ServingStatus::Serving, ServingStatus::NotServing, ServingStatus::Serving] {
        reporter.set_service_status("shop", status).await;
        // A watcher may be told the same twice.
        while changes.message().await?.ok_or("the stream has ended")?.status().as_str_name()
            != name(status)
        {}
        println!("watching: {}", name(status));
    }
    let now = health.check(shop).await?.into_inner();
    println!("asked once: {}", now.status().as_str_name());
    Ok(())
}

const fn name(status: ServingStatus) -> &'static str {
    match status {
        ServingStatus::Serving => "SERVING",
        ServingStatus::NotServing => "NOT_SERVING",
        ServingStatus::Unknown => "UNKNOWN",
    }
}

/// A raw stream that tells tonic's handlers who is at the other end.
struct Incoming(RawStream);

impl Connected for Incoming {
    type ConnectInfo = PeerId;

    fn connect_info(&self) -> PeerId {
        self.0.peer_id()
    }
}

impl AsyncRead for Incoming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.0), cx, buf)
    }
}

impl AsyncWrite for Incoming {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.0), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}
