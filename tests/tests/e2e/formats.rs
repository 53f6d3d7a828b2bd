//! The plain format, which every Go PointSub speaks, beside the native one.

use std::sync::Arc;
use std::time::Duration;

use futures::AsyncWriteExt;
use futures::future::join_all;
use libp2p_swarm::Stream;
use pointsub_swarm::{
    Cause, ClientConfig, Delivery, Format, HandlerError, PeerId, Request, ServerConfig, StatusCode,
};

use crate::common::*;
use crate::raw::*;

/// As Go 1.1.x: request after request on one stream.
async fn many_per_stream(mut stream: Stream) {
    while let Some(body) = read_plain(&mut stream).await {
        if write(&mut stream, &plain(&body)).await.is_err() {
            return;
        }
    }
    let _gone = stream.close().await;
}

/// As Go 1.0.x: one request, then the end.
async fn one_per_stream(mut stream: Stream) {
    if let Some(body) = read_plain(&mut stream).await {
        let _gone = write(&mut stream, &plain(&body)).await;
    }
    let _gone = stream.close().await;
}

async fn client_to(old: &RawPeer, config: ClientConfig) -> Node {
    let client = client(config).await;
    let peer: PeerId = client.connect(old.address.clone()).await.expect("the old peer listens");
    assert_eq!(peer, old.id);
    client
}

/// Sends requests until one was put on a stream that had carried another: before that the client
/// does not know whether the peer keeps its streams. Returns the streams opened by then.
async fn until_reused(client: &Node, peer: PeerId) -> u64 {
    while client.client().stats().reused == 0 {
        check_echo(client, peer, "warm up").await;
    }
    client.client().stats().opens
}

/// W1, W6.
#[test]
fn an_old_server_that_keeps_its_streams_answers_requests_in_turn() {
    run(async {
        let old = RawPeer::start(&[PLAIN], many_per_stream).await;
        let client = client_to(&old, once()).await;
        let opens = until_reused(&client, old.id).await;
        for number in 0..200 {
            check_echo(&client, old.id, format!("request {number}")).await;
        }
        assert_eq!(client.client().stats().opens, opens);
    });
}

/// W6.
#[test]
fn an_old_server_that_closes_after_one_answer_answers_requests_in_turn() {
    run(async {
        let old = RawPeer::start(&[PLAIN], one_per_stream).await;
        let client = client_to(&old, once()).await;
        for number in 0..200 {
            check_echo(&client, old.id, format!("request {number}")).await;
        }
    });
}

/// W6: one request at a time on each stream, so streams are what limits.
#[test]
fn an_old_server_that_keeps_its_streams_answers_many_callers() {
    run(async {
        let old = RawPeer::start(&[PLAIN], many_per_stream).await;
        let config = once().with_max_streams_per_peer(8);
        let client = Arc::new(client_to(&old, config).await);
        let peer = old.id;
        let opens = until_reused(&client, peer).await;
        let callers = (0..64).map(|caller| {
            let client = client.clone();
            spawn(async move {
                for turn in 0..10 {
                    check_echo(&client, peer, format!("caller {caller}, turn {turn}")).await;
                }
            })
        });
        join_all(callers.collect::<Vec<_>>()).await;
        let stats = client.client().stats();
        assert!(stats.opens <= opens + 8, "{stats:?}");
        assert_eq!(stats.failed, 0);
    });
}

/// W6.
#[test]
fn an_old_server_that_closes_after_one_answer_answers_many_callers() {
    run(async {
        let old = RawPeer::start(&[PLAIN], one_per_stream).await;
        let config = once().with_max_streams_per_peer(8);
        let client = Arc::new(client_to(&old, config).await);
        let peer = old.id;
        let callers = (0..64).map(|caller| {
            let client = client.clone();
            spawn(async move { check_echo(&client, peer, format!("caller {caller}")).await })
        });
        join_all(callers.collect::<Vec<_>>()).await;
        assert!(client.client().stats().streams <= 8);
    });
}

/// W1, W2, W7: nothing is compressed for a peer that cannot inflate, not even the first request.
#[test]
fn bodies_of_every_size_pass_an_old_server_unchanged() {
    run(async {
        let old = RawPeer::start(&[PLAIN], many_per_stream).await;
        let client = client_to(&old, once()).await;
        for len in [2 * MIB, 0, 1, 255, 256, 65_535, 65_536, 65_537, 8 * MIB] {
            check_echo(&client, old.id, text(len, 1)).await;
        }
    });
}

