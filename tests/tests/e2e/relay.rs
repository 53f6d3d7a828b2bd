//! Peers that know nothing of each other but a relay.

use std::time::Duration;

use libp2p_core::multiaddr::Protocol;
use pointsub_swarm::{
    Cause, ClientConfig, ConnectError, Keypair, ListenFailure, Multiaddr, NodeError, RelayConfig,
    ServerConfig,
};

use crate::common::*;
use crate::proxy::Proxy;

/// A relay at a port of loopback that it tells others about.
pub(crate) async fn relay(config: RelayConfig) -> Node {
    // The address must be known before the node is: take a free port, and give it back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr();
    let port = port.expect("it is bound").port();
    let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address");
    let builder = Node::builder().listen(address.clone()).external_address(address);
    builder.relay_server(config).build().await.expect("a relay")
}

/// A node that is reached through the relay alone, and answers every echo.
async fn behind(relay: &Node) -> Node {
    let circuit = address(relay).await.with(Protocol::P2pCircuit);
    let node = Node::builder().listen(circuit).build().await.expect("a reservation");
    node.server().register(&echo_name(), echo).expect("first");
    node
}

pub(crate) fn generous() -> RelayConfig {
    RelayConfig {
        max_circuit_bytes: 100 * MIB as u64,
        max_circuit_duration: Duration::from_secs(600),
        ..RelayConfig::default()
    }
}

/// O2: two nodes that only know the relay exchange requests.
#[test]
fn requests_go_through_a_relay() {
    run(async {
        let relay = relay(generous()).await;
        let server = behind(&relay).await;
        let addresses = server.addresses().await;
        assert!(addresses.iter().all(|a| a.iter().any(|p| p == Protocol::P2pCircuit)));
        let node = client(once()).await;
        let peer = node.connect(addresses[0].clone()).await.expect("the relay connects them");
        assert_eq!(peer, server.peer_id());
        for len in [0, 1, 1000, MIB] {
            check_echo(&node, peer, noise(len, len as u64)).await;
        }
        // The relay passes bytes on, no more: it served no request itself.
        assert_eq!((relay.server().stats().started, server.server().stats().ok), (0, 4));
    });
}

/// O2: a relay's limit of bytes shows as what it is, a connection through a relay that broke; the
/// next request makes another one.
#[test]
fn beyond_the_limit_of_a_relay_the_connection_breaks_and_is_made_anew() {
    run(async {
        let config = RelayConfig { max_circuit_bytes: 128 * 1024, ..RelayConfig::default() };
        let relay = relay(config).await;
        let server = behind(&relay).await;
        let config = ClientConfig::default().with_retry_interval(Duration::from_millis(5));
        let node = client(config).await;
        let peer = node.connect(server.addresses().await.remove(0)).await.expect("connected");
        check_echo(&node, peer, noise(10_000, 1)).await;
        let (sender, protocol) = (node.client(), echo_name());
        let large = sender.send(peer, &protocol, noise(MIB, 2)).idempotent(false);
        let error = large.await.expect_err("more than the relay carries");
        assert!(matches!(error.cause, Cause::RelayLost(_)), "{error:?}");
        check_echo(&node, peer, noise(10_000, 3)).await;
    });
}

/// O2: a relay that is none is a typed error.
#[test]
fn a_node_that_does_not_relay_gives_no_reservation() {
    run(async {
        let no_relay = echo_server(ServerConfig::default()).await;
        let circuit = address(&no_relay).await.with(Protocol::P2pCircuit);
        let error = Node::builder().listen(circuit.clone()).build().await.expect_err("no relay");
        assert!(matches!(error, NodeError::Listen { .. }), "{error:?}");
        let target = libp2p_identity::PeerId::random();
        let error = client(once()).await.connect(circuit.with(Protocol::P2p(target))).await;
        assert!(matches!(error, Err(ConnectError::Unreachable { .. })), "{error:?}");
    });
}

