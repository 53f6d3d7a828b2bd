//! Many streams at one server, from several client processes:
//! `cargo run --release --example load [STREAMS [PROCESSES [SECONDS]]]`, by default 10 000 streams
//! from 5 processes for 10 s.
//!
//! Every stream carries one request at a time, which its handler keeps for half a second. Two runs:
//! with the default limit, which begins at 1000 and moves by the Go library's rule, so that most
//! callers are told `busy` and come back later; and with room for all.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pointsub_tokio::{
    ClientConfig, LimitPolicy, Node, ProtocolName, Request, Server, ServerConfig,
};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

const PROTOCOL: &str = "/load/1.0.0";
/// How long a handler keeps a request.
const WORK: Duration = Duration::from_millis(500);
/// Streams that one node opens; more than 240 to one peer would strain Yamux.
const PER_NODE: usize = 200;
const BODY: usize = 512;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|role| role == "client") {
        return be_a_client(&arguments[1], arguments[2].parse()?, arguments[3].parse()?).await;
    }
    let number = |at: usize, default| arguments.get(at).map_or(Ok(default), |n| n.parse());
    let (streams, processes, seconds) = (number(0, 10_000)?, number(1, 5)?, number(2, 10)?);
    println!("{streams} streams from {processes} processes for {seconds} s each:");
    let room = ServerConfig::default()
        .with_limit_policy(LimitPolicy::Fixed)
        // Full to the brim, every peer has but its fair share.
        .with_max_concurrent_requests(2 * streams.max(1));
    for (name, config) in [("default limit", ServerConfig::default()), ("room for all", room)] {
        run(name, config, streams, processes, seconds).await?;
    }
    Ok(())
}

async fn run(
    name: &str,
    config: ServerConfig,
    streams: usize,
    processes: usize,
    seconds: usize,
) -> Result<()> {
    let listen = "/ip4/127.0.0.1/tcp/0".parse()?;
    let node = Node::builder().listen(listen).server_config(config).build().await?;
    node.server().register(&ProtocolName::new(PROTOCOL)?, |request: Request| async move {
        tokio::time::sleep(WORK).await;
        request.body
    })?;
    let address = node.address().await.ok_or("it listens nowhere")?.to_string();
    let before = resident_mib();
    let share = streams.div_ceil(processes).to_string();
    let children: std::io::Result<Vec<Child>> = (0..processes)
        .map(|_| {
            Command::new(std::env::current_exe()?)
                .args(["client", &address, &share, &seconds.to_string()])
                .stdout(Stdio::piped())
                .spawn()
        })
        .collect();
    let watching = tokio::spawn(watch(node.server(), before));
    let outcomes = tokio::task::spawn_blocking(|| collect(children?)).await??;
    watching.abort();
    let stats = node.server().stats();
    println!("{name}: callers saw {outcomes:?}");
    println!(
        "  the server: {} ok, {} busy, limit {} at the end",
        stats.ok, stats.busy, stats.limit
    );
    node.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

/// Prints how things stand, once a second.
async fn watch(server: Server, before: u64) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let stats = server.stats();
        println!(
            "  {:6} streams, {:6} at work, limit {:6}, {:8} busy so far, {:5} MiB resident ({before} before)",
            stats.streams,
            stats.in_flight,
            stats.limit,
            stats.busy,
            resident_mib(),
        );
    }
}

/// What callers of all processes saw, by kind.
fn collect(children: Vec<Child>) -> Result<BTreeMap<String, u64>> {
    let mut sum = BTreeMap::new();
    for mut child in children {
        for line in BufReader::new(child.stdout.take().ok_or("it is piped")?).lines() {
            let line = line?;
            let (count, kind) = line.split_once(' ').ok_or("a count and what of")?;
            *sum.entry(kind.to_owned()).or_default() += count.parse::<u64>()?;
        }
        child.wait()?;
    }
    Ok(sum)
}

/// One process: as many nodes as it takes, each with its streams.
async fn be_a_client(address: &str, streams: usize, seconds: u64) -> Result<()> {
    let config = ClientConfig::default()
        .with_max_in_flight(1)
        .with_max_streams_per_peer(PER_NODE)
        .with_max_idle_streams(streams)
        .with_max_idle_streams_per_peer(PER_NODE);
    let mut callers = Vec::new();
    let mut nodes = Vec::new();
    let end = Instant::now() + Duration::from_secs(seconds);
    for first in (0..streams).step_by(PER_NODE) {
        let node = Node::builder().client_config(config.clone()).build().await?;
        let peer = node.connect(address.parse()?).await?;
        for _ in first..streams.min(first + PER_NODE) {
            let client = node.client();
            callers.push(tokio::spawn(async move {
                let protocol = ProtocolName::new(PROTOCOL)?;
                let mut seen: BTreeMap<String, u64> = BTreeMap::new();
                while Instant::now() < end {
                    let kind = match client.send(peer, &protocol, vec![7; BODY]).await {
                        Ok(body) if body == vec![7; BODY] => "answered".to_owned(),
                        Ok(_) => "answered wrongly".to_owned(),
                        Err(error) => {
                            // Retries have a budget; when it is used up, patience is the caller's.
                            let after = error.status().and_then(|status| status.retry_after);
                            tokio::time::sleep(after.unwrap_or_default()).await;
                            error.cause.to_string()
                        }
                    };
                    *seen.entry(kind).or_default() += 1;
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(seen)
            }));
        }
        nodes.push(node);
    }
    for caller in callers {
        for (kind, count) in caller.await?? {
            println!("{count} {kind}");
        }
    }
    Ok(())
}

/// Memory of this process, in MiB; 0 where the system does not say.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
