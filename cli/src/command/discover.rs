//! `pointsub discover`: which servers of a protocol there are on the local network.
//!
//! A server is shown when it has said itself, on a connection, that it serves the protocol. One to which there
//! is no connection any more is dialled again before it is said to be lost: servers close connections that
//! nobody uses.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use pointsub_tokio::{
    CandidateState, Client, Multiaddr, Node, PeerId, Protocol, ProtocolName, RequestError, Source,
};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::context::{Context, interrupted};
use crate::error::{Exit, Failure, NOBODY_HERE};
use crate::node::{ClientArgs, bare, client_with, end, on_lan};
use crate::output::{Mark, Output, duration, millis, source_name, unix_time};

/// How long to look where nothing else is said.
const FOR: Duration = Duration::from_secs(3);
/// How often it is asked what is known by now.
const LOOK: Duration = Duration::from_millis(50);
/// How long a server is not shown because the way to it was not measured yet.
const UNMEASURED: Duration = Duration::from_millis(500);
/// How long after one dial of a server without a connection the next one comes.
const RECHECK: Duration = Duration::from_secs(5);
/// How long such a dial may take.
const DIAL: Duration = Duration::from_secs(2);
/// How often it is said that servers are still wanted: long before that is forgotten.
const RENEW: Duration = Duration::from_secs(60);

/// Arguments of `discover`.
#[derive(Debug, Args)]
pub(crate) struct DiscoverArgs {
    /// The name of the protocol, such as /echo/1
    protocol: ProtocolName,

    /// Go on until Ctrl-C, and tell of servers as they come and go
    #[arg(long)]
    watch: bool,

