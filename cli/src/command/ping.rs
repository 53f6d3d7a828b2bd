//! `pointsub ping`: how long the way to a peer and back takes, and what it goes through.
//!
//! It speaks `/ipfs/ping/1.0.0`, which every libp2p peer answers: 32 bytes there and back. Each ping has a
//! stream of its own, so that it goes the way that is the best then. Its opening is not a part of the time.

use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt;
use pointsub_tokio::{Cause, Events, Node, NodeEvent, Path, PeerId, ProtocolName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep_until, timeout};

use crate::context::{Context, interrupted};
use crate::error::{Exit, Failure};
use crate::node::{ClientArgs, bare, client, connect, end};
use crate::output::{Mark, duration, millis};
use crate::target::TargetArgs;

const PING: ProtocolName = ProtocolName::from_static("/ipfs/ping/1.0.0");
/// Bytes of a ping.
const LEN: usize = 32;

/// Arguments of `ping`.
#[derive(Debug, Args)]
pub(crate) struct PingArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Stop after so many pings
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// How long to wait between pings
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = crate::config::duration)]
    interval: Duration,

    /// How long to wait for an answer
    #[arg(short = 'w', long, value_name = "TIME", default_value = "5s", value_parser = crate::config::duration)]
    wait: Duration,

    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn run(args: &PingArgs, context: &Context) -> Result<(), Failure> {
    let target = args.target.resolve(&context.config)?;
    let node = client(&args.client, context).await?;
    let mut seen = Seen::default();
    let done = tokio::select! {
        done = async {
            let events = node.events();
            connect(&node, &target, context).await?;
            // A peer answers one stream of pings at a time, and the node has one of its own at the
            // beginning of a connection.
            let _unmeasured = timeout(args.wait, measured(events, target.peer)).await;
            pings(args, context, &node, target.peer, &mut seen).await
        } => done,
        () = interrupted() => Ok(()),
    };
    let _ended = end(&node).await;
    done?;
    seen.print(target.peer, context)
}

/// Waits until the node itself has measured the way to a peer.
async fn measured(mut events: Events, peer: PeerId) {
    while let Some(event) = events.next().await {
        if matches!(event, NodeEvent::RoundTrip { peer: of, .. } if of == peer) {
            return;
        }
    }
}

/// Pings until it has done so often enough.
async fn pings(
    args: &PingArgs,
    context: &Context,
    node: &Node,
    peer: PeerId,
    seen: &mut Seen,
) -> Result<(), Failure> {
    let mut next = tokio::time::Instant::now();
    while args.count.is_none_or(|count| seen.sent < count) {
        let outcome = timeout(args.wait, ping(node, peer)).await;
        // One that is interrupted is neither answered nor lost.
        seen.sent += 1;
        match outcome {
            Ok(Ok(rtt)) => {
                seen.rtts.push(rtt);
                tell(context, node, peer, seen.sent, rtt).await?;
            }
            Ok(Err(Broken::Never(failure))) => return Err(failure),
            Ok(Err(Broken::Lost(why))) => lost(context, seen.sent, &why)?,
            Err(_) => lost(context, seen.sent, &format!("no answer within {:?}", args.wait))?,
        }
        next += args.interval;
        if args.count.is_none_or(|count| seen.sent < count) {
            sleep_until(next).await;
        }
    }
    Ok(())
}

/// Why there was no answer.
enum Broken {
    /// The next ping may be answered.
    Lost(String),
    /// None will be.
    Never(Failure),
}

async fn ping(node: &Node, peer: PeerId) -> Result<Duration, Broken> {
    let dialled = node.client().dial(peer, &PING).await;
    let mut stream = dialled.map_err(|error| match error.cause {
        Cause::Unsupported => Broken::Never(error.into()),
        _ => Broken::Lost(error.to_string()),
    })?;
    let sent: [u8; LEN] = std::array::from_fn(|at| at as u8);
    let mut came = [0; LEN];
    let began = Instant::now();
    let exchanged = async {
        stream.write_all(&sent).await?;
        stream.flush().await?;
        stream.read_exact(&mut came).await.map(drop)
    };
    exchanged.await.map_err(|error: std::io::Error| Broken::Lost(error.to_string()))?;
    let rtt = began.elapsed();
    if came != sent {
        let text = "the peer answers a ping with other bytes than it was sent";
        return Err(Broken::Never(Failure::new(Exit::Malformed, text)));
    }
    Ok(rtt)
}

async fn tell(
    context: &Context,
    node: &Node,
    peer: PeerId,
    seq: u64,
    rtt: Duration,
) -> Result<(), Failure> {
    let info = node.peers().await.into_iter().find(|info| info.peer == peer);
    let path = info.as_ref().map_or("unknown", |info| path(info.path));
    let address = info.map(|info| bare(&info.address).to_string());
    if context.output.json {
        return context.output.value(&json!({
            "event": "pong", "seq": seq, "ms": millis(rtt), "path": path, "address": address,
        }));
    }
    let path = context.output.mark(if path == "direct" { Mark::Good } else { Mark::Bad }, path);
    context.output.line(format_args!(
        "seq={seq}  rtt={}  {path}  {}",
        duration(rtt),
        context.output.mark(Mark::Faint, address.unwrap_or_default()),
    ))
}

fn lost(context: &Context, seq: u64, why: &str) -> Result<(), Failure> {
    match context.output.json {
        true => context.output.value(&json!({ "event": "lost", "seq": seq, "error": why })),
        false => context
            .output
            .line(format_args!("seq={seq}  {}  {why}", context.output.mark(Mark::Bad, "lost"))),
    }
}

/// What a path is called.
pub(crate) const fn path(path: Path) -> &'static str {
    match path {
        Path::Direct => "direct",
        Path::Relayed => "relayed",
        _ => "unknown",
    }
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    sent: u64,
    rtts: Vec<Duration>,
}

impl Seen {
    fn print(&self, peer: PeerId, context: &Context) -> Result<(), Failure> {
        let answered = self.rtts.len() as u64;
        let sent = self.sent.max(answered);
        let lost = 100.0 * (sent - answered) as f64 / sent.max(1) as f64;
        let total: Duration = self.rtts.iter().sum();
        let (min, max) = (self.rtts.iter().min(), self.rtts.iter().max());
        let average = (answered > 0).then(|| total / answered as u32);
        if context.output.json {
            context.output.value(&json!({
                "event": "statistics", "peer": peer.to_string(), "sent": sent,
                "answered": answered, "min_ms": min.copied().map(millis),
                "avg_ms": average.map(millis), "max_ms": max.copied().map(millis),
            }))?;
        } else {
            context.output.line(format_args!("--- {peer}"))?;
            context
                .output
                .line(format_args!("{sent} sent, {answered} answered, {lost:.0} % lost"))?;
            if let (Some(min), Some(average), Some(max)) = (min, average, max) {
                context.output.line(format_args!(
                    "rtt min {}, average {}, max {}",
                    duration(*min),
                    duration(average),
                    duration(*max),
                ))?;
            }
        }
        match answered {
            0 => Err(Failure::new(Exit::NotReached, "no ping was answered")),
            _ => Ok(()),
        }
    }
}
