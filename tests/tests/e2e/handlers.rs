//! How handlers fail, and how their callers see it.

use std::time::Duration;

use bytes::Bytes;
use pointsub_swarm::{
    BoxError, Delivery, Handler, HandlerError, Phase, Request, ServerConfig, Spawned, StatusCode,
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

async fn fails_to_write(_: Request) -> Result<Bytes, std::io::Error> {
    Err(std::io::Error::other("disk full"))
}

/// W5: any error will do. A stranger does not read its text, and gets a reference to the log.
#[test]
fn the_text_of_a_handlers_error_is_not_sent() {
    run(async {
        let (server, client) = served_by(fails_to_write).await;
        let outcome = client.client().send(server.peer_id(), &echo_name(), "x").await;
        let (status, error) = status(outcome);
        assert_eq!(status.code, StatusCode::Application(0));
        assert!(status.message.starts_with("internal error, reference "), "{status}");
        assert!(!status.message.contains("disk"), "{status}");
        assert_eq!(error.delivery, Delivery::Processed);
    });
}

/// W5: an application may have all texts sent.
#[test]
fn the_text_of_a_handlers_error_is_sent_if_the_server_is_told_so() {
    run(async {
        let server = start(ServerConfig::default().with_error_texts(true), once()).await;
        server.server().register(&echo_name(), fails_to_write).expect("first");
        let client = client_of(&server, once()).await;
        let outcome = client.client().send(server.peer_id(), &echo_name(), "x").await;
        let (status, _) = status(outcome);
        assert_eq!((status.code, &*status.message), (StatusCode::Application(0), "disk full"));
    });
}

/// W5: a handler answers with any status, and a boxed one among other errors stays what it is.
#[test]
fn a_handler_answers_with_any_status() {
    run(async {
        let handler = |request: Request| async move {
            Err::<Bytes, BoxError>(match &request.body[..] {
                b"who" => HandlerError::unauthenticated("log in first").into(),
                b"mine" => HandlerError::permission_denied("not yours").into(),
                b"room 7" => HandlerError::not_found("no room 7").into(),
                b"?" => HandlerError::invalid_request("not a question").into(),
                _ => HandlerError::busy(Duration::from_secs(7)).into(),
            })
        };
        let (server, client) = served_by(handler).await;
        let ask = async |body: &'static str| {
            status(client.client().send(server.peer_id(), &echo_name(), body).await)
        };
        for (body, code, message) in [
            ("who", StatusCode::Unauthenticated, "log in first"),
            ("mine", StatusCode::PermissionDenied, "not yours"),
            ("room 7", StatusCode::NoSuchResource, "no room 7"),
            ("?", StatusCode::BadRequest, "not a question"),
        ] {
            let (status, error) = ask(body).await;
            assert_eq!((status.code, &*status.message), (code, message));
            assert!(!error.may_retry(true), "{error}");
        }
        let (status, error) = ask("now").await;
        assert_eq!(status.retry_after, Some(Duration::from_secs(7)));
        assert!(error.is_busy() && error.may_retry(true) && !error.may_retry(false), "{error}");
    });
}

/// A handler that cannot fail returns what it answers.
#[test]
fn a_handler_returns_bytes_text_or_nothing() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let registry = server.server();
        let names = ["/bytes", "/text", "/literal", "/nothing"].map(name);
        registry.register(&names[0], |request: Request| async { request.body }).expect("first");
        let text = |request: Request| async move { format!("{} bytes", request.body.len()) };
        registry.register(&names[1], text).expect("first");
        registry.register(&names[2], |_| async { "literal" }).expect("first");
        registry.register(&names[3], |_| async {}).expect("first");
        let client = client_of(&server, once()).await;
        for (name, expected) in names.iter().zip(["abc", "3 bytes", "literal", ""]) {
            let response = client.client().send(server.peer_id(), name, "abc").await;
            let response = response.expect("an answer");
            assert_eq!(response, expected);
            assert_eq!(response.peer(), server.peer_id());
            assert!(response.elapsed() > Duration::ZERO && response.attempts().is_empty());
        }
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
        let handler =
            |request: Request| async move { format!("{} {}", request.peer, request.protocol) };
        let (server, client) = served_by(handler).await;
        let answer = client.client().send(server.peer_id(), &echo_name(), "who?").await;
        assert_eq!(answer.expect("an answer"), format!("{} /echo/1.0.0", client.peer_id()));
    });
}
