//! Callers that stop waiting.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{Either, select};
use futures_timer::Delay;
use pointsub_swarm::{Cause, ClientConfig, Policy, Request, ServerConfig, StatusCode};

use crate::common::*;

/// A server whose `echo` waits for a gate where the body says `wait`.
async fn gated(alive: &Alive) -> (Node, Opener) {
    let server = start(ServerConfig::default(), once()).await;
    let (opener, gate) = Gate::new();
    let alive = alive.clone();
    let handler = move |request: Request| {
        let (gate, alive) = (gate.clone(), alive.clone());
        async move {
            if request.body == "hang" {
                return hang(alive).await;
            }
            if request.body == "wait" {
                gate.opened().await;
            }
            Ok(request.body)
        }
    };
    server.server().register(&echo_name(), handler).expect("first");
    (server, opener)
}

/// C15.
#[test]
fn a_caller_that_goes_stops_its_handler_and_nobody_elses() {
    run(async {
        let alive = Alive::default();
        let (server, opener) = gated(&alive).await;
        let node = client_of(&server, once()).await;
        let (client, peer, echo) = (node.client(), server.peer_id(), echo_name());

        let mut other = pin!(client.send(peer, &echo, "wait").into_future());
        assert!(futures::poll!(&mut other).is_pending());
        {
            let leaving = pin!(client.send(peer, &echo, "hang").into_future());
            let at_work = pin!(until(|| alive.now() == 1));
            match select(leaving, at_work).await {
                Either::Left((outcome, _)) => panic!("it hangs, and yet: {outcome:?}"),
                Either::Right(_) => {}
            }
        }
        until(|| alive.dropped() == 1).await;
        drop(opener);
        assert_eq!(other.await.expect("it was not disturbed"), "wait");
        check_echo(&node, peer, "later").await;

        let stats = client.stats();
        assert_eq!((stats.opens, stats.streams), (1, 1), "the stream stays in use");
        assert_eq!((stats.ok, stats.cancelled, stats.failed), (2, 1, 0));
        until(|| server.server().stats().in_flight == 0).await;
        let stats = server.server().stats();
        assert_eq!((stats.ok, stats.abandoned), (2, 1));
    });
}

/// A cancelled request frees its place: many more can be cancelled than fit on a stream.
#[test]
fn a_stream_survives_more_cancellations_than_it_has_places() {
    run(async {
        let alive = Alive::default();
        let (server, _opener) = gated(&alive).await;
        let config = once().with_max_in_flight(4).with_max_streams_per_peer(1);
        let node = client_of(&server, config).await;
        let (client, echo) = (node.client(), echo_name());
        for gone in 1..=100 {
            {
                let leaving = pin!(client.send(server.peer_id(), &echo, "hang").into_future());
                let at_work = pin!(until(|| alive.now() > 0));
                assert!(matches!(select(leaving, at_work).await, Either::Right(_)));
            }
            until(|| alive.dropped() == gone).await;
        }
        check_echo(&node, server.peer_id(), "still there").await;
        assert_eq!(client.stats().opens, 1);
    });
}

/// A request that was never awaited is never sent.
#[test]
fn a_call_that_is_not_awaited_does_nothing() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client_of(&server, once()).await;
        let echo = echo_name();
        drop(node.client().send(server.peer_id(), &echo, "never"));
        drop(node.client().send(server.peer_id(), &echo, "never").into_future());
        check_echo(&node, server.peer_id(), "x").await;
        assert_eq!(node.client().stats().started, 1);
        assert_eq!(server.server().stats().started, 1);
    });
}

/// One that goes while it waits for a connection leaves nothing behind.
#[test]
fn a_caller_that_goes_before_there_is_a_stream_leaves_nothing_behind() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client(once()).await;
        node.add_address(server.peer_id(), address(&server).await).await;
        let (client, echo) = (node.client(), echo_name());
        assert!(
            client.send(server.peer_id(), &echo, "gone").into_future().now_or_never().is_none()
        );
        assert_eq!(client.stats().cancelled, 1);
        check_echo(&node, server.peer_id(), "x").await;
        let stats = client.stats();
        assert_eq!((stats.waiting, stats.in_flight, stats.ok), (0, 0, 1));
    });
}

/// C1: the caller's own deadline, and the handler is told.
#[test]
fn a_callers_deadline_stops_the_handler() {
    run(async {
        let alive = Alive::default();
        let (server, _opener) = gated(&alive).await;
        let node = client_of(&server, once()).await;
        let (client, echo) = (node.client(), echo_name());
        check_echo(&node, server.peer_id(), "warm").await;
        let call = client.send(server.peer_id(), &echo, "hang");
        let error = call.timeout(Duration::from_millis(300)).await.expect_err("it hangs");
        let by_server = error.status().is_some_and(|s| s.code == StatusCode::DeadlineExceeded);
        assert!(error.cause == Cause::Deadline || by_server, "{error:?}");
        until(|| alive.dropped() == 1).await;
        check_echo(&node, server.peer_id(), "later").await;
        // The next request may have gone past it, to another.
        let stats = client.stats();
        assert_eq!(stats.streams, stats.opens, "the stream stays in use");
    });
}

