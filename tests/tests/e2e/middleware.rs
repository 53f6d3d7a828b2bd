//! Layers around handlers and clients: those of the library, and some of tower that nobody here wrote.

use std::error::Error;
use std::future::{Ready, pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use pointsub_swarm::middleware::{
    AnyRequest, AuthorizeLayer, Head, Layered, ObserveLayer, OutgoingCall, OutgoingRequest,
    TimeoutLayer, status_code,
};
use pointsub_swarm::{
    BoxError, Bytes, Cause, ClosestError, Delivery, Handler, HandlerError, IncomingCall, PeerId,
    Phase, Request, RequestError, Response, Runtime, SendError, ServerConfig, StatusCode, Verdict,
};
use tower::buffer::Buffer;
use tower::load_shed::error::Overloaded;
use tower::retry::{Policy, RetryLayer};
use tower::{ServiceBuilder, ServiceExt};

use crate::common::*;
use crate::support::rt;

const SHORT: Duration = Duration::from_millis(20);

async fn served_by(handler: impl Handler) -> (Node, Node, PeerId) {
    let server = start(ServerConfig::default(), once()).await;
    server.server().register(&echo_name(), handler).expect("first");
    let client = client_of(&server, once()).await;
    let peer = server.peer_id();
    (server, client, peer)
}

fn request(body: impl Into<Bytes>) -> OutgoingRequest {
    OutgoingRequest::new(&echo_name(), body)
}

/// What tower's `load_shed` says, for the caller.
fn busy(error: BoxError) -> HandlerError {
    if error.is::<Overloaded>() { HandlerError::busy(SHORT) } else { error.into() }
}

/// tower's `load_shed` and `concurrency_limit` around a handler.
#[test]
fn a_handler_behind_towers_limit_is_busy_beyond_it() {
    run(async {
        let ((opener, gate), alive) = (Gate::new(), Alive::default());
        let count = alive.clone();
        let handler = move |request: Request| {
            let (gate, count) = (gate.clone(), count.clone());
            async move {
                let _guard = count.enter();
                gate.opened().await;
                request.body
            }
        };
        let layers = ServiceBuilder::new().map_err(busy).load_shed().concurrency_limit(2);
        let (_server, client, peer) = served_by(Layered::new(handler, layers)).await;
        let send = |body: &'static str| client.client().send(peer, &echo_name(), body);
        let (first, second) = (spawn(send("first")), spawn(send("second")));
        until(|| alive.now() == 2).await;
        let (told, error) = status(send("third").await);
        assert_eq!((told.code, told.retry_after), (StatusCode::Busy, Some(SHORT)));
        assert!(error.is_busy() && error.may_retry(true), "{error}");
        drop(opener);
        assert_eq!(first.await.expect("it had a place"), "first");
        assert_eq!(second.await.expect("it had a place"), "second");
        assert_eq!(send("fourth").await.expect("there is room"), "fourth");
        assert_eq!(alive.peak(), 2);
    });
}

/// The same without `load_shed`: whoever comes too much waits.
#[test]
fn a_handler_behind_towers_limit_is_waited_for() {
    run(async {
        let alive = Alive::default();
        let count = alive.clone();
        let handler = move |request: Request| {
            let count = count.clone();
            async move {
                let _guard = count.enter();
                yield_now().await;
                request.body
            }
        };
        let layers = ServiceBuilder::new().concurrency_limit(3);
        let (_server, client, peer) = served_by(Layered::new(handler, layers)).await;
        let sends = (0..40).map(|_| client.client().send(peer, &echo_name(), "x"));
        for answer in futures::future::join_all(sends).await {
            assert_eq!(answer.expect("an answer"), "x");
        }
        assert!((1..=3).contains(&alive.peak()), "{} at a time", alive.peak());
    });
}

fn has_token(head: &Head<'_>) -> Verdict {
    match head.metadata.get("token") {
        Some(b"secret") => Verdict::Allow,
        Some(_) => Verdict::permission_denied("another token"),
        None => Verdict::unauthenticated("send a token"),
    }
}

#[test]
fn who_may_not_ask_does_not_come_to_the_handler() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let client = client_of(&server, once()).await;
        let stranger = client_of(&server, once()).await;
        let (member, peer) = (client.peer_id(), server.peer_id());
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let handler = move |request: Request| {
            counted.fetch_add(1, Ordering::SeqCst);
            echo(request)
        };
        let members = AuthorizeLayer::new(move |head: &Head<'_>| {
            assert!(!head.is_call);
            if head.peer == Some(member) { has_token(head) } else { Verdict::permission_denied("") }
        });
        server.server().register(&echo_name(), Layered::new(handler, members)).expect("first");
        let ask = |node: &Node, token: Option<&str>| {
            let call = node.client().send(peer, &echo_name(), "x");
            token.into_iter().fold(call, |call, token| call.metadata("token", token))
        };
        let code = |outcome| status(outcome).0.code;
        assert_eq!(code(ask(&client, None).await), StatusCode::Unauthenticated);
        assert_eq!(code(ask(&client, Some("open")).await), StatusCode::PermissionDenied);
        assert_eq!(code(ask(&stranger, Some("secret")).await), StatusCode::PermissionDenied);
        assert_eq!(count.load(Ordering::SeqCst), 0);
        assert_eq!(ask(&client, Some("secret")).await.expect("it may"), "x");
        assert_eq!(count.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_handler_has_a_time_limit_of_its_own_and_knows_it() {
    run(async {
        let alive = Alive::default();
        let count = alive.clone();
        let handler = move |request: Request| {
            let count = count.clone();
            async move {
                let _guard = count.enter();
                if request.body == "hang" {
                    pending::<()>().await;
                }
                u8::from(request.remaining.is_some_and(|left| left <= SHORT)).to_string()
            }
        };
        let handler = Layered::new(handler, TimeoutLayer::new(SHORT));
        let (_server, client, peer) = served_by(handler).await;
        let (told, error) = status(client.client().send(peer, &echo_name(), "hang").await);
        assert_eq!(told.code, StatusCode::DeadlineExceeded);
        assert!(error.is_timeout() && error.delivery > Delivery::NotProcessed, "{error:?}");
        assert_eq!((alive.now(), alive.dropped()), (0, 1));
        let answer = client.client().send(peer, &echo_name(), "x");
        assert_eq!(answer.timeout(60 * SHORT).await.expect("in time"), "1");
    });
}

#[test]
fn a_client_has_a_time_limit_that_the_server_is_told() {
    run(async {
        let seen = Arc::new(Mutex::new(None));
        let see = seen.clone();
        let handler = move |request: Request| {
            *see.lock() = request.remaining;
            pending::<()>()
        };
        let (_server, client, peer) = served_by(handler).await;
        let limited = ServiceBuilder::new().layer(TimeoutLayer::new(5 * SHORT));
        let service = limited.service(client.client().to_peer(peer));
        let error = service.oneshot(request("x")).await.expect_err("it hangs");
        assert!(error.is_timeout(), "{error}");
        assert_eq!(error.delivery, Delivery::Unknown);
        assert!(seen.lock().is_some_and(|remaining| remaining <= 5 * SHORT));
    });
}

#[derive(Clone)]
struct Again(u32);

impl Policy<OutgoingRequest, Response, RequestError> for Again {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut OutgoingRequest,
        result: &mut Result<Response, RequestError>,
    ) -> Option<Ready<()>> {
        let error = result.as_ref().err()?;
        let may = error.may_retry(request.idempotent.unwrap_or(true));
        self.0 = self.0.checked_sub(u32::from(may))?;
        may.then(|| ready(()))
    }

    fn clone_request(&mut self, request: &OutgoingRequest) -> Option<OutgoingRequest> {
        Some(request.clone())
    }
}

