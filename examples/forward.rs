//! Any TCP service by Peer ID, without a line of code in it:
//!
//! * `cargo run --example forward -- expose 127.0.0.1:8080` lends a local service to other peers
//!   and prints the command for the other side;
//! * `cargo run --example forward -- to ADDRESS 127.0.0.1:9090` makes it appear on a local port.
//!
//! Then `curl http://127.0.0.1:9090/` reaches what listens at port 8080 over there.

use pointsub_tokio::{Client, ClientConfig, Node, PeerId, ProtocolName, RawStream};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

const PROTOCOL: &str = "/forward/1.0.0";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["expose", service] => expose(service).await,
        ["to", address, local] => forward(address, local).await,
        _ => Err("usage: forward expose HOST:PORT | forward to ADDRESS HOST:PORT".into()),
    }
}

/// Lends a local service.
async fn expose(service: &str) -> Result<()> {
    let node = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
    let mut listener = node.server().listen(&ProtocolName::new(PROTOCOL)?)?;
    println!("forward to {} 127.0.0.1:0", node.address().await.ok_or("it listens nowhere")?);
    while let Some(stream) = listener.accept().await {
        let service = service.to_owned();
        tokio::spawn(async move {
            let caller = stream.peer_id();
            match TcpStream::connect(&service).await {
                Ok(tcp) => join(tcp, stream).await,
                // The stream is dropped, which tells the caller.
                Err(error) => eprintln!("{caller} cannot have {service}: {error}"),
            }
        });
    }
    Ok(())
}

/// Makes a peer's service appear here.
async fn forward(address: &str, local: &str) -> Result<()> {
    let config = ClientConfig::default().with_max_streams_per_peer(240);
    let node = Node::builder().client_config(config).build().await?;
    let peer = node.connect(address.parse()?).await?;
    let listener = TcpListener::bind(local).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (tcp, _) = listener.accept().await?;
        tokio::spawn(carry(node.client(), peer, tcp));
    }
}

async fn carry(client: Client, peer: PeerId, tcp: TcpStream) {
    let Ok(protocol) = ProtocolName::new(PROTOCOL) else { return };
    match client.dial(peer, &protocol).await {
        Ok(stream) => join(tcp, stream).await,
        Err(error) => eprintln!("cannot reach {peer}: {error}"),
    }
}

/// Passes bytes on in both directions, each until its end.
async fn join(mut tcp: TcpStream, mut stream: RawStream) {
    if let Err(error) = copy_bidirectional(&mut tcp, &mut stream).await {
        eprintln!("a connection broke: {error}");
    }
}
