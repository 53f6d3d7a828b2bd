//! What a server decides, over real sockets: whom it lets in and how much, what it reports, and
//! its second life.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;

use pointsub_swarm::{
    ClientConfig, Delivery, Format, LimitPolicy, RegisterError, Request, Server, ServerConfig,
    StatusCode,
};

use crate::common::*;
use crate::raw::*;

const LONG: Duration = Duration::from_secs(50);

fn patient() -> ClientConfig {
    ClientConfig::default().with_retry_interval(Duration::from_millis(20)).with_max_retries(100)
}

// Limits.

/// S8: A client hears that the server is busy and when to ask again, does so by itself, and
/// is answered once there is room.
#[test]
fn a_client_that_was_told_to_come_back_is_answered_in_the_end() {
    run(async {
        let server = start(ServerConfig::default().with_max_concurrent_requests(1), once()).await;
        let (opener, gate) = Gate::new();
        server.server().register(&echo_name(), echo_behind(gate)).expect("first");
        let (hasty, patient) =
            (client_of(&server, once()).await, client_of(&server, patient()).await);
        let (client, peer) = (hasty.client(), server.peer_id());
        let first = spawn(async move { client.send(peer, &echo_name(), "first").await });
        until(|| server.server().stats().in_flight == 1).await;

        let (status, error) = status(hasty.client().send(peer, &echo_name(), "hasty").await);
        assert_eq!(status.code, StatusCode::Busy);
        assert_eq!(status.retry_after, Some(Duration::from_millis(100)));
        assert_eq!(error.delivery, Delivery::NotProcessed);

        let client = patient.client();
        let second = spawn(async move { client.send(peer, &echo_name(), "second").await });
        until(|| server.server().stats().busy >= 2).await;
        drop(opener);
        assert_eq!(first.await.expect("it was at work"), "first");
        assert_eq!(second.await.expect("there is room again"), "second");
        let stats = server.server().stats();
        assert_eq!((stats.ok, stats.in_flight, stats.busy), (2, 0, stats.refused));
    });
}

/// S13: one protocol is flooded and never answers; another one on the same server is served
/// as if nothing was.
#[test]
fn a_flooded_protocol_does_not_starve_a_quiet_one() {
    run(async {
        let config = ServerConfig::default()
            .with_limit_policy(LimitPolicy::Fixed)
            .with_max_concurrent_requests(90);
        let server = start(config, once()).await;
        let flooded = name("/flooded");
        server.server().register(&echo_name(), echo).expect("first");
        server.server().register(&flooded, |_| hang(Alive::default())).expect("first");
        server.server().register(&name("/other"), |_| hang(Alive::default())).expect("first");
        let loud = client_of(&server, once()).await;
        let quiet = client_of(&server, once()).await;
        for _ in 0..300 {
            let (client, peer, flooded) = (loud.client(), server.peer_id(), flooded.clone());
            drop(spawn(async move { client.send(peer, &flooded, "x").await }));
        }
        until(|| server.server().stats().busy == 220).await;
        assert_eq!(server.server().stats().in_flight, 80, "eight ninths");
        for n in 0..500 {
            check_echo(&quiet, server.peer_id(), format!("{n}")).await;
        }
        assert_eq!(server.server().stats().busy, 220);
        // Whoever floods has used up a share of everything, but for a protocol's first place.
        check_echo(&loud, server.peer_id(), "the first").await;
        let (client, peer) = (loud.client(), server.peer_id());
        drop(spawn(async move { client.send(peer, &name("/other"), "the first").await }));
        until(|| server.server().stats().in_flight == 81).await;
        let outcome = loud.client().send(peer, &name("/other"), "x").await;
        assert_eq!(status(outcome).0.code, StatusCode::Busy);
    });
}