/// O2: a direct connection is made where that is possible, and new streams go over it, so that the
/// relay's limits are felt no longer.
#[test]
fn streams_move_to_a_direct_connection() {
    run(async {
        let config = RelayConfig { max_circuit_bytes: 128 * 1024, ..RelayConfig::default() };
        let relay = relay(config).await;
        let circuit = address(&relay).await.with(Protocol::P2pCircuit);
        // It can be reached directly too, but nobody is told where.
        let server = Node::builder().listen(loopback()).listen(circuit).build().await;
        let server = server.expect("a reservation");
        server.server().register(&echo_name(), echo).expect("first");
        let is_circuit = |a: &Multiaddr| a.iter().any(|part| part == Protocol::P2pCircuit);
        let known = server.addresses().await.into_iter().find(is_circuit).expect("a circuit");
        let node = Node::builder().listen(loopback()).client_config(once()).build().await;
        let node = node.expect("a node");
        let peer = node.connect(known).await.expect("the relay connects them");
        check_echo(&node, peer, "through the relay").await;
        let opens = node.client().stats().opens;
        // Another stream is opened when the direct connection is there.
        while node.client().stats().opens == opens {
            check_echo(&node, peer, "still through the relay?").await;
        }
        for n in 0..4 {
            check_echo(&node, peer, noise(MIB, n)).await;
        }
    });
}

/// O2: so does its limit of time.
#[test]
fn after_the_time_that_a_relay_gives_the_connection_is_made_anew() {
    run(async {
        let max_circuit_duration = Duration::from_secs(1);
        let relay = relay(RelayConfig { max_circuit_duration, ..generous() }).await;
        let server = behind(&relay).await;
        let (alive, slow) = (Alive::default(), name("/slow/1.0.0"));
        let hanging = alive.clone();
        server.server().register(&slow, move |_| hang(hanging.clone())).expect("first");
        let config = ClientConfig::default().with_retry_interval(Duration::from_millis(5));
        let node = client(config).await;
        let peer = node.connect(server.addresses().await.remove(0)).await.expect("connected");
        check_echo(&node, peer, "in time").await;
        let error = node.client().send(peer, &slow, "").idempotent(false).await;
        let error = error.expect_err("longer than the connection lasts");
        assert!(matches!(error.cause, Cause::RelayLost(_)), "{error:?}");
        check_echo(&node, peer, "over another connection").await;
    });
}

/// O2: a node finds out that it can be reached where it listens, with the help of a peer that it
/// connects to (AutoNAT).
#[test]
fn a_node_learns_that_it_can_be_reached() {
    run(async {
        let helper = start(ServerConfig::default(), once()).await;
        let node = start(ServerConfig::default(), once()).await;
        assert_eq!(node.external_addresses().await, []);
        connect(&node, &helper).await;
        let mut found = Vec::new();
        while found.is_empty() {
            found = node.external_addresses().await;
            yield_now().await;
        }
        assert_eq!(found, node.addresses().await);
        assert_eq!(helper.external_addresses().await, [], "it has not asked anybody");
        let asks = client(once()).await;
        assert_eq!(asks.connect(found.remove(0)).await.expect("it is there"), node.peer_id());
    });
}

/// A relay at this port of loopback, with this key: it can go and come back.
async fn relay_at(address: &Multiaddr, keypair: &Keypair) -> Node {
    let builder = Node::builder().keypair(keypair.clone()).listen(address.clone());
    let builder = builder.external_address(address.clone()).relay_server(generous());
    builder.build().await.expect("a relay")
}

/// A port of loopback that nobody has.
fn free_port() -> Multiaddr {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr();
    let port = port.expect("it is bound").port();
    format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address")
}

/// The address of a place at a relay.
fn place(address: &Multiaddr, relay: &Keypair) -> Multiaddr {
    let peer = relay.public().to_peer_id();
    address.clone().with(Protocol::P2p(peer)).with(Protocol::P2pCircuit)
}

