//! What calls withstand: crowds, cuts, and ends at every moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use libp2p_core::multiaddr::Protocol;
use pointsub_swarm::{
    Cause, ClientConfig, Delivery, HandlerError, IncomingCall, LimitPolicy, Metadata, PeerId,
    ProtocolName, RequestError, ServerConfig, StatusCode, StreamingCall,
};

use crate::common::*;
use crate::proxy::Proxy;
use crate::raw::*;
use crate::relay::{generous, relay};

fn call_name() -> ProtocolName {
    name("/call/1.0.0")
}

/// Counts handlers at work, and does what the argument says.
async fn serve(alive: Alive, call: IncomingCall) -> Result<&'static str, HandlerError> {
    let IncomingCall { argument, mut sender, mut receiver, .. } = call;
    let _guard = alive.enter();
    match &argument[..] {
        b"hold" => std::future::pending().await,
        b"talk" => loop {
            sender.send("again").await?;
        },
        b"numbers" => {
            for number in 0..500_u32 {
                sender.send(number.to_be_bytes().to_vec()).await?;
            }
        }
        b"large" => {
            sender.send(noise(8 * MIB, 3)).await?;
            std::future::pending::<()>().await;
        }
        b"echo" => {
            while let Some(message) = receiver.recv().await? {
                sender.send(message).await?;
            }
        }
        b"finish" => {
            sender.send("the last one").await?;
            sender.finish();
            while receiver.recv().await?.is_some() {}
        }
        _ => {}
    }
    Ok("done")
}

/// A server that does so beside the echo, and a client.
async fn calling() -> (Node, Node, PeerId, Alive) {
    let server = echo_server(ServerConfig::default()).await;
    let alive = register(&server);
    let client = client_of(&server, once()).await;
    let peer = server.peer_id();
    (server, client, peer, alive)
}

fn register(server: &Node) -> Alive {
    let alive = Alive::default();
    let counted = alive.clone();
    let handler = move |call| serve(counted.clone(), call);
    server.server().register_call(&call_name(), handler).expect("first");
    alive
}

async fn open(node: &Node, peer: PeerId, what: &'static str) -> StreamingCall {
    node.client().open(peer, &call_name(), what).await.expect("accepted")
}

#[test]
fn ten_thousand_calls_that_are_dropped_leave_nothing_behind() {
    run(async {
        // A limit by delay refuses some of fifty at once on a machine that is busy with other things.
        let config = ServerConfig::default().with_limit_policy(LimitPolicy::Fixed);
        let server = echo_server(config).await;
        let (alive, peer) = (register(&server), server.peer_id());
        let node = client_of(&server, patient()).await;
        for wave in 1..=200 {
            let calls = join_all((0..50).map(|_| open(&node, peer, "hold"))).await;
            until(|| server.server().stats().calls == 50).await;
            drop(calls);
            until(|| alive.dropped() == wave * 50).await;
        }
        until(|| server.server().stats().calls == 0).await;
        check_echo(&node, peer, "as before").await;
        let stats = server.server().stats();
        assert_eq!((stats.in_flight, stats.cut_off, alive.now()), (0, 0, 0));
        assert_eq!(node.client().stats().in_flight, 0);
    });
}

#[test]
fn a_call_can_be_dropped_in_every_state() {
    run(async {
        let (server, node, peer, alive) = calling().await;
        for round in 0..20 {
            let before = alive.dropped();
            // Before anything was sent, and while it is on its way.
            drop(node.client().open(peer, &call_name(), "hold"));
            let mut opening = Box::pin(node.client().open(peer, &call_name(), "hold"));
            for _ in 0..round {
                if futures::poll!(&mut opening).is_ready() {
                    break;
                }
                yield_now().await;
            }
            drop(opening);
            let quiet = open(&node, peer, "hold").await;
            let mut blocked = open(&node, peer, "talk").await;
            assert_eq!(blocked.recv().await.expect("open").expect("more"), "again");
            let inside = open(&node, peer, "large").await;
            let mut sending = open(&node, peer, "echo").await;
            sending.send(noise(MIB, 9)).await.expect("open");
            let mut told = open(&node, peer, "finish").await;
            told.recv().await.expect("open").expect("one");
            assert_eq!(told.recv().await.expect("open"), None);
            let mut done = open(&node, peer, "nothing").await;
            assert_eq!(done.recv().await.expect("it went well"), None);
            let (sender, receiver) = open(&node, peer, "hold").await.split();
            drop((quiet, blocked, inside, sending, told, done, receiver));
            until(|| alive.now() == 0 && alive.dropped() >= before + 7).await;
            drop(sender);
        }
        until(|| server.server().stats().calls == 0).await;
        until(|| node.client().stats().in_flight == 0).await;
        check_echo(&node, peer, "as before").await;
    });
}

