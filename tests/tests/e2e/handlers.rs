//! How handlers fail, and how their callers see it.

use bytes::Bytes;
use pointsub_swarm::{
    Delivery, Handler, HandlerError, Phase, Request, ServerConfig, Spawned, StatusCode,
};

use crate::common::*;

async fn served_by(handler: impl Handler) -> (Node, Node) {
    let server = start(ServerConfig::default(), once()).await;
    server.server().register(&echo_name(), handler).expect("first");
    let client = client_of(&server, once()).await;
    (server, client)
}

async fn panics_where_told(request: Request) -> Result<Bytes, HandlerError> {
    assert!(request.body != "panic", "panics on purpose");
    yield_now().await;
    assert!(request.body != "panic later", "panics on purpose");
    Ok(request.body)
}

async fn check_panics((server, client): (Node, Node)) {
    let (peer, echo) = (server.peer_id(), echo_name());
    for body in ["panic", "panic later"] {
        check_echo(&client, peer, "before").await;
        let (status, error) = status(client.client().send(peer, &echo, body).await);
        assert_eq!(status.code, StatusCode::Internal);
        assert_eq!(error.delivery, Delivery::Processed);
        check_echo(&client, peer, "after").await;
    }
    assert_eq!(client.client().stats().opens, 1, "the stream goes on");
    let stats = server.server().stats();
    assert_eq!((stats.failed, stats.ok, stats.in_flight), (2, 4, 0));
}

/// S16: A panic is contained and answered, and its stream goes on.
#[test]
fn a_handler_that_panics_is_answered_as_internal() {
    run(async { check_panics(served_by(panics_where_told).await).await });
}

/// S16: so it is on a task of its own.
#[test]
fn a_spawned_handler_that_panics_is_answered_as_internal() {
    run(async { check_panics(served_by(Spawned(panics_where_told)).await).await });
}

/// S16: so it is before there is a future at all.
#[test]
fn a_handler_that_panics_before_its_future_is_answered_as_internal() {
    run(async {
        let handler = |request: Request| {
            assert!(request.body != "panic", "panics on purpose");
            echo(request)
        };
        let (server, client) = served_by(handler).await;
        let outcome = client.client().send(server.peer_id(), &echo_name(), "panic").await;
        assert_eq!(status(outcome).0.code, StatusCode::Internal);
        check_echo(&client, server.peer_id(), "after").await;
    });
}

/// W5.
#[test]
fn a_handlers_error_arrives_with_code_message_and_detail() {
    run(async {
        let handler = |_: Request| async {
            let error = HandlerError::new(404, "no such room");
            Err::<Bytes, _>(error.with_detail(&b"\x00room 7\xff"[..]))
        };
        let (server, client) = served_by(handler).await;
        let outcome = client.client().send(server.peer_id(), &echo_name(), "x").await;
        let (status, error) = status(outcome);
        assert_eq!(status.code, StatusCode::Application(404));
        assert_eq!(status.message, "no such room");
        assert_eq!(status.detail, &b"\x00room 7\xff"[..]);
        assert_eq!((error.phase, error.delivery), (Phase::Answer, Delivery::Processed));
        assert_eq!(server.server().stats().failed, 1);
    });
}

/// W5: any error will do; its text is the message.
#[test]
fn any_error_of_a_handler_arrives_with_its_text() {
    run(async {
        let handler = |_: Request| async { Err::<Bytes, _>(std::io::Error::other("disk full")) };
        let (server, client) = served_by(handler).await;
        let outcome = client.client().send(server.peer_id(), &echo_name(), "x").await;
        let (status, _) = status(outcome);
        assert_eq!((status.code, &*status.message), (StatusCode::Application(0), "disk full"));
    });
}

/// A message is cut to 1024 bytes, and never inside a character.
#[test]
fn a_handlers_long_message_is_cut_at_a_character() {
    run(async {
        let handler =
            |_: Request| async { Err::<Bytes, _>(HandlerError::new(1, "é".repeat(1000))) };
        let (server, client) = served_by(handler).await;
        let outcome = client.client().send(server.peer_id(), &echo_name(), "x").await;
        assert_eq!(status(outcome).0.message, "é".repeat(512));
    });
}

/// A handler knows who asks.
#[test]
fn a_handler_knows_its_caller() {
    run(async {
        let handler = |request: Request| async move {
            Ok::<_, HandlerError>(format!("{} {}", request.peer, request.protocol))
        };
        let (server, client) = served_by(handler).await;
        let answer = client.client().send(server.peer_id(), &echo_name(), "who?").await;
        assert_eq!(answer.expect("an answer"), format!("{} /echo/1.0.0", client.peer_id()));
    });
}
