//! Many connections at once: of strangers that say nothing, and of one peer.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use libp2p_core::multiaddr::Protocol;
use pointsub_swarm::{Keypair, Multiaddr, ServerConfig};
use socket2::{Domain, Socket, Type};

use crate::common::*;
use crate::proxy::Proxy;

/// Connections that say nothing, and are made anew as soon as they are closed.
struct Silent {
    renewed: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Silent {
    fn to(server: &Multiaddr, from: Ipv4Addr, number: usize) -> Self {
        let Some(Protocol::Tcp(port)) = server.iter().nth(1) else { panic!("not TCP: {server}") };
        let (renewed, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (count, ended) = (renewed.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let mut sockets: Vec<_> = (0..number).map(|_| silent_socket(from, port)).collect();
            while !ended.load(Ordering::SeqCst) {
                for socket in &mut sockets {
                    if socket.as_mut().is_none_or(is_closed) {
                        *socket = silent_socket(from, port);
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                }
                // Leaves the processor to those who are to get in.
                thread::yield_now();
            }
        });
        Self { renewed, stop, thread: Some(thread) }
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().map(JoinHandle::join);
    }
}

fn silent_socket(from: Ipv4Addr, port: u16) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    // Tens of thousands that are closed in good order would hold their ports for a minute each, and
    // other tests would find none.
    socket.set_linger(Some(Duration::ZERO)).ok()?;
    socket.bind(&SocketAddr::from((from, 0)).into()).ok()?;
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket.into())
}

/// Whether the server has closed a connection. What it says is read.
fn is_closed(socket: &mut TcpStream) -> bool {
    match socket.read(&mut [0; 1024]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Sockets that say nothing take all places for handshakes, and take them again.
async fn who_says_nothing_keeps_nobody_out(from: Ipv4Addr) {
    let server = echo_server(ServerConfig::default()).await;
    let silent = Silent::to(&address(&server).await, from, 300);
    until(|| silent.renewed.load(Ordering::SeqCst) > 0).await;
    for _ in 0..10 {
        let node = client(once()).await;
        // Whoever has not spoken yet may have to make room too. A request makes as many tries.
        let mut tries = 4;
        while let Err(error) = node.connect(address(&server).await).await {
            tries -= 1;
            assert!(tries > 0, "{error}");
        }
        check_echo(&node, server.peer_id(), "let in").await;
    }
}

#[test]
fn silent_connections_from_the_same_address_keep_nobody_out() {
    run(who_says_nothing_keeps_nobody_out(Ipv4Addr::LOCALHOST));
}

#[test]
fn silent_connections_from_another_network_keep_nobody_out() {
    run(who_says_nothing_keeps_nobody_out(Ipv4Addr::new(127, 7, 7, 7)));
}

/// How long others may take for a handshake is not for the client's option to say.
#[test]
fn who_says_nothing_is_ended_in_a_time_of_its_own() {
    run(async {
        let config = once().with_connect_timeout(Duration::from_secs(600));
        let server = Node::builder().listen(loopback()).client_config(config);
        let server = server.handshake_timeout(Duration::from_millis(200)).build().await;
        let server = server.expect("a node");
        let at = address(&server).await;
        let Some(Protocol::Tcp(port)) = at.iter().nth(1) else { panic!("not TCP: {at}") };
        let mut socket = silent_socket(Ipv4Addr::LOCALHOST, port).expect("it listens");
        until(|| is_closed(&mut socket)).await;
    });
}

/// A peer whose connections are dead without the server's knowledge comes back.
#[test]
fn the_dead_connections_of_a_peer_do_not_keep_it_out() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let keypair = Keypair::generate_ed25519();
        let mut gone = Vec::new();
        for _ in 0..8 {
            let at = address(&server).await;
            let proxy = Proxy::to(at).start();
            let builder = Node::builder().keypair(keypair.clone()).client_config(once());
            let node = builder.build().await.expect("a node");
            let peer = proxy.address().with_p2p(server.peer_id()).unwrap_or_else(|at| at);
            node.connect(peer).await.expect("the server listens");
            check_echo(&node, server.peer_id(), "warm").await;
            proxy.freeze();
            gone.push((proxy, node));
        }
        let node = Node::builder().keypair(keypair).client_config(once()).build().await;
        let node = node.expect("a node");
        for _ in 0..4 {
            connect(&node, &server).await;
            check_echo(&node, server.peer_id(), "back").await;
        }
    });
}
