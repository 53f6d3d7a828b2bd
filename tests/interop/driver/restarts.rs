//! This library ends and starts again with the same key, while the peer runs on.

use std::time::Duration;

use pointsub_swarm::{Keypair, Request};

use crate::Node;
use crate::checks::{Body, Checks, MIB, address, builder, name};
use crate::peer::{Peer, Program};

/// Nothing is at work when a node ends.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) async fn check(checks: &mut Checks, language: &str, program: &Program) {
    let subject = &format!("{language}, our restart");
    let peer = &program.start().await;
    checks.check(subject, "the peer dials us again", is_dialled_again(peer)).await;
    checks.check(subject, "we dial the peer again", dials_again(peer)).await;
}

/// A node with this key, each time at another port.
async fn node(peer: &Peer, key: &Keypair) -> Node {
    let node = builder(peer).keypair(key.clone()).build().await.expect("a node");
    let echo = |request: Request| async { request.body };
    node.server().register(&name("echo"), echo).expect("the first");
    node
}

async fn is_dialled_again(peer: &Peer) {
    let key = Keypair::generate_ed25519();
    for start in 0..3 {
        let node = node(peer, &key).await;
        // Until the peer has noticed that the last node is gone, it does not dial.
        let stream = loop {
            peer.connect(address(&node).await).await;
            if let Ok(stream) = peer.try_open(node.peer_id(), "echo").await {
                break stream;
            }
        };
        peer.check_echo(stream, &Body::new(start * MIB, "again,")).await;
        node.shutdown(GRACE).await;
    }
}

async fn dials_again(peer: &Peer) {
    let key = Keypair::generate_ed25519();
    for start in 0..3 {
        let node = node(peer, &key).await;
        assert_eq!(node.connect(peer.address.clone()).await.expect("the peer listens"), peer.id);
        let body = Body::new(start * MIB, "again,").bytes();
        let answer = node.client().send(peer.id, &name("echo"), body.clone()).await;
        assert!(answer.expect("an answer") == body, "it came back changed");
        node.shutdown(GRACE).await;
    }
}
