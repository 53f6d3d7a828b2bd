//! What an application sees of a node's connections and addresses, and what outlives the node.

use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use pointsub_swarm::{
    AddressSource, ClientConfig, Events, Keypair, Multiaddr, NodeError, NodeEvent, Path, Protocol,
    RelayConfig, ServerConfig, TransportKind,
};

use crate::common::*;
use crate::proxy::Proxy;
use crate::relay::relay;

/// The first event that `wanted` makes something of.
async fn next<T>(events: &mut Events, mut wanted: impl FnMut(NodeEvent) -> Option<T>) -> T {
    loop {
        let event = events.next().await.expect("the node has not ended");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

/// A file that is removed in the end.
struct File(PathBuf);

impl File {
    fn new() -> Self {
        let name = Keypair::generate_ed25519().public().to_peer_id();
        Self(std::env::temp_dir().join(format!("pointsub-{name}")))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

fn without_peer(mut address: Multiaddr) -> Multiaddr {
    address.pop();
    address
}

/// Each connection is told, with what carries it, and each peer with what it says of itself.
#[test]
fn a_node_tells_how_it_is_connected_and_what_a_peer_says() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client(once()).await;
        let mut events = node.events();
        let peer = connect(&node, &server).await;
        let connected = |event| match event {
            NodeEvent::PeerConnected { transport, dialled, address, .. } => {
                Some((transport, dialled, address))
            }
            _ => None,
        };
        let at = without_peer(address(&server).await);
        let (transport, dialled, told) = next(&mut events, connected).await;
        assert_eq!((transport, dialled), (TransportKind::Tcp, true));
        assert!(told == at || without_peer(told) == at);
        let identified = |event| match event {
            NodeEvent::Identified { peer: who, protocols, .. } if who == peer => Some(protocols),
            _ => None,
        };
        let protocols = next(&mut events, identified).await;
        assert!(protocols.iter().any(|one| one.contains(echo_name().as_str())), "{protocols:?}");
        let all = node.connections().await;
        assert_eq!(all.len(), 1);
        let one = &all[0];
        assert_eq!((one.peer, one.path, one.transport), (peer, Path::Direct, TransportKind::Tcp));
        let measured = |event| match event {
            NodeEvent::RoundTrip { peer: who, rtt } if who == peer => Some(rtt),
            _ => None,
        };
        let rtt = next(&mut events, measured).await;
        assert_eq!(node.connections().await[0].rtt, Some(rtt));
        assert_eq!(node.peers().await[0].rtt, Some(rtt));
    });
}

/// Whoever has ended a connection, and why, is told.
#[test]
fn a_node_tells_that_a_peer_was_silent() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let way = Proxy::to(address(&server).await).start();
        let node = client(once().with_silence_timeout(Duration::from_secs(1))).await;
        let mut events = node.events();
        let peer = node.connect(way.address()).await.expect("it listens");
        check_echo(&node, peer, "before").await;
        way.freeze();
        // The server has told where it is, and would be reached there.
        drop(server);
        node.client().send(peer, &echo_name(), "?").await.expect_err("nothing comes through");
        let gone = |event| match event {
            NodeEvent::PeerDisconnected { reason, .. } => Some(reason),
            _ => None,
        };
        let reason = next(&mut events, gone).await;
        assert_eq!(reason.as_deref(), Some("the peer gave no sign of life"));
    });
}

/// Addresses have a source and a quality.
#[test]
fn the_addresses_of_a_peer_are_known_with_who_named_them_and_how_they_did() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client(once()).await;
        let (peer, good) = (server.peer_id(), address(&server).await);
        let nobody: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().expect("an address");
        let rumour: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().expect("an address");
        node.add_address(peer, nobody.clone()).await;
        node.add_address(peer, good.clone()).await;
        check_echo(&node, peer, "found").await;
        // One that leads nowhere is forgotten when it was tried.
        node.add_address_from(peer, rumour.clone(), AddressSource::Discovered).await;
        let known = node.known_addresses(peer).await;
        let of = |at: &Multiaddr| known.iter().find(|one| one.address == *at).expect("it is known");
        let good = of(&without_peer(good));
        assert_eq!(
            (good.source, good.successes, good.failures),
            (AddressSource::Application, 1, 0)
        );
        assert!(good.took.is_some());
        let failed = of(&nobody);
        assert_eq!((failed.successes, failed.failures, failed.took), (0, 1, None));
        assert_eq!(of(&rumour).source, AddressSource::Discovered);
        assert_eq!(known[0].address, good.address, "the best one comes first");
    });
}

