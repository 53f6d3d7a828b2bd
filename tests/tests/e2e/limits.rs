//! Servers at their limits, and counters that add up.

use std::collections::VecDeque;

use futures::future::join_all;
use pointsub_swarm::{
    ClientStats, Delivery, HandlerError, Request, ServerConfig, ServerStats, StatusCode,
};

use crate::common::*;
use crate::raw::*;

fn check_client(stats: ClientStats) {
    let ended = stats.ok + stats.failed + stats.cancelled;
    assert_eq!(stats.started, ended + stats.in_flight, "{stats:?}");
}

fn check_server(stats: ServerStats) {
    let ended = stats.ok + stats.failed + stats.abandoned;
    assert_eq!(stats.started, ended + stats.in_flight, "{stats:?}");
}

/// S3, S8, S18: beyond the limit every caller is told to come back, and only that.
#[test]
fn a_server_at_its_limit_says_busy_and_when_to_ask_again() {
    run(async {
        let config = ServerConfig::default().with_max_concurrent_requests(1);
        let server = start(config, once()).await;
        let (opener, gate) = Gate::new();
        server.server().register(&echo_name(), echo_behind(gate)).expect("first");
        let node = client_of(&server, once()).await;
        let (client, peer) = (node.client(), server.peer_id());
        let first = {
            let client = client.clone();
            spawn(async move { client.send(peer, &echo_name(), "first").await })
        };
        until(|| server.server().stats().in_flight == 1).await;
        for refused in 1..=10 {
            let (status, error) = status(client.send(peer, &echo_name(), "another").await);
            assert_eq!(status.code, StatusCode::Busy);
            assert!(status.retry_after.is_some_and(|after| !after.is_zero()), "{status:?}");
            assert_eq!(error.delivery, Delivery::NotProcessed);
            assert_eq!(server.server().stats().refused, refused);
            check_server(server.server().stats());
            check_client(client.stats());
        }
        // Another protocol and another client stand at the same door.
        let other = client_of(&server, once()).await;
        let outcome = other.client().send(peer, &echo_name(), "another").await;
        assert_eq!(status(outcome).0.code, StatusCode::Busy);
        drop(opener);
        assert_eq!(first.await.expect("it was at work"), "first");
        check_echo(&node, peer, "there is room again").await;
        let (at_client, at_server) = (client.stats(), server.server().stats());
        check_client(at_client);
        check_server(at_server);
        assert_eq!((at_client.ok, at_client.failed, at_client.in_flight), (2, 10, 0));
        assert_eq!((at_server.ok, at_server.refused, at_server.in_flight), (2, 11, 0));
    });
}

/// S18: at the end of a mixed run the counters of both sides tell the same story.
#[test]
fn counters_of_both_sides_agree() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let handler = |request: Request| async move {
            match request.body.first() {
                Some(b'e') => Err(HandlerError::new(1, "as asked")),
                Some(b'y') => {
                    yield_now().await;
                    Ok(request.body)
                }
                _ => Ok(request.body),
            }
        };
        server.server().register(&echo_name(), handler).expect("first");
        let node = client_of(&server, once()).await;
        let (client, echo) = (node.client(), echo_name());
        let calls = (0..600).map(|n| {
            let body = ["error", "yield", "at once"][n % 3];
            client.send(server.peer_id(), &echo, body).into_future()
        });
        let failed = join_all(calls).await.into_iter().filter(Result::is_err).count();
        assert_eq!(failed, 200);
        let (at_client, at_server) = (client.stats(), server.server().stats());
        check_client(at_client);
        check_server(at_server);
        assert_eq!((at_client.ok, at_client.failed), (400, 200));
        assert_eq!((at_server.ok, at_server.failed, at_server.in_flight), (400, 200, 0));
    });
}

/// More requests on one stream than the server allows are answered, each by name.
#[test]
fn requests_beyond_a_streams_limit_are_answered_busy() {
    run(async {
        let server = start(ServerConfig::default().with_max_in_flight(2), once());
        let server = server.await;
        server.server().register(&echo_name(), |_| hang(Alive::default())).expect("first");
        let rude = RawPeer::client().await;
        let peer = rude.dial(address(&server).await).await;
        let mut stream = rude.open(peer, NATIVE).await.expect("announced");
        for id in 1..=5 {
            write(&mut stream, &native(REQUEST, id, &[], b"x")).await.expect("the server reads");
        }
        for id in 3..=5 {
            let answer = next_of(&mut stream, RESPONSE).await.expect("an answer");
            assert_eq!((answer.id, answer.flags), (id, 0x40), "not processed");
            assert_eq!(answer.fields[..4], [3, 0, 1, 3], "status: busy");
        }
        assert_eq!(server.server().stats().in_flight, 2);
    });
}

