//! What a node holds, as the system and its own methods tell.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use pointsub_swarm::NodeEvent;
use pointsub_tokio::Node;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::node::{Others, Setup};
use crate::traffic::{self, Counts};

/// What a line of the table has. The first are looked at each second, and told by the least of them, so
/// that what is just under way does not count.
pub(crate) const METRICS: [&str; 13] = [
    "RSS KiB",
    "data KiB",
    "descriptors",
    "threads",
    "tasks",
    "peers",
    "connections",
    "known addresses",
    "client's streams",
    "client's peers",
    "server's streams",
    "server's peers",
    "processor ms",
];
/// How many of them are looked at each second.
const EACH_SECOND: usize = 5;

/// A line of the table.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Row(pub(crate) [u64; METRICS.len()]);

impl Row {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut row = Self::default();
        let mut words = text.split(' ');
        for value in &mut row.0 {
            *value = words.next()?.parse().ok()?;
        }
        Some(row)
    }

    pub(crate) fn line(&self, nth: usize, node: usize) -> String {
        let values: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        format!("| {nth} | {node} | {} |", values.join(" | "))
    }
}

/// The first lines of the table.
pub(crate) fn heading() -> String {
    let names = METRICS.join(" | ");
    format!("| line | node | {names} |\n|{}", "---|".repeat(METRICS.len() + 2))
}

/// Says line after line, for ever.
pub(crate) async fn report(
    setup: Setup,
    node: Node,
    others: Arc<Mutex<Others>>,
    counts: Arc<Mutex<Counts>>,
) {
    let mut events = node.events();
    let noted = counts.clone();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let name = match event {
                NodeEvent::PeerConnected { .. } => "event connected",
                NodeEvent::PeerDisconnected { .. } => "event disconnected",
                NodeEvent::PeerKeptOut { .. } => "event KEPT-OUT",
                NodeEvent::Missed { .. } => "event MISSED",
                _ => continue,
            };
            *noted.lock().expect("nobody panics").entry(name.to_owned()).or_default() += 1;
        }
    });
    let mut next = Instant::now();
    loop {
        let until = next + setup.line;
        let mut least = [u64::MAX; EACH_SECOND];
        while next < until {
            next += Duration::from_secs(1);
            tokio::time::sleep_until(next).await;
            for (least, now) in least.iter_mut().zip(looks()) {
                *least = now.min(*least);
            }
        }
        let mut row = Row::default();
        row.0[..EACH_SECOND].copy_from_slice(&least);
        row.0[EACH_SECOND..].copy_from_slice(&held(&node, &others).await);
        let values: Vec<String> = row.0.iter().map(ToString::to_string).collect();
        println!("row {}", values.join(" "));
        traffic::tell(&counts);
    }
}

/// What the system tells of this process.
fn looks() -> [u64; EACH_SECOND] {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let descriptors = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let tasks = Handle::current().metrics().num_alive_tasks();
    [field("VmRSS:"), field("VmData:"), descriptors as u64, field("Threads:"), tasks as u64]
}

/// What the node tells of itself.
async fn held(node: &Node, others: &Mutex<Others>) -> [u64; METRICS.len() - EACH_SECOND] {
    let ever = others.lock().expect("nobody panics").ever.clone();
    let mut known = 0;
    for peer in ever {
        known += node.known_addresses(peer).await.len();
    }
    let (client, server) = (node.client().stats(), node.server().stats());
    [
        node.peers().await.len() as u64,
        node.connections().await.len() as u64,
        known as u64,
        client.streams,
        client.peers,
        server.streams,
        server.peers,
        processor(),
    ]
}

/// How long this process has had a processor, in milliseconds, where a tick of the clock is 10 ms.
fn processor() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}
