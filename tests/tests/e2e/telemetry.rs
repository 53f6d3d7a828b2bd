//! What recorders are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use pointsub_swarm::telemetry::{
    AttemptEnd, CallEnd, ConnectionLabels, HandlerEnd, MessageBytes, Recorder, RpcMethod, Side,
    Transferred,
};
use pointsub_swarm::{
    Client, ClientConfig, Handler, HandlerError, Hedge, IncomingCall, NodeBuilder, PeerId,
    ProtocolName, Reply, Request, Runtime, Server, ServerConfig, Spawned, TransportKind,
};

use crate::common::*;
use crate::retry::failing;
use crate::support::{Rt, rt};

/// Keeps what it is told.
#[derive(Default)]
struct Memory(Mutex<Told>);

#[derive(Default, Clone)]
struct Told {
    /// Each with `rpc.status_code` and `error.type`.
    calls: Vec<(String, Ended)>,
    messages: Vec<Option<(u64, u64)>>,
    begun: BTreeMap<String, u64>,
    attempts: Vec<(String, Ended)>,
    /// Bytes that attempts sent and received.
    sizes: Vec<(u64, u64)>,
    handled: Vec<(String, Ended)>,
    handled_sizes: Vec<(u64, u64)>,
    refused: BTreeMap<(String, &'static str), u64>,
    sent: BTreeMap<(String, Side), u64>,
    received: BTreeMap<(String, Side), u64>,
    open: i64,
    opened: Vec<ConnectionLabels>,
}

type Ended = (Option<&'static str>, Option<&'static str>);

const OK: Ended = (Some("ok"), None);
const CANCELLED: Ended = (None, Some("cancelled"));

const fn answered(status: &'static str) -> Ended {
    (Some(status), Some(status))
}

fn echo_ended(ended: Ended) -> (String, Ended) {
    ("echo/1.0.0".to_owned(), ended)
}

impl Recorder for Memory {
    fn call_ended(&self, call: &CallEnd<'_>) {
        let mut told = self.0.lock();
        told.calls.push((call.method.to_string(), (call.outcome.status, call.outcome.error)));
        let bytes = |messages: MessageBytes| (messages.sent, messages.received);
        told.messages.push(call.messages.map(bytes));
    }

    fn attempts_started(&self, method: RpcMethod<'_>, count: u64) {
        *self.0.lock().begun.entry(method.to_string()).or_default() += count;
    }

    fn attempt_ended(&self, attempt: &AttemptEnd<'_>) {
        let mut told = self.0.lock();
        let ended = (attempt.outcome.status, attempt.outcome.error);
        told.attempts.push((attempt.method.to_string(), ended));
        told.sizes.push((attempt.sent, attempt.received));
    }

    fn handler_ended(&self, handled: &HandlerEnd<'_>) {
        let mut told = self.0.lock();
        let ended = (handled.outcome.status, handled.outcome.error);
        told.handled.push((handled.method.to_string(), ended));
        told.handled_sizes.push((handled.sent, handled.received));
    }

    fn refused(&self, protocol: &str, status: &'static str, count: u64) {
        *self.0.lock().refused.entry((protocol.to_owned(), status)).or_default() += count;
    }

    fn transferred(&self, bytes: &Transferred<'_>) {
        let (key, mut told) = ((bytes.protocol.to_owned(), bytes.side), self.0.lock());
        *told.sent.entry(key.clone()).or_default() += bytes.sent;
        *told.received.entry(key).or_default() += bytes.received;
    }

    fn connection_opened(&self, connection: ConnectionLabels) {
        let mut told = self.0.lock();
        told.open += 1;
        told.opened.push(connection);
    }