    /// How long to look, such as 10s. Default: 3s, and with --watch until Ctrl-C
    #[arg(long = "for", value_name = "TIME", value_parser = crate::config::duration)]
    time: Option<Duration>,

    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn run(args: &DiscoverArgs, context: &Context) -> Result<(), Failure> {
    let output = context.output;
    let node = client_with(&args.client, context, on_lan).await?;
    let client = node.client();
    let limit = args.time.or((!args.watch).then_some(FOR));
    let mut watched = Watched::default();
    let waiting = (!args.watch).then(|| output.waiting("looking on the local network"));
    let began = Instant::now();
    let done = tokio::select! {
        failure = want(&client, &args.protocol) => Err(failure.into()),
        done = watch(args, &node, output, &mut watched) => done,
        () = over(limit) => Ok(()),
        () = interrupted() => match args.watch {
            true => Ok(()),
            false => Err(Failure::interrupted()),
        },
    };
    if let Some(waiting) = waiting {
        waiting.finish_and_clear();
    }
    let done = match done {
        Ok(()) if !args.watch => list(&servers(&node, &args.protocol).await, output),
        Ok(()) => Ok(watched.found_any),
        Err(failure) => Err(failure),
    };
    let silent = client.server_nodes_info(&args.protocol).len();
    let _ended = end(&node).await;
    match done? {
        true => Ok(()),
        false => Err(nobody(&args.protocol, began.elapsed(), silent)),
    }
}

/// Has the node look for servers, until the command ends.
async fn want(client: &Client, protocol: &ProtocolName) -> RequestError {
    loop {
        match client.wait_for_server(protocol).await {
            Ok(()) => sleep(RENEW).await,
            // There may be one later.
            Err(error) if is_nobody(&error) => {}
            Err(error) => return error,
        }
    }
}

const fn is_nobody(error: &RequestError) -> bool {
    matches!(error.cause, pointsub_tokio::Cause::NoServerFound { .. })
}

async fn over(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

fn nobody(protocol: &ProtocolName, after: Duration, silent: usize) -> Failure {
    let mut text = format!(
        "no server of {protocol} was found on the local network within {}",
        duration(after)
    );
    if silent > 0 {
        text +=
            &format!("; {silent} are said to be there, and were not reached or do not serve it");
    }
    Failure::new(Exit::NotReached, text).next(NOBODY_HERE)
}

/// A server that was found.
#[derive(Debug, Clone)]
struct Server {
    peer: PeerId,
    source: Source,
    /// `None` if there is no connection to it.
    address: Option<Multiaddr>,
    rtt: Option<Duration>,
}

/// The servers that are known now, the nearest first.
async fn servers(node: &Node, protocol: &ProtocolName) -> Vec<Server> {
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

/// Prints the servers. Whether there are any.
fn list(servers: &[Server], output: Output) -> Result<bool, Failure> {
    for server in servers {
        match output.json {
            true => server.event("found", output)?,
            false => output.line(server.columns(output))?,
        }
    }
    Ok(!servers.is_empty())
}

impl Server {
    fn event(&self, event: &str, output: Output) -> Result<(), Failure> {
        output.value(&json!({
            "event": event,
            "time": unix_time(),
            "peer": self.peer.to_string(),
            "source": source_name(self.source),
            "address": self.address.as_ref().map(ToString::to_string),
            "rtt_ms": self.rtt.map(millis),
        }))
    }

    fn columns(&self, output: Output) -> String {
        let rtt = self.rtt.map_or_else(|| "-".to_owned(), duration);
        let address = self.address.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let source = output.mark(Mark::Faint, source_name(self.source));
        format!("{}  {source}  {rtt:>7}  {address}", self.peer)
    }
}

/// Tells of servers as they come and go. Without `--watch`, nothing is told before the end.
async fn watch(
    args: &DiscoverArgs,
    node: &Node,
    output: Output,
    watched: &mut Watched,
) -> Result<(), Failure> {
    if !args.watch {
        return std::future::pending().await;
    }
    loop {
        watched.update(servers(node, &args.protocol).await, node).await;
        watched.tell(output)?;
        sleep(LOOK).await;
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Watched {
    servers: BTreeMap<PeerId, Entry>,
    found_any: bool,
}

#[derive(Debug)]
struct Entry {
    server: Server,
    since: Instant,
    /// Whether the node has it among the servers, connected or not.
    is_known: bool,
    is_there: bool,
    /// Whether it was told to be there.
    told: bool,
    /// When it was dialled last because there was no connection.
    dialled: Option<Instant>,
}

impl Watched {
    async fn update(&mut self, servers: Vec<Server>, node: &Node) {
        let is_known = |peer: &PeerId| servers.iter().any(|server| server.peer == *peer);
        for (peer, entry) in &mut self.servers {
            entry.is_known = is_known(peer);
            entry.is_there &= entry.is_known;
        }
        for server in servers {
            let entry = self.servers.entry(server.peer).or_insert_with(|| Entry {
                server: server.clone(),
                since: Instant::now(),
                is_known: true,
                is_there: true,
                told: false,
                dialled: None,
            });
            entry.update(server, node).await;
        }
    }

    fn tell(&mut self, output: Output) -> Result<(), Failure> {
        for Entry { server, since, is_there, told, .. } in self.servers.values_mut() {
            let is_due = server.rtt.is_some() || since.elapsed() > UNMEASURED;
            let (event, mark) = match (*is_there, *told) {
                (true, false) if is_due => ("found", Mark::Good),
                (false, true) => ("lost", Mark::Bad),
                _ => continue,
            };
            *told = *is_there;
            self.found_any |= *told;
            if output.json {
                server.event(event, output)?;
                continue;
            }
            let event = output.mark(mark, format_args!("{event:<5}"));
            output.line(format_args!("{event}  {}", server.columns(output)))?;
        }
        self.servers.retain(|_, entry| entry.is_known);
        Ok(())
    }
}

impl Entry {
    async fn update(&mut self, server: Server, node: &Node) {
        if server.address.is_some() {
            self.server = server;
            (self.is_there, self.dialled) = (true, None);
        } else if self.dialled.is_none_or(|dialled| dialled.elapsed() > RECHECK) {
            self.dialled = Some(Instant::now());
            let address = self.server.address.clone().unwrap_or_else(Multiaddr::empty);
            let dial = node.connect(address.with(Protocol::P2p(server.peer)));
            self.is_there = matches!(timeout(DIAL, dial).await, Ok(Ok(_)));
        }
        if !self.is_there {
            self.since = Instant::now();
        }
    }
}
