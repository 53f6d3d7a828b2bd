//! Calls that are opened again when they are lost: nothing is left out, and nothing comes twice.

use std::time::Duration;

use futures::future::join_all;
use libp2p_core::multiaddr::Protocol;
use pointsub_swarm::{
    Cause, ClientConfig, HandlerError, IncomingCall, Multiaddr, PeerId, ProtocolName, RelayConfig,
    ResumableCall, ResumePolicy, ServerConfig, StatusCode,
};

use crate::common::*;
use crate::crash::Server;
use crate::proxy::Proxy;
use crate::relay::{generous, relay};

fn log_name() -> ProtocolName {
    name("/log/1.0.0")
}

/// Counts for ever, or as far as the argument says. The cursor of a number is the next one.
pub(crate) async fn count(alive: Alive, call: IncomingCall) -> Result<&'static str, HandlerError> {
    let _guard = alive.enter();
    let IncomingCall { argument, resume, mut sender, .. } = call;
    let (bare, end) = match std::str::from_utf8(&argument)?.split_once(' ') {
        Some((_, end)) => (true, end.parse()?),
        None => (false, std::str::from_utf8(&argument)?.parse()?),
    };
    let first: u64 = match resume {
        Some(cursor) => std::str::from_utf8(&cursor)?.parse()?,
        None => 0,
    };
    if first > end {
        return Err(HandlerError::not_found("there is no such number"));
    }
    for number in first..end {
        let text = number.to_string();
        match bare {
            true => sender.send(text).await?,
            false => sender.send_with_cursor(text, (number + 1).to_string()).await?,
        }
    }
    Ok("counted")
}

const FOREVER: &str = "18446744073709551615";

fn serve(node: &Node) -> Alive {
    let alive = Alive::default();
    let counted = alive.clone();
    let handler = move |call| count(counted.clone(), call);
    node.server().register_call(&log_name(), handler).expect("first");
    alive
}

fn quick() -> ResumePolicy {
    ResumePolicy::default().with_interval(Duration::from_millis(5))
}

async fn log_server() -> (Node, Alive) {
    let node = start(ServerConfig::default(), once()).await;
    let alive = serve(&node);
    (node, alive)
}

async fn follow(node: &Node, peer: PeerId, argument: &'static str) -> ResumableCall {
    let open = node.client().open(peer, &log_name(), argument).window(8, 64 * 1024);
    open.resumable(quick()).await.expect("accepted")
}

/// The next so many numbers are received, each once.
async fn receive(call: &mut ResumableCall, next: &mut u64, count: u64) {
    for _ in 0..count {
        let message = call.recv().await.expect("it goes on").expect("more");
        assert_eq!(message, next.to_string(), "behind {} openings", call.resumed());
        *next += 1;
    }
}

/// The same until the call was opened again.
async fn receive_until_resumed(call: &mut ResumableCall, next: &mut u64) {
    let before = call.resumed();
    while call.resumed() == before {
        receive(call, next, 1).await;
    }
}

#[test]
fn a_call_goes_on_when_its_connection_is_cut() {
    run(async {
        let (server, alive) = log_server().await;
        let proxy = Proxy::to(address(&server).await).start();
        let node = client(once()).await;
        let peer = node.connect(proxy.address()).await.expect("the proxy leads to the server");
        let (mut call, mut next) = (follow(&node, peer, "3000").await, 0);
        for _ in 0..5 {
            receive(&mut call, &mut next, 100).await;
            proxy.cut_rst();
            // On a slow machine the way around the proxy, which the node has heard of, may have been quicker.
            let through = proxy.address().to_string();
            let connections = node.connections().await;
            if connections.iter().any(|way| !way.address.to_string().starts_with(&through)) {
                node.disconnect(peer).await;
            }
            receive_until_resumed(&mut call, &mut next).await;
        }
        let left = 3000 - next;
        receive(&mut call, &mut next, left).await;
        assert_eq!(call.recv().await.expect("it went well"), None);
        assert_eq!(call.finish().await.expect("a result"), "counted");
        until(|| alive.now() == 0).await;
    });
}

#[test]
fn a_call_goes_on_at_the_server_process_that_takes_the_place_of_one_that_was_killed() {
    run(async {
        let key = libp2p_identity::Keypair::generate_ed25519();
        let key = key.to_protobuf_encoding().expect("an ed25519 key");
        let mut server = Server::start(&key, &loopback());
        let node = client(once()).await;
        let peer = node.connect(server.address.clone()).await.expect("it listens");
        let (mut call, mut next) = (follow(&node, peer, FOREVER).await, 0);
        receive(&mut call, &mut next, 1000).await;
        let place = server.place();
        server.kill();
        let _again = Server::start(&key, &place);
        receive_until_resumed(&mut call, &mut next).await;
        receive(&mut call, &mut next, 1000).await;
        assert_eq!(call.peer(), peer);
    });
}

