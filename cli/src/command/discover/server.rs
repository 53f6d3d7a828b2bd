//! Servers as they are shown.

use std::time::Duration;

use pointsub_tokio::{CandidateState, Multiaddr, Node, PeerId, ProtocolName, Source};
use serde_json::json;

use crate::error::Failure;
use crate::node::bare;
use crate::output::{Mark, Output, duration, millis, source_name, unix_time};

/// A server that was found.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) peer: PeerId,
    pub(super) source: Source,
    /// `None` if there is no connection to it.
    pub(super) address: Option<Multiaddr>,
    pub(super) rtt: Option<Duration>,
}

/// The servers that are known now, the nearest first.
pub(super) async fn servers(node: &Node, protocol: &ProtocolName) -> Vec<Server> {
    let peers = node.peers().await;
    let known = node.client().server_nodes_info(protocol).into_iter();
    let serving = known.filter(|known| known.state == CandidateState::Serving);
    let server = serving.map(|known| {
        let connected = peers.iter().find(|info| info.peer == known.node);
        Server {
            peer: known.node,
            source: known.source,
            address: connected.map(|info| bare(&info.address)),
            rtt: connected.and_then(|info| info.rtt),
        }
    });
    let mut servers: Vec<Server> = server.collect();
    servers.sort_by_key(|server| (server.rtt.is_none(), server.rtt, server.peer));
    servers
}

impl Server {
    pub(super) fn event(&self, event: &str, output: Output) -> Result<(), Failure> {
        output.value(&json!({
            "event": event,
            "time": unix_time(),
            "peer": self.peer.to_string(),
            "source": source_name(self.source),
            "address": self.address.as_ref().map(ToString::to_string),
            "rtt_ms": self.rtt.map(millis),
        }))
    }

    pub(super) fn columns(&self, output: Output) -> String {
        let rtt = self.rtt.map_or_else(|| "-".to_owned(), duration);
        let address = self.address.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let source = output.mark(Mark::Faint, source_name(self.source));
        format!("{}  {source}  {rtt:>7}  {address}", self.peer)
    }
}