/// Waits until a node has a place at a relay, or has none.
async fn until_placed(node: &Node, placed: bool) {
    while node.addresses().await.is_empty() == placed {
        yield_now().await;
    }
}

/// Checks that a node is reached through a relay.
async fn check_reached(server: &Node) {
    let node = client(once()).await;
    let peer = node.connect(address(server).await).await.expect("the relay connects them");
    check_echo(&node, peer, "through the relay").await;
}

/// A relay that restarts knows nobody; a node asks it again.
#[test]
fn a_place_is_taken_again_when_the_relay_restarts() {
    run(async {
        let (at, keypair) = (free_port(), Keypair::generate_ed25519());
        let relay = relay_at(&at, &keypair).await;
        let server = Node::builder().listen(place(&at, &keypair)).build().await;
        let server = server.expect("a reservation");
        server.server().register(&echo_name(), echo).expect("first");
        check_reached(&server).await;
        relay.shutdown(Duration::ZERO).await;
        until_placed(&server, false).await;
        let _relay = relay_at(&at, &keypair).await;
        until_placed(&server, true).await;
        check_reached(&server).await;
    });
}

/// The way to a relay may break while the relay goes on.
#[test]
fn a_place_is_taken_again_when_the_way_to_the_relay_broke() {
    run(async {
        let (at, keypair) = (free_port(), Keypair::generate_ed25519());
        let _relay = relay_at(&at, &keypair).await;
        let proxy = Proxy::to(at).start();
        let server = Node::builder().listen(place(&proxy.address(), &keypair)).build().await;
        let server = server.expect("a reservation");
        server.server().register(&echo_name(), echo).expect("first");
        // Later the node may have learned of a way that does not lead through the proxy.
        proxy.cut_rst();
        until_placed(&server, false).await;
        until_placed(&server, true).await;
        check_reached(&server).await;
    });
}

/// Nothing is due from a relay that keeps a place, and so its silence has to be looked for.
#[test]
fn a_place_is_taken_again_when_the_way_to_the_relay_froze() {
    run(async {
        let (at, keypair) = (free_port(), Keypair::generate_ed25519());
        let _relay = relay_at(&at, &keypair).await;
        let proxy = Proxy::to(at).start();
        let server = Node::builder().listen(place(&proxy.address(), &keypair)).build().await;
        let server = server.expect("a reservation");
        server.server().register(&echo_name(), echo).expect("first");
        proxy.freeze();
        until_placed(&server, false).await;
        proxy.thaw();
        until_placed(&server, true).await;
        check_reached(&server).await;
    });
}

/// A relay that is down does not keep a node from starting.
#[test]
fn a_node_starts_before_its_relay() {
    run(async {
        let (at, keypair) = (free_port(), Keypair::generate_ed25519());
        let server = Node::builder().listen(loopback()).listen(place(&at, &keypair)).build().await;
        let server = server.expect("the relay may come later");
        assert_eq!(server.addresses().await.len(), 1);
        let _relay = relay_at(&at, &keypair).await;
        while server.addresses().await.len() < 2 {
            yield_now().await;
        }
    });
}

/// What cannot be listened on is named, and so is the reason.
#[test]
fn an_address_that_is_not_of_this_machine_is_named() {
    run(async {
        let foreign: Multiaddr = "/ip4/192.0.2.1/tcp/0".parse().expect("an address");
        let error = Node::builder().listen(foreign.clone()).build().await.expect_err("not here");
        let NodeError::Listen { address: named, reason } = error else { panic!("{error:?}") };
        assert_eq!(named, foreign);
        assert_eq!(reason, ListenFailure::NotLocal);
        let no_relay = echo_server(ServerConfig::default()).await;
        let circuit = address(&no_relay).await.with(Protocol::P2pCircuit);
        let error = Node::builder().listen(circuit.clone()).build().await.expect_err("no relay");
        let NodeError::Listen { address: named, reason } = error else { panic!("{error:?}") };
        assert_eq!(named, circuit);
        assert_eq!(reason, ListenFailure::NoRelay);
    });
}