/// A client that knows both servers of the protocol, and which of them has its call.
async fn farm() -> (Vec<(Node, Alive)>, Node, ResumableCall, usize) {
    let node = client(once()).await;
    let mut servers = Vec::new();
    for _ in 0..2 {
        let server = log_server().await;
        let peer = connect(&node, &server.0).await;
        node.client().add_server_node(&log_name(), peer).expect("a node");
        servers.push(server);
    }
    let open = node.client().open_closest(&log_name(), FOREVER).window(8, 64 * 1024);
    let call = open.resumable(quick()).await.expect("accepted");
    let at = servers.iter().position(|(server, _)| server.peer_id() == call.peer());
    (servers, node, call, at.expect("one of them"))
}

#[test]
fn a_call_moves_to_another_server_when_its_own_is_shutting_down() {
    run(async {
        let (servers, _node, mut call, at) = farm().await;
        let mut next = 0;
        receive(&mut call, &mut next, 100).await;
        let leaves = servers[at].0.clone();
        let stopping = spawn(async move { leaves.server().stop(Duration::from_secs(30)).await });
        receive_until_resumed(&mut call, &mut next).await;
        assert_eq!(call.peer(), servers[1 - at].0.peer_id());
        // It was cancelled where it was, and keeps nobody waiting.
        assert_eq!(stopping.await.cut_off, 0);
        receive(&mut call, &mut next, 1000).await;
        assert_eq!((servers[at].1.now(), servers[1 - at].1.now(), call.resumed()), (0, 1, 1));
    });
}

#[test]
fn a_call_goes_on_at_another_server_when_its_own_is_gone() {
    run(async {
        let (mut servers, _node, mut call, at) = farm().await;
        let mut next = 0;
        receive(&mut call, &mut next, 100).await;
        drop(servers.remove(at));
        receive_until_resumed(&mut call, &mut next).await;
        assert_eq!(call.peer(), servers[0].0.peer_id());
        receive(&mut call, &mut next, 1000).await;
        drop(call);
        until(|| servers[0].1.now() == 0).await;
    });
}

#[test]
fn a_call_stays_where_it_is_while_nobody_else_takes_it() {
    run(async {
        let (server, alive) = log_server().await;
        let node = client_of(&server, once()).await;
        let (mut call, mut next) = (follow(&node, server.peer_id(), FOREVER).await, 0);
        receive(&mut call, &mut next, 100).await;
        let leaves = server.clone();
        let stopped = spawn(async move { leaves.server().stop(Duration::from_secs(1)).await });
        let error = loop {
            match call.recv().await {
                Ok(message) => {
                    assert_eq!(message.expect("more"), next.to_string());
                    next += 1;
                }
                Err(error) => break error,
            }
        };
        assert!(next > 110, "it went on for {next} numbers");
        assert_eq!(error.status().map(|status| status.code), Some(StatusCode::Draining), "{error}");
        assert_eq!((call.resumed(), call.cursor()), (0, Some(&next.to_string().into())));
        stopped.await;
        assert_eq!(alive.now(), 0);
    });
}

#[test]
fn a_call_survives_the_limits_of_a_relay() {
    run(async {
        let config = RelayConfig { max_circuit_bytes: 128 * 1024, ..generous() };
        let relay = relay(config).await;
        let circuit = address(&relay).await.with(Protocol::P2pCircuit);
        let server = Node::builder().listen(circuit).build().await.expect("a reservation");
        let alive = serve(&server);
        let node = client(ClientConfig::default()).await;
        let known = server.addresses().await.remove(0);
        let peer = node.connect(known).await.expect("the relay connects them");
        let (mut call, mut next) = (follow(&node, peer, FOREVER).await, 0);
        for _ in 0..3 {
            receive_until_resumed(&mut call, &mut next).await;
        }
        receive(&mut call, &mut next, 100).await;
        assert_eq!(call.peer(), peer);
        drop(call);
        until(|| alive.now() == 0).await;
    });
}

#[test]
fn a_call_moves_from_a_relay_to_a_direct_connection() {
    run(async {
        let relay = relay(generous()).await;
        let circuit = address(&relay).await.with(Protocol::P2pCircuit);
        // It can be reached directly too, but nobody is told where.
        let server = Node::builder().listen(loopback()).listen(circuit).build().await;
        let server = server.expect("a reservation");
        let alive = serve(&server);
        let is_circuit = |a: &Multiaddr| a.iter().any(|part| part == Protocol::P2pCircuit);
        let known = server.addresses().await.into_iter().find(is_circuit).expect("a circuit");
        let node = Node::builder().listen(loopback()).client_config(once()).build().await;
        let node = node.expect("a node");
        let peer = node.connect(known).await.expect("the relay connects them");
        let (mut call, mut next) = (follow(&node, peer, FOREVER).await, 0);
        receive_until_resumed(&mut call, &mut next).await;
        receive(&mut call, &mut next, 100).await;
        until(|| alive.now() == 1).await;
        assert_eq!(call.resumed(), 1);
    });
}

