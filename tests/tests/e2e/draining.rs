//! Servers that stop and come back, one after the other, under clients that go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use libp2p_identity::{Keypair, PeerId};
use pointsub_swarm::{Cause, ClientConfig, Delivery, Multiaddr, ServerConfig, StatusCode};

use crate::common::*;
use crate::proxy::Proxy;

const GRACE: Duration = Duration::from_secs(10);

/// Whoever has no stream hears the same as who has one: the server is there, and will not do it now.
#[test]
fn a_draining_server_says_so_on_new_streams() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let (opener, gate) = Gate::new();
        server.server().register(&echo_name(), echo_behind(gate)).expect("first");
        let busy = client_of(&server, once()).await;
        let peer = server.peer_id();
        let asking = busy.client();
        let call = spawn(async move { asking.send(peer, &echo_name(), "at work").await });
        until(|| server.server().stats().in_flight == 1).await;
        let stopping = server.server();
        let stop = spawn(async move { stopping.stop(GRACE).await });
        until(|| !server.server().is_running()).await;
        // One that was connected before, and one that was not.
        let fresh = client_of(&server, once()).await;
        for node in [&busy, &fresh] {
            let (status, error) = status(node.client().send(peer, &echo_name(), "new").await);
            assert_eq!(status.code, StatusCode::Draining);
            assert_eq!(error.delivery, Delivery::NotProcessed);
        }
        // Whoever may try again is served when the server is back.
        let patient = ClientConfig::default().with_max_retries(10);
        let patient = client_of(&server, patient).await;
        let asking = patient.client();
        let again = spawn(async move { asking.send(peer, &echo_name(), "again").await });
        until(|| patient.client().stats().retries > 0).await;
        drop(opener);
        stop.await;
        server.server().register(&echo_name(), echo).expect("it has stopped");
        assert_eq!(call.await.expect("it was at work"), "at work");
        assert_eq!(again.await.expect("the server is back"), "again");
    });
}

/// A connection that ends in the middle of a negotiation says nothing about what the peer speaks.
#[test]
fn a_lost_negotiation_is_no_refusal() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let way = Proxy::to(address(&server).await).start();
        let node = client(once()).await;
        let peer = node.connect(way.address()).await.expect("it listens");
        // Identify has come; nothing else moves.
        until(|| way.bytes_down() > 500).await;
        way.freeze();
        let asking = node.client();
        let call = spawn(async move { asking.send(peer, &echo_name(), "?").await });
        until(|| node.client().stats().streams == 1).await;
        for _ in 0..100 {
            yield_now().await;
        }
        way.cut_rst();
        let error = call.await.expect_err("the connection was cut");
        assert!(matches!(error.cause, Cause::Lost(_)), "{error}");
        assert_eq!(error.delivery, Delivery::NotProcessed);
        assert!(error.may_retry(false), "{error}");
    });
}

async fn serve(keypair: &Keypair, at: Multiaddr) -> Node {
    loop {
        let builder = Node::builder().keypair(keypair.clone()).listen(at.clone());
        // The port may not be free yet.
        if let Ok(node) = builder.client_config(once()).build().await {
            node.server().register(&echo_name(), echo).expect("first");
            return node;
        }
        yield_now().await;
    }
}

/// Calls that go on until told otherwise: to each peer by its name, and to the closest of them.
pub(crate) struct Load {
    answered: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    calls: Vec<BoxFuture<'static, Result<(), String>>>,
}

impl Load {
    pub(crate) fn start(node: &Node, peers: &[PeerId]) -> Self {
        let (answered, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        for peer in peers {
            node.client().add_server_node(&echo_name(), *peer).expect("another");
        }
        let calls = (0..16).map(|caller| {
            let (client, answered, over) = (node.client(), answered.clone(), over.clone());
            let to = peers[caller % peers.len()];
            spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    if caller < 8 {
                        client.send_closest(&echo_name(), "?").await.map_err(|e| e.to_string())?;
                    } else {
                        client.send(to, &echo_name(), "?").await.map_err(|e| e.to_string())?;
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
            .boxed()
        });
        let calls = calls.collect();
        Self { answered, over, calls }
    }

    /// Waits until 200 more calls were answered.
    pub(crate) async fn goes_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        until(|| self.answered.load(Ordering::Relaxed) > before + 200).await;
    }

    /// Ends it. No call may have failed.
    pub(crate) async fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        for call in join_all(self.calls).await {
            call.expect("a server was there all the time, or back soon");
        }
    }
}

/// Restarts each of three servers in turn, at its address and under its identity.
async fn rolling_restart(drains: bool) {
    let keypairs: Vec<Keypair> = (0..3).map(|_| Keypair::generate_ed25519()).collect();
    let mut servers = Vec::new();
    for keypair in &keypairs {
        servers.push(serve(keypair, loopback()).await);
    }
    let config = ClientConfig::default().with_retry_interval(Duration::from_millis(100));
    let node = client(config).await;
    for server in &servers {
        connect(&node, server).await;
    }
    let peers: Vec<PeerId> = servers.iter().map(Node::peer_id).collect();
    let load = Load::start(&node, &peers);
    for (at, keypair) in keypairs.iter().enumerate() {
        load.goes_on().await;
        let server = servers.remove(at);
        let address = address(&server).await;
        let address = address.iter().take(2).collect();
        if drains {
            server.shutdown(GRACE).await;
        } else {
            drop(server);
        }
        servers.insert(at, serve(keypair, address).await);
    }
    load.goes_on().await;
    load.end().await;
}

#[test]
fn a_rolling_restart_by_drain_fails_no_call() {
    run(rolling_restart(true));
}

#[test]
fn a_rolling_restart_by_drop_fails_no_call() {
    run(rolling_restart(false));
}