#[test]
fn a_connection_that_is_cut_ends_its_calls_behind_what_has_come() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let alive = register(&server);
        let proxy = Proxy::to(address(&server).await).start();
        let node = client(once()).await;
        let peer = node.connect(proxy.address()).await.expect("the proxy leads to the server");
        let mut calls = Vec::new();
        for _ in 0..100 {
            calls.push(open(&node, peer, "talk").await);
            calls.push(open(&node, peer, "hold").await);
        }
        for call in calls.iter_mut().step_by(2) {
            assert_eq!(call.recv().await.expect("open").expect("more"), "again");
        }
        proxy.cut_rst();
        for mut call in calls {
            let error = loop {
                match call.recv().await {
                    Ok(message) => assert_eq!(message.expect("no end"), "again"),
                    Err(error) => break error,
                }
            };
            assert!(matches!(error.cause, Cause::Lost(_) | Cause::RemoteClosed), "{error:?}");
            assert_eq!(error.delivery, Delivery::Processed);
        }
        until(|| alive.now() == 0).await;
        until(|| server.server().stats().calls == 0).await;
    });
}

#[test]
fn a_relay_that_is_cut_ends_calls_behind_what_has_come() {
    run(async {
        let relay = relay(generous()).await;
        let circuit = address(&relay).await.with(Protocol::P2pCircuit);
        let server = Node::builder().listen(circuit).build().await.expect("a reservation");
        let alive = register(&server);
        // Between the client and the relay.
        let proxy = Proxy::to(address(&relay).await).start();
        let through = proxy.address().with(Protocol::P2pCircuit);
        let node = client(ClientConfig::default()).await;
        let through = through.with(Protocol::P2p(server.peer_id()));
        let peer = node.connect(through).await.expect("the relay connects them");
        let mut talks = open(&node, peer, "talk").await;
        let mut holds = open(&node, peer, "hold").await;
        for _ in 0..100 {
            assert_eq!(talks.recv().await.expect("open").expect("more"), "again");
        }
        proxy.cut_rst();
        for call in [&mut talks, &mut holds] {
            let error = loop {
                match call.recv().await {
                    Ok(message) => assert_eq!(message.expect("no end"), "again"),
                    Err(error) => break error,
                }
            };
            assert!(matches!(error.cause, Cause::RelayLost(_)), "{error:?}");
            assert_eq!(error.delivery, Delivery::Processed);
        }
        until(|| alive.now() == 0).await;
        let mut call = open(&node, peer, "echo").await;
        call.send("again").await.expect("open");
        assert_eq!(call.recv().await.expect("open").expect("an echo"), "again");
    });
}

