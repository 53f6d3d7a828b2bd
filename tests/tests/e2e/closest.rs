//! Requests to the closest of several nodes.

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use futures::future::join_all;
use pointsub_swarm::closest::{AddNodeError, Candidate, PeakEwma, Strategy, XorOrder};
use pointsub_swarm::{
    Cause, Client, ClientConfig, Hedge, NodeOutcome, PeerId, RequestError, SendError, ServerConfig,
};

use crate::common::*;

async fn choosing(strategy: impl Strategy + 'static) -> Node {
    Node::builder().client_config(once()).strategy(strategy).build().await.expect("a node")
}

/// Servers that answer their own names, and a client that is connected to all of them and orders
/// them by distance alone.
async fn farm(count: usize) -> (Vec<Node>, Node) {
    farm_of(count, XorOrder).await
}

async fn farm_of(count: usize, strategy: impl Strategy + 'static) -> (Vec<Node>, Node) {
    let node = choosing(strategy).await;
    let mut servers = Vec::new();
    for _ in 0..count {
        let server = start(ServerConfig::default(), once()).await;
        let me = server.peer_id().to_string();
        let whoami = move |_| {
            let me = me.clone();
            async move { me }
        };
        server.server().register(&echo_name(), whoami).expect("first");
        let peer = connect(&node, &server).await;
        assert_eq!(node.client().add_server_node(&echo_name(), peer), Ok(true));
        servers.push(server);
    }
    (servers, node)
}

/// N1, N9: nodes are kept by protocol, and an answer comes with its node.
#[test]
fn the_answer_names_the_node_that_gave_it() {
    run(async {
        let (servers, node) = farm(3).await;
        let client = node.client();
        let peers: Vec<PeerId> = servers.iter().map(Node::peer_id).collect();
        assert_eq!(client.server_nodes(&echo_name()), peers);
        assert!(client.has_available_nodes(&echo_name()));
        assert!(!client.has_available_nodes(&name("/other")));
        assert_eq!(client.add_server_node(&echo_name(), node.peer_id()), Err(AddNodeError::Own));
        let mut seen = BTreeSet::new();
        for n in 0..40 {
            let answer =
                client.send_closest(&echo_name(), format!("{n}")).await.expect("an answer");
            assert_eq!(answer, answer.peer().to_string());
            assert_eq!(answer.attempts().len(), 1);
            assert_eq!(answer.attempts()[0].outcome, NodeOutcome::Answered);
            seen.insert(answer.peer());
        }
        assert_eq!(seen.len(), 3, "40 keys are spread over the nodes");
        // The same key goes to the same node, whatever the body.
        let of_key = |body: &'static str| {
            let (client, protocol) = (client.clone(), echo_name());
            async move {
                let call = client.send_closest(&protocol, body).key(b"user 7");
                call.await.expect("an answer").peer()
            }
        };
        assert_eq!(of_key("one").await, of_key("two").await);

        assert!(client.remove_server_node(&echo_name(), peers[0]));
        assert_eq!(client.server_nodes(&echo_name()), peers[1..]);
        client.clear_server_nodes(&echo_name());
        let error = client.send_closest(&echo_name(), "x").await.expect_err("no nodes");
        assert_eq!(error.error, RequestError::from(SendError::NoNodes));
    });
}

/// N5, N6: nodes that are gone are passed over, at once, and not asked again for a while.
#[test]
fn calls_survive_the_death_of_nodes() {
    run(async {
        let (mut servers, node) = farm(4).await;
        let client = node.client();
        let first = client.send_closest(&echo_name(), "key").await.expect("an answer").peer();
        let at = servers.iter().position(|server| server.peer_id() == first).expect("a server");
        servers.remove(at).shutdown(Duration::ZERO).await;
        let answer = client.send_closest(&echo_name(), "key").await.expect("three are left");
        assert_ne!(answer.peer(), first);
        let attempts: Vec<PeerId> = answer.attempts().iter().map(|attempt| attempt.node).collect();
        assert_eq!(attempts, [first, answer.peer()]);
        assert!(matches!(answer.attempts()[0].outcome, NodeOutcome::Failed(_)));
        // It rests.
        let next = client.send_closest(&echo_name(), "key").await.expect("three are left");
        assert_eq!((next.peer(), next.attempts().len()), (answer.peer(), 1));
        assert_eq!(client.stats().failovers, 1);

        for server in servers {
            server.shutdown(Duration::ZERO).await;
        }
        let error = client.send_closest(&echo_name(), "key").await.expect_err("nobody is left");
        assert!(!error.attempts.is_empty(), "{error:?}");
    });
}

