//! Any TCP service by Peer ID, without a line of code in it:
//!
//! * `cargo run --example forward -- expose 127.0.0.1:8080` lends a local service to other peers
//!   and prints the command for the other side;
//! * `cargo run --example forward -- to ADDRESS 127.0.0.1:9090` makes it appear on a local port.
//!
//! Then `curl http://127.0.0.1:9090/` reaches what listens at port 8080 over there.
//!
//! Each TCP connection has a raw stream of its own. A peer may have some 240 of them, so that there
//! are further nodes for more: 3200 TCP connections at a time pass. Whatever is refused is named on
//! the standard error output, with the reason, and its TCP connection is reset at once.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use pointsub_tokio::{
    Client, ClientConfig, LimitPolicy, Multiaddr, Node, PeerId, ProtocolName, RawStream,
    ServerConfig,
};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

const PROTOCOL: ProtocolName = ProtocolName::from_static("/forward/1.0.0");
/// How many TCP connections a node carries. Both ends allow some more, for streams that are about
/// to end: a client at most 240, a server 256.
const PER_NODE: usize = 200;
/// How many nodes carry them.
const NODES: usize = 16;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["expose", service] => expose(service).await,
        ["to", address, local] => forward(address.parse()?, local).await,
        _ => Err("usage: forward expose HOST:PORT | forward to ADDRESS HOST:PORT".into()),
    }
}

/// Lends a local service.
async fn expose(service: &str) -> Result<()> {
    // A raw stream counts as a request at work for as long as it lasts. Here this says nothing
    // about how busy the machine is, so the limit stays where it is.
    let config = ServerConfig::default()
        .with_limit_policy(LimitPolicy::Fixed)
        .with_max_concurrent_requests(NODES * PER_NODE * 2);
    let node = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).server_config(config);
    let node = node.build().await?;
    let mut listener = node.server().listen(&PROTOCOL)?;
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
async fn forward(address: Multiaddr, local: &str) -> Result<()> {
    let mut nodes = Nodes::connect(address).await?;
    let listener = TcpListener::bind(local).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (tcp, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                eprintln!("cannot accept: {error}");
                // It has given up already, or file descriptors have run out, which takes a while.
                if error.kind() != ErrorKind::ConnectionAborted {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                continue;
            }
        };
        match nodes.place().await {
            Ok((client, place)) => {
                tokio::spawn(carry(client, nodes.peer, tcp, place));
            }
            Err(reason) => refuse(&tcp, &format!("{from}: {reason}")),
        }
    }
}

/// The nodes that carry TCP connections to one peer, as many as are needed.
struct Nodes {
    peer: PeerId,
    address: Multiaddr,
    nodes: Vec<(Node, Arc<Semaphore>)>,
}

impl Nodes {
    async fn connect(address: Multiaddr) -> Result<Self> {
        let node = Self::node().await?;
        let peer = node.connect(address.clone()).await?;
        Ok(Self { peer, address, nodes: vec![(node, Arc::new(Semaphore::new(PER_NODE)))] })
    }

    async fn node() -> Result<Node> {
        let config = ClientConfig::default().with_max_streams_per_peer(240);
        Ok(Node::builder().client_config(config).build().await?)
    }

    /// A node that can carry one more connection, and its place there.
    async fn place(&mut self) -> Result<(Client, OwnedSemaphorePermit)> {
        for (node, places) in &self.nodes {
            if let Ok(place) = places.clone().try_acquire_owned() {
                return Ok((node.client(), place));
            }
        }
        if self.nodes.len() == NODES {
            return Err(format!("{} connections are there already", NODES * PER_NODE).into());
        }
        let (node, places) = (Self::node().await?, Arc::new(Semaphore::new(PER_NODE)));
        // It connects with its first stream.
        node.add_address(self.peer, self.address.clone()).await;
        let (client, place) = (node.client(), places.clone().try_acquire_owned()?);
        self.nodes.push((node, places));
        Ok((client, place))
    }
}

async fn carry(client: Client, peer: PeerId, tcp: TcpStream, _place: OwnedSemaphorePermit) {
    match client.dial(peer, &PROTOCOL).await {
        Ok(stream) => join(tcp, stream).await,
        Err(error) => refuse(&tcp, &format!("cannot reach {peer}: {error}")),
    }
}

/// Passes bytes on in both directions, each until its end. If one side breaks, so does the other: a
/// reset must not look like the end of a file.
async fn join(mut tcp: TcpStream, mut stream: RawStream) {
    // Otherwise the end of a message waits until the beginning is acknowledged, some 40 ms.
    let joined = match tcp.set_nodelay(true) {
        Ok(()) => copy_bidirectional(&mut tcp, &mut stream).await.map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = joined {
        // The stream is dropped without having been closed, which resets it.
        refuse(&tcp, &format!("a connection broke: {error}"));
    }
}

/// Says why a TCP connection ends before its time, and has it reset when it is dropped.
fn refuse(tcp: &TcpStream, why: &str) {
    eprintln!("{why}");
    // If that fails, it has ended already.
    let _ended = tcp.set_zero_linger();
}
