//! Which protocols a peer speaks, and how that changes while it is connected.

use futures::future::join_all;
use pointsub_swarm::{
    Cause, Delivery, Format, Phase, RegisterError, Request, RequestError, Response, ServerConfig,
    StatusCode,
};

use crate::common::*;
use crate::raw::{PLAIN, RawPeer};

fn check_unsupported(outcome: Result<Response, RequestError>) {
    let error = outcome.expect_err("nobody speaks it");
    assert_eq!(error.cause, Cause::Unsupported);
    assert_eq!((error.phase, error.delivery), (Phase::Connect, Delivery::NotProcessed));
}

/// A failure that says: not spoken (any more), and surely not processed.
fn check_not_served(outcome: Result<Response, RequestError>) {
    let error = outcome.expect_err("nobody serves it");
    let not_found = error.status().is_some_and(|status| status.code == StatusCode::NotFound);
    assert!(not_found || error.cause == Cause::Unsupported, "{error:?}");
    assert_eq!(error.delivery, Delivery::NotProcessed);
}

#[test]
fn an_unknown_protocol_fails_at_once_on_a_fresh_peer() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client_of(&server, once()).await;
        check_unsupported(node.client().send(server.peer_id(), &name("/unknown"), "x").await);
        check_echo(&node, server.peer_id(), "still fine").await;
    });
}

/// The guess that the peer still speaks native must not hide that it does not speak the protocol.
#[test]
fn an_unknown_protocol_fails_at_once_on_a_peer_known_to_be_native() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client_of(&server, once()).await;
        check_echo(&node, server.peer_id(), "native").await;
        let unknown = name("/unknown");
        for _ in 0..3 {
            check_unsupported(node.client().send(server.peer_id(), &unknown, "x").await);
        }
        check_echo(&node, server.peer_id(), "still fine").await;
        let calls =
            (0..50).map(|_| node.client().send(server.peer_id(), &unknown, "x").into_future());
        for outcome in join_all(calls).await {
            check_unsupported(outcome);
        }
        let stats = node.client().stats();
        assert_eq!((stats.in_flight, stats.streams), (0, 1));
    });
}

#[test]
fn an_unknown_protocol_fails_at_once_on_a_peer_known_to_be_plain() {
    run(async {
        let old = RawPeer::start(&[PLAIN], |mut stream| async move {
            while let Some(body) = crate::raw::read_plain(&mut stream).await {
                let _gone = crate::raw::write(&mut stream, &crate::raw::plain(&body)).await;
            }
        })
        .await;
        let node = client(once()).await;
        node.connect(old.address.clone()).await.expect("it listens");
        check_echo(&node, old.id, "plain").await;
        check_unsupported(node.client().send(old.id, &name("/unknown"), "x").await);
        check_echo(&node, old.id, "still fine").await;
    });
}

/// Requests for one protocol that is there and one that is not do not get into each other's way.
#[test]
fn an_unknown_protocol_does_not_disturb_a_known_one() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client_of(&server, once()).await;
        let unknown = name("/unknown");
        let known = join_all((0..50).map(|n| check_echo(&node, server.peer_id(), format!("{n}"))));
        let calls =
            (0..50).map(|_| node.client().send(server.peer_id(), &unknown, "x").into_future());
        let (_, outcomes) = futures::join!(known, join_all(calls));
        outcomes.into_iter().for_each(check_unsupported);
    });
}

/// S12, S15: A protocol is served from its registration on and until it is unregistered.
#[test]
fn protocols_come_and_go_on_a_live_connection() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let node = client_of(&server, once()).await;
        let (client, peer, echo_name) = (node.client(), server.peer_id(), echo_name());
        check_unsupported(client.send(peer, &echo_name, "too early").await);

        server.server().register(&echo_name, echo).expect("first");
        check_echo(&node, peer, "served").await;

        assert!(server.server().unregister(&echo_name));
        check_not_served(client.send(peer, &echo_name, "too late").await);
        check_not_served(client.send(peer, &echo_name, "still too late").await);
        assert!(!server.server().unregister(&echo_name), "it is gone");
    });
}