#[test]
fn a_writer_that_never_reads_holds_up_nobody_else() {
    run(async {
        let (_server, node, peer, alive) = calling().await;
        let (mut sender, receiver) = open(&node, peer, "echo").await.split();
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = sent.clone();
        let writing = spawn(async move {
            while sender.send(noise(1000, 7)).await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        // The window for the echoes is full, and of the server's more than half is.
        until(|| sent.load(Ordering::SeqCst) >= 49).await;
        for _ in 0..50 {
            check_echo(&node, peer, "others go on").await;
        }
        let stuck = sent.load(Ordering::SeqCst);
        // The handler has taken 32, as many as there is room for echoes. By that the server's window of 32
        // may have grown once.
        assert!(stuck <= 96, "{stuck} messages");
        drop(receiver);
        writing.await;
        until(|| alive.now() == 0).await;
    });
}

/// A reader that stops for longer than anybody waits for anything, at either end.
#[test]
fn a_reader_may_stop_for_longer_than_any_timeout() {
    const SHORT: Duration = Duration::from_millis(100);
    run(async {
        let config = ServerConfig::default().with_read_timeout(SHORT).with_write_timeout(SHORT);
        let server = echo_server(config.with_cleanup_interval(SHORT)).await;
        let _alive = register(&server);
        let (opener, gate) = Gate::new();
        let reads_late = move |call: IncomingCall| {
            let gate = gate.clone();
            async move {
                call.accept(Metadata::new());
                gate.opened().await;
                let (mut receiver, mut next) = (call.receiver, 0_u32);
                while let Some(message) = receiver.recv().await? {
                    assert_eq!(message, next.to_be_bytes()[..]);
                    next += 1;
                }
                Ok::<_, HandlerError>(next.to_string())
            }
        };
        let late = name("/late/1.0.0");
        server.server().register_call(&late, reads_late).expect("first");
        let config = once().with_read_timeout(SHORT).with_write_timeout(SHORT);
        let (node, peer) = (client_of(&server, config).await, server.peer_id());
        let mut stopped = open(&node, peer, "numbers").await;
        let mut blocked = node.client().open(peer, &late, "").await.expect("accepted");
        let sending = spawn(async move {
            for number in 0..500_u32 {
                blocked.send(number.to_be_bytes().to_vec()).await.expect("open");
            }
            blocked.finish().await
        });
        // Each of these takes as long as the limits are.
        for _ in 0..10 {
            let hold = node.client().open(peer, &call_name(), "hold").idle_timeout(SHORT);
            let error = hold.await.expect("accepted").recv().await.expect_err("nothing comes");
            assert!(error.is_timeout(), "{error}");
            check_echo(&node, peer, "others go on").await;
        }
        for number in 0..500_u32 {
            let message = stopped.recv().await.expect("open").expect("more");
            assert_eq!(message, number.to_be_bytes()[..]);
        }
        assert_eq!(stopped.finish().await.expect("a result"), "done");
        drop(opener);
        assert_eq!(sending.await.expect("a result"), "500");
    });
}

#[test]
fn a_call_that_outlives_the_grace_of_a_stop_is_told_why() {
    run(async {
        let (server, node, peer, alive) = calling().await;
        let calls = join_all((0..50).map(|_| open(&node, peer, "hold"))).await;
        let stop = async { server.server().stop(Duration::from_millis(500)).await };
        let ends = async {
            for mut call in calls {
                call.draining().await;
                let error = call.recv().await.expect_err("it is over");
                let status = error.status().map(|status| status.code);
                assert_eq!(
                    (status, error.delivery),
                    (Some(StatusCode::Draining), Delivery::Processed)
                );
            }
        };
        futures::join!(stop, ends);
        assert_eq!(alive.now(), 0);
    });
}

#[test]
fn a_peer_that_breaks_the_rules_of_calls_harms_itself_alone() {
    const CALL: &str = "/pointsub/1/call/1.0.0";
    const STREAM: u8 = 2;
    const DATA: u8 = 6;
    const ACCEPT: u8 = 7;

    /// A request that opens a call, with flags that the helper does not have.
    fn opening(id: u64) -> Vec<u8> {
        let mut frame = native(REQUEST, id, &[], b"hold");
        frame[5] = STREAM;
        frame
    }

    run(async {
        let (server, node, peer, alive) = calling().await;
        let mut honest = open(&node, peer, "echo").await;
        let hostile = RawPeer::client().await;
        let to = hostile.dial(address(&server).await).await;
        let huge = vec![7; 32 * 1024];
        let mut part = native(DATA, 1, &[0x0a, 0, 4, 0, 0, 0, 2], b"x");
        part[5] = 4;
        let breaches = [
            // To a call that nobody has opened, and before it is accepted.
            native(DATA, 9, &[], b"x"),
            [native(DATA, 1, &[], &huge), native(DATA, 1, &[], &huge), native(DATA, 1, &[], &huge)]
                .concat(),
            part,
            [native(9, 1, &[], b""), native(DATA, 1, &[], b"x")].concat(),
        ];
        for breach in breaches {
            let mut stream = hostile.open(to, CALL).await.expect("announced");
            write(&mut stream, &opening(1)).await.expect("the server reads");
            next_of(&mut stream, ACCEPT).await.expect("accepted");
            let _gone = write(&mut stream, &breach).await;
            assert!(next_of(&mut stream, RESPONSE).await.is_none(), "the stream is broken");
        }
        assert_eq!(server.server().stats().violations, 4);
        until(|| alive.now() == 1).await;
        honest.send("still here").await.expect("open");
        assert_eq!(honest.recv().await.expect("open").expect("an echo"), "still here");
    });
}

/// Both ends of a call see the same end.
#[test]
fn the_end_of_a_call_is_one_for_all_who_wait() {
    run(async {
        let (_server, node, peer, _alive) = calling().await;
        let (mut sender, mut receiver) = open(&node, peer, "nothing").await.split();
        assert_eq!(receiver.recv().await.expect("it went well"), None);
        let error: RequestError = loop {
            if let Err(error) = sender.send("too late").await {
                break error;
            }
        };
        assert_eq!(error.cause, Cause::RemoteClosed);
        sender.draining().await;
    });
}
