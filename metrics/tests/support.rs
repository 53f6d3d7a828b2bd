//! Nodes of one process.
#![allow(unreachable_pub, missing_docs, reason = "a part of each test")]

use std::sync::Arc;

use pointsub_swarm::telemetry::{Propagator, Recorder};
use pointsub_tokio::{Multiaddr, Node, ProtocolName};

pub const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");

/// A node that listens in memory.
pub async fn node(
    recorder: Option<Arc<dyn Recorder>>,
    propagator: Option<Arc<dyn Propagator>>,
) -> Node {
    let anywhere: Multiaddr = "/memory/0".parse().expect("an address");
    let mut builder = Node::builder().in_memory().listen(anywhere);
    if let Some(recorder) = recorder {
        builder = builder.recorder(recorder);
    }
    if let Some(propagator) = propagator {
        builder = builder.propagator(propagator);
    }
    builder.build().await.expect("a node")
}

/// Connects one node to the other.
pub async fn connect(from: &Node, to: &Node) {
    let address = to.address().await.expect("it listens");
    from.connect(address).await.expect("it is there");
}

/// Waits until something holds.
pub async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}
