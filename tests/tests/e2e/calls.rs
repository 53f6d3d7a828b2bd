//! Calls: requests with messages beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use pointsub_swarm::{
    Cause, HandlerError, IncomingCall, Metadata, PeerId, ProtocolName, RequestError, ServerConfig,
    StatusCode,
};

use crate::common::*;

fn call_name() -> ProtocolName {
    name("/call/1.0.0")
}

/// A server with a handler of calls beside the echo, and a client.
async fn calling<F, Fut, T>(handler: F) -> (Node, Node, PeerId)
where
    F: Fn(IncomingCall) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, HandlerError>> + Send + 'static,
    T: pointsub_swarm::IntoResponse,
{
    let server = echo_server(ServerConfig::default()).await;
    server.server().register_call(&call_name(), handler).expect("first");
    let client = client_of(&server, once()).await;
    let peer = server.peer_id();
    (server, client, peer)
}

/// Counts down from the argument.
async fn count(call: IncomingCall) -> Result<String, HandlerError> {
    let IncomingCall { argument, mut sender, .. } = call;
    let count: u32 = std::str::from_utf8(&argument)?.parse()?;
    for number in 0..count {
        sender.send(number.to_be_bytes().to_vec()).await?;
    }
    Ok(format!("{count} sent"))
}

/// Sends back what comes.
async fn repeat(call: IncomingCall) -> Result<String, HandlerError> {
    let IncomingCall { mut sender, mut receiver, .. } = call;
    let mut bytes = 0;
    while let Some(message) = receiver.recv().await? {
        bytes += message.len();
        sender.send(message).await?;
    }
    Ok(bytes.to_string())
}

#[test]
fn a_server_sends_many_messages_in_order_and_then_a_result() {
    run(async {
        let (_server, node, peer) = calling(count).await;
        let mut call = node.client().open(peer, &call_name(), "1000").await.expect("accepted");
        for number in 0..1000_u32 {
            let message = call.recv().await.expect("open").expect("more");
            assert_eq!(message, number.to_be_bytes()[..]);
        }
        assert_eq!(call.recv().await.expect("it went well"), None);
        assert_eq!(call.finish().await.expect("a result"), "1000 sent");
    });
}

#[test]
fn both_sides_talk_and_the_client_says_that_it_is_done() {
    run(async {
        let (_server, node, peer) = calling(repeat).await;
        let mut call = node.client().open(peer, &call_name(), "").await.expect("accepted");
        let mut sum = 0;
        for len in [0, 1, 1000, 32 * 1024, 100 * 1024, MIB] {
            let message = noise(len, 1 + len as u64);
            call.send(message.clone()).await.expect("open");
            assert!(call.recv().await.expect("open").expect("an echo") == message, "{len} bytes");
            sum += len;
        }
        assert_eq!(call.finish().await.expect("a result"), sum.to_string());
    });
}

#[test]
fn the_halves_are_a_stream_and_a_sink_in_two_tasks() {
    run(async {
        let (_server, node, peer) = calling(repeat).await;
        let call = node.client().open(peer, &call_name(), "").await.expect("accepted");
        let (mut sender, mut receiver) = call.split();
        let sending = spawn(async move {
            for number in 0..500_u32 {
                let message = Bytes::copy_from_slice(&number.to_be_bytes());
                SinkExt::send(&mut sender, message).await.expect("open");
            }
            sender.close().await.expect("open");
        });
        let messages: Vec<_> = receiver.by_ref().collect().await;
        assert_eq!(receiver.finish().await.expect("the result is behind them"), "2000");
        sending.await;
        assert_eq!(messages.len(), 500);
        for (number, message) in messages.into_iter().enumerate() {
            assert_eq!(message.expect("it went well"), (number as u32).to_be_bytes()[..]);
        }
    });
}

#[test]
fn whoever_does_not_read_stops_the_sender_and_nobody_else() {
    run(async {
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = sent.clone();
        let handler = move |call: IncomingCall| {
            let sent = counter.clone();
            async move {
                let mut sender = call.sender;
                for number in 0..200_u32 {
                    sender.send(number.to_be_bytes().to_vec()).await?;
                    sent.fetch_add(1, Ordering::SeqCst);
                }
                Ok::<_, HandlerError>(())
            }
        };
        let (_server, node, peer) = calling(handler).await;
        let open = node.client().open(peer, &call_name(), "").window(16, 64 * 1024);
        let mut call = open.await.expect("accepted");
        until(|| sent.load(Ordering::SeqCst) == 16).await;
        for _ in 0..50 {
            check_echo(&node, peer, "others go on").await;
        }
        assert_eq!(sent.load(Ordering::SeqCst), 16, "no more than the window");
        for number in 0..200_u32 {
            let message = call.recv().await.expect("open").expect("more");
            assert_eq!(message, number.to_be_bytes()[..]);
        }
        call.finish().await.expect("a result");
    });
}

