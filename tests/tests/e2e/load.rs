//! Many requests on few streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::join_all;
use pointsub_swarm::{ClientConfig, Handler, LimitPolicy, Request, ServerConfig, Spawned};

use crate::common::*;

fn numbered(number: u64) -> Bytes {
    Bytes::from(format!("request {number}"))
}

/// A handler that takes a few turns, and counts how many of it are at work.
fn counted_echo(alive: &Alive) -> impl Handler + use<> {
    let alive = alive.clone();
    move |request: Request| {
        let alive = alive.clone();
        async move {
            let _guard = alive.enter();
            for _ in 0..5 {
                yield_now().await;
            }
            request.body
        }
    }
}

/// C9: what is warm is used again.
#[test]
fn ten_thousand_requests_in_turn_share_one_stream() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let client = client_of(&server, once()).await;
        for number in 0..10_000 {
            check_echo(&client, server.peer_id(), numbered(number)).await;
        }
        let stats = client.client().stats();
        assert_eq!((stats.opens, stats.streams, stats.idle_streams), (1, 1, 1));
        assert_eq!((stats.started, stats.ok, stats.in_flight), (10_000, 10_000, 0));
        assert_eq!(stats.reused, 9_999);
        assert_eq!(server.server().stats().ok, 10_000);
    });
}

/// All are at work at the same time, and each gets its own answer.
#[test]
fn a_thousand_requests_at_once_share_one_connection() {
    run(async {
        // A limit that moves would go down while all places are taken.
        let config = ServerConfig::default().with_limit_policy(LimitPolicy::Fixed);
        let server = start(config, once()).await;
        let (opener, gate) = Gate::new();
        server.server().register(&echo_name(), echo_behind(gate)).expect("first");
        let config = once().with_max_streams_per_peer(2);
        let client = Arc::new(client_of(&server, config).await);
        let peer = server.peer_id();
        let calls: Vec<_> = (0..1_000)
            .map(|number| {
                let client = client.clone();
                spawn(async move { check_echo(&client, peer, numbered(number)).await })
            })
            .collect();
        until(|| server.server().stats().in_flight == 1_000).await;
        let stats = client.client().stats();
        assert_eq!(stats.in_flight, 1_000);
        assert!(stats.opens <= 2, "{stats:?}");
        drop(opener);
        join_all(calls).await;
        let stats = client.client().stats();
        assert_eq!((stats.ok, stats.failed, stats.in_flight), (1_000, 0, 0));
        assert!(stats.opens <= 2, "{stats:?}");
    });
}

/// Answers in another order than requests still find their callers.
#[test]
fn answers_out_of_order_find_their_requests() {
    run(async {
        // On a busy machine a thousand at once are an overload, of which a limit that moves refuses some.
        let config = ServerConfig::default().with_limit_policy(LimitPolicy::Fixed);
        let server = start(config, once()).await;
        let turns = Arc::new(AtomicU64::new(0));
        let handler = move |request: Request| {
            let turn = turns.fetch_add(1, Ordering::SeqCst);
            async move {
                for _ in 0..turn % 7 {
                    yield_now().await;
                }
                request.body
            }
        };
        server.server().register(&echo_name(), handler).expect("first");
        let client = client_of(&server, once()).await;
        let calls = (0..1_000).map(|number| {
            let len = (number % 13) as usize * 100;
            let mut body = numbered(number).to_vec();
            body.resize(body.len() + len, number as u8);
            check_echo(&client, server.peer_id(), body)
        });
        join_all(calls).await;
        assert_eq!(client.client().stats().opens, 1);
    });
}

/// Neither more streams nor more requests on each than configured, however many wait.
#[test]
fn streams_and_requests_in_flight_stay_within_the_configured_numbers() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let alive = Alive::default();
        server.server().register(&echo_name(), counted_echo(&alive)).expect("first");
        let config = once().with_max_in_flight(10).with_max_streams_per_peer(3);
        let client = client_of(&server, config).await;
        let calls = (0..1_000).map(|n| check_echo(&client, server.peer_id(), numbered(n)));
        join_all(calls).await;
        assert!(alive.peak() <= 30, "{} at work at the same time", alive.peak());
        let stats = client.client().stats();
        assert!(stats.opens <= 3, "{stats:?}");
        assert_eq!(stats.ok, 1_000);
    });
}

/// C5: a client asks for more at once than its server takes. What is refused waits at the client until there
/// is room, and no caller hears of it.
#[test]
fn callers_wait_for_a_server_that_is_full() {
    run(async {
        let config = ServerConfig::default().with_limit_policy(LimitPolicy::Fixed);
        let server = start(config.with_max_concurrent_requests(4), once()).await;
        let alive = Alive::default();
        server.server().register(&echo_name(), Spawned(counted_echo(&alive))).expect("first");
        let client = client_of(&server, ClientConfig::default()).await;
        let callers = (0..64).map(|caller| {
            let (client, peer) = (&client, server.peer_id());
            async move {
                for n in 0..20 {
                    check_echo(client, peer, numbered(caller * 100 + n)).await;
                }
            }
        });
        join_all(callers).await;
        assert!(alive.peak() <= 4, "{} at work at the same time", alive.peak());
        let (client, server) = (client.client().stats(), server.server().stats());
        assert_eq!((client.ok, client.failed, server.ok), (1280, 0, 1280));
        assert!(server.busy > 0, "it was full: {server:?}");
        // Most wait at the client, and are not refused again and again.
        assert!(server.busy < 640 && client.retries == 0, "{server:?}, {client:?}");
    });
}

/// Large and small bodies at the same time, each unchanged.
#[test]
fn large_and_small_bodies_mix() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let client = client_of(&server, once().with_max_bulk_streams(2)).await;
        let calls = (0..40_u64).map(|number| {
            let len = if number % 4 == 0 { 300 * 1024 + number as usize } else { 100 };
            check_echo(&client, server.peer_id(), noise(len, number + 1))
        });
        join_all(calls).await;
        let stats = client.client().stats();
        assert!(stats.opens <= 3, "{stats:?}");
    });
}
