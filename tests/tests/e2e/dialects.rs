//! Peers that sign other texts inside their handshakes, as the hosts of the Go library do.

use libp2p_core::multiaddr::Protocol;
use pointsub_swarm::{ConnectError, Dialect, Dialects, Multiaddr};

use crate::common::*;
use crate::proxy::Proxy;
use crate::relay::{generous, relay};

const LIBP2P: Dialects = Dialects::Only(Dialect::Libp2p);
const DEP2P: Dialects = Dialects::Only(Dialect::Dep2p);
const BOTH: Dialects = Dialects::Both { noise: Dialect::Libp2p };

/// A node that listens, answers every echo and speaks these dialects.
async fn speaking(dialects: Dialects) -> Node {
    let node = Node::builder().listen(loopback()).client_config(once()).dialects(dialects);
    let node = node.build().await.expect("a node");
    node.server().register(&echo_name(), echo).expect("nothing is registered yet");
    node
}

/// A way to a node on which connections are counted.
async fn way_to(node: &Node) -> Proxy {
    Proxy::to(address(node).await).start()
}

/// An address of which it is not known who is there.
fn without_peer(mut address: Multiaddr) -> Multiaddr {
    address.pop();
    address
}

/// Connects at an address, and says how many connections that took. Both ask each other then.
async fn connections(from: &Node, to: &Node, way: &Proxy, address: Multiaddr) -> u64 {
    let before = way.accepted();
    // Until then what there was before is not known to be gone.
    while way.accepted() == before {
        let peer = from.connect(address.clone()).await.expect("they understand each other");
        assert_eq!(peer, to.peer_id());
        yield_now().await;
    }
    check_echo(from, to.peer_id(), "there").await;
    check_echo(to, from.peer_id(), "and back").await;
    way.accepted() - before
}

async fn unreachable(from: &Node, address: Multiaddr) -> String {
    match from.connect(address).await {
        Err(ConnectError::Unreachable { reason, .. }) => reason,
        outcome => panic!("{outcome:?}"),
    }
}

/// W8: whoever speaks libp2p is reached with one connection.
#[test]
fn nodes_that_speak_both_dialects_or_libp2p_need_one_connection() {
    run(async {
        for (dials, listens) in [(BOTH, BOTH), (BOTH, LIBP2P), (LIBP2P, BOTH), (LIBP2P, LIBP2P)] {
            let (one, two) = (speaking(dials).await, speaking(listens).await);
            let way = way_to(&two).await;
            let took = connections(&one, &two, &way, way.address()).await;
            assert_eq!(took, 1, "{dials:?} dials {listens:?}");
        }
    });
}

/// W8: a peer that speaks dep2p alone takes a second connection when it is dialled, and one when it
/// dials.
#[test]
fn a_node_and_a_peer_that_speaks_dep2p_ask_each_other_whoever_dials() {
    run(async {
        for (dials, listens, expected) in [(BOTH, DEP2P, 2), (DEP2P, BOTH, 1), (DEP2P, DEP2P, 1)] {
            let (one, two) = (speaking(dials).await, speaking(listens).await);
            let way = way_to(&two).await;
            let took = connections(&one, &two, &way, way.address()).await;
            assert_eq!(took, expected, "{dials:?} dials {listens:?}");
        }
    });
}

#[test]
fn what_a_peer_speaks_is_remembered_of_it_at_every_address() {
    run(async {
        let (node, peer) = (speaking(BOTH).await, speaking(DEP2P).await);
        let way = way_to(&peer).await;
        assert_eq!(connections(&node, &peer, &way, way.address()).await, 2, "a stranger");
        drop(way);
        let way = way_to(&peer).await;
        assert_eq!(connections(&node, &peer, &way, way.address()).await, 1, "an acquaintance");
    });
}

#[test]
fn what_is_spoken_at_an_address_is_remembered_of_it_and_of_the_peer() {
    run(async {
        let (node, peer) = (speaking(BOTH).await, speaking(DEP2P).await);
        let way = way_to(&peer).await;
        let at = without_peer(way.address());
        assert_eq!(connections(&node, &peer, &way, at.clone()).await, 2, "a strange address");
        way.cut_rst();
        assert_eq!(connections(&node, &peer, &way, at).await, 1, "a known address");
        drop(way);
        let way = way_to(&peer).await;
        assert_eq!(connections(&node, &peer, &way, way.address()).await, 1, "a known peer");
    });
}

#[test]
fn what_a_peer_speaks_that_dialled_is_remembered() {
    run(async {
        let (node, peer) = (speaking(BOTH).await, speaking(DEP2P).await);
        let way = way_to(&node).await;
        assert_eq!(connections(&peer, &node, &way, way.address()).await, 1);
        drop(way);
        let way = way_to(&peer).await;
        assert_eq!(connections(&node, &peer, &way, way.address()).await, 1, "an acquaintance");
    });
}

/// The reason is one line, which says what may be done about it.
#[test]
fn nodes_without_a_dialect_in_common_say_so() {
    run(async {
        for (dials, listens, spoken) in [(DEP2P, LIBP2P, "dep2p"), (LIBP2P, DEP2P, "libp2p")] {
            let (one, two) = (speaking(dials).await, speaking(listens).await);
            let reason = unreachable(&one, address(&two).await).await;
            let expected = format!(
                "the peer does not speak {spoken}, and nothing else may be dialled \
                 (NodeBuilder::dialects)"
            );
            assert_eq!(reason, expected);
        }
    });
}

#[test]
fn somebody_else_than_was_dialled_is_refused_in_dep2p_too() {
    run(async {
        let (node, peer) = (speaking(BOTH).await, speaking(DEP2P).await);
        let somebody = without_peer(address(&peer).await);
        let somebody = somebody.with_p2p(pointsub_swarm::PeerId::random()).expect("no peer yet");
        let reason = unreachable(&node, somebody).await;
        assert_eq!(reason, format!("another peer answers, {}", peer.peer_id()));
    });
}

/// The relay speaks to each end in its dialect, and the two ends to each other in that of the one.
#[test]
fn a_peer_that_speaks_dep2p_is_reached_through_a_relay() {
    run(async {
        let relay = relay(generous()).await;
        let circuit = address(&relay).await.with(Protocol::P2pCircuit);
        let peer = Node::builder().listen(circuit).client_config(once()).dialects(DEP2P);
        let peer = peer.build().await.expect("a reservation");
        peer.server().register(&echo_name(), echo).expect("nothing is registered yet");
        let node = client(once()).await;
        let connected = node.connect(address(&peer).await).await;
        assert_eq!(connected.expect("the relay connects them"), peer.peer_id());
        check_echo(&node, peer.peer_id(), "there").await;
    });
}
