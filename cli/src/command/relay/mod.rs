//! `pointsub relay`: relays connections between peers that cannot reach each other.

pub(crate) mod registry;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use clap::Args;
use pointsub_tokio::{Multiaddr, Node, NodeBuilder, NodeEvent, Protocol, RelayConfig, Tokio};

use super::serve::{Ready, finish};
use crate::context::{Context, interrupted};
use crate::error::Failure;
use crate::node::{KadArgs, Network, ServerArgs};
use crate::output::Output;
use futures::StreamExt;

/// The port that libp2p's programs have by custom.
const PORT: u16 = 4001;

/// Arguments of `relay`.
#[derive(Debug, Args)]
pub(crate) struct RelayArgs {
    /// How many peers may have a place at a time
    #[arg(long, value_name = "N", default_value_t = 128)]
    places: usize,

    /// Serve a registry too, as `pointsub registry` does
    #[arg(long)]
    registry: bool,

    #[command(flatten)]
    kad: KadArgs,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn run(args: &RelayArgs, context: &Context) -> Result<(), Failure> {
    let server = reachable_server(&args.server, context);
    let config = RelayConfig { max_reservations: args.places, ..RelayConfig::default() };
    let network = args.kad.network(&context.config)?;
    let start =
        |node: NodeBuilder<Tokio>| Network::join(network.as_ref(), node.relay_server(config));
    let serving = server.start(context, start).await?;
    if args.registry {
        registry::serve(&serving.node, Vec::new())?;
    }
    let address = serving.ticket.addresses().first().cloned().unwrap_or_else(Multiaddr::empty);
    let address = address.with(Protocol::P2p(serving.node.peer_id()));
    let registry = if args.registry { format!(" --registry {address}") } else { String::new() };
    let kad = if network.is_some() { format!(" --kad {address}") } else { String::new() };
    let example = format!("pointsub serve /echo/1 --echo --relay {address}{registry}{kad}");
    Ready::new(example).announce(&serving, context.output).await?;
    until_interrupted(&serving.node, context.output).await;
    finish(&serving, None, context.output).await
}

/// A server that others are told of by its address: it has a port that is known.
fn reachable_server(server: &ServerArgs, context: &Context) -> ServerArgs {
    let mut server = server.clone();
    let profile = &context.config.profile;
    if server.listen.is_empty() {
        server.listen.clone_from(&profile.listen);
    }
    if server.listen.is_empty() {
        let all = Multiaddr::from(Ipv4Addr::UNSPECIFIED);
        server.listen = vec![
            all.clone().with(Protocol::Tcp(PORT)),
            all.with(Protocol::Udp(PORT)).with(Protocol::QuicV1),
        ];
    }
    // A relay tells whom it serves where it is, and has to know that when it starts.
    if server.external.is_empty() && profile.external.is_empty() {
        server.listen = server.listen.into_iter().map(with_port).collect();
        server.external = server.listen.iter().map(reachable).collect();
    }
    server
}

/// Tells who comes and goes, until Ctrl-C.
async fn until_interrupted(node: &Node, output: Output) {
    let mut events = node.events();
    let told = async {
        while let Some(event) = events.next().await {
            match event {
                NodeEvent::PeerConnected { peer, address, .. } => {
                    output.detail(format_args!("{peer} has come from {address}"));
                }
                NodeEvent::PeerDisconnected { peer, .. } => {
                    output.detail(format_args!("{peer} has gone"));
                }
                _ => {}
            }
        }
    };
    tokio::select! {
        () = told => {}
        () = interrupted() => {}
    }
}

/// An address with a port that was free a moment ago, in place of 0.
fn with_port(address: Multiaddr) -> Multiaddr {
    let free = |protocol| {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let port = match protocol {
            Protocol::Tcp(0) => TcpListener::bind(any).and_then(|socket| socket.local_addr()),
            Protocol::Udp(0) => UdpSocket::bind(any).and_then(|socket| socket.local_addr()),
            other => return other,
        };
        match (protocol, port) {
            (Protocol::Tcp(_), Ok(at)) => Protocol::Tcp(at.port()),
            (Protocol::Udp(_), Ok(at)) => Protocol::Udp(at.port()),
            (other, _) => other,
        }
    };
    address.iter().map(Protocol::acquire).map(free).collect()
}

/// An address with this machine's own in place of all of its interfaces.
fn reachable(address: &Multiaddr) -> Multiaddr {
    let of = |protocol| match protocol {
        Protocol::Ip4(ip) if ip.is_unspecified() => {
            outward(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))).map_or(protocol, Protocol::from)
        }
        Protocol::Ip6(ip) if ip.is_unspecified() => {
            let documentation = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
            outward(IpAddr::V6(documentation)).map_or(protocol, Protocol::from)
        }
        other => other,
    };
    address.iter().map(of).collect()
}

/// This machine's address on the way to another one. Nothing is sent for it.
pub(crate) fn outward(to: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_nought_becomes_a_number() {
        let address = with_port("/ip4/127.0.0.1/udp/0/quic-v1".parse().expect("an address"));
        assert!(!address.to_string().contains("/udp/0/"), "{address}");
        let given: Multiaddr = "/ip4/127.0.0.1/tcp/4001".parse().expect("an address");
        assert_eq!(with_port(given.clone()), given);
        assert_eq!(reachable(&given), given);
    }
}
