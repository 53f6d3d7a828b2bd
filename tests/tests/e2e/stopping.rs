//! The end: servers that stop, clients that close, nodes that shut down.

use std::time::Duration;

use futures::future::join_all;
use pointsub_swarm::{
    Cause, Delivery, RegisterError, Request, RequestError, Response, SendError, ServerConfig,
    StatusCode,
};

use crate::common::*;
use crate::raw::*;

const LONG: Duration = Duration::from_secs(50);

/// A server whose `echo` waits until the opener is dropped, and a client with calls at work on it.
struct AtWork<F> {
    server: Node,
    client: Node,
    calls: Vec<F>,
    opener: Opener,
    alive: Alive,
}

async fn at_work(
    count: usize,
) -> AtWork<impl Future<Output = Result<Response, RequestError>> + Send + 'static> {
    let server = start(ServerConfig::default(), once()).await;
    let (opener, gate) = Gate::new();
    let alive = Alive::default();
    let counted = alive.clone();
    let handler = move |request: Request| {
        let (gate, alive) = (gate.clone(), counted.clone());
        async move {
            let _guard = alive.enter();
            gate.opened().await;
            request.body
        }
    };
    server.server().register(&echo_name(), handler).expect("first");
    let client = client_of(&server, once()).await;
    let peer = server.peer_id();
    let calls = (0..count).map(|_| {
        let client = client.client();
        spawn(async move { client.send(peer, &echo_name(), "at work").await })
    });
    let calls = calls.collect();
    until(|| alive.now() == count).await;
    AtWork { server, client, calls, opener, alive }
}

/// Waits until the server lets nothing more in.
async fn until_stopping(server: &Node) {
    let late = name("/late");
    until(|| server.server().register(&late, echo) == Err(RegisterError::Draining)).await;
}

/// S14: what is at work is finished, what comes later is refused, and then nothing is left.
#[test]
fn a_server_that_stops_finishes_what_is_at_work() {
    run(async {
        let AtWork { server, client, calls, opener, alive: _ } = at_work(5).await;
        let (stopping, stopped) = (server.server(), Flag::default());
        let done = stopped.clone();
        let stop = spawn(async move {
            stopping.stop(LONG).await;
            done.raise();
        });
        until_stopping(&server).await;
        for _ in 0..3 {
            let outcome = client.client().send(server.peer_id(), &echo_name(), "new").await;
            let (status, error) = status(outcome);
            assert_eq!(status.code, StatusCode::Draining);
            assert_eq!(error.delivery, Delivery::NotProcessed);
        }
        assert!(!stopped.is_raised(), "requests are at work");
        drop(opener);
        for outcome in join_all(calls).await {
            assert_eq!(outcome.expect("it was at work"), "at work");
        }
        stop.await;
        let stats = server.server().stats();
        assert_eq!((stats.ok, stats.in_flight), (5, 0));
        until(|| client.client().stats().streams == 0).await;
    });
}

/// S14, S21: what takes longer than it is given is cut off, and its places are free.
#[test]
fn a_server_that_stops_cuts_off_what_takes_too_long() {
    run(async {
        let AtWork { server, client: _client, calls, opener: _opener, alive } = at_work(5).await;
        server.server().stop(Duration::from_millis(100)).await;
        for outcome in join_all(calls).await {
            let error = outcome.expect_err("it was cut off");
            let lost = matches!(error.cause, Cause::Lost(_) | Cause::RemoteClosed);
            assert!(lost, "{error:?}");
            assert_eq!(error.delivery, Delivery::Unknown);
        }
        until(|| alive.dropped() == 5).await;
        until(|| server.server().stats().in_flight == 0).await;
        assert_eq!(server.server().stats().abandoned, 5);
    });
}

/// S14: streams without a request do not hold up the end.
#[test]
fn a_server_with_idle_streams_stops_at_once() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client_of(&server, once()).await;
        check_echo(&node, server.peer_id(), "warm").await;
        let idle = RawPeer::client().await;
        let peer = idle.dial(address(&server).await).await;
        let mut native = idle.open(peer, NATIVE).await.expect("announced");
        let mut plain = idle.open(peer, PLAIN).await.expect("announced");
        let stopping = server.server();
        let stop = spawn(async move { stopping.stop(LONG).await });
        // It ends its side when the server has ended its own.
        read_to_end(&mut native).await;
        drop(native);
        within(Duration::from_secs(20), stop).await;
        assert_eq!(read_to_end(&mut plain).await, b"");
        until(|| node.client().stats().streams == 0).await;
        // A second stop has nothing to do.
        within(Duration::from_secs(20), server.server().stop(LONG)).await;
    });
}