/// Counts to three, says that no more come, and has its result when it is asked for what is behind them.
async fn job(call: IncomingCall) -> Result<&'static str, HandlerError> {
    let IncomingCall { resume, mut sender, .. } = call;
    if let Some(cursor) = resume {
        assert_eq!(cursor, "3");
        sender.send_with_cursor("nobody waits for it", "4").await?;
        sender.finish();
        return Ok("done");
    }
    for number in 0..3 {
        sender.send_with_cursor(number.to_string(), (number + 1).to_string()).await?;
    }
    sender.finish();
    std::future::pending().await
}

#[test]
fn a_call_that_lacks_only_its_result_is_opened_again_for_it() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        server.server().register_call(&log_name(), job).expect("first");
        let proxy = Proxy::to(address(&server).await).start();
        let node = client(once()).await;
        let peer = node.connect(proxy.address()).await.expect("the proxy leads to the server");
        let (mut call, mut next) = (follow(&node, peer, "").await, 0);
        receive(&mut call, &mut next, 3).await;
        assert_eq!(call.recv().await.expect("it says so"), None);
        proxy.cut_rst();
        assert_eq!(call.recv().await.expect("it was told"), None);
        assert_eq!(call.finish().await.expect("a result"), "done");
    });
}

#[test]
fn a_thousand_calls_go_on_when_their_server_is_killed_and_started_again() {
    run(async {
        let key = libp2p_identity::Keypair::generate_ed25519();
        let key = key.to_protobuf_encoding().expect("an ed25519 key");
        let mut server = Server::start(&key, &loopback());
        let node = client(patient()).await;
        let peer = node.connect(server.address.clone()).await.expect("it listens");
        let mut calls = Vec::new();
        while calls.len() < 1000 {
            let opened = (0..50).map(|_| {
                let open = node.client().open(peer, &log_name(), FOREVER).window(1, 8192);
                open.resumable(ResumePolicy::default())
            });
            calls.extend(join_all(opened).await.into_iter().map(|call| call.expect("accepted")));
        }
        for call in &mut calls {
            receive(call, &mut 0, 1).await;
        }
        let place = server.place();
        server.kill();
        let _again = Server::start(&key, &place);
        let going_on = calls.into_iter().map(|mut call| async move {
            let mut next = 1;
            receive_until_resumed(&mut call, &mut next).await;
            receive(&mut call, &mut next, 3).await;
        });
        join_all(going_on).await;
    });
}

#[test]
fn a_call_can_be_dropped_whatever_becomes_of_it() {
    run(async {
        let (server, alive) = log_server().await;
        let proxy = Proxy::to(address(&server).await).start();
        let node = client(once()).await;
        let peer = node.connect(proxy.address()).await.expect("the proxy leads to the server");
        for round in 0..40 {
            // The connection may be one that was cut.
            let mut call = loop {
                let open = node.client().open(peer, &log_name(), FOREVER).window(8, 64 * 1024);
                if let Ok(call) = open.resumable(quick()).await {
                    break call;
                }
            };
            receive(&mut call, &mut 0, 1).await;
            proxy.cut_rst();
            // Until it is lost, waits, is opened again, or goes on.
            for _ in 0..round * round {
                let _message = futures::poll!(std::pin::pin!(call.recv()));
                yield_now().await;
            }
            drop(call);
        }
        until(|| alive.now() == 0 && server.server().stats().calls == 0).await;
        until(|| node.client().stats().in_flight == 0).await;
    });
}

#[test]
fn a_call_that_cannot_be_resumed_says_why() {
    run(async {
        let (server, _alive) = log_server().await;
        let proxy = Proxy::to(address(&server).await).start();
        let retries = ClientConfig::default().with_retry_interval(Duration::from_millis(5));
        let node = client(retries).await;
        let peer = node.connect(proxy.address()).await.expect("the proxy leads to the server");
        // Its messages have no cursors.
        let mut call = follow(&node, peer, "bare 1000000").await;
        assert_eq!(call.recv().await.expect("open").expect("more"), "0");
        proxy.cut_rst();
        let error = loop {
            if let Err(error) = call.recv().await {
                break error;
            }
        };
        assert!(matches!(error.cause, Cause::Lost(_) | Cause::RemoteClosed), "{error}");
        assert_eq!(call.recv().await.expect("that was told"), None);
        // The handler does not know the cursor.
        let open = node.client().open(peer, &log_name(), "10").resume("11");
        let error = open.resumable(quick()).await.expect_err("there is no such number");
        let status = error.status().map(|status| status.code);
        assert_eq!(status, Some(StatusCode::NoSuchResource), "{error}");
        // Nobody is there any more.
        let open = node.client().open(peer, &log_name(), FOREVER);
        let mut call = open.resumable(quick().with_max_tries(3)).await.expect("accepted");
        assert_eq!(call.recv().await.expect("open").expect("more"), "0");
        drop((proxy, server));
        let error = loop {
            if let Err(error) = call.recv().await {
                break error;
            }
        };
        assert!(matches!(error.cause, Cause::Unreachable(_)), "{error}");
        assert_eq!(call.resumed(), 0);
    });
}
