//! Links that are slow and move all the time.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use libp2p_core::multiaddr::Protocol;
use pointsub_swarm::ServerConfig;

use crate::common::*;

/// Far less than the bodies need, and far more than a slice of one.
const LIMIT: Duration = Duration::from_secs(2);
/// Bytes per second, each way.
const RATE: usize = MIB;

/// A way to a server that takes so many bytes per second in each direction.
fn throttled(server: SocketAddr, rate: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(server) else { return };
            for (from, to) in [(&client, &server), (&server, &client)] {
                to.set_nodelay(true).expect("an open socket");
                let clone = |socket: &TcpStream| socket.try_clone().expect("an open socket");
                let (from, to) = (clone(from), clone(to));
                thread::spawn(move || copy(from, to, rate));
            }
        }
    });
    address
}

fn copy(mut from: TcpStream, mut to: TcpStream, rate: usize) {
    let (mut buffer, mut free) = (vec![0; 16 * 1024], Instant::now());
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        free = free.max(Instant::now()) + Duration::from_secs(1) * n as u32 / rate as u32;
        thread::sleep(free.saturating_duration_since(Instant::now()));
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _closed = to.shutdown(Shutdown::Both);
}

/// A client with limits of a second each, behind a slow link to a server with the same.
async fn pair() -> (Node, Node) {
    let limits = ServerConfig::default().with_read_timeout(LIMIT).with_write_timeout(LIMIT);
    let server = echo_server(limits.with_compression(false)).await;
    let port = address(&server).await.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let way = throttled(([127, 0, 0, 1], port.expect("a port")).into(), RATE);
    let limits = once().with_read_timeout(LIMIT).with_write_timeout(LIMIT);
    let node = client(limits.with_compression(false)).await;
    let way = format!("/ip4/127.0.0.1/tcp/{}", way.port()).parse().expect("an address");
    node.connect(way).await.expect("a slow link is a link");
    (server, node)
}

/// C1, C2, S1, S2: time limits are of progress, so a large body arrives however long that takes.
#[test]
fn a_body_that_takes_longer_than_every_limit_comes_back() {
    run(async {
        let (server, node) = pair().await;
        check_echo(&node, server.peer_id(), noise(4 * MIB, 1)).await;
        assert_eq!(node.client().stats().opens, 1);
    });
}