/// S6, S8: many requests in one read, each answered at once, are no load: none is refused.
#[test]
fn a_burst_that_is_answered_at_once_is_never_busy() {
    run(async {
        let server = echo_server(ServerConfig::default().with_max_concurrent_requests(1)).await;
        let old = RawPeer::client().await;
        let peer = old.dial(address(&server).await).await;
        let mut stream = old.open(peer, NATIVE).await.expect("announced");
        let burst: Vec<u8> = (1..=500).flat_map(|id| native(REQUEST, id, &[], b"x")).collect();
        write(&mut stream, &burst).await.expect("the server reads");
        for id in 1..=500 {
            let answer = next_of(&mut stream, RESPONSE).await.expect("an answer");
            assert_eq!((answer.id, answer.flags, &answer.body[..]), (id, 0, &b"x"[..]));
        }
        let stats = server.server().stats();
        assert_eq!((stats.ok, stats.refused, stats.limit), (500, 0, 1));
    });
}

// Memory.

/// S19: more large requests than there is memory for are refused and come again, until all
/// are served; in the end nothing is held.
#[test]
fn large_requests_beyond_the_budget_are_served_in_turn() {
    run(async {
        let config = ServerConfig::default()
            .with_max_block_size(MIB)
            .with_max_memory(3 * MIB)
            .with_max_memory_per_stream(2 * MIB);
        let server = start(config, once()).await;
        let (opener, gate) = Gate::new();
        server.server().register(&echo_name(), echo_behind(gate)).expect("first");
        let node = client_of(&server, patient()).await;
        let (client, peer, echo) = (node.client(), server.peer_id(), echo_name());
        let calls: Vec<_> = (0..8)
            .map(|seed| {
                let (client, echo) = (client.clone(), echo.clone());
                spawn(async move {
                    let body = noise(MIB, seed + 1);
                    let answer = client.send(peer, &echo, body.clone()).await;
                    assert!(answer.expect("in the end there is room") == body);
                })
            })
            .collect();
        until(|| server.server().stats().busy > 0).await;
        assert!(server.server().stats().memory <= 3 * MIB as u64 + 1000);
        drop(opener);
        join_all(calls).await;
        until(|| server.server().stats().memory == 0).await;
        assert_eq!(server.server().stats().violations, 0);
    });
}

// What is reported.

/// S17, S7: peers, protocols, formats, ages and counts of all open streams, in the terms of
/// libp2p and of the machine's clock.
#[test]
fn connections_are_reported() {
    run(async {
        let begin = Instant::now();
        let server = start(ServerConfig::default(), once()).await;
        let (opener, gate) = Gate::new();
        server.server().register(&echo_name(), echo).expect("first");
        server.server().register(&name("/slow"), echo_behind(gate)).expect("first");
        assert!(server.server().streams().is_empty());
        let node = client_of(&server, once()).await;
        for _ in 0..7 {
            check_echo(&node, server.peer_id(), "x").await;
        }
        let (client, peer) = (node.client(), server.peer_id());
        let slow = spawn(async move { client.send(peer, &name("/slow"), "slow").await });
        until(|| server.server().stats().in_flight == 1).await;
        let old = RawPeer::client().await;
        old.dial(address(&server).await).await;
        let plain = old.open(peer, PLAIN).await.expect("announced");
        until(|| server.server().streams().len() == 3).await;

        let infos = server.server().streams();
        let end = Instant::now();
        for info in &infos {
            assert!(begin <= info.created && info.created <= info.last_active, "{info:?}");
            assert!(info.last_active + info.idle <= end, "{info:?}");
        }
        let find = |peer, protocol: &str| {
            let mut found = infos.iter();
            let info = found.find(|info| info.peer == peer && info.protocol.as_str() == protocol);
            let info = info.unwrap_or_else(|| panic!("{protocol} of {peer} in {infos:?}"));
            (info.format, info.requests, info.in_flight, info.memory)
        };
        let me = node.peer_id();
        assert_eq!(find(me, "/echo/1.0.0"), (Some(Format::Native), 7, 0, 0));
        assert_eq!(find(me, "/slow"), (Some(Format::Native), 1, 1, 4));
        assert_eq!(find(old.id, PLAIN), (Some(Format::Plain), 0, 0, 0));
        let stats = server.server().stats();
        assert_eq!((stats.streams, stats.load, stats.limit), (3, 1, 1000));

        drop(plain);
        until(|| server.server().streams().len() == 2).await;
        drop(opener);
        slow.await.expect("it was at work");
        drop(node);
        until(|| server.server().streams().is_empty()).await;
        assert_eq!(server.server().stats().memory, 0);
    });
}

// Lives.

