//! What can be wrong elsewhere, or on the way there.

use std::io::ErrorKind;
use std::time::Duration;

use pointsub_tokio::{ClientConfig, ConnectError, DialError, Multiaddr, Node, PeerId, Protocol};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::machine::socket;
use super::{Check, State};
use crate::command::id::identify;
use crate::error::Failure;
use crate::target::Target;

/// How long a connection may take where nothing else is said.
pub(super) const CONNECT: Duration = Duration::from_secs(8);
/// How long a port may take to answer.
const PORT: Duration = Duration::from_secs(4);
/// What a relay serves.
const HOP: &str = "/libp2p/circuit/relay/0.2.0/hop";

async fn node(connect: Duration) -> Result<Node, Failure> {
    let config = ClientConfig::default().with_connect_timeout(connect);
    Ok(Node::builder().client_config(config).build().await?)
}

/// Whether a relay is there, and relays.
pub(super) async fn relay(address: &Multiaddr, connect: Duration) -> Check {
    let node = match node(connect).await {
        Ok(node) => node,
        Err(failure) => return Check::failed("relay", State::Bad, &failure),
    };
    let found = identify(&node, std::slice::from_ref(address)).await;
    let check = match found {
        Ok(identity) if identity.protocols.iter().any(|name| name == HOP) => {
            Check::new("relay", State::Good, format_args!("{} relays", identity.peer))
        }
        Ok(identity) => Check::new(
            "relay",
            State::Away,
            format_args!("{} at {address} is there, and does not relay", identity.peer),
        )
        .next(
            "start it as a relay: `pointsub relay`; one that no address is known of relays nothing",
        ),
        Err(failure) => {
            Check::new("relay", State::Away, format_args!("{address}: {}", failure.lines().0))
                .next("start the relay, or use another one; nobody is reached through it meanwhile")
        }
    };
    let _ended = node.shutdown(Duration::ZERO).await;
    check
}

/// How far one gets at each address of a peer.
pub(super) async fn target(target: &Target, connect: Duration) -> Vec<Check> {
    let mut checks = Vec::new();
    let (mut tcp, mut quic) = (None, None);
    for address in &target.addresses {
        let check = at(target.peer, address, connect).await;
        let is_quic = address.iter().any(|part| part == Protocol::QuicV1);
        let reached = check.state == State::Good;
        let known = if is_quic { &mut quic } else { &mut tcp };
        *known = Some(known.unwrap_or(false) || reached);
        checks.push(check);
    }
    // What another address makes up for is no fault of the peer.
    if (tcp, quic) == (Some(true), Some(false)) {
        checks.push(
            Check::new("udp", State::Away, "TCP gets through to the peer, and UDP does not")
                .next("a firewall drops UDP on the way; TCP is used meanwhile"),
        );
    }
    checks
}

async fn at(peer: PeerId, address: &Multiaddr, connect: Duration) -> Check {
    let node = match node(connect).await {
        Ok(node) => node,
        Err(failure) => return Check::failed("peer", State::Bad, &failure),
    };
    let mut with_peer = address.clone();
    if with_peer.iter().last() != Some(Protocol::P2p(peer)) {
        with_peer.push(Protocol::P2p(peer));
    }
    let check = match node.connect(with_peer).await {
        Ok(_) => Check::new("peer", State::Good, format_args!("{peer} answers at {address}")),
        Err(error) => why_not(peer, address, &error).await,
    };
    let _ended = node.shutdown(Duration::ZERO).await;
    check
}

/// Why a peer was not reached at an address.
async fn why_not(peer: PeerId, address: &Multiaddr, error: &ConnectError) -> Check {
    if let ConnectError::Unreachable { tried, .. } = error
        && let Some(other) = tried.iter().find_map(|tried| match &tried.why {
            DialError::WrongPeer(other) => Some(other),
            _ => None,
        })
    {
        return Check::new(
            "peer",
            State::Away,
            format_args!("{other} answers at {address}, and not {peer}: it has another key now"),
        )
        .next("use its new ticket, or give it its old key file back");
    }
    let Some((at, true)) = socket(address) else {
        return Check::new("peer", State::Away, format_args!("{address}: {error}"))
            .next("is it running? If it is, does a firewall drop UDP on the way?");
    };
    match timeout(PORT, TcpStream::connect(at)).await {
        Ok(Ok(_)) => Check::new(
            "peer",
            State::Away,
            format_args!("something listens at {at}, and no connection comes of it: {error}"),
        )
        .next("does it let you in, and is it a libp2p peer? Its own log says more"),
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            Check::new("peer", State::Away, format_args!("nothing listens at {at}: port closed"))
                .next("start it there, or use the ticket of its last start: ports may have changed")
        }
        Ok(Err(error)) => Check::new("peer", State::Away, format_args!("{at}: {error}"))
            .next("is there a way to that network? `ip route get` tells"),
        Err(_) => Check::new(
            "peer",
            State::Away,
            format_args!("{at} does not answer at all: port blocked"),
        )
        .next("open the port in its firewall, or use a relay: `pointsub relay`"),
    }
}