/// A node that starts again is the same peer and knows where others are.
#[test]
fn a_node_keeps_its_key_and_its_addresses() {
    run(async {
        let (key, book) = (File::new(), File::new());
        let server = echo_server(ServerConfig::default()).await;
        let start = || {
            let builder = Node::builder().key_file(&key.0).address_book(&book.0);
            builder.client_config(once()).build()
        };
        let node = start().await.expect("a node");
        let (me, peer) = (node.peer_id(), connect(&node, &server).await);
        node.shutdown(Duration::ZERO).await;
        let node = start().await.expect("a node");
        assert_eq!(node.peer_id(), me);
        check_echo(&node, peer, "you again").await;
        let known = &node.known_addresses(peer).await[0];
        assert_eq!((known.source, known.successes), (AddressSource::Application, 2));
        node.shutdown(Duration::ZERO).await;
        // Whatever is in the files, the one with addresses keeps no node from starting.
        std::fs::write(&book.0, b"pointsub addresses 1 99999999999\n\xff\xff\n").expect("written");
        drop(start().await.expect("a node"));
        std::fs::write(&key.0, b"\xff\xff").expect("written");
        let error = start().await.expect_err("it has no key");
        assert!(matches!(error, NodeError::KeyFile(_)), "{error:?}");
    });
}

/// Nothing is due on the connection, and nobody would notice that it is dead.
#[test]
fn a_change_of_the_network_has_dead_connections_replaced() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let way = Proxy::to(address(&server).await).start();
        let config = ClientConfig::default().with_silence_timeout(Duration::from_secs(1));
        let node = client(config).await;
        let peer = node.connect(way.address()).await.expect("it listens");
        check_echo(&node, peer, "before").await;
        let mut events = node.events();
        node.add_address(peer, address(&server).await).await;
        way.freeze();
        node.network_changed().await;
        let changed = |event| matches!(event, NodeEvent::NetworkChanged).then_some(());
        next(&mut events, changed).await;
        let direct = address(&server).await;
        loop {
            let all = node.connections().await;
            if let [one] = all.as_slice()
                && direct.to_string().starts_with(&one.address.to_string())
            {
                break;
            }
            futures_timer::Delay::new(Duration::from_millis(20)).await;
        }
    });
}

/// Whoever has made it, and whatever for.
#[test]
fn a_connection_that_nobody_uses_ends() {
    run(async {
        let idle = Duration::from_millis(300);
        let server = Node::builder().listen(loopback()).idle_connection_timeout(idle).build().await;
        let server = server.expect("a node");
        let node = client(once()).await;
        let mut events = server.events();
        connect(&node, &server).await;
        let gone = |event| matches!(event, NodeEvent::PeerDisconnected { .. }).then_some(());
        next(&mut events, gone).await;
        assert!(server.connections().await.is_empty() && server.peers().await.is_empty());
    });
}

/// A node that others cannot reach finds a relay by itself, and another one when that has gone.
#[test]
fn a_node_finds_relays_by_itself() {
    run(async {
        let relays = [relay(RelayConfig::default()).await, relay(RelayConfig::default()).await];
        let node = Node::builder().auto_relay(1).client_config(once()).build().await;
        let node = node.expect("a node");
        node.server().register(&echo_name(), echo).expect("first");
        let mut events = node.events();
        for relay in &relays {
            connect(&node, relay).await;
        }
        let reserved = |event| match event {
            NodeEvent::RelayReserved { relay, named: false } => Some(relay),
            _ => None,
        };
        let first = next(&mut events, reserved).await;
        let [one, other] = relays;
        let (used, other) = if one.peer_id() == first { (one, other) } else { (other, one) };
        reach_through(&used, &node).await;
        used.shutdown(Duration::ZERO).await;
        drop(used);
        assert_eq!(next(&mut events, reserved).await, other.peer_id());
        reach_through(&other, &node).await;
    });
}

async fn reach_through(relay: &Node, node: &Node) {
    let caller = client(ClientConfig::default()).await;
    let circuit = address(relay).await.with(Protocol::P2pCircuit);
    let circuit = circuit.with_p2p(node.peer_id()).expect("it has no peer at its end");
    let peer = caller.connect(circuit).await.expect("the relay keeps a place");
    check_echo(&caller, peer, "through a relay").await;
}
