//! Bodies of every size, through both limits, with and without compression.

use std::future::ready;
use std::sync::Mutex;

use bytes::Bytes;
use pointsub_swarm::{
    Cause, Delivery, HandlerError, Phase, ProtocolName, Request, SendError, ServerConfig,
    StatusCode,
};

use crate::common::*;
use crate::raw::*;

/// The default limit.
const MAX: usize = 32 * MIB;

async fn pair(compression: bool) -> (Node, Node) {
    let server = echo_server(ServerConfig::default().with_compression(compression)).await;
    let config = once().with_compression(compression);
    let client = client_of(&server, config).await;
    (server, client)
}

async fn echoes(compression: bool, len: usize) {
    let (server, client) = pair(compression).await;
    check_echo(&client, server.peer_id(), text(len, 1)).await;
    check_echo(&client, server.peer_id(), noise(len, 2)).await;
    assert_eq!(server.server().stats().ok, 2);
}

/// W2.
#[test]
fn an_empty_body_comes_back_compression_on() {
    run(echoes(true, 0));
}

/// W2.
#[test]
fn an_empty_body_comes_back_compression_off() {
    run(echoes(false, 0));
}

/// W1.
#[test]
fn one_byte_comes_back_compression_on() {
    run(echoes(true, 1));
}

/// W1.
#[test]
fn one_byte_comes_back_compression_off() {
    run(echoes(false, 1));
}

/// W3, W7.
#[test]
fn exactly_the_limit_comes_back_compression_on() {
    run(echoes(true, MAX));
}

/// W3.
#[test]
fn exactly_the_limit_comes_back_compression_off() {
    run(echoes(false, MAX));
}

async fn too_large_a_request(compression: bool) {
    let (server, client) = pair(compression).await;
    for body in [text(MAX + 1, 1), noise(MAX + 1, 2)] {
        let error = client.client().send(server.peer_id(), &echo_name(), body).await;
        let error = error.expect_err("one byte too many");
        let refused = SendError::TooLarge { len: MAX + 1, limit: MAX };
        assert_eq!(error.cause, Cause::Refused(refused));
        assert_eq!((error.phase, error.delivery), (Phase::Send, Delivery::NotProcessed));
    }
    assert_eq!(client.client().stats().opens, 0);
    assert_eq!(client.client().stats().started, 0);
}

/// W3.
#[test]
fn a_request_beyond_the_limit_is_refused_before_sending_compression_on() {
    run(too_large_a_request(true));
}

/// W3.
#[test]
fn a_request_beyond_the_limit_is_refused_before_sending_compression_off() {
    run(too_large_a_request(false));
}

/// Answers with as many bytes as it is asked for, text or noise.
async fn produce(request: Request) -> Result<Bytes, HandlerError> {
    let (kind, len) = request.body.split_at(1);
    let len = usize::from_be_bytes(len.try_into().expect("eight bytes"));
    Ok(if kind == b"t" { text(len, 3) } else { noise(len, 4) })
}

fn ask(kind: u8, len: usize) -> Bytes {
    let mut ask = vec![kind];
    ask.extend_from_slice(&len.to_be_bytes());
    ask.into()
}

async fn too_large_a_response(compression: bool, client_limit: usize) {
    let config = ServerConfig::default().with_compression(compression);
    let server = start(config, once()).await;
    server.server().register(&echo_name(), produce).expect("first");
    let config = once().with_max_block_size(client_limit);
    let client = client_of(&server, config).await;
    let send = async |kind, len| {
        client.client().send(server.peer_id(), &echo_name(), ask(kind, len)).await
    };
    for kind in [b't', b'n'] {
        let (status, error) = status(send(kind, client_limit + 1).await);
        assert_eq!(status.code, StatusCode::ResponseTooLarge);
        assert_eq!(error.delivery, Delivery::Processed);
        let answer = send(kind, client_limit).await.expect("exactly the limit");
        let sent = if kind == b't' { text(client_limit, 3) } else { noise(client_limit, 4) };
        assert!(answer == sent, "the response came changed");
    }
    let stats = client.client().stats();
    assert_eq!((stats.ok, stats.failed), (2, 2));
}

/// W3.
#[test]
fn a_response_beyond_the_limit_is_answered_as_such_compression_on() {
    run(too_large_a_response(true, MAX));
}

/// W3.
#[test]
fn a_response_beyond_the_limit_is_answered_as_such_compression_off() {
    run(too_large_a_response(false, MAX));
}

/// W4: the server heard of the client's limit before it looked at the first request.
#[test]
fn a_client_with_a_smaller_limit_gets_no_larger_response_compression_on() {
    run(too_large_a_response(true, MIB));
}

/// W4.
#[test]
fn a_client_with_a_smaller_limit_gets_no_larger_response_compression_off() {
    run(too_large_a_response(false, MIB));
}

