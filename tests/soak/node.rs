//! One node: what it serves, whom it hears of, and how it ends.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pointsub_swarm::{
    HandlerError, IncomingCall, Keypair, Multiaddr, PeerId, ProtocolName, RawStream, Request,
};
use pointsub_tokio::Node;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::traffic::{self, Counts};
use crate::{NODES, STABLE, watch};

pub(crate) const ECHO: ProtocolName = ProtocolName::from_static("/soak/echo/1");
pub(crate) const COUNT: ProtocolName = ProtocolName::from_static("/soak/count/1");
pub(crate) const RAW: ProtocolName = ProtocolName::from_static("/soak/raw/1");
/// No body and no raw stream is longer, in bytes.
pub(crate) const LONGEST: usize = 64 * 1024;
/// How long a node that is stopped has for what is under way.
const GRACE: Duration = Duration::from_secs(2);

/// What the parent says on the command line.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) number: usize,
    pub(crate) key: u64,
    port: u16,
    pub(crate) line: Duration,
    /// Requests a second of all nodes.
    pub(crate) rate: u32,
}

impl Setup {
    pub(crate) fn parse(args: &[String]) -> Option<Self> {
        let [number, key, port, line, rate] = args else { return None };
        Some(Self {
            number: number.parse().ok()?,
            key: key.parse().ok()?,
            port: port.parse().ok()?,
            line: Duration::from_millis(line.parse().ok()?),
            rate: rate.parse().ok()?,
        })
    }

    /// Those that stay listen on both transports, of the others each on one.
    fn listens_at(&self, port: u16) -> Vec<Multiaddr> {
        let both = self.number < STABLE;
        let tcp = format!("/ip4/127.0.0.1/tcp/{port}");
        let quic = format!("/ip4/127.0.0.1/udp/{port}/quic-v1");
        let texts = [
            (both || self.number.is_multiple_of(2), tcp),
            (both || !self.number.is_multiple_of(2), quic),
        ];
        let wanted = texts.into_iter().filter(|(wanted, _)| *wanted);
        wanted.map(|(_, text)| text.parse().expect("an address")).collect()
    }

    async fn build(&self, port: u16) -> Option<Node> {
        let mut secret = [0x50; 32];
        secret[..8].copy_from_slice(&self.key.to_be_bytes());
        let key = Keypair::ed25519_from_bytes(&mut secret).expect("32 bytes");
        let builder = Node::builder().keypair(key);
        let at = self.listens_at(port).into_iter();
        at.fold(builder, |builder, address| builder.listen(address)).build().await.ok()
    }
}

/// Who the other nodes are now, by number, and all who ever were.
#[derive(Debug, Default)]
pub(crate) struct Others {
    pub(crate) now: [Option<PeerId>; NODES],
    pub(crate) ever: Vec<PeerId>,
}

/// Lives until the parent says stop, or is gone.
pub(crate) fn run(setup: &Setup) {
    let says = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        says(panic);
        std::process::exit(101);
    }));
    let runtime = if setup.number < STABLE {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
    } else {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    };
    runtime.expect("a runtime").block_on(live(setup));
}

async fn live(setup: &Setup) {
    // Somebody else may have the port by now.
    let node = match setup.build(setup.port).await {
        Some(node) => node,
        None => setup.build(0).await.expect("a node"),
    };
    serve(&node);
    let addresses = node.addresses().await;
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    println!("at {}", addresses.join(" "));
    let others = Arc::new(Mutex::new(Others::default()));
    let counts = Arc::new(Mutex::new(Counts::default()));
    tokio::spawn(traffic::make(setup.clone(), node.clone(), others.clone(), counts.clone()));
    tokio::spawn(watch::report(setup.clone(), node.clone(), others.clone(), counts.clone()));
    let mut lines = lines();
    while let Some(line) = lines.recv().await {
        if line == "stop" {
            node.shutdown(GRACE).await;
            traffic::tell(&counts);
            std::io::stdout().flush().expect("the parent reads");
            return;
        }
        hear(&node, &others, &line).await;
    }
}

/// The lines that the parent writes.
fn lines() -> UnboundedReceiver<String> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Somebody has started, and is at these addresses.
async fn hear(node: &Node, others: &Mutex<Others>, line: &str) {
    let mut words = line.split(' ').skip(1);
    let number: usize = words.next().and_then(|word| word.parse().ok()).expect("a number");
    for word in words {
        let (address, peer) = word.rsplit_once("/p2p/").expect("an address with a Peer ID");
        let peer: PeerId = peer.parse().expect("a Peer ID");
        {
            let mut others = others.lock().expect("nobody panics");
            others.now[number] = Some(peer);
            if !others.ever.contains(&peer) {
                others.ever.push(peer);
            }
        }
        node.add_address(peer, address.parse().expect("an address")).await;
    }
}

fn serve(node: &Node) {
    let server = node.server();
    server.register(&ECHO, |request: Request| async move { request.body }).expect("the first");
    server.register_call(&COUNT, count).expect("the first");
    let mut listener = server.listen(&RAW).expect("the first");
    tokio::spawn(async move {
        while let Some(stream) = listener.accept().await {
            tokio::spawn(repeat(stream));
        }
    });
}

/// Sends as many messages as the argument says.
async fn count(call: IncomingCall) -> Result<String, HandlerError> {
    let IncomingCall { argument, mut sender, .. } = call;
    let count: u32 = std::str::from_utf8(&argument)?.parse()?;
    for number in 0..count {
        sender.send(number.to_be_bytes().to_vec()).await?;
    }
    Ok(count.to_string())
}

/// Sends back what it has read. Whoever dies meanwhile is counted where the stream was dialled.
async fn repeat(stream: RawStream) {
    let mut stream = stream;
    let mut bytes = Vec::new();
    let read = (&mut stream).take(LONGEST as u64).read_to_end(&mut bytes).await;
    if read.is_ok() && stream.write_all(&bytes).await.is_ok() {
        _ = stream.shutdown().await;
    }
}
