//! Requests that are tried again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pointsub_swarm::{
    Cause, Client, ClientConfig, Delivery, RequestError, RetryPolicy, ServerConfig, StatusCode,
};

use crate::common::*;
use crate::raw::*;

fn quick() -> ClientConfig {
    ClientConfig::default().with_retry_interval(Duration::from_millis(5))
}

/// C4: busy is an answer that passes.
#[test]
fn a_busy_server_is_asked_again_until_it_has_room() {
    run(async {
        let server = start(ServerConfig::default().with_max_concurrent_requests(1), once()).await;
        let (opener, gate) = Gate::new();
        server.server().register(&echo_name(), echo_behind(gate)).expect("first");
        let node = client_of(&server, quick().with_max_retries(100)).await;
        let (client, peer) = (node.client(), server.peer_id());
        // Another client's: it would wait for one of its own.
        let other = client_of(&server, once()).await;
        let first = spawn({
            let client = other.client();
            async move { client.send(peer, &echo_name(), "first").await }
        });
        until(|| server.server().stats().in_flight == 1).await;
        let second = spawn({
            let client = client.clone();
            async move { client.send(peer, &echo_name(), "second").await }
        });
        until(|| client.stats().retries > 0).await;
        drop(opener);
        assert_eq!(first.await.expect("it was at work"), "first");
        assert_eq!(second.await.expect("there is room again"), "second");
    });
}

/// C4: a peer that nobody can reach is tried as often as configured, then the caller is told.
#[test]
fn an_unreachable_peer_is_given_up_after_the_last_retry() {
    run(async {
        let gone = echo_server(ServerConfig::default()).await;
        let (peer, address) = (gone.peer_id(), address(&gone).await);
        gone.shutdown(Duration::ZERO).await;
        let node = client(quick().with_max_retries(2)).await;
        node.add_address(peer, address).await;
        let error = node.client().send(peer, &echo_name(), "x").await.expect_err("nobody listens");
        assert!(matches!(error.cause, Cause::Unreachable(_)), "{error:?}");
        assert_eq!(error.delivery, Delivery::NotProcessed);
        assert_eq!(node.client().stats().retries, 2);
    });
}

/// A server whose handler stops the stream under the first so many requests; counts them all.
pub(crate) async fn failing(times: u64) -> (RawPeer, Arc<AtomicU64>) {
    let seen = Arc::new(AtomicU64::new(0));
    let counter = seen.clone();
    let peer = RawPeer::start(&[PLAIN], move |mut stream| {
        let counter = counter.clone();
        async move {
            while let Some(body) = read_plain(&mut stream).await {
                if counter.fetch_add(1, Ordering::SeqCst) < times {
                    return;
                }
                let _gone = write(&mut stream, &plain(&body)).await;
            }
        }
    })
    .await;
    (peer, seen)
}

/// C4: what may have been processed is tried again, because the caller did not say otherwise.
#[test]
fn a_lost_answer_is_asked_for_again() {
    run(async {
        let (server, seen) = failing(2).await;
        let node = client(quick()).await;
        node.connect(server.address.clone()).await.expect("it listens");
        check_echo(&node, server.id, "again and again").await;
        assert_eq!(seen.load(Ordering::SeqCst), 3);
        assert_eq!(node.client().stats().retries, 2);
    });
}

/// C4: a request that must not be executed twice reaches the handler once.
#[test]
fn a_request_that_is_not_idempotent_is_not_tried_again_once_it_may_have_arrived() {
    run(async {
        let (server, seen) = failing(2).await;
        let node = client(quick()).await;
        node.connect(server.address.clone()).await.expect("it listens");
        let name = echo_name();
        let call = node.client().send(server.id, &name, "once").idempotent(false);
        let error = call.await.expect_err("its answer was lost");
        assert_eq!((error.cause, error.delivery), (Cause::RemoteClosed, Delivery::Unknown));
        assert_eq!(seen.load(Ordering::SeqCst), 1);
    });
}

/// N7: an application's own policy.
#[test]
fn a_policy_of_ones_own_decides() {
    #[derive(Debug)]
    struct Never(Arc<AtomicU64>);
    impl RetryPolicy for Never {
        fn pause(&self, error: &RequestError, retries: u32, _: u64) -> Option<Duration> {
            assert_eq!(error.status().map(|status| status.code), Some(StatusCode::Busy));
            assert_eq!(retries, 0);
            self.0.fetch_add(1, Ordering::SeqCst);
            None
        }
    }
    run(async {
        let server = start(ServerConfig::default().with_max_concurrent_requests(1), once()).await;
        let (_opener, gate) = Gate::new();
        server.server().register(&echo_name(), echo_behind(gate)).expect("first");
        let asked = Arc::new(AtomicU64::new(0));
        let node = Node::builder().client_config(quick()).retry_policy(Never(asked.clone()));
        let node = node.build().await.expect("a node");
        connect(&node, &server).await;
        // Had it something at work there itself, it would wait for that.
        let other = client_of(&server, once()).await;
        let (client, peer) = (other.client(), server.peer_id());
        let _first = spawn(async move { client.send(peer, &echo_name(), "first").await });
        until(|| server.server().stats().in_flight == 1).await;
        let outcome = node.client().send(peer, &echo_name(), "second").await;
        assert_eq!(status(outcome).0.code, StatusCode::Busy);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    });
}

/// N7: a policy may look at the client that asks it, and use it.
#[test]
fn a_policy_may_use_the_client() {
    #[derive(Debug)]
    struct Curious(Arc<OnceLock<Client>>);
    impl RetryPolicy for Curious {
        fn pause(&self, _: &RequestError, retries: u32, _: u64) -> Option<Duration> {
            let client = self.0.get().expect("set before it is used");
            assert_eq!(client.stats().in_flight, 1);
            assert!(client.streams().is_empty());
            (retries < 2).then_some(Duration::from_millis(1))
        }
    }
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let (peer, gone) = (server.peer_id(), address(&server).await);
        server.shutdown(Duration::ZERO).await;
        let known = Arc::new(OnceLock::new());
        let node = Node::builder().retry_policy(Curious(known.clone()));
        let node = node.build().await.expect("a node");
        node.add_address(peer, gone).await;
        let client = known.get_or_init(|| node.client());
        client.send(peer, &echo_name(), "x").await.expect_err("nobody is there");
        assert_eq!(client.stats().retries, 2);
    });
}