/// N6: excluded nodes are not asked.
#[test]
fn excluded_nodes_are_left_alone() {
    run(async {
        let (servers, node) = farm(3).await;
        let client = node.client();
        let protocol = echo_name();
        let excluded = [servers[0].peer_id(), servers[2].peer_id()];
        for n in 0..10 {
            let call = client.send_closest(&protocol, format!("{n}")).exclude(excluded);
            assert_eq!(call.await.expect("an answer").peer(), servers[1].peer_id());
        }
        let all = servers.iter().map(Node::peer_id);
        let outcome = client.send_closest(&protocol, "x").exclude(all).await;
        assert_eq!(outcome.expect_err("no nodes").error.cause, Cause::Refused(SendError::NoNodes));
    });
}

/// N5: a hedged call is answered by the faster node, and the slower one's handler is stopped.
#[test]
fn the_loser_of_a_hedged_call_is_stopped() {
    run(async {
        let node = client(once()).await;
        let (slow, fast) = (Alive::default(), Alive::default());
        let mut servers = Vec::new();
        for _ in 0..2 {
            // Whoever is asked first hangs, the other answers.
            let server = start(ServerConfig::default(), once()).await;
            let (slow, fast) = (slow.clone(), fast.clone());
            let handler = move |request: pointsub_swarm::Request| {
                let (slow, fast) = (slow.clone(), fast.clone());
                async move {
                    if slow.now() == 0 && fast.peak() == 0 {
                        return hang(slow).await;
                    }
                    let _guard = fast.enter();
                    Ok(request.body)
                }
            };
            server.server().register(&echo_name(), handler).expect("first");
            let peer = connect(&node, &server).await;
            node.client().add_server_node(&echo_name(), peer).expect("not itself");
            servers.push(server);
        }
        let hedge = Hedge::after(Duration::from_millis(20));
        let answer = node.client().send_closest(&echo_name(), "a").hedge(hedge).await;
        let answer = answer.expect("an answer");
        let outcomes: Vec<_> = answer.attempts().iter().map(|a| a.outcome.clone()).collect();
        assert_eq!(outcomes, [NodeOutcome::Answered, NodeOutcome::Cancelled]);
        until(|| slow.dropped() == 1).await;
        let stats = node.client().stats();
        assert_eq!((stats.hedges, stats.ok, stats.cancelled), (1, 1, 1));
    });
}

/// N5: whoever drops the future of a call stops the handler.
#[test]
fn a_dropped_call_is_cancelled() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let alive = Alive::default();
        let handler = {
            let alive = alive.clone();
            move |_| hang(alive.clone())
        };
        server.server().register(&echo_name(), handler).expect("first");
        let node = client_of(&server, ClientConfig::default()).await;
        node.client().add_server_node(&echo_name(), server.peer_id()).expect("not itself");
        let protocol = echo_name();
        let client = node.client();
        let mut call = Box::pin(client.send_closest(&protocol, "a").into_future());
        let at_work = until(|| alive.now() == 1);
        match futures::future::select(&mut call, Box::pin(at_work)).await {
            futures::future::Either::Left((outcome, _)) => panic!("{outcome:?}"),
            futures::future::Either::Right(_) => drop(call),
        }
        until(|| alive.dropped() == 1).await;
        assert_eq!(node.client().stats().cancelled, 1);
    });
}

/// N3: what is known of nodes comes from the swarm's connections, from answers, and from what
/// servers tell with them.
#[test]
fn what_is_known_of_nodes_was_seen() {
    run(async {
        let (mut servers, node) = farm(2).await;
        let client = node.client();
        let known = client.server_nodes_info(&echo_name());
        for (info, server) in known.iter().zip(&servers) {
            assert_eq!((info.node, info.online), (server.peer_id(), Some(true)));
            assert_eq!((info.latency, info.load, info.failures), (None, None, 0));
        }
        let answer = client.send_closest(&echo_name(), "key").await.expect("an answer");
        let seen = |peer| {
            let known = client.server_nodes_info(&echo_name());
            known.into_iter().find(|info| info.node == peer).expect("it is a node")
        };
        let info = seen(answer.peer());
        assert_eq!(info.latency, Some(answer.attempts()[0].took));
        assert!(info.load.is_some_and(|load| load <= 1), "one of a thousand at most: {info:?}");
        // Its process ends.
        let at = servers.iter().position(|server| server.peer_id() == answer.peer());
        servers.remove(at.expect("a server")).shutdown(Duration::ZERO).await;
        until(|| seen(answer.peer()).online == Some(false)).await;
        let other = client.send_closest(&echo_name(), "key").await.expect("one is left");
        assert_ne!(other.peer(), answer.peer());
        let info = seen(answer.peer());
        assert_eq!((info.failures, info.in_flight), (1, 0));
        assert!(info.rests_for.is_some());
    });
}