/// tower's `retry` around a client, by what the error says.
#[test]
fn towers_retry_asks_again_where_that_does_no_harm() {
    run(async {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let handler = move |request: Request| {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                if number % 3 == 2 { Ok(request.body) } else { Err(HandlerError::busy(SHORT)) }
            }
        };
        let (_server, client, peer) = served_by(handler).await;
        let retried = ServiceBuilder::new().layer(RetryLayer::new(Again(5)));
        let service = retried.service(client.client().to_peer(peer));
        let answer = service.clone().oneshot(request("x")).await;
        assert_eq!(answer.expect("the third time"), "x");
        assert_eq!(count.load(Ordering::SeqCst), 3);
        let error = service.oneshot(request("x").idempotent(false)).await.expect_err("once");
        assert!(error.is_busy() && error.delivery > Delivery::NotProcessed, "{error:?}");
        assert_eq!(count.load(Ordering::SeqCst), 4);
    });
}

/// tower's `buffer`, `map_request`, `filter` and `concurrency_limit` around a client of the closest server.
#[test]
fn errors_stay_what_they_are_behind_towers_layers() {
    run(async {
        let handler = |request: Request| async move {
            match &request.body[..] {
                b"none" => Err(HandlerError::not_found("no such room")),
                _ => {
                    Ok([&request.body, request.metadata.get("token").unwrap_or_default()].concat())
                }
            }
        };
        let (server, node, peer) = served_by(handler).await;
        let (buffer, worker) = Buffer::pair(node.client().to_closest(), 8);
        rt().spawn(worker.boxed());
        let layers = ServiceBuilder::new()
            .filter(|request: OutgoingRequest| match &request.body[..] {
                b"" => Err("say something"),
                _ => Ok(request),
            })
            .map_request(|request: OutgoingRequest| request.metadata("token", " secret"))
            .concurrency_limit(2);
        let service = layers.service(buffer);
        let send = async |body: &'static str| service.clone().oneshot(request(body)).await;
        let closest = |error: BoxError| *error.downcast::<ClosestError>().expect("the client's");

        // From now on, servers are those that are named.
        node.client().add_server_node(&echo_name(), peer).expect("a node");
        node.client().clear_server_nodes(&echo_name());
        let nobody = closest(send("x").await.expect_err("nobody serves it"));
        assert_eq!(nobody.error.cause, Cause::Refused(SendError::NoNodes));
        assert_eq!(nobody.error.delivery, Delivery::NotProcessed);
        node.client().add_server_node(&echo_name(), peer).expect("a node");
        let answer = send("x").await.expect("an answer");
        assert_eq!((answer.body(), answer.peer()), (&Bytes::from("x secret"), server.peer_id()));
        let none = closest(send("none").await.expect_err("there is none"));
        assert_eq!((none.error.phase, none.error.delivery), (Phase::Answer, Delivery::Processed));
        assert_eq!(none.error.status().expect("a status").code, StatusCode::NoSuchResource);
        assert_eq!(send("").await.expect_err("refused here").to_string(), "say something");
    });
}

