//! Two processes: one serves, the other sends text or a file and prints what comes back.
//!
//! ```sh
//! cargo run --release --example echo -- serve
//! cargo run --release --example echo -- send ADDRESS some text
//! cargo run --release --example echo -- send ADDRESS < some-file > its-copy
//! ```

use std::error::Error;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pointsub_tokio::{Multiaddr, Node, ProtocolName, Request};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");

const USAGE: &str = "usage: echo serve [LISTEN-ADDRESS]
       echo send ADDRESS [TEXT…]     without TEXT, sends standard input (at most 32 MiB)";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve"] => serve("/ip4/127.0.0.1/tcp/0".parse()?).await,
        ["serve", address] => serve(address.parse()?).await,
        ["send", address] => {
            let mut input = Vec::new();
            io::stdin().lock().read_to_end(&mut input)?;
            send(address.parse()?, input.into()).await
        }
        ["send", address, text @ ..] => send(address.parse()?, text.join(" ").into()).await,
        _ => Err(USAGE.into()),
    }
}

async fn serve(address: Multiaddr) -> Result<(), Box<dyn Error>> {
    let node = Node::builder().listen(address).build().await?;
    node.server().register(&ECHO, |request: Request| async move {
        eprintln!("{} bytes from {}", request.body.len(), request.peer);
        request.body
    })?;
    eprintln!("Serving. In another terminal:");
    for address in node.addresses().await {
        println!("cargo run --release --example echo -- send {address} hello");
    }
    eprintln!("Ctrl-C stops the server; requests at work get 5 seconds to end.");
    tokio::signal::ctrl_c().await?;
    node.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn send(address: Multiaddr, body: Bytes) -> Result<(), Box<dyn Error>> {
    let node = Node::builder().build().await?;
    let peer = node.connect(address).await?;
    let (size, before) = (body.len(), Instant::now());
    let answer = node.client().send(peer, &ECHO, body).await?;
    eprintln!("{size} bytes to {peer}, {} back, in {:?}", answer.len(), before.elapsed());
    io::stdout().lock().write_all(&answer)?;
    node.shutdown(Duration::from_secs(1)).await;
    Ok(())
}
