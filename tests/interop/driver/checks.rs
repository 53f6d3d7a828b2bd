//! Named checks, and what all of them need.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use libp2p_core::multiaddr::Protocol;
use pointsub_swarm::{ClientConfig, Multiaddr, NodeBuilder, ProtocolName, ServerConfig};
use sha2::{Digest, Sha256};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::peer::Peer;
use crate::{Node, Rt};

pub(crate) const MIB: usize = 1024 * 1024;
/// What Go's reader accepts, and the JavaScript peer as well.
pub(crate) const LIMIT: usize = 8 * MIB;

pub(crate) const SIZES: [(&str, usize); 8] = [
    ("0 B", 0),
    ("1 B", 1),
    ("255 B", 255),
    ("256 B", 256),
    ("65 535 B", 65_535),
    ("65 536 B", 65_536),
    ("1 MiB", MIB),
    ("8 MiB", LIMIT),
];

/// No check takes nearly as long: whatever does hangs.
const HUNG: Duration = Duration::from_secs(30);

/// How many checks passed and failed.
#[derive(Default)]
pub(crate) struct Checks {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

impl Checks {
    /// Makes a check and prints a line about it. It fails by panicking or by taking too long.
    pub(crate) async fn check(&mut self, subject: &str, name: &str, check: impl Future) {
        let outcome = match AssertUnwindSafe(timeout(HUNG, check)).catch_unwind().await {
            Ok(Ok(_)) => "ok",
            Ok(Err(_)) => "FAILED: it hangs",
            Err(_) => "FAILED",
        };
        println!("{subject}: {name} … {outcome}");
        *if outcome == "ok" { &mut self.passed } else { &mut self.failed } += 1;
    }
}

/// The seed of the numbers from 0 on. Other seeds, repeated, shrink further than a compressed body may.
pub(crate) const NUMBERS: &str = "#";

/// A body that every peer can make and compare without sending it through a pipe: a seed,
/// repeated up to a size.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) size: usize,
    pub(crate) seed: String,
}

impl Body {
    pub(crate) fn new(size: usize, seed: impl Into<String>) -> Self {
        let seed = seed.into();
        assert!(!seed.is_empty() && !seed.contains(' '));
        Self { size, seed }
    }

    /// The seed itself.
    pub(crate) fn text(seed: impl ToString) -> Self {
        let seed = seed.to_string();
        Self::new(seed.len(), seed)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        if self.seed == NUMBERS {
            let numbers = (0..self.size).flat_map(|number| number.to_string().into_bytes());
            return numbers.take(self.size).collect();
        }
        self.seed.bytes().cycle().take(self.size).collect()
    }

    /// What a peer says when it has received this body.
    pub(crate) fn receipt(&self) -> String {
        receipt(&self.bytes())
    }
}

pub(crate) fn receipt(body: &[u8]) -> String {
    let hex: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} {hex}", body.len())
}

pub(crate) fn name(habit: &str) -> ProtocolName {
    ProtocolName::new(&format!("/interop/{habit}/1.0.0")).expect("a protocol name")
}

/// A client that tries each request once.
pub(crate) fn once() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

pub(crate) async fn node(peer: &Peer, client: ClientConfig, server: ServerConfig) -> Node {
    let node = builder(peer).client_config(client).server_config(server);
    node.build().await.expect("a node")
}

/// A node that listens where the peer, which has one transport, can dial it.
pub(crate) fn builder(peer: &Peer) -> NodeBuilder<Rt> {
    let quic = peer.address.iter().any(|part| part == Protocol::QuicV1);
    let address = if quic { "/ip4/127.0.0.1/udp/0/quic-v1" } else { "/ip4/127.0.0.1/tcp/0" };
    Node::builder().dialects(peer.dialects).listen(address.parse().expect("an address"))
}

pub(crate) async fn address(node: &Node) -> Multiaddr {
    node.addresses().await.into_iter().next().expect("the node listens")
}

/// Waits until counters, which tell nobody when they change, fulfil a condition.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        yield_now().await;
    }
}
