//! `pointsub id`: who is at an address.

use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use pointsub_tokio::{Multiaddr, Node, NodeEvent, PeerId, Protocol};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::ping::path;
use crate::context::{Context, unless_interrupted};
use crate::error::{Exit, Failure};
use crate::node::{ClientArgs, bare, client, end};
use crate::output::{Output, duration, millis};
use crate::target::anybody;
use crate::ticket::Ticket;

/// How long the peer may take to say who it is, once there is a connection.
const IDENTIFY: Duration = Duration::from_secs(10);

/// Arguments of `id`.
#[derive(Debug, Args)]
pub(crate) struct IdArgs {
    /// Where somebody is: HOST:PORT, an address, a ticket, or a name from the configuration
    #[arg(value_name = "ADDRESS")]
    address: String,

    #[command(flatten)]
    client: ClientArgs,
}

/// What a peer says of itself.
pub(crate) struct Identity {
    pub(crate) peer: PeerId,
    pub(crate) agent: String,
    /// In order, each once.
    pub(crate) protocols: Vec<String>,
    pub(crate) observed: Multiaddr,
}

pub(crate) async fn run(args: &IdArgs, context: &Context) -> Result<(), Failure> {
    let addresses = addresses(&args.address, context)?;
    let node = client(&args.client, context).await?;
    let done = unless_interrupted(async {
        let waiting = context.output.waiting("connecting");
        let found = identify(&node, &addresses).await;
        waiting.finish_and_clear();
        print(&node, &found?, context.output).await
    });
    let done = done.await;
    let _ended = end(&node).await;
    done
}

/// The addresses that a text stands for.
fn addresses(text: &str, context: &Context) -> Result<Vec<Multiaddr>, Failure> {
    let text = context.config.peers.get(text).map_or(text, String::as_str).trim();
    if !Ticket::is_like(text) || text.contains([':', '.']) {
        return Ok(vec![anybody(text)?]);
    }
    let ticket: Ticket = text.parse().map_err(Failure::usage)?;
    let with_peer = |address: &Multiaddr| address.clone().with(Protocol::P2p(ticket.peer()));
    match ticket.addresses() {
        [] => Err(Failure::usage("the ticket has no address")),
        addresses => Ok(addresses.iter().map(with_peer).collect()),
    }
}

/// Connects to the first address that leads to somebody, and waits until that has said who it is.
pub(crate) async fn identify(node: &Node, addresses: &[Multiaddr]) -> Result<Identity, Failure> {
    let mut events = node.events();
    let mut failed = None;
    for address in addresses {
        let peer = match node.connect(address.clone()).await {
            Ok(peer) => peer,
            Err(error) => {
                failed = failed.or(Some(error));
                continue;
            }
        };
        let told = async {
            while let Some(event) = events.next().await {
                match event {
                    NodeEvent::Identified { peer: who, protocols, agent, observed }
                        if who == peer =>
                    {
                        let mut protocols = protocols;
                        protocols.sort_unstable();
                        protocols.dedup();
                        return Some(Identity { peer, agent, protocols, observed });
                    }
                    NodeEvent::PeerDisconnected { peer: who, .. } if who == peer => return None,
                    _ => {}
                }
            }
            None
        };
        return match timeout(IDENTIFY, told).await {
            Ok(Some(identity)) => Ok(identity),
            Ok(None) => Err(Failure::new(
                Exit::NotReached,
                format_args!("{peer} is there, and has closed the connection"),
            )
            .next(
                "does it let you in? `pointsub key show` prints your Peer ID, and --key uses it",
            )),
            Err(_) => Err(Failure::new(
                Exit::TimedOut,
                format_args!("{peer} is there, and does not say who it is"),
            )
            .next("is it a libp2p peer with the identify protocol?")),
        };
    }
    match failed {
        Some(error) => Err(error.into()),
        None => Err(Failure::usage("no address")),
    }
}

async fn print(node: &Node, identity: &Identity, output: Output) -> Result<(), Failure> {
    let Identity { peer, agent, protocols, observed } = identity;
    let known = node.peers().await.into_iter().find(|info| info.peer == *peer);
    let (of_ours, native): (Vec<&String>, Vec<&String>) =
        protocols.iter().partition(|name| !name.starts_with("/pointsub/"));
    if output.json {
        return output.value(&json!({
            "peer": peer.to_string(),
            "agent": agent,
            "protocols": protocols,
            "native": !native.is_empty(),
            "observed": observed.to_string(),
            "address": known.as_ref().map(|info| bare(&info.address).to_string()),
            "path": known.as_ref().map(|info| path(info.path)),
            "rtt_ms": known.as_ref().and_then(|info| info.rtt).map_or(Value::Null, |rtt| json!(millis(rtt))),
        }));
    }
    output.field("Peer ID", peer)?;
    output.field("Agent", printable(agent))?;
    if let Some(info) = known {
        let rtt = info.rtt.map_or(String::new(), |rtt| format!(", {}", duration(rtt)));
        output
            .field("Address", format_args!("{} ({}{rtt})", bare(&info.address), path(info.path)))?;
    }
    output.field("Sees you", format_args!("at {observed}"))?;
    let format = match native.is_empty() {
        true => "plain alone, as Go PointSub up to 1.1.7 speaks it",
        false => "native and plain",
    };
    output.field("Format", format)?;
    for (at, name) in of_ours.into_iter().enumerate() {
        output.field(if at == 0 { "Serves" } else { "" }, printable(name))?;
    }
    Ok(())
}

/// What a stranger says, without what moves a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(200).collect()
}
