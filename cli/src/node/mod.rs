//! The node behind a command.

pub(crate) mod activity;
mod kad;
pub(crate) mod operator;
mod sources;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use pointsub_tokio::{
    Access, AccessList, ConnectError, Multiaddr, Node, NodeBuilder, PeerId, Protocol, Shutdown,
    Tokio,
};

use crate::config::Config;
use crate::context::Context;
use crate::error::Failure;
use crate::target::Target;
use crate::ticket::Ticket;

use activity::Counters;
pub(crate) use kad::{KadArgs, Network};
use operator::RunningFile;
pub(crate) use sources::{AnnounceArgs, FindArgs, Places, name_server, nobody_there, with_peer};

/// Which key a client has.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ClientArgs {
    /// The file with this node's key. Without it, a client has a fresh key each time
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

/// Who a server is, where it listens, and who may come.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServerArgs {
    /// The file with this node's key, which is made if it is not there. Default: `key` in the folder of
    /// the configuration
    #[arg(long, value_name = "FILE", conflicts_with = "ephemeral")]
    key: Option<PathBuf>,

    /// Use a fresh key that is not kept: another Peer ID at each start
    #[arg(long)]
    ephemeral: bool,

    /// Where to listen; may be given several times. Default: any free TCP and UDP port of all interfaces,
    /// and port 4001 for relays and registries
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<Multiaddr>,

    /// An address at which others reach this node, if it cannot know that by itself
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) external: Vec<Multiaddr>,

    /// A relay through which others reach this node; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    relay: Vec<Multiaddr>,

    /// Let this peer in and nobody else; may be given several times
    #[arg(long, value_name = "PEER")]
    allow: Vec<PeerId>,

    /// Show this peer, too, who is connected and what is done here, with `pointsub top`; may be given several
    /// times
    #[arg(long, value_name = "PEER")]
    operator: Vec<PeerId>,
}

/// What a server does when it is told to end: time for what is at work.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// A node that serves.
pub(crate) struct Serving {
    pub(crate) node: Node,
    pub(crate) ticket: Ticket,
    pub(crate) key: Option<PathBuf>,
    /// By which this user finds it.
    _running: Option<RunningFile>,
}

impl ServerArgs {
    /// Starts the node.
    pub(crate) async fn start(
        &self,
        context: &Context,
        change: impl FnOnce(NodeBuilder<Tokio>) -> NodeBuilder<Tokio>,
    ) -> Result<Serving, Failure> {
        let profile = &context.config.profile;
        let key = self.key_file(&context.config)?;
        let mut builder = Node::builder();
        if let Some(key) = &key {
            builder = builder.key_file(key);
        }
        let listen = or(&self.listen, &profile.listen);
        for address in if listen.is_empty() { everywhere() } else { listen.to_vec() } {
            builder = builder.listen(address);
        }
        for address in or(&self.external, &profile.external) {
            builder = builder.external_address(address.clone());
        }
        for relay in or(&self.relay, &profile.relay) {
            builder = builder.listen(relay.clone().with(Protocol::P2pCircuit));
        }
        let mut operators = self.operator.clone();
        operators.extend(operator::own(&context.config).await);
        if !self.allow.is_empty() {
            let list = AccessList::closed();
            self.allow
                .iter()
                .chain(&operators)
                .for_each(|peer| list.set_peer(*peer, Access::Allow));
            builder = builder.admission(list);
        }
        let counters = Arc::new(Counters::default());
        let node = change(builder).recorder(counters.clone()).build().await?;
        activity::serve(&node, counters, operators)?;
        if listen.is_empty() {
            // Not every machine has IPv6.
            for address in ["/ip6/::/tcp/0", "/ip6/::/udp/0/quic-v1"] {
                if let Ok(address) = address.parse() {
                    let _without = node.listen(address).await;
                }
            }
        }
        let ticket = ticket(&node).await;
        let running = operator::write(&context.config, &node).await;
        if let Err(failure) = &running {
            let why = failure.lines().0;
            context.output.detail(format_args!("`pointsub top` has to name this server: {why}"));
        }
        Ok(Serving { node, ticket, key, _running: running.ok() })
    }