/// Opens streams until the server has as many as it allows.
async fn filled(
    name: &'static str,
    limit: usize,
) -> (Node, RawPeer, VecDeque<libp2p_swarm::Stream>) {
    let config = ServerConfig::default().with_max_streams_per_connection(limit);
    let server = echo_server(config).await;
    let rude = RawPeer::client().await;
    let peer = rude.dial(address(&server).await).await;
    let mut streams = VecDeque::new();
    for _ in 0..limit {
        streams.push_back(rude.open(peer, name).await.expect("announced"));
    }
    (server, rude, streams)
}

/// A stream too many is told that it is, and the others are not disturbed.
#[test]
fn a_native_stream_too_many_is_drained() {
    run(async {
        let (server, rude, mut streams) = filled(NATIVE, 4).await;
        for _ in 0..3 {
            let mut extra = rude.open(server.peer_id(), NATIVE).await.expect("announced");
            let drain = next_of(&mut extra, DRAIN).await.expect("it is told");
            assert_eq!(drain.id, 0, "nothing on it was looked at");
            assert_eq!(read_to_end(&mut extra).await, b"");
        }
        assert_eq!(server.server().stats().refused, 3);
        for stream in &mut streams {
            write(stream, &native(REQUEST, 1, &[], b"mine")).await.expect("the server reads");
            assert_eq!(next_of(stream, RESPONSE).await.expect("an answer").body, b"mine");
        }
        // One goes, another may come.
        let mut gone = streams.pop_front().expect("there are four");
        futures::AsyncWriteExt::close(&mut gone).await.expect("half a close");
        read_to_end(&mut gone).await;
        let mut next = rude.open(server.peer_id(), NATIVE).await.expect("announced");
        write(&mut next, &native(REQUEST, 1, &[], b"mine")).await.expect("the server reads");
        assert_eq!(next_of(&mut next, RESPONSE).await.expect("an answer").body, b"mine");
    });
}

#[test]
fn a_plain_stream_too_many_is_closed() {
    run(async {
        let (server, rude, mut streams) = filled(PLAIN, 4).await;
        let mut extra = rude.open(server.peer_id(), PLAIN).await.expect("announced");
        let _gone = write(&mut extra, &plain(b"me too")).await;
        assert_eq!(read_to_end(&mut extra).await, b"");
        assert_eq!(server.server().stats().refused, 1);
        for stream in &mut streams {
            write(stream, &plain(b"mine")).await.expect("the server reads");
            assert_eq!(read_plain(stream).await.as_deref(), Some(&b"mine"[..]));
        }
    });
}

/// A peer with more plain streams than a connection may have, as a Go client has after many requests
/// at a time: each is served, and the ones that are idle for the longest time end.
#[test]
fn a_stream_too_many_displaces_an_idle_one() {
    run(async {
        const OTHER: &str = "/other/1.0.0";
        let server = echo_server(ServerConfig::default()).await;
        server.server().register(&name(OTHER), echo).expect("first");
        let rude = RawPeer::client().await;
        let peer = rude.dial(address(&server).await).await;
        let mut streams = Vec::new();
        for n in 0..280_usize {
            let mut stream = rude.open(peer, [PLAIN, OTHER][n % 2]).await.expect("announced");
            write(&mut stream, &plain(&n.to_be_bytes())).await.expect("the server reads");
            assert_eq!(read_plain(&mut stream).await.as_deref(), Some(&n.to_be_bytes()[..]), "{n}");
            streams.push(stream);
        }
        let stats = server.server().stats();
        assert_eq!((stats.displaced, stats.refused), (24, 0));
        for stream in &mut streams[..24] {
            assert_eq!(read_to_end(stream).await, b"", "it is closed in good order");
        }
        for stream in &mut streams[24..] {
            write(stream, &plain(b"again")).await.expect("the server reads");
            assert_eq!(read_plain(stream).await.as_deref(), Some(&b"again"[..]));
        }
    });
}

/// A server that allows fewer streams than the client would like fails some calls, by name, and
/// the stream that there is goes on.
#[test]
fn a_client_survives_a_server_that_allows_one_stream() {
    run(async {
        let config = ServerConfig::default().with_max_streams_per_connection(1);
        let server = echo_server(config).await;
        let node = client_of(&server, once()).await;
        check_echo(&node, server.peer_id(), "the first stream").await;
        let (client, echo) = (node.client(), echo_name());
        let calls = (0..20_u64).map(|n| {
            let len = if n % 2 == 0 { 100 * 1024 } else { 10 };
            client.send(server.peer_id(), &echo, noise(len, n + 1)).into_future()
        });
        let outcomes = join_all(calls).await;
        assert!(outcomes.iter().any(Result::is_ok));
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(error.delivery, Delivery::NotProcessed, "{error:?}");
        }
        check_echo(&node, server.peer_id(), "after").await;
    });
}