    fn connection_closed(&self, _: ConnectionLabels) {
        self.0.lock().open -= 1;
    }
}

impl Memory {
    fn told(&self) -> Told {
        self.0.lock().clone()
    }
}

/// A node that listens and records.
async fn recording(server: ServerConfig, client: ClientConfig) -> (Node, Arc<Memory>) {
    let memory = Arc::<Memory>::default();
    let node = Node::builder().listen(loopback()).server_config(server).client_config(client);
    let node = node.recorder(memory.clone()).build().await.expect("a node");
    (node, memory)
}

/// A server with this handler of echoes and a client that is connected to it, both of which record.
async fn pair(handler: impl Handler) -> (Node, Arc<Memory>, Node, Arc<Memory>) {
    let (server, at_server) = recording(ServerConfig::default(), once()).await;
    server.server().register(&echo_name(), handler).expect("first");
    let (client, at_client) = recording(ServerConfig::default(), once()).await;
    connect(&client, &server).await;
    (server, at_server, client, at_client)
}

#[test]
fn a_call_is_told_at_both_ends() {
    run(async {
        let (server, at_server, client, at_client) = pair(echo).await;
        for _ in 0..3 {
            check_echo(&client, server.peer_id(), vec![7; 500]).await;
        }
        until(|| at_client.told().attempts.len() == 3).await;
        let told = at_client.told();
        assert_eq!(told.calls, vec![echo_ended(OK); 3]);
        assert_eq!(told.messages, [None; 3]);
        assert_eq!(told.begun, BTreeMap::from([("echo/1.0.0".to_owned(), 3)]));
        assert_eq!((told.attempts, told.sizes), (vec![echo_ended(OK); 3], vec![(500, 500); 3]));
        assert!(told.handled.is_empty() && told.refused.is_empty());
        let told = at_server.told();
        assert_eq!(
            (told.handled, told.handled_sizes),
            (vec![echo_ended(OK); 3], vec![(500, 500); 3])
        );
        assert!(told.calls.is_empty() && told.attempts.is_empty() && told.refused.is_empty());
        // With frames, and what opens a stream.
        let bytes = |of: &BTreeMap<(String, Side), u64>, side| {
            of.get(&("/echo/1.0.0".into(), side)).copied()
        };
        let sent = |memory: &Memory, side| bytes(&memory.told().sent, side);
        let received = |memory: &Memory, side| bytes(&memory.told().received, side);
        until(|| sent(&at_server, Side::Server) == received(&at_client, Side::Client)).await;
        until(|| sent(&at_client, Side::Client) == received(&at_server, Side::Server)).await;
        let sent = sent(&at_client, Side::Client).expect("requests");
        assert!((1500..2500).contains(&sent), "{sent}");
    });
}

#[test]
fn failures_are_told_by_name() {
    run(async {
        let fail = |_: Request| async { Err::<Reply, _>(HandlerError::busy(Duration::ZERO)) };
        let (server, at_server, client, at_client) = pair(fail).await;
        client.client().send(server.peer_id(), &echo_name(), "x").await.expect_err("busy");
        client.client().send(PeerId::random(), &echo_name(), "x").await.expect_err("nobody");
        let unserved = ProtocolName::from_static("/unserved/1.0.0");
        client.client().send_closest(&unserved, "x").await.expect_err("no server");
        until(|| at_client.told().attempts.len() == 1).await;
        let told = at_client.told();
        let nobody = ("unserved/1.0.0".to_owned(), (None, Some("no_server_found")));
        let echo = [answered("busy"), (None, Some("no_address"))].map(echo_ended);
        assert_eq!(told.calls, [&echo[..], &[nobody]].concat());
        // The others came to no stream.
        assert_eq!(told.attempts, [echo_ended(answered("busy"))]);
        // A handler has said so: nothing was refused.
        assert_eq!(at_server.told().handled, [echo_ended(answered("busy"))]);
        assert!(at_server.told().refused.is_empty());
    });
}

#[test]
fn a_call_that_is_tried_again_has_several_attempts() {
    run(async {
        let (server, _seen) = failing(2).await;
        let quick = ClientConfig::default().with_retry_interval(Duration::from_millis(5));
        let (client, memory) = recording(ServerConfig::default(), quick).await;
        client.connect(server.address.clone()).await.expect("it listens");
        check_echo(&client, server.id, "again").await;
        until(|| memory.told().attempts.len() == 3).await;
        let told = memory.told();
        assert_eq!(told.calls, [echo_ended(OK)]);
        assert_eq!(told.begun, BTreeMap::from([("echo/1.0.0".to_owned(), 3)]));
        let lost = (None, Some("remote_closed"));
        assert_eq!(told.attempts, [lost, lost, OK].map(echo_ended));
        assert_eq!(told.sizes, [(5, 0), (5, 0), (5, 5)]);
    });
}

#[test]
fn the_loser_of_a_hedged_call_is_an_attempt_that_was_cancelled() {
    run(async {
        let (client, memory) = recording(ServerConfig::default(), once()).await;
        let alive = Alive::default();
        let mut servers = Vec::new();
        for _ in 0..2 {
            let (server, alive) = (start(ServerConfig::default(), once()).await, alive.clone());
            // Whoever is asked first hangs, the other answers.
            let handler = move |request: Request| {
                let alive = alive.clone();
                async move {
                    match alive.peak() {
                        0 => hang(alive).await,
                        _ => Ok(request.body),
                    }
                }
            };
            server.server().register(&echo_name(), handler).expect("first");
            let peer = connect(&client, &server).await;
            client.client().add_server_node(&echo_name(), peer).expect("not itself");
            servers.push(server);
        }
        let hedge = Hedge::after(Duration::from_millis(20));
        client.client().send_closest(&echo_name(), "a").hedge(hedge).await.expect("an answer");
        until(|| memory.told().attempts.len() == 2).await;
        let mut told = memory.told();
        told.attempts.sort();
        assert_eq!(told.calls, [echo_ended(OK)]);
        assert_eq!(told.begun, BTreeMap::from([("echo/1.0.0".to_owned(), 2)]));
        assert_eq!(told.attempts, [CANCELLED, OK].map(echo_ended));
        assert_eq!(client.client().server_node_counts().usable, 2);
    });
}

#[test]
fn a_refusal_is_told_apart_from_what_handlers_answer() {
    run(async {
        let config = ServerConfig::default().with_max_concurrent_requests(1);
        let (server, at_server) = recording(config, once()).await;
        let (opener, gate) = Gate::new();
        server.server().register(&echo_name(), echo_behind(gate)).expect("first");
        let other = client_of(&server, once()).await;
        let first = spawn({
            let (client, peer) = (other.client(), server.peer_id());
            async move { client.send(peer, &echo_name(), "first").await }
        });
        until(|| server.server().stats().in_flight == 1).await;
        let (client, at_client) = recording(ServerConfig::default(), once()).await;
        connect(&client, &server).await;
        client.client().send(server.peer_id(), &echo_name(), "x").await.expect_err("no place");
        until(|| at_client.told().attempts.len() == 1).await;
        assert_eq!(at_client.told().attempts, [echo_ended(answered("busy"))]);
        let refused = BTreeMap::from([(("/echo/1.0.0".to_owned(), "busy"), 1)]);
        assert_eq!(at_server.told().refused, refused);
        assert!(at_server.told().handled.is_empty(), "the first is at work");
        drop(opener);
        first.await.expect("it was at work");
        until(|| at_server.told().handled == [echo_ended(OK)]).await;
    });
}

#[test]
fn a_call_with_messages_is_told_when_it_ends() {
    run(async {
        let (server, at_server, client, at_client) = pair(echo).await;
        let call_name = name("/call/1.0.0");
        let handler = |call: IncomingCall| async move {
            let IncomingCall { mut sender, mut receiver, .. } = call;
            while let Some(message) = receiver.recv().await? {
                sender.send(message).await?;
            }
            Ok::<_, HandlerError>("done")
        };
        server.server().register_call(&call_name, handler).expect("first");
        let call = client.client().open(server.peer_id(), &call_name, "argument");
        let mut call = call.method("talk").await.expect("accepted");
        for _ in 0..10 {
            call.send(vec![1; 100]).await.expect("open");
            call.recv().await.expect("open").expect("more");
        }
        until(|| at_client.told().attempts.len() == 1).await;
        assert!(at_client.told().calls.is_empty(), "it is open");
        assert!(at_server.told().handled.is_empty(), "it is open");
        call.finish().await.expect("a result");
        until(|| at_client.told().calls.len() == 1).await;
        until(|| at_server.told().handled.len() == 1).await;
        let (told, talk) = (at_client.told(), "call/1.0.0/talk".to_owned());
        assert_eq!(told.calls, [(talk.clone(), OK)]);
        assert_eq!(told.messages, [Some((1000, 1000))]);
        assert_eq!((told.attempts, told.sizes), (vec![(talk, OK)], vec![(8, 0)]));
        let told = at_server.told();
        assert_eq!(told.handled, [("call/1.0.0".to_owned(), OK)]);
        assert_eq!(told.handled_sizes, [(1000 + 4, 1000 + 8)]);
        let refused = client.client().open(server.peer_id(), &echo_name(), "x").await;
        refused.expect_err("it has requests alone");
        until(|| at_client.told().calls.len() == 2).await;
        assert_eq!(at_client.told().calls[1], echo_ended(answered("unimplemented")));
    });
}

#[test]
fn compressed_bodies_count_as_they_travel() {
    run(async {
        let (server, at_server, client, at_client) = pair(echo).await;
        let body = text(256 * 1024, 1);
        check_echo(&client, server.peer_id(), body.clone()).await;
        until(|| at_client.told().attempts.len() == 1).await;
        until(|| at_server.told().handled.len() == 1).await;
        let [(sent, received)] = at_client.told().sizes[..] else { panic!("one attempt") };
        assert!(sent > 0 && sent < body.len() as u64 / 2, "{sent}");
        assert!(received > 0 && received < body.len() as u64 / 2, "{received}");
        assert_eq!(at_server.told().handled_sizes, [(received, sent)]);
    });
}

#[test]
fn whoever_stops_waiting_has_cancelled_call_attempt_and_handler() {
    run(async {
        let alive = Alive::default();
        let hanging = alive.clone();
        let (server, at_server, client, at_client) = pair(move |_| hang(hanging.clone())).await;
        let call = client.client().send(server.peer_id(), &echo_name(), "x");
        let waiting = spawn(within_or_drop(call, {
            let alive = alive.clone();
            move || alive.now() == 1
        }));
        waiting.await;
        until(|| at_client.told().attempts.len() == 1).await;
        until(|| at_server.told().handled.len() == 1).await;
        assert_eq!(at_client.told().calls, [echo_ended(CANCELLED)]);
        assert_eq!(at_client.told().attempts, [echo_ended(CANCELLED)]);
        assert_eq!(at_server.told().handled, [echo_ended(CANCELLED)]);
    });
}

/// Polls a future until the condition holds, and drops it.
async fn within_or_drop(future: impl Future, condition: impl FnMut() -> bool) {
    let (future, condition) = (std::pin::pin!(future), std::pin::pin!(until(condition)));
    futures::future::select(future, condition).await;
}

#[test]
fn methods_have_names_where_they_are_known() {
    struct Known;
    impl Handler for Known {
        fn handle(&self, request: Request) -> BoxFuture<'static, Result<Reply, HandlerError>> {
            Box::pin(async { Ok(Reply::new(request.body)) })
        }

        fn knows_method(&self, method: &str) -> bool {
            method == "known"
        }
    }
    run(async {
        let (server, at_server, client, at_client) = pair(Known).await;
        for method in ["known", "made-up"] {
            let call = client.client().send(server.peer_id(), &echo_name(), "x").method(method);
            call.await.expect("an echo");
        }
        until(|| at_server.told().handled.len() == 2).await;
        let named = |names: [&str; 2]| names.map(|name| (format!("echo/1.0.0{name}"), OK));
        assert_eq!(at_client.told().calls, named(["/known", "/made-up"]));
        assert_eq!(at_server.told().handled, named(["/known", ""]));
    });
}

