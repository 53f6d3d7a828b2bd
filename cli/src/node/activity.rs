//! What a server shows its operator: `pointsub top`.
//!
//! It is a service of its own, and not a part of `/pointsub-info/1`, because it tells who is connected: others
//! than the operator are not to know that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pointsub_tokio::service::info::ServerLoad;
use pointsub_tokio::service::{Cx, Failure as Refusal, Router, Service};
use pointsub_tokio::telemetry::{HandlerEnd, Recorder, RpcMethod, Side, Transferred};
use pointsub_tokio::{Node, PeerId, PeerInfo, ProtocolName, ServerConfig, ServerStats, StreamInfo};
use serde::{Deserialize, Serialize};

use super::bare;
use crate::command::ping::path;
use crate::error::Failure;

/// The service.
pub(crate) const PROTOCOL: ProtocolName = ProtocolName::from_static("/pointsub-top/1");
/// Its method.
pub(crate) const SNAPSHOT: &str = "snapshot";
/// How many protocols are told of.
pub(crate) const MAX_PROTOCOLS: usize = 128;
/// How many peers are told of: those that have the most to do here.
pub(crate) const MAX_PEERS: usize = 256;
/// The code of the refusal of whoever is no operator.
const NOT_ALLOWED: u32 = 1;

/// How things stand at a server, and what it has done so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Snapshot {
    /// For how long the server has been running, by its own clock.
    pub(crate) uptime_ms: u64,
    pub(crate) load: ServerLoad,
    /// Why requests and streams were refused, and how many.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// How many bytes may be held. `None` if the server does not say.
    pub(crate) memory_limit: Option<u64>,
    /// Peers that are connected, also those without a stream. `None` if the server does not say.
    pub(crate) connected: Option<u64>,
    pub(crate) protocols: Vec<ProtocolActivity>,
    pub(crate) peers: Vec<PeerActivity>,
}

/// What was done under a protocol so far, and what is at work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ProtocolActivity {
    pub(crate) name: String,
    pub(crate) in_flight: u64,
    /// Handlers that have ended.
    pub(crate) ended: u64,
    /// Those of them that have not answered with a response.
    pub(crate) failed: u64,
    pub(crate) refused: u64,
    /// For how long handlers were at work, all together.
    pub(crate) worked_us: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// A peer that is connected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PeerActivity {
    pub(crate) peer: String,
    /// `direct` or `relayed`.
    pub(crate) path: String,
    pub(crate) address: String,
    pub(crate) connections: u64,
    pub(crate) connected_ms: u64,
    pub(crate) rtt_us: Option<u64>,
    /// Streams that it has open.
    pub(crate) streams: u64,
    /// Requests on these.
    pub(crate) requests: u64,
    pub(crate) in_flight: u64,
    pub(crate) memory: u64,
}

/// Counts what is done under each protocol.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<String, ProtocolActivity>>);

impl Counters {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ProtocolActivity>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, protocol: &str, count: impl FnOnce(&mut ProtocolActivity)) {
        let mut counts = self.lock();
        if let Some(counted) = counts.get_mut(protocol) {
            return count(counted);
        }
        let name = if counts.len() < MAX_PROTOCOLS - 1 { protocol } else { RpcMethod::OTHER };
        count(counts.entry(name.to_owned()).or_insert_with(|| named(name)));
    }
}

fn named(name: &str) -> ProtocolActivity {
    ProtocolActivity { name: name.to_owned(), ..ProtocolActivity::default() }
}

impl Recorder for Counters {
    fn handler_ended(&self, handled: &HandlerEnd<'_>) {
        let worked = u64::try_from(handled.duration.as_micros()).unwrap_or(u64::MAX);
        let failed = u64::from(handled.outcome.error.is_some());
        self.count(handled.method.protocol, |counted| {
            counted.ended += 1;
            counted.failed += failed;
            counted.worked_us = counted.worked_us.saturating_add(worked);
        });
    }

    fn refused(&self, protocol: &str, _status: &'static str, count: u64) {
        self.count(protocol, |counted| counted.refused += count);
    }

    fn transferred(&self, bytes: &Transferred<'_>) {
        if bytes.side == Side::Server {
            self.count(bytes.protocol, |counted| {
                counted.received += bytes.received;
                counted.sent += bytes.sent;
            });
        }
    }
}

/// Serves it to these peers.
pub(super) fn serve(
    node: &Node,
    counters: Arc<Counters>,
    operators: Vec<PeerId>,
) -> Result<(), Failure> {
    let began = Instant::now();
    // The handler holds its own node, which ends by its shutdown and with the process.
    let shown = node.clone();
    let service = Router::new(PROTOCOL).method(SNAPSHOT, move |cx: Cx, _: ()| {
        let allowed = operators.contains(&cx.peer());
        let (node, counters) = (shown.clone(), counters.clone());
        async move {
            if !allowed {
                return Err(Refusal::new(NOT_ALLOWED, "this peer is no operator of the node"));
            }
            Ok::<_, Refusal>(snapshot(&node, &counters, began.elapsed()).await)
        }
    });
    service.serve(node.server()).map_err(Failure::local)
}

async fn snapshot(node: &Node, counters: &Counters, uptime: Duration) -> Snapshot {
    let peers = node.peers().await;
    let (stats, streams) = (node.server().stats(), node.server().streams());
    let mut protocols = counters.lock().clone();
    for stream in &streams {
        let name = stream.protocol.as_str();
        if let Some(counted) = protocols.get_mut(name) {
            counted.in_flight += stream.in_flight as u64;
        } else if protocols.len() < MAX_PROTOCOLS {
            let in_flight = stream.in_flight as u64;
            protocols.insert(name.to_owned(), ProtocolActivity { in_flight, ..named(name) });
        }
    }
    let connected = Some(peers.len() as u64);
    let mut peers: Vec<_> = peers.into_iter().map(|info| of_peer(info, &streams)).collect();
    peers.sort_by_key(|peer| std::cmp::Reverse((peer.in_flight, peer.requests)));
    peers.truncate(MAX_PEERS);
    Snapshot {
        uptime_ms: millis(uptime),
        load: stats.into(),
        refusals: refusals(&stats),
        // No command of this program has another one.
        memory_limit: Some(ServerConfig::default().max_memory() as u64),
        connected,
        protocols: protocols.into_values().collect(),
        peers,
    }
}

fn of_peer(info: PeerInfo, streams: &[StreamInfo]) -> PeerActivity {
    let mut activity = PeerActivity {
        peer: info.peer.to_string(),
        path: path(info.path).to_owned(),
        address: bare(&info.address).to_string(),
        connections: info.connections as u64,
        connected_ms: millis(info.since.elapsed()),
        rtt_us: info.rtt.and_then(|rtt| u64::try_from(rtt.as_micros()).ok()),
        ..PeerActivity::default()
    };
    for stream in streams.iter().filter(|stream| stream.peer == info.peer) {
        activity.streams += 1;
        activity.requests += stream.requests;
        activity.in_flight += stream.in_flight as u64;
        activity.memory += stream.memory as u64;
    }
    activity
}

fn refusals(stats: &ServerStats) -> BTreeMap<String, u64> {
    let reasons = [
        ("no place", stats.no_place),
        ("no memory", stats.no_memory),
        ("no stream", stats.no_stream),
        ("rate limited", stats.rate_limited),
        ("kept out", stats.kept_out),
        ("denied", stats.denied),
        ("stalled", stats.stalled),
    ];
    let counted = reasons.into_iter().filter(|(_, count)| *count > 0);
    counted.map(|(reason, count)| (reason.to_owned(), count)).collect()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
