//! Every node is a server and a client.

use std::sync::Arc;

use futures::future::join_all;
use pointsub_swarm::{HandlerError, Request, ServerConfig};

use crate::common::*;

/// Connects two nodes, so that both know of it.
async fn meet(one: &Node, two: &Node) {
    connect(one, two).await;
    check_echo(one, two.peer_id(), "pleased to meet you").await;
}

/// W8.
#[test]
fn two_nodes_ask_each_other_at_the_same_time_on_one_connection() {
    run(async {
        let one = Arc::new(echo_server(ServerConfig::default()).await);
        let two = Arc::new(echo_server(ServerConfig::default()).await);
        meet(&one, &two).await;
        let calls = (0..400).map(|number| {
            let (from, to) = if number % 2 == 0 { (&one, &two) } else { (&two, &one) };
            let (from, to) = (from.clone(), to.peer_id());
            let len = if number % 20 < 2 { 200 * 1024 } else { 50 };
            spawn(async move { check_echo(&from, to, noise(len, number + 1)).await })
        });
        join_all(calls.collect::<Vec<_>>()).await;
        for node in [one, two] {
            assert_eq!(node.client().stats().failed, 0);
            assert!(node.server().stats().ok >= 200);
        }
    });
}

/// W8: a handler asks the peer that asked it.
#[test]
fn a_handler_may_ask_its_caller_back() {
    run(async {
        let one = echo_server(ServerConfig::default()).await;
        let two = start(ServerConfig::default(), once()).await;
        let back = two.client();
        let handler = move |request: Request| {
            let back = back.clone();
            async move {
                let answer = back.send(request.peer, &echo_name(), request.body).await;
                answer.map_err(HandlerError::from)
            }
        };
        two.server().register(&name("/back"), handler).expect("first");
        connect(&one, &two).await;
        let back = name("/back");
        let (client, peer) = (one.client(), two.peer_id());
        let calls = (0..100).map(|n| {
            let (client, back) = (&client, &back);
            async move {
                let body = format!("ping {n}");
                assert_eq!(client.send(peer, back, body.clone()).await.expect("an echo"), body);
            }
        });
        join_all(calls).await;
    });
}

/// Two nodes that dial each other at the same moment end up with working streams.
#[test]
fn nodes_that_dial_each_other_at_once_understand_each_other() {
    run(async {
        for _ in 0..10 {
            let one = echo_server(ServerConfig::default()).await;
            let two = echo_server(ServerConfig::default()).await;
            one.add_address(two.peer_id(), address(&two).await).await;
            two.add_address(one.peer_id(), address(&one).await).await;
            futures::join!(
                check_echo(&one, two.peer_id(), "from one"),
                check_echo(&two, one.peer_id(), "from two")
            );
        }
    });
}