#[test]
fn connections_are_told_when_they_come_and_go() {
    run(async {
        let (server, at_server, client, at_client) = pair(echo).await;
        until(|| at_server.told().open == 1).await;
        let labels = |told: &Told| {
            let [one] = told.opened[..] else { panic!("one connection: {:?}", told.opened) };
            (one.path(), one.transport, one.dialled)
        };
        assert_eq!(labels(&at_client.told()), ("direct", TransportKind::Tcp, true));
        assert_eq!(labels(&at_server.told()), ("direct", TransportKind::Tcp, false));
        client.disconnect(server.peer_id()).await;
        until(|| at_server.told().open == 0 && at_client.told().open == 0).await;
    });
}

/// Uses whatever a lock may guard, whenever it is told something.
#[derive(Default)]
struct Curious(OnceLock<(Client, Server)>, Mutex<u64>);

impl Curious {
    fn look(&self) {
        if let Some((client, server)) = self.0.get() {
            let _stats = (client.stats(), client.streams(), client.server_nodes(&echo_name()));
            let _stats = (server.stats(), server.streams());
            *self.1.lock() += 1;
        }
    }
}

impl Recorder for Curious {
    fn call_ended(&self, _: &CallEnd<'_>) {
        self.look();
    }

    fn attempts_started(&self, _: RpcMethod<'_>, _: u64) {
        self.look();
    }

