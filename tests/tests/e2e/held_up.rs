//! Deadlines of callers whose own side is held up: a swarm that nobody polls, a runtime that is
//! blocked.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use libp2p_identity::Keypair;
use libp2p_swarm::{Config, Swarm};
use pointsub_swarm::{
    Behaviour, Cause, Client, Delivery, Executor, PeerId, RequestError, Response, Runtime,
    Security, ServerConfig,
};

use crate::common::*;
use crate::support::rt;

const SOON: Duration = Duration::from_millis(100);
/// No deadline is nearly as late, unless nobody keeps it.
const LATE: Duration = Duration::from_secs(20);

/// A swarm of one's own, and the tasks of its behaviour. Nothing but [`driven`](Self::driven) polls them.
struct Own {
    swarm: Swarm<Behaviour>,
    spawned: mpsc::UnboundedReceiver<BoxFuture<'static, ()>>,
    tasks: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Own {
    fn new() -> (Self, Client) {
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let (spawn, spawned) = mpsc::unbounded();
        let executor = Executor::new(move |task| _ = spawn.unbounded_send(task));
        let behaviour = Behaviour::new(peer, once(), ServerConfig::default(), executor);
        let behaviour = behaviour.expect("defaults are valid");
        let client = behaviour.client();
        let config = Config::without_executor();
        let swarm = Swarm::new(transport(&keypair), behaviour, peer, config);
        (Self { swarm, spawned, tasks: FuturesUnordered::new() }, client)
    }

    /// Polls the swarm and its tasks until something is done.
    async fn driven<T>(&mut self, until: impl Future<Output = T>) -> T {
        let mut until = pin!(until);
        poll_fn(|cx| {
            while let Poll::Ready(Some(_)) = self.swarm.poll_next_unpin(cx) {}
            while let Poll::Ready(Some(task)) = self.spawned.poll_next_unpin(cx) {
                self.tasks.push(task);
            }
            while let Poll::Ready(Some(())) = self.tasks.poll_next_unpin(cx) {}
            until.as_mut().poll(cx)
        })
        .await
    }
}

#[track_caller]
fn check(outcome: Result<Response, RequestError>, delivery: Delivery) {
    let error = outcome.expect_err("nobody answers");
    assert_eq!((error.cause, error.delivery), (Cause::Deadline, delivery));
}

/// C1: everything that has a deadline ends with it.
#[test]
fn a_deadline_holds_in_a_swarm_that_nobody_polls() {
    run(async {
        let (_own, client) = Own::new();
        let (peer, echo) = (PeerId::random(), echo_name());
        let call = client.send(peer, &echo, "x").timeout(SOON);
        check(within(LATE, call.into_future()).await, Delivery::NotProcessed);

        client.add_server_node(&echo, peer).expect("the first");
        let call = client.send_closest(&echo, "x").timeout(SOON);
        let failed = within(LATE, call.into_future()).await.expect_err("nobody answers");
        assert_eq!(failed.error.cause, Cause::Deadline);
        assert_eq!((failed.error.delivery, failed.attempts.len()), (Delivery::NotProcessed, 1));

        let dial = client.dial(peer, &echo).timeout(SOON);
        let error = within(LATE, dial.into_future()).await.expect_err("nobody answers");
        assert_eq!((error.cause, error.delivery), (Cause::Deadline, Delivery::NotProcessed));

        let stats = client.stats();
        assert_eq!((stats.in_flight, stats.failed), (0, 1));
    });
}

/// C1: callers share one timer, and none of them is forgotten, whichever comes first.
#[test]
fn every_deadline_holds_in_a_swarm_that_nobody_polls() {
    run(async {
        let (_own, client) = Own::new();
        let calls =
            (0..200_u32).map(|number| {
                let client = client.clone();
                let timeout = SOON / 100 * (number * 37 % 200);
                spawn(async move {
                    client.send(PeerId::random(), &echo_name(), "x").timeout(timeout).await
                })
            });
        for outcome in within(LATE, join_all(calls.collect::<Vec<_>>())).await {
            check(outcome, Delivery::NotProcessed);
        }
        assert_eq!(client.stats().in_flight, 0);
    });
}

/// C1, C4: what never left is known not to be processed, even if there is a stream for it.
#[test]
fn what_a_swarm_that_stands_still_has_not_sent_was_not_processed() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let (slow, alive) = (name("/slow"), Alive::default());
        let at_work = alive.clone();
        let handler = move |_| hang(at_work.clone());
        server.server().register(&slow, handler).expect("the first");
        let (mut own, client) = Own::new();
        own.swarm.dial(address(&server).await).expect("an address");
        while !own.swarm.is_connected(&server.peer_id()) {
            let _event = own.swarm.select_next_some().await;
        }
        let (peer, echo) = (server.peer_id(), echo_name());
        let warm = own.driven(client.send(peer, &echo, "warm").into_future()).await;
        assert_eq!(warm.expect("an echo"), "warm");

        let call = client.send(peer, &echo, "x").timeout(SOON);
        check(within(LATE, call.into_future()).await, Delivery::NotProcessed);

        let sent = client.clone();
        let call = spawn(async move { sent.send(peer, &slow, "x").timeout(SOON * 20).await });
        own.driven(until(|| alive.now() == 1)).await;
        check(within(LATE, call).await, Delivery::Unknown);

        // And then it goes on as if nothing had been.
        let again = own.driven(client.send(peer, &echo, "again").into_future()).await;
        assert_eq!(again.expect("an echo"), "again");
    });
}

static BLOCKED: AtomicBool = AtomicBool::new(false);

/// The runtime under test, whose tasks do nothing while it is blocked.
#[derive(Default)]
struct Blocking;

impl Runtime for Blocking {
    fn spawn(&self, mut future: BoxFuture<'static, ()>) {
        rt().spawn(Box::pin(poll_fn(move |cx| {
            if BLOCKED.load(Ordering::SeqCst) {
                return Poll::Pending;
            }
            future.as_mut().poll(cx)
        })));
    }

    fn transport(&self, security: &Security) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
        rt().transport(security)
    }
}

/// C1: a node whose runtime is blocked says nothing, and its caller hears all the same.
#[test]
fn a_deadline_holds_while_the_nodes_own_runtime_is_blocked() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let alive = Alive::default();
        let at_work = alive.clone();
        let handler = move |_| hang(at_work.clone());
        server.server().register(&echo_name(), handler).expect("the first");
        let node = pointsub_swarm::Node::<Blocking>::builder().client_config(once());
        let node = node.build().await.expect("a node");
        let peer = node.connect(address(&server).await).await.expect("it listens");
        let (client, echo) = (node.client(), echo_name());
        let sent = client.clone();
        let call =
            spawn(async move { sent.send(peer, &echo_name(), "x").timeout(SOON * 20).await });
        until(|| alive.now() == 1).await;
        BLOCKED.store(true, Ordering::SeqCst);
        check(within(LATE, call).await, Delivery::Unknown);
        let call = client.send(PeerId::random(), &echo, "x").timeout(SOON);
        check(within(LATE, call.into_future()).await, Delivery::NotProcessed);
    });
}