/// What an observer is told, of whose request: the outcome, or that there is none.
type Told = Arc<Mutex<Vec<(Option<PeerId>, &'static str)>>>;

struct Guarded(Told, Option<PeerId>, Option<&'static str>);

impl Guarded {
    fn end(mut self, outcome: &'static str) {
        self.2 = Some(outcome);
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.lock().push((self.1, self.2.unwrap_or("dropped")));
    }
}

#[test]
fn an_observer_is_told_of_every_outcome() {
    run(async {
        let told = Told::default();
        let to = told.clone();
        let layer = ObserveLayer::new(move |head: &Head<'_>| {
            let guarded = Guarded(to.clone(), head.peer, None);
            move |outcome: Result<(), &(dyn Error + 'static)>| {
                guarded.end(match outcome.map_err(status_code) {
                    Ok(()) => "ok",
                    Err(Some(StatusCode::NoSuchResource)) => "not found",
                    Err(_) => "other",
                });
            }
        });
        let alive = Alive::default();
        let count = alive.clone();
        let handler = move |request: Request| {
            let count = count.clone();
            async move {
                match &request.body[..] {
                    b"none" => Err(HandlerError::not_found("")),
                    b"panic" => panic!("panics on purpose"),
                    b"hang" => hang(count).await,
                    _ => Ok(request.body),
                }
            }
        };
        let handler = Layered::new(handler, layer.clone());
        let (_server, node, peer) = served_by(handler).await;
        let service = ServiceBuilder::new().layer(layer).service(node.client().to_peer(peer));
        let send = async |body: &'static str| service.clone().oneshot(request(body)).await;
        let seen = async |outcome: [&'static str; 2]| {
            until(|| told.lock().len() == 2).await;
            let expected = [(Some(node.peer_id()), outcome[0]), (None, outcome[1])];
            assert_eq!(std::mem::take(&mut *told.lock()), expected);
        };
        assert_eq!(send("x").await.expect("an answer"), "x");
        seen(["ok", "ok"]).await;
        assert_eq!(status(send("none").await).0.code, StatusCode::NoSuchResource);
        seen(["not found", "not found"]).await;
        // The server answers for a handler that panics, behind all layers.
        assert_eq!(status(send("panic").await).0.code, StatusCode::Internal);
        seen(["dropped", "other"]).await;
        let hanging = send("hang");
        {
            let hanging = std::pin::pin!(hanging);
            let at_work = async { until(|| alive.now() == 1).await };
            futures::future::select(hanging, std::pin::pin!(at_work)).await;
        }
        until(|| told.lock().len() == 2).await;
        assert!(told.lock().iter().all(|(_, outcome)| *outcome == "dropped"), "{:?}", told.lock());
        assert_eq!(node.client().stats().opens, 1, "the stream goes on");
    });
}

/// tower's layers around a handler of calls: one place among them is taken for as long as a call is open.
#[test]
fn calls_have_layers_too_and_one_that_is_refused_is_not_accepted() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let node = client_of(&server, once()).await;
        let peer = server.peer_id();
        let handler = |call: IncomingCall| async move {
            let IncomingCall { mut sender, mut receiver, method, .. } = call;
            while let Some(message) = receiver.recv().await? {
                sender.send(message).await?;
            }
            Ok::<_, RequestError>(method.map(|method| method.to_string()).unwrap_or_default())
        };
        let layers = ServiceBuilder::new()
            .layer(AuthorizeLayer::new(has_token))
            .map_err(busy)
            .load_shed()
            .concurrency_limit(1);
        let name = name("/call/1.0.0");
        server.server().register_call(&name, Layered::new_call(handler, layers)).expect("first");

        let service = ServiceBuilder::new()
            .map_request(|mut call: OutgoingCall| {
                call.metadata_mut().insert("token", "secret").expect("there is room");
                call
            })
            .service(node.client().to_peer(peer));
        let open = || service.clone().oneshot(OutgoingCall::new(&name, "").method("repeat"));
        let told = |error: &RequestError| error.status().expect("a status").code;
        let error = node.client().open(peer, &name, "").await.expect_err("it has no token");
        assert_eq!(told(&error), StatusCode::Unauthenticated);
        let mut call = open().await.expect("accepted");
        call.send("x").await.expect("open");
        assert_eq!(call.recv().await.expect("open"), Some(Bytes::from("x")));
        let error = open().await.expect_err("there is one already");
        assert_eq!(told(&error), StatusCode::Busy);
        assert_eq!(call.finish().await.expect("a result"), "repeat");
        loop {
            // The place is free when the handler's future is gone, which comes after its answer.
            match open().await {
                Ok(_) => break,
                Err(error) => assert!(error.is_busy(), "{error}"),
            }
        }
    });
}

