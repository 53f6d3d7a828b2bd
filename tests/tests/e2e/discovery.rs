//! Servers that nobody has named.

use std::future::IntoFuture;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use pointsub_swarm::{
    CandidateState, Cause, ClientConfig, Delivery, Discover, Finder, FinderTask, Found, NodeEvent,
    Phase, SendError, ServerConfig, Source, Sources,
};

use crate::common::*;

/// A connected peer that serves the protocol gets requests that go to the closest server, without being
/// added, and stops getting them when it has said that it does not serve it any more.
#[test]
fn a_connected_peer_is_found_and_withdraws() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client_of(&server, once()).await;
        let client = node.client();
        let answer = client.send_closest(&echo_name(), "x").await.expect("it is found");
        assert_eq!((answer.peer(), answer.source()), (server.peer_id(), Some(Source::Connected)));
        assert_eq!(client.server_nodes(&echo_name()), [server.peer_id()]);

        assert!(server.server().unregister(&echo_name()));
        until(|| client.server_nodes(&echo_name()).is_empty()).await;
        let error = client.send_closest(&echo_name(), "x").await.expect_err("nobody serves it");
        let asked = Sources::from_iter([Source::Connected]);
        assert_eq!(error.error.cause, Cause::NoServerFound { asked });
        assert_eq!(error.error.phase, Phase::Discover);
        assert_eq!(error.error.delivery, Delivery::NotProcessed);

        server.server().register(&echo_name(), echo).expect("nothing is registered");
        until(|| client.has_available_nodes(&echo_name())).await;
    });
}

/// A call waits for the first server that a source finds.
#[test]
fn a_call_waits_for_the_first_server() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let (peer, at) = (server.peer_id(), address(&server).await);
        let discover = Discover::source(Source::Custom, move |mut finder: Finder| {
            let at = at.clone();
            async move {
                while let Some(task) = finder.next_task().await {
                    if task == FinderTask::LookUp(echo_name()) {
                        finder.found(Found::new(peer).serving(&echo_name()).at([at.clone()]));
                    }
                }
            }
        });
        let node = Node::builder().client_config(once()).discover(discover).build().await;
        let node = node.expect("a node");
        let answer = node.client().send_closest(&echo_name(), "x").await.expect("it is found");
        assert_eq!((answer.peer(), answer.source()), (peer, Some(Source::Custom)));
    });
}

/// Whoever trusts only servers that it names finds none.
#[test]
fn nobody_is_found_who_is_not_looked_for() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = Node::builder().client_config(once()).discover(Discover::manual());
        let node = node.build().await.expect("a node");
        connect(&node, &server).await;
        let error = node.client().send_closest(&echo_name(), "x").await.expect_err("none is named");
        assert_eq!(error.error.cause, Cause::Refused(SendError::NoNodes));
    });
}

/// A peer that is said to serve a protocol, and does not, gets no request. The error names those who
/// were asked.
#[test]
fn a_lie_of_a_source_costs_one_dial() {
    run(async {
        let liar = start(ServerConfig::default(), once()).await;
        let node = client(once().with_connect_timeout(Duration::from_secs(2))).await;
        let finder = node.finder(Source::Registry);
        let client = node.client();
        let protocol = echo_name();
        let mut call = pin!(client.send_closest(&protocol, "x").into_future());
        assert!(futures::poll!(&mut call).is_pending(), "the registry is asked");
        let found = Found::new(liar.peer_id()).serving(&protocol).at([address(&liar).await]);
        finder.found(found);
        let known = client.server_nodes_info(&protocol);
        assert_eq!((known[0].node, known[0].source), (liar.peer_id(), Source::Registry));
        assert_ne!(known[0].state, CandidateState::Serving);
        let error = call.await.expect_err("nobody serves it");
        let asked = Sources::from_iter([Source::Connected, Source::Registry]);
        assert_eq!(error.error.cause, Cause::NoServerFound { asked });
        assert!(error.attempts.is_empty() && error.may_retry(false));
        assert!(client.server_nodes(&protocol).is_empty());
        assert_eq!(liar.server().stats().started, 0);
    });
}