    fn attempt_ended(&self, _: &AttemptEnd<'_>) {
        self.look();
    }

    fn handler_ended(&self, _: &HandlerEnd<'_>) {
        self.look();
    }

    fn refused(&self, _: &str, _: &'static str, _: u64) {
        self.look();
    }

    fn transferred(&self, _: &Transferred<'_>) {
        self.look();
    }

    fn connection_opened(&self, _: ConnectionLabels) {
        self.look();
    }

    fn connection_closed(&self, _: ConnectionLabels) {
        self.look();
    }
}

/// A recorder that would wait for ever for a lock that is held.
#[test]
fn nothing_is_locked_while_a_recorder_is_told() {
    run(async {
        let config = ServerConfig::default().with_max_concurrent_requests(1);
        let mut nodes = Vec::new();
        for _ in 0..2 {
            let curious = Arc::<Curious>::default();
            let node = Node::builder().listen(loopback()).server_config(config.clone());
            let node = node.client_config(once()).recorder(curious.clone()).build().await;
            let node = node.expect("a node");
            node.server().register(&echo_name(), echo).expect("first");
            assert!(curious.0.set((node.client(), node.server())).is_ok());
            nodes.push((node, curious));
        }
        let [(server, at_server), (client, at_client)] = &nodes[..] else { panic!("two") };
        connect(client, server).await;
        check_echo(client, server.peer_id(), "x").await;
        let (client, peer) = (client.client(), server.peer_id());
        let many = (0..64).map(|_| client.send(peer, &echo_name(), "x"));
        futures::future::join_all(many).await;
        // A call that is cancelled before it begins, and one that fails.
        drop(client.send(peer, &echo_name(), "x"));
        client.send(PeerId::random(), &echo_name(), "x").await.expect_err("nobody");
        assert!(*at_server.1.lock() > 0 && *at_client.1.lock() > 0);
    });
}

