//! Fifty nodes of a private network, of which each knows the address of one: how long it takes until a new server
//! is found by all, and until one that has stopped without a word is not asked any more.
//!
//! `cargo run --release --example kademlia`. The new server is a process of its own, so that it can be stopped:
//! its connections stay open, and nobody answers on them.

use std::error::Error;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::future::join_all;
use pointsub_tokio::{
    ClientConfig, Discover, Kademlia, Multiaddr, NetworkSecret, Node, PeerId, ProtocolName, Request,
};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{interval, sleep, timeout};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const FLEET: ProtocolName = ProtocolName::from_static("/fleet/1");
/// The nodes in this process, the first one among them.
const NODES: usize = 49;
/// How many of them serve from the beginning.
const SERVERS: usize = 2;
/// How long the network is left alone before the new server comes.
const QUIET: Duration = Duration::from_secs(45);
/// How long something is waited for at most.
const LIMIT: Duration = Duration::from_secs(120);
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often each node sends one.
const EVERY: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [first] => serve_alone(first.parse()?).await,
        _ => measure().await,
    }
}

async fn member(first: Option<Multiaddr>) -> Outcome<Node> {
    let network = Kademlia::new(NetworkSecret::from_phrase("fifty nodes"));
    let network = match first {
        Some(first) => network.bootstrap([first]),
        None => network.trusted(),
    };
    let node = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?);
    let node = node.client_config(ClientConfig::default().with_connect_timeout(PATIENCE));
    Ok(node.discover(Discover::manual()).kademlia(network).build().await?)
}

fn serve(node: &Node) -> Outcome<()> {
    node.server().register(&FLEET, |request: Request| async { request.body })?;
    Ok(())
}

/// The process of the new server. It says its Peer ID, and serves until it is killed.
async fn serve_alone(first: Multiaddr) -> Outcome<()> {
    let node = member(Some(first)).await?;
    serve(&node)?;
    println!("{}", node.peer_id());
    std::future::pending().await
}

async fn measure() -> Outcome<()> {
    let first = member(None).await?;
    let at = first.address().await.ok_or("it listens")?;
    let mut nodes = vec![first];
    for _ in 1..NODES {
        nodes.push(member(Some(at.clone())).await?);
    }
    nodes[1..=SERVERS].iter().try_for_each(serve)?;
    let began = Instant::now();
    let askers = &nodes[SERVERS + 1..];
    let old: Vec<PeerId> = nodes[1..=SERVERS].iter().map(Node::peer_id).collect();
    report(
        "all servers found after the start",
        until_all(askers, began, |known| old.iter().all(|server| known.contains(server))).await,
    );
    sleep(QUIET).await;

    let came = Instant::now();
    let (mut child, new) = start(&at).await?;
    report("a new server found", until_all(askers, came, |known| known.contains(&new)).await);

    signal(&child, "STOP")?;
    let stopped = Instant::now();
    let asked = join_all(askers.iter().map(|node| last_asked(node, new, stopped))).await;
    report("a stopped server not asked any more", asked.into_iter().map(Some).collect());
    signal(&child, "KILL")?;
    child.wait()?;
    Ok(())
}

/// When each node knew what it should; `None` if it did not in time.
async fn until_all(
    nodes: &[Node],
    began: Instant,
    is_known: impl Fn(&[PeerId]) -> bool,
) -> Vec<Option<Duration>> {
    let one = async |node: &Node| {
        while !is_known(&node.client().server_nodes(&FLEET)) {
            let _answer = timeout(PATIENCE, node.client().send_closest(&FLEET, "x")).await;
            sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    };
    join_all(nodes.iter().map(|node| async { timeout(LIMIT, one(node)).await.ok() })).await
}

/// When a node asked a server the last time, of the calls that it makes for a while.
async fn last_asked(node: &Node, server: PeerId, since: Instant) -> Duration {
    let mut last = Duration::ZERO;
    let mut ticks = interval(EVERY);
    while since.elapsed() < QUIET {
        ticks.tick().await;
        let before = since.elapsed();
        let call = node.client().send_closest(&FLEET, "x").timeout(PATIENCE).await;
        let asked = match &call {
            Ok(answer) => answer.attempts(),
            Err(error) => &error.attempts[..],
        };
        if asked.iter().any(|attempt| attempt.node == server) {
            last = before;
        }
    }
    last
}

fn report(what: &str, mut times: Vec<Option<Duration>>) {
    let never = times.iter().filter(|time| time.is_none()).count();
    times.sort_unstable_by_key(|time| time.unwrap_or(LIMIT));
    let at = |n: usize| times.get(n).copied().flatten().unwrap_or(LIMIT).as_secs_f64();
    let (half, last) = (at(times.len() / 2), at(times.len().saturating_sub(1)));
    println!("{what}: half of {} nodes {half:.1} s, all {last:.1} s, never {never}", times.len());
}

async fn start(first: &Multiaddr) -> Outcome<(Child, PeerId)> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.arg(first.to_string()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("it is piped")?;
    let output = tokio::process::ChildStdout::from_std(output)?;
    let line = BufReader::new(output).lines().next_line().await?;
    Ok((child, line.ok_or("it says who it is")?.parse()?))
}

fn signal(child: &Child, signal: &str) -> Outcome<()> {
    Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status()?;
    Ok(())
}
