//! Raw duplex streams.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use pointsub_swarm::{
    Cause, ClientConfig, Delivery, Listener, RawStream, RegisterError, SendError, ServerConfig,
};

use crate::common::*;

const RAW: &str = "/raw/1.0.0";

/// A node that listens for raw streams, its listener, and a client that is connected to it.
async fn pair(server: ServerConfig, client: ClientConfig) -> (Node, Listener, Node) {
    let server = start(server, once()).await;
    let listener = server.server().listen(&name(RAW)).expect("nothing is registered yet");
    let node = client_of(&server, client).await;
    (server, listener, node)
}

async fn dial(from: &Node, to: &Node) -> RawStream {
    from.client().dial(to.peer_id(), &name(RAW)).await.expect("it listens")
}

async fn accept(listener: &mut Listener) -> RawStream {
    listener.accept().await.expect("the server runs")
}

async fn say(stream: &mut RawStream, what: &[u8]) {
    AsyncWriteExt::write_all(stream, what).await.expect("the other end is there");
    AsyncWriteExt::flush(stream).await.expect("the other end is there");
}

async fn hear(stream: &mut RawStream, len: usize) -> Vec<u8> {
    let mut heard = vec![0; len];
    AsyncReadExt::read_exact(stream, &mut heard).await.expect("the other end is there");
    heard
}

/// O1, O3: both ends know each other, and either may speak first.
#[test]
fn both_ends_speak_at_once_and_know_each_other() {
    run(async {
        let (server, mut listener, node) = pair(ServerConfig::default(), once()).await;
        let mut one = dial(&node, &server).await;
        let mut two = accept(&mut listener).await;
        assert_eq!((one.local_peer_id(), one.peer_id()), (node.peer_id(), server.peer_id()));
        assert_eq!((two.local_peer_id(), two.peer_id()), (server.peer_id(), node.peer_id()));
        assert_eq!((one.protocol(), two.protocol()), (&name(RAW), &name(RAW)));
        // The server first.
        say(&mut two, b"welcome").await;
        assert_eq!(hear(&mut one, 7).await, b"welcome");
        let (to_server, to_client) = (noise(3 * MIB, 1), noise(2 * MIB, 2));
        let talk = |mut stream: RawStream, said: Bytes, expected: Bytes| async move {
            let (mut reader, mut writer) = AsyncReadExt::split(&mut stream);
            let mut heard = Vec::new();
            let speak = async {
                writer.write_all(&said).await.expect("the other end is there");
                writer.close().await.expect("the other end is there");
            };
            let (_, listened) = futures::join!(speak, reader.read_to_end(&mut heard));
            listened.expect("the other end is there");
            assert!(heard == expected, "{} bytes came, changed", heard.len());
        };
        futures::join!(
            talk(one, to_server.clone(), to_client.clone()),
            talk(two, to_client, to_server)
        );
        until(|| node.client().stats().raw_streams == 0).await;
        until(|| server.server().stats().raw_streams == 0).await;
    });
}

/// O1: closing ends one direction and leaves the other open.
#[test]
fn a_stream_can_be_closed_by_halves() {
    run(async {
        let (server, mut listener, node) = pair(ServerConfig::default(), once()).await;
        let mut one = dial(&node, &server).await;
        let mut two = accept(&mut listener).await;
        say(&mut one, b"the question").await;
        AsyncWriteExt::close(&mut one).await.expect("closed");
        let mut question = String::new();
        AsyncReadExt::read_to_string(&mut two, &mut question).await.expect("an end");
        assert_eq!(question, "the question");
        say(&mut two, b"the answer").await;
        AsyncWriteExt::close(&mut two).await.expect("closed");
        let mut answer = String::new();
        AsyncReadExt::read_to_string(&mut one, &mut answer).await.expect("an end");
        assert_eq!(answer, "the answer");
    });
}

/// O1: who resets a stream is not waited for.
#[test]
fn a_reset_reaches_the_other_end() {
    run(async {
        let (server, mut listener, node) = pair(ServerConfig::default(), once()).await;
        let one = dial(&node, &server).await;
        let mut two = accept(&mut listener).await;
        one.reset();
        let mut rest = Vec::new();
        // Yamux shows a reset as an end, or as a broken stream.
        let _either = AsyncReadExt::read_to_end(&mut two, &mut rest).await;
        assert!(rest.is_empty());
        let mut failed = false;
        while !failed {
            failed = AsyncWriteExt::write_all(&mut two, b"anybody?").await.is_err();
        }
    });
}