/// S15: whoever registers it anew serves it, also to clients with streams from before.
#[test]
fn a_protocol_that_is_registered_again_is_served_again() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client_of(&server, once()).await;
        let (client, peer, echo_name) = (node.client(), server.peer_id(), echo_name());
        check_echo(&node, peer, "before").await;
        assert!(server.server().unregister(&echo_name));
        let shout = |request: Request| async move { request.body.to_ascii_uppercase() };
        server.server().register(&echo_name, shout).expect("the name is free");
        eventually_served(&node, &server).await;
        let answer = client.send(peer, &echo_name, "loud").await.expect("it is served again");
        assert_eq!(answer, "LOUD", "by the new handler");
    });
}

/// S15: what is registered is served from that moment on, on connections that are open already.
#[test]
fn a_protocol_is_served_as_soon_as_it_is_registered() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client_of(&server, once()).await;
        check_echo(&node, server.peer_id(), "connected").await;
        for version in 0..300 {
            let name = name(&format!("/later/{version}.0.0"));
            let handler = |request: Request| async move { request.body };
            server.server().register(&name, handler).expect("first");
            let answer = node.client().send(server.peer_id(), &name, "now").await;
            assert_eq!(answer.unwrap_or_else(|error| panic!("{name}: {error}")), "now");
        }
    });
}

/// Sends until the client has a new stream: those from before the protocol was unregistered answer that nobody
/// serves it, and end.
async fn eventually_served(node: &Node, server: &Node) {
    for _ in 0..1_000 {
        let outcome = node.client().send(server.peer_id(), &echo_name(), "?").await;
        if outcome.is_ok() {
            return;
        }
        check_not_served(outcome);
    }
    panic!("a registered protocol is not served");
}

/// S15: what is at work is finished.
#[test]
fn a_request_at_work_survives_unregistering() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let (opener, gate) = Gate::new();
        let handler = move |request: Request| {
            let gate = gate.clone();
            async move {
                gate.opened().await;
                request.body
            }
        };
        server.server().register(&echo_name(), handler).expect("first");
        let node = client_of(&server, once()).await;
        let (client, peer) = (node.client(), server.peer_id());
        let call = spawn(async move { client.send(peer, &echo_name(), "at work").await });
        until(|| server.server().stats().in_flight == 1).await;
        assert!(server.server().unregister(&echo_name()));
        drop(opener);
        assert_eq!(call.await.expect("it was at work"), "at work");
    });
}

/// S12, O4: a second registration is an error of its own, and the first one stands.
#[test]
fn a_protocol_is_registered_once() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let second = server.server().register(&echo_name(), echo);
        assert_eq!(second, Err(RegisterError::Exists(echo_name())));
    });
}

/// S12, C18: each of many protocols is answered by its own handler.
#[test]
fn protocols_of_one_server_are_kept_apart() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let names: Vec<_> = (0..20).map(|n| name(&format!("/numbered/{n}"))).collect();
        for name in &names {
            let handler = |request: Request| async move { request.protocol.to_string() };
            server.server().register(name, handler).expect("first");
        }
        let node = client_of(&server, once()).await;
        let client = node.client();
        let calls = (0..200).map(|n| {
            let (client, name) = (client.clone(), &names[n % 20]);
            let peer = server.peer_id();
            async move {
                assert_eq!(client.send(peer, name, "").await.expect("an answer"), name.as_str());
            }
        });
        join_all(calls).await;
        assert_eq!(client.stats().opens, 20);
    });
}

/// A raw stream and a plain request have the same name; what the peer lists tells them apart.
#[test]
fn a_listener_is_not_taken_for_a_handler_nor_the_other_way_round() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let _listener = server.server().listen(&name("/raw")).expect("first");
        let node = client_of(&server, once()).await;
        let (client, peer) = (node.client(), server.peer_id());
        // The peer says soon after the connection is there what it serves.
        loop {
            match client.dial(peer, &echo_name()).await {
                Ok(stream) => drop(stream),
                Err(error) => break assert_eq!(error.cause, Cause::Unsupported, "{error}"),
            }
        }
        let error = client.send(peer, &name("/raw"), "?").await.expect_err("it only listens");
        assert_eq!(error.cause, Cause::Unsupported);
        // And nothing was learned that is wrong.
        check_echo(&node, peer, "x").await;
        let formats = client.streams().into_iter().map(|info| info.format);
        assert!(formats.clone().all(|format| format == Some(Format::Native)), "{formats:?}");
    });
}