/// Keeps the names of tasks.
struct Naming(Rt, Arc<Mutex<BTreeSet<&'static str>>>);

impl Runtime for Naming {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.spawn_named("", future);
    }

    fn spawn_named(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        self.1.lock().insert(name);
        self.0.spawn_named(name, future);
    }

    fn attach(&mut self) -> bool {
        self.0.attach()
    }
}

#[test]
fn tasks_have_names() {
    run(async {
        let names = Arc::<Mutex<BTreeSet<&'static str>>>::default();
        let build = || {
            let builder = NodeBuilder::on(Naming(rt(), names.clone())).in_memory();
            builder.listen("/memory/0".parse().expect("an address")).build()
        };
        let server = build().await.expect("a node");
        let handler = Spawned(|request: Request| async move { request.body });
        server.server().register(&echo_name(), handler).expect("first");
        let client = build().await.expect("a node");
        let address = server.address().await.expect("it listens");
        let peer = client.connect(address).await.expect("it is there");
        let call = client.client().send(peer, &echo_name(), "x");
        assert_eq!(call.await.expect("an echo"), "x");
        server.server().stop(Duration::ZERO).await;
        let expected = ["connection", "handler", "node", "server", "timer"]
            .map(|name| format!("pointsub {name}"));
        assert_eq!(names.lock().iter().copied().collect::<Vec<_>>(), expected);
    });
}
