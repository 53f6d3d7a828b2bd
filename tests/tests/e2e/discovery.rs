//! Servers that nobody has named.

use std::time::Duration;

use pointsub_swarm::{
    Cause, Delivery, Discover, Finder, FinderTask, Found, NodeOutcome, Phase, SendError,
    ServerConfig, Source, Sources,
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
        let answer = client.send_closest(&echo_name(), "y").await.expect("it serves it again");
        assert_eq!(answer.attempts()[0].outcome, NodeOutcome::Answered);
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
        let _ = Duration::ZERO;
    });
}