/// A client's service as the handler of another node.
#[test]
fn a_node_hands_requests_on() {
    run(async {
        let last = start(ServerConfig::default(), once()).await;
        let handler = |request: Request| async move {
            let method = request.method.expect("it is handed on");
            let key = request.metadata.get("key").expect("it is handed on").to_vec();
            let limited = request.remaining.expect("it is handed on") <= Duration::from_secs(30);
            format!("{method} {} {limited}", String::from_utf8_lossy(&key))
        };
        last.server().register(&echo_name(), handler).expect("first");
        let middle = start(ServerConfig::default(), once()).await;
        connect(&middle, &last).await;
        middle.client().add_server_node(&echo_name(), last.peer_id()).expect("a node");
        let onward = ServiceBuilder::new()
            .map_request(OutgoingRequest::from)
            .service(middle.client().to_closest());
        middle.server().register(&echo_name(), Layered::of(onward)).expect("first");
        let node = client_of(&middle, once()).await;
        let call = node.client().send(middle.peer_id(), &echo_name(), "x").method("Get");
        let answer = call.metadata("key", "value").timeout(Duration::from_secs(30)).await;
        assert_eq!(answer.expect("an answer"), "Get value true");
    });
}

/// Options that a layer sees and changes are those that hold.
#[test]
fn options_pass_through_layers() {
    run(async {
        let (_server, node, peer) = served_by(|request: Request| async { request.body }).await;
        let to_peer = node.client().to_peer(peer);
        let long = request(noise(5000, 3)).max_answer(1000);
        let error = to_peer.clone().oneshot(long).await.expect_err("it is too long");
        assert!(matches!(error.cause, Cause::Body(_)), "{error}");
        let error = to_peer.oneshot(request("x").method("\n")).await.expect_err("it is no method");
        assert!(matches!(error.cause, Cause::Refused(SendError::Metadata(_))), "{error}");
        node.client().add_server_node(&echo_name(), peer).expect("a node");
        let excluded = request("x").exclude([peer]);
        let error = node.client().to_closest().oneshot(excluded).await.expect_err("nobody");
        assert_eq!(error.error.cause, Cause::Refused(SendError::NoNodes));
    });
}