/// O1: deadlines end one direction, and can be moved.
#[test]
fn reads_and_writes_have_deadlines() {
    run(async {
        let (server, mut listener, node) = pair(ServerConfig::default(), once()).await;
        let mut one = dial(&node, &server).await;
        let mut two = accept(&mut listener).await;
        one.set_read_deadline(Some(Instant::now() + Duration::from_millis(20)));
        let error = AsyncReadExt::read(&mut one, &mut [0]).await.expect_err("nobody speaks");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        // Only that direction, and only until it is moved.
        say(&mut one, b"x").await;
        assert_eq!(hear(&mut two, 1).await, b"x");
        say(&mut two, b"y").await;
        let error = AsyncReadExt::read(&mut one, &mut [0]).await.expect_err("still past");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        one.set_read_deadline(None);
        assert_eq!(hear(&mut one, 1).await, b"y");

        one.set_write_deadline(Some(Instant::now() + Duration::from_millis(50)));
        // Nobody reads at the other end, so writing comes to a halt.
        let error = loop {
            if let Err(error) = AsyncWriteExt::write_all(&mut one, &[0; 64 * 1024]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(two);
    });
}

/// O1: a peer that nobody listens at, one that is not there, and oneself are typed errors.
#[test]
fn a_dial_that_fails_says_why() {
    run(async {
        let (server, listener, node) = pair(ServerConfig::default(), once()).await;
        let (client, other) = (node.client(), name("/other"));
        let error = client.dial(server.peer_id(), &other).await.expect_err("nobody listens");
        assert_eq!((error.cause, error.delivery), (Cause::Unsupported, Delivery::NotProcessed));
        let stranger = libp2p_identity::PeerId::random();
        let error = client.dial(stranger, &name(RAW)).await.expect_err("no address");
        assert_eq!(error.cause, Cause::NoAddress);
        let error = client.dial(node.peer_id(), &name(RAW)).await.expect_err("oneself");
        assert_eq!(error.cause, Cause::Refused(SendError::SelfRequest));
        // Whoever stops listening is not dialled any more.
        drop(listener);
        while let Ok(stream) = client.dial(server.peer_id(), &name(RAW)).await {
            drop(stream);
        }
        assert_eq!(client.stats().raw_streams, 0);
    });
}

/// O1, O4: a protocol has one listener or one handler.
#[test]
fn a_protocol_is_served_in_one_way() {
    run(async {
        let (server, mut listener, node) = pair(ServerConfig::default(), once()).await;
        let server_handle = server.server();
        let exists = |result| matches!(result, Err(RegisterError::Exists(_)));
        assert!(exists(server_handle.listen(&name(RAW)).map(drop)));
        assert!(exists(server_handle.register(&name(RAW), echo)));
        server_handle.register(&echo_name(), echo).expect("another protocol");
        // Both at once on one connection.
        let mut one = dial(&node, &server).await;
        let mut two = accept(&mut listener).await;
        say(&mut one, b"raw").await;
        check_echo(&node, server.peer_id(), "request").await;
        assert_eq!(hear(&mut two, 3).await, b"raw");
        // A listener that was replaced does not end its successor.
        assert!(server_handle.unregister(&name(RAW)));
        assert!(listener.accept().await.is_none());
        let mut second = server_handle.listen(&name(RAW)).expect("it is free");
        drop(listener);
        let dialled = loop {
            // Nothing tells when the connection's task has heard of it.
            if let Ok(stream) = node.client().dial(server.peer_id(), &name(RAW)).await {
                break stream;
            }
        };
        accept(&mut second).await;
        drop(dialled);
    });
}

/// O1, S3: a raw stream takes a place at work; beyond the limit a stream is reset, and a place that
/// is given back is there for the next.
#[test]
fn the_limit_holds_for_raw_streams() {
    run(async {
        let config = ServerConfig::default().with_max_raw_streams(2);
        let (server, mut listener, node) = pair(config, once()).await;
        let mut first = dial(&node, &server).await;
        let second = dial(&node, &server).await;
        let mut third = dial(&node, &server).await;
        let mut end = Vec::new();
        let _either = AsyncReadExt::read_to_end(&mut third, &mut end).await;
        let stats = server.server().stats();
        assert_eq!((stats.raw_streams, stats.busy, stats.streams), (2, 1, 2));
        assert_eq!((stats.in_flight, stats.load), (0, 0), "they are no requests");
        let report = server.server().streams();
        assert!(report.iter().all(|info| info.format.is_none() && info.in_flight == 0));
        // Those that wait to be accepted count too, and are not lost.
        say(&mut first, b"1").await;
        let mut accepted = accept(&mut listener).await;
        assert_eq!(hear(&mut accepted, 1).await, b"1");
        drop((accepted, first, second));
        drop(accept(&mut listener).await);
        until(|| server.server().stats().raw_streams == 0).await;
        let mut fourth = dial(&node, &server).await;
        say(&mut fourth, b"4").await;
        assert_eq!(hear(&mut accept(&mut listener).await, 1).await, b"4");
    });
}

/// O1: as many streams as the client allows, and no more.
#[test]
fn the_clients_cap_holds_for_raw_streams() {
    run(async {
        let config = once().with_max_streams_per_peer(3);
        let (server, mut listener, node) = pair(ServerConfig::default(), config).await;
        let streams = join_all((0..3).map(|_| dial(&node, &server))).await;
        let error = node.client().dial(server.peer_id(), &name(RAW)).await.expect_err("full");
        assert_eq!(error.cause, Cause::Refused(SendError::TooManyStreams { limit: 3 }));
        for _ in 0..3 {
            accept(&mut listener).await;
        }
        drop(streams);
        dial(&node, &server).await;
    });
}

/// O1: a listener is a stream of streams, and back-pressure is all that a slow one causes.
#[test]
fn streams_wait_to_be_accepted() {
    run(async {
        let (server, listener, node) = pair(ServerConfig::default(), once()).await;
        let mut streams = join_all((0..100).map(|_| dial(&node, &server))).await;
        for (n, stream) in streams.iter_mut().enumerate() {
            say(stream, &[n as u8; 1000]).await;
        }
        let accepted: Vec<RawStream> = listener.take(100).collect().await;
        let heard = accepted.into_iter().map(|mut stream| async move {
            let heard = hear(&mut stream, 1000).await;
            assert!(heard.iter().all(|byte| *byte == heard[0]));
            heard[0]
        });
        let mut heard = join_all(heard).await;
        heard.sort_unstable();
        assert_eq!(heard, (0..100).collect::<Vec<u8>>());
    });
}

/// O1, S14, C16: whoever stops ends the streams that are open.
#[test]
fn streams_end_when_either_side_stops() {
    run(async {
        let (server, mut listener, node) = pair(ServerConfig::default(), once()).await;
        let mut one = dial(&node, &server).await;
        let mut two = accept(&mut listener).await;
        say(&mut one, b"x").await;
        assert_eq!(hear(&mut two, 1).await, b"x");
        server.server().stop(Duration::from_millis(20)).await;
        let error = AsyncReadExt::read(&mut two, &mut [0]).await.expect_err("the server stopped");
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        assert!(listener.accept().await.is_none());
        drop(two);

        // It begins another life, in which the client stops first.
        let mut listener = server.server().listen(&name(RAW)).expect("it has stopped");
        let mut one = loop {
            if let Ok(stream) = node.client().dial(server.peer_id(), &name(RAW)).await {
                break stream;
            }
        };
        let mut two = accept(&mut listener).await;
        node.client().close().await;
        let error = AsyncReadExt::read(&mut one, &mut [0]).await.expect_err("the client stopped");
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        drop(one);
        let _either = AsyncReadExt::read_to_end(&mut two, &mut Vec::new()).await;
        let error = node.client().dial(server.peer_id(), &name(RAW)).await.expect_err("closed");
        assert_eq!(error.cause, Cause::Refused(SendError::Closed));
    });
}

/// O1, C15: who stops waiting for a dial leaves nothing behind.
#[test]
fn a_dial_that_is_dropped_leaves_nothing() {
    run(async {
        let (server, mut listener, node) = pair(ServerConfig::default(), once()).await;
        let protocol = name(RAW);
        for _ in 0..20 {
            let dialling = node.client().dial(server.peer_id(), &protocol).into_future();
            let first = futures::future::select(dialling, Box::pin(yield_now())).await;
            drop(first);
        }
        until(|| node.client().stats().raw_streams == 0).await;
        let mut one = dial(&node, &server).await;
        say(&mut one, b"last").await;
        // Those that got as far as that are ended; the last one speaks.
        loop {
            let mut heard = Vec::new();
            let mut accepted = accept(&mut listener).await;
            accepted.set_read_deadline(Some(Instant::now() + Duration::from_secs(20)));
            let mut byte = [0; 4];
            if AsyncReadExt::read_exact(&mut accepted, &mut byte).await.is_ok() {
                heard.extend(byte);
                assert_eq!(heard, b"last");
                break;
            }
        }
    });
}