#[test]
fn a_message_of_32_mib_is_taken_and_one_byte_more_is_refused() {
    run(async {
        let (_server, node, peer) = calling(repeat).await;
        let mut call = node.client().open(peer, &call_name(), "").await.expect("accepted");
        let message = noise(32 * MIB, 5);
        let (echo, sent) = {
            let message = message.clone();
            let (mut sender, mut receiver) = call.split();
            let sending = spawn(async move {
                let outcome = sender.send(message).await;
                (sender, outcome)
            });
            let echo = receiver.recv().await.expect("open").expect("an echo");
            let (sender, outcome) = sending.await;
            outcome.expect("it is not too long");
            (echo, (sender, receiver))
        };
        assert!(echo == message);
        drop(sent);
        call = node.client().open(peer, &call_name(), "").await.expect("accepted");
        // The handler's acceptance has come, and so has the limit.
        let error = call.send(noise(32 * MIB + 1, 5)).await.expect_err("it is too long");
        assert!(matches!(error.cause, Cause::Refused(_)), "{error}");
        check_echo(&node, peer, "the stream goes on").await;
    });
}

#[test]
fn dropping_a_call_stops_its_handler() {
    run(async {
        let alive = Alive::default();
        let handlers = alive.clone();
        let handler = move |call: IncomingCall| {
            let alive = handlers.clone();
            async move {
                let _call = call;
                hang(alive).await.map(|_| ())
            }
        };
        let (_server, node, peer) = calling(handler).await;
        let call = node.client().open(peer, &call_name(), "").await.expect("accepted");
        until(|| alive.now() == 1).await;
        drop(call);
        until(|| alive.dropped() == 1).await;
        check_echo(&node, peer, "the stream goes on").await;
        assert_eq!(node.client().stats().streams, 2, "one for each protocol");
    });
}

#[test]
fn a_failure_comes_behind_the_messages_that_were_sent() {
    run(async {
        let handler = |call: IncomingCall| async move {
            let IncomingCall { argument, mut sender, .. } = call;
            for _ in 0..3 {
                sender.send("a message").await?;
            }
            assert!(argument != "panic", "as the client wishes");
            Err::<(), _>(HandlerError::new(7, "no more"))
        };
        let (_server, node, peer) = calling(handler).await;
        for (argument, code) in
            [("fail", StatusCode::Application(7)), ("panic", StatusCode::Internal)]
        {
            let mut call =
                node.client().open(peer, &call_name(), argument).await.expect("accepted");
            for _ in 0..3 {
                assert_eq!(call.recv().await.expect("not yet").expect("more"), "a message");
            }
            let error = call.recv().await.expect_err("it fails");
            assert_eq!(error.status().map(|status| status.code), Some(code));
        }
    });
}

#[test]
fn a_handler_may_refuse_before_it_accepts() {
    run(async {
        let handler = |_: IncomingCall| async move {
            Err::<(), _>(HandlerError::permission_denied("not you"))
        };
        let (_server, node, peer) = calling(handler).await;
        let error = node.client().open(peer, &call_name(), "").await.expect_err("it is refused");
        assert_eq!(error.status().map(|s| s.code), Some(StatusCode::PermissionDenied));
    });
}

#[test]
fn method_and_metadata_travel_both_ways() {
    run(async {
        let handler = |call: IncomingCall| async move {
            let mut metadata = Metadata::new();
            metadata.insert("answered-by", b"handler").expect("a key");
            assert!(call.accept(metadata));
            let method = call.method.as_ref().map(ToString::to_string).unwrap_or_default();
            let tenant = call.metadata.get("tenant").map(<[u8]>::to_vec).unwrap_or_default();
            Ok::<_, HandlerError>(format!("{method} for {}", String::from_utf8_lossy(&tenant)))
        };
        let (_server, node, peer) = calling(handler).await;
        let open = node.client().open(peer, &call_name(), "").method("users.Get");
        let call = open.metadata("tenant", "blue").await.expect("accepted");
        assert_eq!(call.metadata().get("answered-by"), Some(&b"handler"[..]));
        assert_eq!(call.finish().await.expect("a result"), "users.Get for blue");

        let open = node.client().open(peer, &call_name(), "").metadata("Tenant", "blue");
        let error = open.await.expect_err("keys are lowercase");
        assert!(matches!(error.cause, Cause::Refused(_)), "{error}");
    });
}

#[test]
fn time_passes_while_the_sender_waits_for_credit() {
    run(async {
        let alive = Alive::default();
        let handlers = alive.clone();
        let handler = move |call: IncomingCall| {
            let alive = handlers.clone();
            async move {
                let _guard = alive.enter();
                let mut sender = call.sender;
                loop {
                    sender.send("again").await?;
                }
                #[expect(unreachable_code, reason = "says what it would return")]
                Ok::<(), HandlerError>(())
            }
        };
        let (_server, node, peer) = calling(handler).await;
        let open = node.client().open(peer, &call_name(), "").timeout(Duration::from_millis(300));
        let mut call = open.await.expect("accepted");
        until(|| alive.dropped() == 1).await;
        let mut taken = 0;
        let error = loop {
            match call.recv().await {
                Ok(message) => assert_eq!(message.expect("no end"), "again"),
                Err(error) => break error,
            }
            taken += 1;
        };
        assert!(error.is_timeout(), "{error}");
        assert!(taken <= 64, "{taken} messages");
    });
}