/// N4: with two choices many calls spread over the nodes. None is answered before all are under way,
/// so that nothing but what is under way decides.
#[test]
fn two_choices_spread_the_load() {
    run(async {
        let node = choosing(PeakEwma).await;
        let client = node.client();
        let (opener, gate) = Gate::new();
        let mut servers = Vec::new();
        for _ in 0..3 {
            let server = start(ServerConfig::default(), once()).await;
            server.server().register(&echo_name(), echo_behind(gate.clone())).expect("first");
            let peer = connect(&node, &server).await;
            client.add_server_node(&echo_name(), peer).expect("not itself");
            servers.push(server);
        }
        let calls: Vec<_> = (0..300)
            .map(|_| {
                let client = client.clone();
                spawn(async move { client.send_closest(&echo_name(), "the same").await })
            })
            .collect();
        let at_work = |server: &Node| server.server().stats().in_flight;
        until(|| servers.iter().map(at_work).sum::<u64>() == 300).await;
        for server in &servers {
            assert!((80..=120).contains(&at_work(server)), "{:?}", server.server().stats());
        }
        drop(opener);
        for answer in join_all(calls).await {
            answer.expect("an answer");
        }
    });
}

/// C16: a drain waits for calls that rest between two rounds.
#[test]
fn a_drain_waits_for_a_call_that_rests() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let gone = address(&server).await;
        let peer = server.peer_id();
        server.shutdown(Duration::ZERO).await;
        let config = ClientConfig::default().with_max_retries(1);
        let node = client(config.with_retry_interval(Duration::from_millis(500))).await;
        node.add_address(peer, gone).await;
        let (client, echo) = (node.client(), echo_name());
        assert_eq!(client.add_server_node(&echo, peer), Ok(true));
        let mut call = pin!(client.send_closest(&echo, "x").into_future());
        // The first try has failed, and the second has not begun.
        while client.stats().failed == 0 {
            assert!(futures::poll!(&mut call).is_pending(), "there is one more round");
            yield_now().await;
        }
        client.drain().await;
        let Poll::Ready(outcome) = futures::poll!(&mut call) else { panic!("still under way") };
        assert_eq!(outcome.expect_err("nobody is there").attempts.len(), 2);
    });
}

/// N7: a strategy may look at the client that asks it.
#[test]
fn a_strategy_may_use_the_client() {
    #[derive(Debug)]
    struct Curious(Arc<OnceLock<Client>>);
    impl Strategy for Curious {
        fn cost(&self, candidate: &Candidate<'_>) -> u64 {
            let client = self.0.get().expect("set before it is used");
            assert_eq!(client.server_nodes(&echo_name()).len(), 3);
            assert!(client.stats().in_flight <= 1);
            u64::from(candidate.node.in_flight())
        }
    }
    run(async {
        let known = Arc::new(OnceLock::new());
        let (servers, node) = farm_of(3, Curious(known.clone())).await;
        let client = known.get_or_init(|| node.client());
        let echo = echo_name();
        let answer = client.send_closest(&echo, "x").await.expect("an answer");
        // Those that are gone are passed over.
        let (gone, _others): (Vec<Node>, Vec<Node>) =
            servers.into_iter().partition(|server| server.peer_id() == answer.peer());
        for server in gone {
            server.shutdown(Duration::ZERO).await;
        }
        let other = client.send_closest(&echo, "x").await.expect("an answer");
        assert_ne!(other.peer(), answer.peer());
        let all = client.server_nodes(&echo);
        let none = client.send_closest(&echo, "x").exclude(all).await.expect_err("none is left");
        assert_eq!(none.error.cause, Cause::Refused(SendError::NoNodes));
    });
}
