//! A tonic service that is reached by Peer ID, with a method that streams:
//! `cargo run --example grpc`.
//!
//! The service is gRPC's own for health checks. Whoever watches it gets a message at each change.

use pointsub_tokio::hyper::PeerConnector;
use pointsub_tokio::tonic::PeerIncoming;
use pointsub_tokio::{Node, ProtocolName};
use tonic::transport::{Endpoint, Server};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const GRPC: ProtocolName = ProtocolName::from_static("/grpc");

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let server = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("shop", ServingStatus::Serving).await;
    let incoming = PeerIncoming::new(server.server().listen(&GRPC)?);
    tokio::spawn(Server::builder().add_service(health).serve_with_incoming(incoming));

    let node = Node::builder().build().await?;
    let peer = node.connect(server.address().await.ok_or("it listens nowhere")?).await?;
    let connector = PeerConnector::new(node.client(), GRPC);
    let endpoint = Endpoint::from_shared(format!("http://{peer}"))?;
    let mut health = HealthClient::new(endpoint.connect_with_connector(connector).await?);

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