/// W5: an old handler's failure is a closed stream. It may have been executed.
#[test]
fn an_old_server_that_fails_shows_as_a_closed_stream() {
    run(async {
        let old = RawPeer::start(&[PLAIN], |mut stream| async move {
            let _request = read_plain(&mut stream).await;
            let _gone = stream.close().await;
        })
        .await;
        let client = client_to(&old, once()).await;
        let error = client.client().send(old.id, &echo_name(), "x").await;
        let error = error.expect_err("there is no answer");
        assert_eq!(error.cause, Cause::RemoteClosed);
        assert_eq!(error.delivery, Delivery::Unknown);
    });
}

/// The connection lives as long as the peer does.
async fn old_client(server: &Node) -> (RawPeer, Stream) {
    let old = RawPeer::client().await;
    let peer = old.dial(address(server).await).await;
    let stream = old.open(peer, PLAIN).await.expect("the plain name is announced");
    (old, stream)
}

/// W1, W2, W6.
#[test]
fn an_old_client_sends_requests_in_turn_on_one_stream() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let (_old, mut stream) = old_client(&server).await;
        for len in (0..500).chain([65_535, 65_536, 65_537, 8 * MIB, 32 * MIB]) {
            let body = noise(len, len as u64 + 1);
            let sent = plain(&body);
            let answer = exchange(&mut stream, &sent).await;
            assert!(answer.expect("an answer") == body, "{len} bytes came back changed");
        }
        assert_eq!(server.server().stats().ok, 505);
    });
}

async fn exchange(stream: &mut Stream, request: &[u8]) -> Option<Vec<u8>> {
    write(stream, request).await.ok()?;
    read_plain(stream).await
}

/// W6: go 1.0.x closes its half after the request.
#[test]
fn an_old_client_that_closes_its_half_gets_its_answer() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let (_old, mut stream) = old_client(&server).await;
        write(&mut stream, &plain(b"last words")).await.expect("the server reads");
        stream.close().await.expect("half a close");
        assert_eq!(read_to_end(&mut stream).await, plain(b"last words"));
    });
}

/// W1, W9: a message is whole, however its bytes come.
#[test]
fn an_old_client_may_send_byte_by_byte() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let (_old, mut stream) = old_client(&server).await;
        for byte in plain(b"in pieces") {
            write(&mut stream, &[byte]).await.expect("the server reads");
        }
        assert_eq!(read_plain(&mut stream).await.as_deref(), Some(&b"in pieces"[..]));
    });
}

/// W5.
#[test]
fn an_old_client_sees_a_failed_handler_as_a_closed_stream() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let handler = |_: Request| async { Err::<&[u8], _>(HandlerError::new(7, "no")) };
        server.server().register(&echo_name(), handler).expect("first");
        let (_old, mut stream) = old_client(&server).await;
        write(&mut stream, &plain(b"x")).await.expect("the server reads");
        assert_eq!(read_to_end(&mut stream).await, b"");
        assert_eq!(server.server().stats().failed, 1);
    });
}

/// Both formats at the same time on one server.
#[test]
fn old_and_new_clients_share_a_server() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let (_old, mut stream) = old_client(&server).await;
        let client = client_of(&server, once()).await;
        for number in 0..100 {
            let body = format!("request {number}");
            let sent = plain(body.as_bytes());
            let (answer, ()) = futures::join!(
                exchange(&mut stream, &sent),
                check_echo(&client, server.peer_id(), body.clone())
            );
            assert_eq!(answer.as_deref(), Some(body.as_bytes()));
        }
    });
}

/// W1: a raw listener agrees to the plain format too. Who asks it by mistake spoils nothing else.
#[test]
fn a_request_to_a_raw_listener_does_not_make_the_peer_a_plain_one() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let failing = |_| async { Err::<String, _>(HandlerError::new(404, "no such thing")) };
        server.server().register(&echo_name(), failing).expect("first");
        let _listener = server.server().listen(&name("/raw")).expect("first");
        let node = client_of(&server, once()).await;
        let (client, peer) = (node.client(), server.peer_id());
        let raw = name("/raw");
        let mistake = client.send(peer, &raw, "x").timeout(Duration::from_millis(200));
        let mistake = mistake.await.expect_err("nobody accepts").cause;
        // Once the peer has said what it serves, it is not even asked.
        assert!(matches!(mistake, Cause::Deadline | Cause::Unsupported), "{mistake}");
        let (status, error) = status(client.send(peer, &echo_name(), "x").await);
        assert_eq!(
            (status.code, error.delivery),
            (StatusCode::Application(404), Delivery::Processed)
        );
        let formats: Vec<_> = client.streams().iter().map(|info| info.format).collect();
        assert_eq!(formats, [Some(Format::Native)]);
    });
}
