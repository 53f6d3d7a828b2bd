//! Calls to the closest of several servers.

use std::task::Poll;
use std::time::Duration;

use pointsub_swarm::{
    Cause, HandlerError, IncomingCall, NodeOutcome, PeerId, SendError, ServerConfig, StatusCode,
};

use crate::common::*;

/// Servers of a protocol of calls, some of which refuse, and a client that knows all of them.
async fn farm(refusals: &[bool]) -> (Vec<Node>, Node) {
    let node = client(once()).await;
    let mut servers = Vec::new();
    for refuses in refusals {
        let server = start(ServerConfig::default(), once()).await;
        let (me, refuses) = (server.peer_id().to_string(), *refuses);
        let handler = move |call: IncomingCall| {
            let me = me.clone();
            async move {
                if refuses {
                    return Err(HandlerError::busy(Duration::from_millis(1)));
                }
                let mut sender = call.sender;
                sender.send(call.argument).await?;
                Ok(me)
            }
        };
        server.server().register_call(&echo_name(), handler).expect("first");
        let peer = connect(&node, &server).await;
        node.client().add_server_node(&echo_name(), peer).expect("a node");
        servers.push(server);
    }
    (servers, node)
}

#[test]
fn a_call_is_opened_at_the_server_that_takes_it() {
    run(async {
        let (servers, node) = farm(&[true, false, true]).await;
        let taker = servers[1].peer_id();
        let mut refused = 0;
        for number in 0..10 {
            let argument = format!("number {number}");
            let open = node.client().open_closest(&echo_name(), argument.clone());
            let mut call = open.idempotent(true).await.expect("one takes it");
            assert_eq!(call.peer(), taker);
            let (last, others) = call.attempts().split_last().expect("one was asked");
            assert_eq!((last.node, &last.outcome), (taker, &NodeOutcome::Answered));
            refused += others.len();
            assert_eq!(call.recv().await.expect("open").expect("a message"), argument);
            let result = call.finish().await.expect("a result");
            assert_eq!((result.peer(), result.text()), (taker, Ok(&taker.to_string()[..])));
            assert!(!result.attempts().is_empty());
        }
        assert!(refused > 0, "none was asked in vain");
    });
}

#[test]
fn a_call_that_nobody_takes_says_who_was_asked() {
    run(async {
        let (servers, node) = farm(&[true, true]).await;
        let open = node.client().open_closest(&echo_name(), "").idempotent(true);
        let error = open.await.expect_err("nobody takes it");
        assert_eq!(error.error.status().map(|status| status.code), Some(StatusCode::Busy));
        let mut asked: Vec<PeerId> = error.attempts.iter().map(|attempt| attempt.node).collect();
        asked.sort();
        let mut all: Vec<PeerId> = servers.iter().map(Node::peer_id).collect();
        all.sort();
        assert_eq!(asked, all);

        let open = node.client().open_closest(&echo_name(), "").exclude(all);
        let error = open.await.expect_err("nobody is left");
        assert_eq!(error.error.cause, Cause::Refused(SendError::NoNodes));
        let open = node.client().open_closest(&echo_name(), "").metadata("No", "");
        let error = open.await.expect_err("that is no key");
        assert!(matches!(error.error.cause, Cause::Refused(SendError::Metadata(_))), "{error}");
    });
}

#[test]
fn giving_up_an_opening_stops_whoever_was_asked() {
    run(async {
        let alive = Alive::default();
        let server = start(ServerConfig::default(), once()).await;
        let handlers = alive.clone();
        let handler = move |call: IncomingCall| {
            let alive = handlers.clone();
            async move {
                let _call = call;
                hang(alive).await.map(|_| ())
            }
        };
        server.server().register_call(&echo_name(), handler).expect("first");
        let node = client(once()).await;
        let peer = connect(&node, &server).await;
        node.client().add_server_node(&echo_name(), peer).expect("a node");
        for number in 1..=100 {
            let mut open = Box::pin(node.client().open_closest(&echo_name(), ""));
            let mut opened = None;
            // As far as it comes while the handler begins, which differs from time to time.
            while alive.now() == 0 {
                if let Poll::Ready(outcome) = futures::poll!(&mut open) {
                    opened = Some(outcome.expect("it is accepted"));
                    break;
                }
                yield_now().await;
            }
            drop((open, opened));
            until(|| alive.dropped() == number).await;
        }
        until(|| server.server().stats().in_flight == 0).await;
        until(|| node.client().stats().in_flight == 0).await;
        assert_eq!(node.client().stats().streams, 1, "it is used again and again");
    });
}
