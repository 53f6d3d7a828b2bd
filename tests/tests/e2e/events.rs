//! What a node tells of peers and addresses, and what it can be told while it runs.

use futures::StreamExt;
use pointsub_swarm::{Events, Multiaddr, NodeError, NodeEvent, Path, ServerConfig};

use crate::common::*;

/// The first event that `wanted` makes something of.
async fn next<T>(events: &mut Events, mut wanted: impl FnMut(NodeEvent) -> Option<T>) -> T {
    loop {
        let event = events.next().await.expect("the node has not ended");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

/// Peers come and go, and the node says so, at both ends.
#[test]
fn a_node_tells_who_connects_and_who_goes() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let mut events = server.events();
        let node = client(once()).await;
        let mut at_node = node.events();
        assert!(server.peers().await.is_empty());
        connect(&node, &server).await;
        let me = node.peer_id();
        let connected = |event| match event {
            NodeEvent::PeerConnected { peer, path, .. } => Some((peer, path)),
            _ => None,
        };
        assert_eq!(next(&mut events, connected).await, (me, Path::Direct));
        assert_eq!(next(&mut at_node, connected).await, (server.peer_id(), Path::Direct));
        let peers = server.peers().await;
        assert_eq!((peers.len(), peers[0].peer, peers[0].dialled), (1, me, false));
        assert!(node.peers().await[0].dialled);

        assert!(server.disconnect(me).await);
        assert!(!server.disconnect(me).await, "it has gone");
        let gone = |event| match event {
            NodeEvent::PeerDisconnected { peer, .. } => Some(peer),
            _ => None,
        };
        assert_eq!(next(&mut events, gone).await, me);
        assert_eq!(next(&mut at_node, gone).await, server.peer_id());
        // It is no enemy: the next request connects again.
        check_echo(&node, server.peer_id(), "again").await;
        assert_eq!(next(&mut events, connected).await.0, me);
    });
}

/// A node listens at further addresses while it runs, and no longer at others.
#[test]
fn a_node_begins_and_ends_to_listen_while_it_runs() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let mut events = server.events();
        let first = address(&server).await;
        let second = server.listen(loopback()).await.expect("a free port");
        assert_ne!(first, second);
        assert!(server.addresses().await.contains(&second));
        let node = client(once()).await;
        assert_eq!(node.connect(second.clone()).await.expect("it listens"), server.peer_id());
        let listening = |event| match event {
            NodeEvent::Listening { address } => Some(address),
            _ => None,
        };
        let told = next(&mut events, listening).await;
        assert_eq!(told.with_p2p(server.peer_id()), Ok(second.clone()));

        assert!(server.unlisten(first.clone()).await);
        assert!(!server.unlisten(first.clone()).await);
        let ended = |event| match event {
            NodeEvent::ListeningEnded { address } => Some(address),
            _ => None,
        };
        let told = next(&mut events, ended).await;
        assert_eq!(told.with_p2p(server.peer_id()), Ok(first));
        assert_eq!(server.addresses().await, [second]);
        check_echo(&node, server.peer_id(), "its connections stay").await;

        let foreign: Multiaddr = "/ip4/192.0.2.1/tcp/0".parse().expect("an address");
        let error = server.listen(foreign.clone()).await.expect_err("it is not ours");
        assert!(matches!(error, NodeError::Listen { address, .. } if address == foreign));
    });
}

/// A clone is the same node; the last one that is dropped ends it, and its events.
#[test]
fn a_node_lives_as_long_as_its_last_clone() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let (clone, mut events) = (server.clone(), server.events());
        assert_eq!(clone.peer_id(), server.peer_id());
        let node = client_of(&server, once()).await;
        drop(server);
        check_echo(&node, clone.peer_id(), "still").await;
        drop(clone);
        while events.next().await.is_some() {}
    });
}

/// Two nodes of one process reach each other without sockets.
#[test]
fn nodes_reach_each_other_in_memory() {
    run(async {
        let listen = "/memory/0".parse().expect("an address");
        let server = Node::builder().in_memory().listen(listen).build().await.expect("a node");
        server.server().register(&echo_name(), echo).expect("first");
        let node = Node::builder().in_memory().build().await.expect("a node");
        connect(&node, &server).await;
        for len in [0, 1, 100_000] {
            check_echo(&node, server.peer_id(), noise(len, 7)).await;
        }
        // There is no way out of the process.
        let tcp = echo_server(ServerConfig::default()).await;
        node.connect(address(&tcp).await).await.expect_err("no sockets");
    });
}