async fn too_large_for_the_server(compression: bool, body: Bytes) {
    const LIMIT: usize = 4 * MIB;
    let server = echo_server(ServerConfig::default().with_max_block_size(LIMIT)).await;
    let config = once().with_compression(compression).with_max_block_size(2 * MAX);
    let client = client_of(&server, config).await;
    assert!(body.len() > LIMIT);
    let first = client.client().send(server.peer_id(), &echo_name(), body.clone()).await;
    let (status, error) = status(first);
    assert_eq!(status.code, StatusCode::TooLarge);
    assert_eq!(error.delivery, Delivery::NotProcessed);
    assert_eq!(server.server().stats().started, 0, "no handler saw it");
    assert_eq!(server.server().stats().refused, 1);
    // Nothing of it stands in the way of the next.
    check_echo(&client, server.peer_id(), body.slice(..LIMIT)).await;
    // By now the limit is known, and nothing is sent any more.
    let error = client.client().send(server.peer_id(), &echo_name(), body.clone()).await;
    let error = error.expect_err("too large");
    assert_eq!(error.delivery, Delivery::NotProcessed);
    match error.cause {
        Cause::Refused(SendError::TooLarge { len, limit }) => {
            assert_eq!((len, limit), (body.len(), LIMIT));
        }
        Cause::Remote(status) => assert_eq!(status.code, StatusCode::TooLarge),
        cause => panic!("not refused for its size: {cause:?}"),
    }
}

/// W4.
#[test]
fn a_request_that_only_the_client_allows_is_refused_by_the_server() {
    run(too_large_for_the_server(false, noise(4 * MIB + 1, 5)));
}

/// W4: most of it is still on its way when the server says no.
#[test]
fn a_request_far_beyond_the_servers_limit_is_refused_by_the_server() {
    run(too_large_for_the_server(false, noise(48 * MIB, 5)));
}

/// W4, W7: it would fit compressed, and is too large inflated.
#[test]
fn a_request_that_inflates_beyond_the_servers_limit_is_refused_by_the_server() {
    run(too_large_for_the_server(true, text(4 * MIB + 1, 6)));
}

/// W7, C6, S11.
#[test]
fn either_end_may_compress_without_the_other() {
    run(async {
        for (at_client, at_server) in [(true, false), (false, true)] {
            let server = echo_server(ServerConfig::default().with_compression(at_server)).await;
            let config = once().with_compression(at_client);
            let client = client_of(&server, config).await;
            for len in [1023, 1024, 16 * 1024, 64 * 1024, 64 * 1024 + 1, MIB] {
                check_echo(&client, server.peer_id(), text(len, 7)).await;
                check_echo(&client, server.peer_id(), noise(len, 8)).await;
            }
        }
    });
}

/// S11: A server compresses its answers unless it is told not to.
#[test]
fn a_server_compresses_its_answers_unless_told_not_to() {
    run(async {
        for compression in [true, false] {
            let config = ServerConfig::default().with_compression(compression);
            let server = start(config, once()).await;
            server.server().register(&echo_name(), produce).expect("first");
            let raw = RawPeer::client().await;
            let peer = raw.dial(address(&server).await).await;
            let mut stream = raw.open(peer, NATIVE).await.expect("announced");
            let asked = native(REQUEST, 1, &[], &ask(b't', 10_000));
            write(&mut stream, &asked).await.expect("the server reads");
            let answer = next_of(&mut stream, RESPONSE).await.expect("an answer");
            assert_eq!(answer.flags, u8::from(compression));
            assert_eq!(answer.body.len() < 10_000, compression);
        }
    });
}

/// A body that tells when nobody has it any longer.
struct Watched(Vec<u8>, Option<tokio::sync::oneshot::Sender<()>>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _nobody_waits = self.1.take().map(|gone| gone.send(()));
    }
}

fn watched(len: usize) -> (Bytes, tokio::sync::oneshot::Receiver<()>) {
    let (gone, is_gone) = tokio::sync::oneshot::channel();
    (Bytes::from_owner(Watched(vec![7; len], Some(gone))), is_gone)
}

/// Whoever sends large bodies wants their memory back, and streams rest for minutes.
#[test]
fn neither_end_keeps_a_body_when_it_has_been_sent() {
    run(async {
        for (name, len) in [("/one/1", 1), ("/few/1", 512), ("/more/1", 100_000), ("/most/1", MAX)]
        {
            let (answer, is_answer_gone) = watched(len);
            let answer = Mutex::new(Some(answer));
            let server = start(ServerConfig::default().with_compression(false), once()).await;
            let name = ProtocolName::new(name).expect("a name");
            let handler = move |_: Request| {
                ready(answer.lock().expect("not poisoned").take().expect("asked once"))
            };
            server.server().register(&name, handler).expect("first");
            let client = client_of(&server, once().with_compression(false)).await;
            let (body, is_body_gone) = watched(len);
            let answer = client.client().send(server.peer_id(), &name, body).await;
            assert_eq!(answer.expect("an answer").len(), len);
            is_body_gone.await.expect("told, not lost");
            is_answer_gone.await.expect("told, not lost");
            assert_eq!(client.client().streams().len(), 1, "the stream is still there");
        }
    });
}

/// An answer that is longer than its caller wants is not inflated, and the stream goes on.
#[test]
fn an_answer_longer_than_is_wanted_fails_the_call() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client_of(&server, once()).await;
        let (client, peer) = (node.client(), server.peer_id());
        for body in [text(MIB, 1), noise(1001, 2)] {
            let asked = client.send(peer, &echo_name(), body.clone()).max_answer(1000).await;
            let error = asked.expect_err("it is longer");
            assert!(matches!(error.cause, Cause::Body(_)), "{error}");
            let asked = client.send(peer, &echo_name(), body.clone()).max_answer(body.len()).await;
            assert_eq!(asked.expect("it is as long").len(), body.len());
        }
    });
}