#[test]
fn time_passes_while_the_client_waits_for_credit() {
    run(async {
        let alive = Alive::default();
        let handlers = alive.clone();
        let handler = move |call: IncomingCall| {
            let alive = handlers.clone();
            async move {
                let _call = call;
                hang(alive).await.map(|_| ())
            }
        };
        let (_server, node, peer) = calling(handler).await;
        let open = node.client().open(peer, &call_name(), "").timeout(Duration::from_millis(300));
        let mut call = open.await.expect("accepted");
        let mut sent = 0;
        let error = loop {
            if let Err(error) = call.send("again").await {
                break error;
            }
            sent += 1;
        };
        assert!(error.is_timeout(), "{error}");
        assert!((1..=64).contains(&sent), "{sent} messages");
        until(|| alive.dropped() == 1).await;
    });
}

#[test]
fn a_call_in_which_nothing_moves_ends_where_that_is_wanted() {
    run(async {
        let alive = Alive::default();
        let handlers = alive.clone();
        let handler = move |call: IncomingCall| {
            let alive = handlers.clone();
            async move {
                let _call = call;
                hang(alive).await.map(|_| ())
            }
        };
        let (_server, node, peer) = calling(handler).await;
        let open = node.client().open(peer, &call_name(), "");
        let mut call = open.idle_timeout(Duration::from_millis(200)).await.expect("accepted");
        let error = call.recv().await.expect_err("nothing comes");
        assert!(error.is_timeout(), "{error}");
        until(|| alive.dropped() == 1).await;
    });
}

#[test]
fn many_calls_that_are_dropped_leave_nothing_behind() {
    run(async {
        let alive = Alive::default();
        let handlers = alive.clone();
        let handler = move |call: IncomingCall| {
            let alive = handlers.clone();
            async move {
                let _call = call;
                hang(alive).await.map(|_| ())
            }
        };
        let (server, _node, peer) = calling(handler).await;
        let node = client_of(&server, patient()).await;
        for _ in 0..20 {
            let opens = (0..50).map(|_| node.client().open(peer, &call_name(), ""));
            let calls = futures::future::join_all(opens).await;
            assert!(calls.iter().all(Result::is_ok), "{:?}", calls.iter().find(|c| c.is_err()));
            until(|| alive.now() == 50).await;
            drop(calls);
            until(|| alive.now() == 0).await;
        }
        assert_eq!(alive.dropped(), 1000);
        until(|| server.server().stats().in_flight == 0).await;
        check_echo(&node, peer, "as before").await;
    });
}

#[test]
fn a_server_that_stops_tells_its_subscriptions() {
    run(async {
        let handler = |call: IncomingCall| async move {
            let mut sender = call.sender;
            sender.send("welcome").await?;
            sender.draining().await;
            sender.send("goodbye").await?;
            Ok::<_, HandlerError>("moved")
        };
        let (server, node, peer) = calling(handler).await;
        let opens = (0..100).map(|_| node.client().open(peer, &call_name(), "").receive_only());
        let calls = futures::future::join_all(opens).await;
        let mut calls: Vec<_> = calls.into_iter().map(|call| call.expect("accepted")).collect();
        for call in &mut calls {
            assert_eq!(call.recv().await.expect("open").expect("more"), "welcome");
        }
        let stopping = spawn(async move { server.server().stop(Duration::from_secs(30)).await });
        for mut call in calls {
            call.draining().await;
            assert_eq!(call.recv().await.expect("open").expect("more"), "goodbye");
            assert_eq!(call.finish().await.expect("a result"), "moved");
        }
        assert_eq!(stopping.await.cut_off, 0);
    });
}

#[test]
fn requests_to_a_protocol_of_calls_are_not_implemented() {
    run(async {
        let (_server, node, peer) = calling(repeat).await;
        let (status, _) = status(node.client().send(peer, &call_name(), "hello").await);
        assert_eq!(status.code, StatusCode::Unimplemented);
    });
}

#[test]
fn calls_to_a_protocol_of_requests_are_not_implemented() {
    run(async {
        let (_server, node, peer) = calling(repeat).await;
        let open = node.client().open(peer, &echo_name(), "hello");
        let error = open.await.expect_err("it is refused");
        assert_eq!(error.status().map(|s| s.code), Some(StatusCode::Unimplemented));
    });
}

#[test]
fn a_server_without_calls_refuses_them_at_once() {
    run(async {
        let server = echo_server(ServerConfig::default().with_max_calls(0)).await;
        server.server().register_call(&call_name(), repeat).expect("first");
        let node = client_of(&server, once()).await;
        let open = node.client().open(server.peer_id(), &call_name(), "");
        let error: RequestError = open.await.expect_err("it is refused");
        assert_eq!(error.status().map(|s| s.code), Some(StatusCode::Unimplemented));
    });
}
