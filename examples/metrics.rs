//! A node whose metrics Prometheus can read, at the address of the first argument.
//!
//! ```text
//! cargo run --example metrics 127.0.0.1:9464
//! curl http://127.0.0.1:9464/metrics
//! ```

use std::error::Error;
use std::io;
use std::sync::Arc;

use pointsub_metrics::prometheus::{self, PrometheusRecorder};
use pointsub_tokio::{Node, ProtocolName, Request};
use prometheus_client::registry::Registry;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let mut registry = Registry::default();
    let recorder = PrometheusRecorder::register(&mut registry);
    let node =
        Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).recorder(recorder).build().await?;
    prometheus::register_stats(&mut registry, &node.client(), &node.server());
    node.server().register(&ECHO, |request: Request| async { request.body })?;

    // Somebody who asks, so that there is something to see.
    let client = Node::builder().build().await?;
    let peer = client.connect(node.address().await.ok_or("no address")?).await?;
    client.client().send(peer, &ECHO, "hello").await?;

    let listener = TcpListener::bind(address).await?;
    println!("metrics at http://{}/metrics", listener.local_addr()?);
    let registry = Arc::new(registry);
    loop {
        let (socket, _) = listener.accept().await?;
        let registry = registry.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(socket, &registry).await {
                eprintln!("a scrape has failed: {error}");
            }
        });
    }
}

/// Answers one request of HTTP/1.0, whatever it asks for. A program with a web server has a route instead.
async fn answer(mut socket: TcpStream, registry: &Registry) -> io::Result<()> {
    let (reader, mut writer) = socket.split();
    let mut lines = BufReader::new(reader).lines();
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let body = prometheus::encode(registry).map_err(io::Error::other)?;
    let (kind, len) = (prometheus::CONTENT_TYPE, body.len());
    let head = format!("HTTP/1.0 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len}\r\n\r\n");
    writer.write_all(head.as_bytes()).await?;
    writer.write_all(body.as_bytes()).await?;
    writer.shutdown().await
}