    fn key_file(&self, config: &Config) -> Result<Option<PathBuf>, Failure> {
        match (self.ephemeral, self.key.as_ref().or(config.profile.key.as_ref())) {
            (true, _) => Ok(None),
            (false, Some(key)) => Ok(Some(key.clone())),
            (false, None) => config.key_file().map(Some),
        }
    }
}

fn or<'a, T>(given: &'a [T], otherwise: &'a [T]) -> &'a [T] {
    if given.is_empty() { otherwise } else { given }
}

fn everywhere() -> Vec<Multiaddr> {
    let all = Multiaddr::from(std::net::Ipv4Addr::UNSPECIFIED);
    let udp = all.clone().with(Protocol::Udp(0)).with(Protocol::QuicV1);
    vec![all.with(Protocol::Tcp(0)), udp]
}

/// Where a node is, in one word. Addresses that nobody elsewhere can use are in it if there are no others.
async fn ticket(node: &Node) -> Ticket {
    let mut addresses = node.external_addresses().await;
    addresses.extend(node.addresses().await);
    let (local, others): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_local);
    let mut addresses = if others.is_empty() { local } else { others };
    // Those that people read and pass on most easily come first.
    addresses.sort_by_key(|address| {
        let has = |of: fn(&Protocol<'_>) -> bool| address.iter().any(|part| of(&part));
        let is_relayed = has(|part| *part == Protocol::P2pCircuit);
        (
            is_relayed,
            has(|part| matches!(part, Protocol::Ip6(_))),
            has(|part| *part == Protocol::QuicV1),
        )
    });
    Ticket::new(node.peer_id(), addresses)
}

/// An address without the peer at its end.
pub(crate) fn bare(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

fn is_local(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback() || ip.is_unicast_link_local(),
        _ => false,
    }
}

/// Starts a client.
pub(crate) async fn client(args: &ClientArgs, context: &Context) -> Result<Node, Failure> {
    client_with(args, context, |builder| builder).await
}

/// Starts a client with further options.
pub(crate) async fn client_with(
    args: &ClientArgs,
    context: &Context,
    change: impl FnOnce(NodeBuilder<Tokio>) -> NodeBuilder<Tokio>,
) -> Result<Node, Failure> {
    let mut builder = Node::builder();
    if let Some(key) = args.key.as_ref().or(context.config.profile.key.as_ref()) {
        builder = builder.key_file(key);
    }
    Ok(change(builder).build().await?)
}

/// Connects to a peer at whichever of its addresses answers first.
pub(crate) async fn connect(
    node: &Node,
    target: &Target,
    context: &Context,
) -> Result<(), Failure> {
    let waiting = context.output.waiting(format!("connecting to {}", target.peer));
    for address in &target.addresses {
        node.add_address(target.peer, address.clone()).await;
    }
    let mut first = target.addresses[0].clone();
    if first.iter().last() != Some(Protocol::P2p(target.peer)) {
        first.push(Protocol::P2p(target.peer));
    }
    let connected = node.connect(first).await;
    waiting.finish_and_clear();
    connected.map_err(|error| match error {
        ConnectError::TimedOut { after, .. } => Failure::unanswered(target, after),
        error => error.into(),
    })?;
    if let Some(info) = node.peers().await.into_iter().find(|info| info.peer == target.peer) {
        context.output.detail(format_args!(
            "connected to {} at {}",
            info.peer,
            bare(&info.address)
        ));
    }
    Ok(())
}

/// Ends a client: whoever is still connected is told so.
pub(crate) async fn end(node: &Node) -> Shutdown {
    node.shutdown(Duration::ZERO).await
}