/// S14: the plain format cannot say that a server stops; the request at work is still answered.
#[test]
fn a_server_that_stops_answers_the_plain_request_at_work() {
    run(async {
        let AtWork { server, client: _client, calls, opener, alive } = at_work(0).await;
        drop(calls);
        let old = RawPeer::client().await;
        let peer = old.dial(address(&server).await).await;
        let mut stream = old.open(peer, PLAIN).await.expect("announced");
        write(&mut stream, &plain(b"at work")).await.expect("the server reads");
        until(|| alive.now() == 1).await;
        let stopping = server.server();
        let stop = spawn(async move { stopping.stop(LONG).await });
        until_stopping(&server).await;
        drop(opener);
        assert_eq!(read_to_end(&mut stream).await, plain(b"at work"));
        stop.await;
    });
}

/// C16.
#[test]
fn a_client_that_closes_ends_its_calls_and_takes_no_more() {
    run(async {
        let AtWork { server, client: node, calls, opener: _opener, alive } = at_work(5).await;
        let client = node.client();
        client.close().await;
        for outcome in join_all(calls).await {
            let error = outcome.expect_err("the client was closed");
            assert_eq!((error.cause, error.delivery), (Cause::Closed, Delivery::Unknown));
        }
        let error = client.send(server.peer_id(), &echo_name(), "later").await;
        let error = error.expect_err("the client is closed");
        assert_eq!(error.cause, Cause::Refused(SendError::Closed));
        let stats = client.stats();
        assert_eq!((stats.streams, stats.in_flight, stats.failed), (0, 0, 5));
        // Nobody waits: the handlers are told.
        until(|| alive.dropped() == 5).await;
        // A second close has nothing to do.
        client.close().await;
    });
}

/// C16: also those that have no stream yet.
#[test]
fn a_client_that_closes_ends_calls_that_wait_for_a_connection() {
    run(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let node = client(once()).await;
        let peer = pointsub_swarm::PeerId::random();
        let silent = format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address");
        node.add_address(peer, silent).await;
        let client = node.client();
        let call = {
            let client = client.clone();
            spawn(async move { client.send(peer, &echo_name(), "x").await })
        };
        until(|| client.stats().in_flight == 1).await;
        client.close().await;
        let error = call.await.expect_err("the client was closed");
        assert_eq!((error.cause, error.delivery), (Cause::Closed, Delivery::NotProcessed));
    });
}

#[test]
fn a_client_that_drains_finishes_its_calls_and_takes_no_more() {
    run(async {
        let AtWork { server, client: node, calls, opener, alive: _ } = at_work(5).await;
        let client = node.client();
        let drain = {
            let client = client.clone();
            spawn(async move { client.drain().await })
        };
        // It is refused as soon as the drain has begun.
        loop {
            let outcome = futures::poll!(Box::pin(
                client.send(server.peer_id(), &echo_name(), "later").into_future()
            ));
            if let std::task::Poll::Ready(Err(error)) = outcome {
                assert_eq!(error.cause, Cause::Refused(SendError::Closed));
                break;
            }
            yield_now().await;
        }
        drop(opener);
        for outcome in join_all(calls).await {
            assert_eq!(outcome.expect("it was at work"), "at work");
        }
        drain.await;
        assert_eq!(client.stats().streams, 0);
    });
}

#[test]
fn a_node_that_shuts_down_ends_everything() {
    run(async {
        let AtWork { server, client, calls, opener: _opener, alive } = at_work(5).await;
        let (handle, own) = (server.server(), server.client());
        let peer = server.peer_id();
        within(Duration::from_secs(20), server.shutdown(Duration::from_millis(100))).await;
        for outcome in join_all(calls).await {
            outcome.expect_err("it was cut off");
        }
        until(|| alive.dropped() == 5).await;
        assert_eq!(handle.stats().in_flight, 0);
        let error = own.send(client.peer_id(), &echo_name(), "x").await;
        assert_eq!(error.expect_err("closed").cause, Cause::Refused(SendError::Closed));
        // What the other side asks fails in time, whether it has noticed yet or not.
        let outcome = client.client().send(peer, &echo_name(), "x").await;
        outcome.expect_err("nobody is there");
    });
}

/// Handles outlive their node without hanging.
#[test]
fn a_handle_whose_node_is_gone_fails_its_calls() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client_of(&server, once()).await;
        check_echo(&node, server.peer_id(), "before").await;
        let (client, echo) = (node.client(), echo_name());
        drop(node);
        // The node's task ends at its own time; from then on every call fails.
        let patience = Duration::from_secs(20);
        let ask = || client.send(server.peer_id(), &echo, "after").into_future();
        while within(patience, ask()).await.is_ok() {}
        for _ in 0..3 {
            within(patience, ask()).await.expect_err("the node is gone");
        }
    });
}