/// S14: A server stops and starts again, several times, while a client works: every call is
/// answered in the end, by the handler of its time, and on the same connection.
#[test]
fn a_server_stops_and_starts_again_while_a_client_works() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client_of(&server, patient()).await;
        let stop = Flag::default();
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let (client, peer, stop) = (node.client(), server.peer_id(), stop.clone());
                spawn(async move {
                    let (mut answered, mut refused) = (0_u64, 0_u64);
                    while !stop.is_raised() {
                        let body = Bytes::from(format!("{worker}: {answered}"));
                        match client.send(peer, &echo_name(), body.clone()).await {
                            Ok(answer) => {
                                assert_eq!(answer, body);
                                answered += 1;
                            }
                            // Not served at the moment; nothing that was at work was lost.
                            Err(error) => {
                                assert_eq!(error.delivery, Delivery::NotProcessed, "{error:?}");
                                refused += 1;
                            }
                        }
                    }
                    (answered, refused)
                })
            })
            .collect();
        let mut ok = 0;
        for _ in 0..5 {
            until(|| server.server().stats().ok > ok + 50).await;
            assert!(server.server().is_running());
            server.server().stop(LONG).await;
            assert!(!server.server().is_running());
            let stats = server.server().stats();
            assert_eq!((stats.in_flight, stats.abandoned), (0, 0));
            ok = stats.ok;
            server.server().register(&echo_name(), echo).expect("the server can serve again");
        }
        until(|| server.server().stats().ok > ok + 50).await;
        stop.raise();
        let counts = join_all(workers).await;
        assert!(counts.iter().all(|(answered, _)| *answered > 0), "{counts:?}");
        check_echo(&node, server.peer_id(), "still").await;
    });
}

/// S14: while it stops it takes on nothing; when it has, everything, also what it had before.
#[test]
fn a_server_that_has_stopped_can_be_registered_at_again() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let (opener, gate) = Gate::new();
        server.server().register(&echo_name(), echo_behind(gate)).expect("first");
        let node = client_of(&server, once()).await;
        let (client, peer) = (node.client(), server.peer_id());
        let call = spawn(async move { client.send(peer, &echo_name(), "at work").await });
        until(|| server.server().stats().in_flight == 1).await;
        let handle = server.server();
        let stop = spawn(async move { handle.stop(LONG).await });
        until(|| !server.server().is_running()).await;
        let refused = server.server().register(&name("/late"), echo);
        assert_eq!(refused, Err(RegisterError::Draining));
        drop(opener);
        assert_eq!(call.await.expect("it was at work"), "at work");
        stop.await;
        server.server().register(&name("/late"), echo).expect("it has stopped");
        server.server().register(&echo_name(), echo).expect("nothing of before is left");
        assert!(server.server().is_running());
    });
}

/// A server whose handler asks it something at its end.
struct Last(Server);

impl Drop for Last {
    fn drop(&mut self) {
        let _stats = self.0.stats();
    }
}

/// S14, S15: what a handler owns may use the server when it is dropped.
#[test]
fn the_end_of_a_handler_may_ask_the_server() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        for stop in [true, false] {
            let last = Last(server.server());
            let handler = move |request: Request| {
                let _owned = &last;
                echo(request)
            };
            server.server().register(&echo_name(), handler).expect("first");
            if stop {
                server.server().stop(LONG).await;
            } else {
                assert!(server.server().unregister(&echo_name()));
            }
        }
    });
}

/// S16: A handler owns the body that it is given: it stays as it is, whatever comes later.
#[test]
fn a_body_that_is_kept_does_not_change() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keeper = kept.clone();
        let handler = move |request: Request| {
            keeper.lock().expect("not poisoned").push(request.body.clone());
            async { Bytes::new() }
        };
        server.server().register(&echo_name(), handler).expect("first");
        let node = client_of(&server, once()).await;
        let (client, echo) = (node.client(), echo_name());
        let body = |n: u64| noise([3, 500, 70_000][n as usize % 3], n + 1);
        for n in 0..60 {
            client.send(server.peer_id(), &echo, body(n)).await.expect("kept");
        }
        for (n, kept) in (0..).zip(kept.lock().expect("not poisoned").iter()) {
            assert!(*kept == body(n), "body {n} has changed");
        }
    });
}