/// Once the application has named a server of a protocol, peers that are merely connected are none.
#[test]
fn who_names_servers_gets_those() {
    run(async {
        let (named, other) = (
            echo_server(ServerConfig::default()).await,
            echo_server(ServerConfig::default()).await,
        );
        let node = client_of(&other, once()).await;
        let client = node.client();
        let answer = client.send_closest(&echo_name(), "x").await.expect("it is found");
        assert_eq!(answer.peer(), other.peer_id());
        let peer = connect(&node, &named).await;
        client.add_server_node(&echo_name(), peer).expect("a node");
        assert_eq!(client.server_nodes(&echo_name()), [peer]);
        let answer = client.send_closest(&echo_name(), "x").await.expect("it is named");
        assert_eq!((answer.peer(), answer.source()), (peer, Some(Source::Manual)));
    });
}

/// What a source takes back is no candidate, and a server that has gone is no node.
#[test]
fn a_source_hears_what_is_served_and_where() {
    run(async {
        let server = start(ServerConfig::default(), ClientConfig::default()).await;
        let mut finder = server.finder(Source::Custom);
        assert_eq!(finder.next_task().await, Some(FinderTask::Changed));
        assert!(!finder.addresses().is_empty());
        server.server().register(&echo_name(), echo).expect("first");
        while finder.served() != [echo_name()] {
            assert_eq!(finder.next_task().await, Some(FinderTask::Changed));
        }
        server.server().stop(Duration::ZERO).await;
        while !finder.served().is_empty() {
            assert_eq!(finder.next_task().await, Some(FinderTask::Changed));
        }
        drop(server);
        while finder.next_task().await.is_some() {}
    });
}

/// Names that do not fit into identify's message are noticed, connected or not.
#[test]
fn more_names_than_fit_are_noticed() {
    run(async {
        let node = client(once()).await;
        let mut events = node.events();
        for n in 0..60 {
            let long = name(&format!("/a-protocol-with-a-name-of-some-length/{n}"));
            node.server().register(&long, echo).expect("first");
        }
        loop {
            let event = events.next().await.expect("the node lives");
            if let NodeEvent::AnnouncementTooLong { excess, names } = event {
                assert!(excess > 0 && names > 40, "{excess} bytes too much, {names} names");
                return;
            }
        }
    });
}

/// Who waits for a server hears of one that connects by itself, or is named, though nothing was under way by
/// which one could have been found.
#[test]
fn who_waits_hears_of_a_server_that_connects_or_is_named() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = start(ServerConfig::default(), once()).await;
        let (client, echo, other) = (node.client(), echo_name(), name("/other/1.0.0"));
        let mut comes = pin!(client.wait_for_server(&echo));
        assert!(futures::poll!(&mut comes).is_pending(), "there is none yet");
        connect(&server, &node).await;
        comes.await.expect("it has connected");
        assert_eq!(client.server_nodes(&echo), [server.peer_id()]);
        client.wait_for_server(&echo).await.expect("it is there still");

        let mut named = pin!(client.wait_for_server(&other));
        assert!(futures::poll!(&mut named).is_pending(), "nobody serves it");
        client.add_server_node(&other, server.peer_id()).expect("a node");
        named.await.expect("it is named");
    });
}

/// A wait ends when connecting would, and with the client; its error says where was looked.
#[test]
fn a_wait_in_vain_says_where_was_looked() {
    run(async {
        let config = once().with_connect_timeout(Duration::from_millis(50));
        let node = client(config.clone()).await;
        let error = node.client().wait_for_server(&echo_name()).await.expect_err("there is none");
        let asked = Sources::from_iter([Source::Connected]);
        assert_eq!(error.cause, Cause::NoServerFound { asked });
        assert_eq!((error.phase, error.delivery), (Phase::Discover, Delivery::NotProcessed));

        let manual = Node::builder().client_config(config).discover(Discover::manual());
        let manual = manual.build().await.expect("a node");
        let error = manual.client().wait_for_server(&echo_name()).await.expect_err("none is named");
        assert_eq!(error.cause, Cause::NoServerFound { asked: Sources::NONE });

        let (client, echo) = (node.client(), echo_name());
        client.close().await;
        let error = client.wait_for_server(&echo).await.expect_err("it is closed");
        assert_eq!(error.cause, Cause::Refused(SendError::Closed));
    });
}
