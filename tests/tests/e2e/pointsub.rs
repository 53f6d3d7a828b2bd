//! Both roles behind one handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use pointsub_swarm::{Cause, PointSub, RequestError, ServerConfig, StatusCode};

use crate::common::*;

/// What a caller may be told by a server that stops or has stopped.
fn is_stopped(error: &RequestError) -> bool {
    let gone = matches!(
        error.cause,
        Cause::Unsupported | Cause::RemoteClosed | Cause::Lost(_) | Cause::NoAddress
    );
    let codes = [StatusCode::Draining, StatusCode::NotFound];
    gone || error.status().is_some_and(|status| codes.contains(&status.code))
}

/// Asks for echoes until told to stop; how many there were.
fn keep_asking(from: &Node, to: &Node, stop: Arc<AtomicBool>) -> impl Future<Output = usize> {
    let (client, to) = (from.client(), to.peer_id());
    spawn(async move {
        let mut answers = 0;
        while !stop.load(Ordering::SeqCst) {
            client.send(to, &echo_name(), "still there?").await.expect("its server never stops");
            answers += 1;
        }
        answers
    })
}

/// S14, W8: the server of a node is stopped and started while its client works.
#[test]
fn the_server_stops_and_starts_while_the_client_works() {
    run(async {
        let one = start(ServerConfig::default(), once()).await;
        let two = echo_server(ServerConfig::default()).await;
        connect(&one, &two).await;
        let both: PointSub = one.pointsub();
        assert!(!both.is_server_running());
        let stop = Arc::new(AtomicBool::new(false));
        let asking = keep_asking(&one, &two, stop.clone());
        let mut starts = 0;
        while starts < 3 {
            both.start(&echo_name(), echo).expect("the server is stopped");
            assert!(both.is_server_running());
            starts += 1;
            // Nothing tells when the connection's task has heard of it.
            while let Err(error) = two.client().send(one.peer_id(), &echo_name(), "hi").await {
                assert!(is_stopped(&error), "{error:?}");
            }
            let before = both.client().stats().ok;
            both.stop_server(Duration::from_secs(5)).await;
            assert!(!both.is_server_running());
            let outcome = two.client().send(one.peer_id(), &echo_name(), "hi").await;
            assert!(is_stopped(&outcome.expect_err("it is stopped")));
            until(|| both.client().stats().ok > before + 10).await;
        }
        stop.store(true, Ordering::SeqCst);
        assert!(asking.await > 30);

        both.stop(Duration::ZERO).await;
        let error = both.send(two.peer_id(), &echo_name(), "hi").await.expect_err("closed");
        assert!(matches!(error.cause, Cause::Refused(_)), "{error:?}");
    });
}

/// W8, O3: many nodes ask each other, all at once, each by nothing but the Peer ID.
#[test]
fn many_nodes_ask_each_other_at_once() {
    const NODES: usize = 6;
    const CALLS: usize = 30;
    // All handshakes happen at once, on one machine that may have other work.
    let config = once().with_connect_timeout(Duration::from_secs(60));
    run(async {
        let mut nodes = Vec::new();
        let handled = Arc::new(AtomicUsize::new(0));
        for _ in 0..NODES {
            let node = start(ServerConfig::default(), config.clone()).await;
            let handled = handled.clone();
            let handler = move |request: pointsub_swarm::Request| {
                handled.fetch_add(1, Ordering::SeqCst);
                async move { request.body }
            };
            node.pointsub().start(&echo_name(), handler).expect("first");
            nodes.push(node);
        }
        for one in &nodes {
            for two in &nodes {
                if one.peer_id() < two.peer_id() {
                    one.add_address(two.peer_id(), address(two).await).await;
                    two.add_address(one.peer_id(), address(one).await).await;
                }
            }
        }
        let pairs = nodes.iter().flat_map(|one| nodes.iter().map(move |two| (one, two)));
        let calls =
            pairs.filter(|(one, two)| one.peer_id() != two.peer_id()).flat_map(|(one, two)| {
                let (from, to) = (one.pointsub(), two.peer_id());
                (0..CALLS).map(move |n| {
                    let from = from.clone();
                    spawn(async move {
                        let body = format!("{n} for {to}");
                        let answer = from.send(to, &echo_name(), body.clone()).await;
                        assert_eq!(answer.expect("an echo"), body);
                    })
                })
            });
        join_all(calls.collect::<Vec<_>>()).await;
        assert_eq!(handled.load(Ordering::SeqCst), NODES * (NODES - 1) * CALLS);
    });
}
