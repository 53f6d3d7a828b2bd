//! Servers that break the rules, and a client that goes on.

use std::future::pending;
use std::sync::Arc;

use futures::channel::mpsc;
use futures::future::join_all;
use futures::{AsyncWriteExt, StreamExt};
use libp2p_swarm::Stream;
use pointsub_core::FrameError;
use pointsub_swarm::{Cause, Delivery, Phase, RequestError, ServerConfig};

use crate::common::*;
use crate::hostile::{GARBAGE, PATIENCE};
use crate::raw::*;

/// Calls `echo` at a peer that does whatever `serve` says.
async fn call<F>(
    names: &[&'static str],
    serve: impl Fn(Stream) -> F + Send + Sync + 'static,
) -> RequestError
where
    F: Future<Output = ()> + Send + 'static,
{
    let hostile = RawPeer::start(names, serve).await;
    let honest = echo_server(ServerConfig::default()).await;
    let config = once().with_read_timeout(PATIENCE);
    let client = client_of(&honest, config).await;
    client.connect(hostile.address.clone()).await.expect("it listens");
    let outcome = client.client().send(hostile.id, &echo_name(), "hello?").await;
    // The next call on an honest peer works.
    check_echo(&client, honest.peer_id(), "honest").await;
    let stats = client.client().stats();
    assert_eq!((stats.in_flight, stats.ok, stats.failed), (0, 1, 1));
    outcome.expect_err("no honest answer came")
}

/// Waits for the request, says `answer`, then goes on reading.
async fn say(mut stream: Stream, answer: Vec<u8>) {
    next_of(&mut stream, REQUEST).await.expect("a request");
    let _gone = write(&mut stream, &answer).await;
    read_to_end(&mut stream).await;
}

async fn say_plain(mut stream: Stream, answer: Vec<u8>) {
    read_plain(&mut stream).await.expect("a request");
    let _gone = write(&mut stream, &answer).await;
    read_to_end(&mut stream).await;
}

#[test]
fn a_server_that_answers_garbage_fails_the_call() {
    run(async {
        for garbage in GARBAGE {
            let error = call(&[NATIVE], move |stream| say(stream, garbage.to_vec())).await;
            assert!(matches!(error.cause, Cause::Violation(_)), "{error:?}");
            assert_eq!(error.delivery, Delivery::Unknown);
        }
    });
}

#[test]
fn a_plain_server_that_answers_garbage_fails_the_call() {
    run(async {
        let garbage = || b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
        let error = call(&[PLAIN], move |stream| say_plain(stream, garbage())).await;
        let large = matches!(error.cause, Cause::Violation(FrameError::TooLarge { .. }));
        assert!(large, "{error:?}");
        assert_eq!((error.phase, error.delivery), (Phase::Answer, Delivery::Unknown));
    });
}

/// W4.
#[test]
fn a_server_that_announces_a_huge_answer_fails_the_call() {
    run(async {
        let error = call(&[NATIVE], |mut stream| async move {
            let request = next_of(&mut stream, REQUEST).await.expect("a request");
            let mut header = native(RESPONSE, request.id, &[], &[]);
            header[..4].copy_from_slice(&u32::MAX.to_be_bytes());
            let _gone = write(&mut stream, &header).await;
            read_to_end(&mut stream).await;
        })
        .await;
        let large = matches!(error.cause, Cause::Violation(FrameError::TooLarge { .. }));
        assert!(large, "{error:?}");
        assert_eq!((error.phase, error.delivery), (Phase::Answer, Delivery::Unknown));
    });
}

/// W9.
#[test]
fn a_server_that_stops_in_the_middle_of_its_answer_fails_the_call() {
    run(async {
        let native_halves = [1, 16, 60].map(|half| {
            call(&[NATIVE], move |mut stream| async move {
                let request = next_of(&mut stream, REQUEST).await.expect("a request");
                let answer = native(RESPONSE, request.id, &[], &[7; 100]);
                let _gone = write(&mut stream, &answer[..half]).await;
                read_to_end(&mut stream).await;
            })
        });
        let plain_halves = [1, 4, 60].map(|half| {
            call(&[PLAIN], move |stream| say_plain(stream, plain(&[7; 100])[..half].to_vec()))
        });
        let errors = futures::join!(join_all(native_halves), join_all(plain_halves));
        for error in errors.0.into_iter().chain(errors.1) {
            assert_eq!(error.cause, Cause::TimedOut(PATIENCE));
            assert_eq!(error.delivery, Delivery::Unknown);
        }
    });
}

/// W9.
#[test]
fn a_server_that_closes_in_the_middle_of_its_answer_fails_the_call() {
    run(async {
        let error = call(&[NATIVE], |mut stream| async move {
            let request = next_of(&mut stream, REQUEST).await.expect("a request");
            let answer = native(RESPONSE, request.id, &[], &[7; 100]);
            let _gone = write(&mut stream, &answer[..60]).await;
            let _gone = stream.close().await;
        })
        .await;
        assert!(matches!(error.cause, Cause::Lost(_)), "{error}");
        let error = call(&[PLAIN], |mut stream| async move {
            read_plain(&mut stream).await.expect("a request");
            let _gone = write(&mut stream, &plain(&[7; 100])[..60]).await;
            let _gone = stream.close().await;
        })
        .await;
        assert!(matches!(error.cause, Cause::Lost(_)), "{error}");
    });
}

#[test]
fn an_answer_to_a_request_never_made_fails_the_stream() {
    run(async {
        for id in [0, 1, u64::MAX] {
            let answer = move || native(RESPONSE, id, &[], b"you asked?");
            let error = call(&[NATIVE], move |stream| say(stream, answer())).await;
            let unexpected = matches!(error.cause, Cause::Violation(FrameError::Unexpected(_)));
            assert!(unexpected, "{error:?}");
        }
    });
}

#[test]
fn a_server_that_is_silent_fails_the_call_in_time() {
    run(async {
        for name in [NATIVE, PLAIN] {
            let error = call(&[name], |mut stream| async move {
                read_to_end(&mut stream).await;
            })
            .await;
            assert_eq!(error.cause, Cause::TimedOut(PATIENCE));
            assert_eq!((error.phase, error.delivery), (Phase::Wait, Delivery::Unknown));
        }
    });
}

#[test]
fn a_server_that_closes_or_resets_fails_the_call() {
    run(async {
        let error = call(&[NATIVE], |mut stream| async move {
            next_of(&mut stream, REQUEST).await.expect("a request");
            let _gone = stream.close().await;
        })
        .await;
        assert_eq!((error.cause, error.delivery), (Cause::RemoteClosed, Delivery::Unknown));
        let error = call(&[NATIVE], |mut stream| async move {
            next_of(&mut stream, REQUEST).await.expect("a request");
        })
        .await;
        // Yamux does not tell the one from the other.
        assert!(matches!(error.cause, Cause::Lost(_) | Cause::RemoteClosed), "{error:?}");
        assert_eq!(error.delivery, Delivery::Unknown);
    });
}

/// A server that only ever drains is given up, not asked for ever.
#[test]
fn a_server_that_drains_every_stream_is_given_up() {
    run(async {
        let error = call(&[NATIVE], |stream| say(stream, native(DRAIN, 0, &[], &[]))).await;
        assert_eq!(error.delivery, Delivery::NotProcessed);
        assert!((1..=10).contains(&error.attempts), "{error:?}");
    });
}

/// A second answer to one plain request breaks the stream, and never becomes the next answer.
#[test]
fn an_extra_plain_answer_is_never_taken_for_the_next() {
    run(async {
        let (told, mut closed) = mpsc::unbounded();
        let twice = RawPeer::start(&[PLAIN], move |mut stream| {
            let told = told.clone();
            async move {
                while let Some(body) = read_plain(&mut stream).await {
                    let mut answers = plain(&body);
                    answers.extend(plain(b"and another thing"));
                    if write(&mut stream, &answers).await.is_err() {
                        break;
                    }
                }
                let _gone = told.unbounded_send(());
            }
        })
        .await;
        let client = client(once()).await;
        client.connect(twice.address.clone()).await.expect("it listens");
        check_echo(&client, twice.id, "first").await;
        closed.next().await.expect("the stream was ended");
        check_echo(&client, twice.id, "second").await;
        assert_eq!(client.client().stats().opens, 2);
    });
}

/// Settings of nothing at all do not stop a client for ever.
#[test]
fn a_server_that_allows_no_requests_still_answers_one_at_a_time() {
    run(async {
        let seen = Arc::new(Alive::default());
        let at_work = seen.clone();
        let meagre = RawPeer::start(&[NATIVE], move |mut stream| {
            let at_work = at_work.clone();
            async move {
                let nothing = [0x12, 0, 4, 0, 0, 0, 0];
                let _gone = write(&mut stream, &native(SETTINGS, 0, &nothing, &[])).await;
                while let Some(request) = next_of(&mut stream, REQUEST).await {
                    // Before the answer, after which nobody waits for this task any more.
                    drop(at_work.enter());
                    let answer = native(RESPONSE, request.id, &[], &request.body);
                    let _gone = write(&mut stream, &answer).await;
                }
            }
        })
        .await;
        let client = client(once().with_max_streams_per_peer(1)).await;
        client.connect(meagre.address.clone()).await.expect("it listens");
        let calls = (0..20).map(|n| check_echo(&client, meagre.id, format!("request {n}")));
        join_all(calls).await;
        assert_eq!(seen.dropped(), 20);
    });
}

/// S2: A server that never reads is given up; nothing of its stream is left.
#[test]
fn a_server_that_never_reads_its_requests_is_given_up() {
    run(async {
        let deaf = RawPeer::start(&[NATIVE], |stream| async move {
            let _stream = stream;
            pending::<()>().await;
        })
        .await;
        let config = once().with_write_timeout(PATIENCE).with_compression(false);
        let node = client(config).await;
        node.connect(deaf.address.clone()).await.expect("it listens");
        let outcome = node.client().send(deaf.id, &echo_name(), noise(8 * MIB, 1)).await;
        let error = outcome.expect_err("nobody reads it");
        assert_eq!(error.cause, Cause::TimedOut(PATIENCE));
        assert_eq!(error.phase, Phase::Write);
        within(20 * PATIENCE, until(|| node.client().stats().streams == 0)).await;
    });
}