/// The handler learns how long its caller still waits, and only if the caller said so.
#[test]
fn a_handler_knows_the_remaining_time() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let handler = |request: Request| async move {
            let millis = request.remaining.map(|remaining| remaining.as_millis().to_string());
            Bytes::from(millis.unwrap_or_default())
        };
        server.server().register(&echo_name(), handler).expect("first");
        let node = client_of(&server, once()).await;
        let (client, echo) = (node.client(), echo_name());
        let unlimited = client.send(server.peer_id(), &echo, "").await.expect("an answer");
        assert_eq!(unlimited, "");
        let call = client.send(server.peer_id(), &echo, "").timeout(Duration::from_secs(50));
        let limited = call.await.expect("an answer");
        let millis: u64 = std::str::from_utf8(&limited).expect("digits").parse().expect("digits");
        assert!((1..=50_000).contains(&millis), "{millis} ms");
    });
}

/// C1: without a deadline of the caller's, `read_timeout` limits the wait, and the handler is told.
#[test]
fn the_read_timeout_ends_a_call_without_a_deadline() {
    run(async {
        let alive = Alive::default();
        let (server, _opener) = gated(&alive).await;
        let limit = Duration::from_millis(300);
        let node = client_of(&server, once().with_read_timeout(limit)).await;
        let error = node.client().send(server.peer_id(), &echo_name(), "hang").await;
        assert_eq!(error.expect_err("it hangs").cause, Cause::TimedOut(limit));
        until(|| alive.dropped() == 1).await;
        check_echo(&node, server.peer_id(), "later").await;
    });
}

/// C1: who says how long to wait is answered until then, and the handler runs once.
#[test]
fn a_handler_slower_than_the_read_timeout_is_waited_for_until_the_callers_deadline() {
    run(async {
        let alive = Alive::default();
        let server = start(ServerConfig::default(), once()).await;
        let (limit, slow) = (Duration::from_millis(100), alive.clone());
        let handler = move |request: Request| {
            let guard = slow.enter();
            async move {
                Delay::new(5 * limit).await;
                drop(guard);
                request.body
            }
        };
        server.server().register(&echo_name(), handler).expect("first");
        let node = client_of(&server, ClientConfig::default().with_read_timeout(limit)).await;
        let (client, echo) = (node.client(), echo_name());
        let call = client.send(server.peer_id(), &echo, "slow").timeout(Duration::from_secs(50));
        assert_eq!(call.await.expect("an answer"), "slow");
        assert_eq!((alive.dropped(), alive.now()), (1, 0), "it ran once");
    });
}

/// A protocol whose handlers take long needs no patience of others, nor of its callers.
#[test]
fn a_protocol_may_have_a_longest_answer_time_of_its_own() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let limit = Duration::from_millis(100);
        let (slow, silent) = (name("/slow"), name("/silent"));
        let handler = move |request: Request| async move {
            Delay::new(5 * limit).await;
            request.body
        };
        server.server().register(&slow, handler).expect("first");
        let alive = Alive::default();
        let hangs = alive.clone();
        server.server().register(&silent, move |_| hang(hangs.clone())).expect("first");
        let config = once().with_read_timeout(limit);
        let within = |limit| Policy::new().timeout(limit);
        let node = Node::builder().client_config(config);
        let node = node.protocol_policy(slow.clone(), within(500 * limit));
        let node = node.protocol_policy(silent.clone(), within(3 * limit));
        let node = node.build().await.expect("a node");
        let peer = connect(&node, &server).await;
        let client = node.client();
        assert_eq!(client.send(peer, &slow, "?").await.expect("an answer"), "?");
        // Either end may be the first to notice.
        let error = client.send(peer, &silent, "?").await.expect_err("it hangs");
        assert!(error.is_timeout() && error.cause != Cause::TimedOut(limit), "{error:?}");
        let own = client.send(peer, &silent, "?").timeout(2 * limit).await;
        assert!(own.expect_err("it hangs").is_timeout(), "an option of the call's own");
    });
}

/// A client that disappears with its connection stops its handlers.
#[test]
fn a_lost_client_stops_its_handlers() {
    run(async {
        let alive = Alive::default();
        let (server, _opener) = gated(&alive).await;
        let node = client_of(&server, once()).await;
        let (client, peer) = (node.client(), server.peer_id());
        let call = spawn(async move { client.send(peer, &echo_name(), "hang").await });
        until(|| alive.now() == 1).await;
        drop(node);
        until(|| alive.dropped() == 1).await;
        call.await.expect_err("the node is gone");
        until(|| server.server().stats().in_flight == 0).await;
        assert_eq!(server.server().stats().abandoned, 1);
    });
}
