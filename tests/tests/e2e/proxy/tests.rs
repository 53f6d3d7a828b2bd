//! The bad network is as bad as it says, and no worse.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use pointsub_swarm::{Multiaddr, ServerConfig};

use super::{Path, Proxy, UdpProxy, socket_address};
use crate::common::{MIB, check_echo, client, echo_server, noise, once, run, until, within};

/// Long enough that nothing of it passes while a test runs.
const FOR_EVER: Duration = Duration::from_secs(3600);
/// Long enough for what is to arrive, and for what must not.
const A_WHILE: Duration = Duration::from_millis(200);

fn listener() -> (TcpListener, Multiaddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address"))
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(socket_address(&proxy.address())).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    stream
}

/// A connection through the proxy, both ends.
fn pair(proxy: &Proxy, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = connect(proxy);
    let (server, _) = listener.accept().expect("a connection");
    server.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    (client, server)
}

/// Waits on this thread.
fn wait_for(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not happen");
        thread::yield_now();
    }
}

fn is_silent(stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(A_WHILE)).expect("a time");
    let outcome = stream.peek(&mut [0]);
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    matches!(outcome, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn bytes_pass_unchanged_on_several_connections() {
    let (server, address) = listener();
    let proxy = Proxy::to(address).delay(Duration::from_millis(2)).buffers(4096).start();
    let echoes = thread::spawn(move || {
        let echoes = (0..8).map(|_| {
            let (mut stream, _) = server.accept().expect("a connection");
            thread::spawn(move || {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).expect("it ends in good order");
                stream.write_all(&bytes).expect("somebody reads");
            })
        });
        echoes.collect::<Vec<_>>().into_iter().for_each(|echo| echo.join().expect("no panic"));
    });
    let callers = (0..8_u64).map(|seed| {
        let mut stream = connect(&proxy);
        thread::spawn(move || {
            let (bytes, mut back) = (noise(MIB / 4, seed), Vec::new());
            stream.write_all(&bytes).expect("somebody reads");
            stream.shutdown(Shutdown::Write).expect("it is open");
            stream.read_to_end(&mut back).expect("it ends in good order");
            assert!(bytes == back, "{} bytes came back changed", back.len());
        })
    });
    callers.collect::<Vec<_>>().into_iter().for_each(|caller| caller.join().expect("no panic"));
    echoes.join().expect("no panic");
    assert_eq!(proxy.accepted(), 8);
    wait_for(|| proxy.open() == 0);
    assert_eq!((proxy.bytes_up(), proxy.bytes_down()), (2 * MIB as u64, 2 * MIB as u64));
}

#[test]
fn a_delay_does_not_limit_what_is_on_its_way() {
    let (server, address) = listener();
    let path = Path { delay: FOR_EVER, rate: None };
    let proxy = Proxy::to(address).up(path).start();
    let (mut client, server) = pair(&proxy, &server);
    client.write_all(&noise(8 * MIB, 1)).expect("the proxy takes all of it");
    wait_for(|| proxy.taken_up() == 8 * MIB as u64);
    assert_eq!(proxy.bytes_up(), 0);
    assert!(is_silent(&server));
}

#[test]
fn nothing_arrives_before_its_time() {
    let (server, address) = listener();
    let delay = Duration::from_millis(30);
    let proxy = Proxy::to(address).delay(delay).start();
    let (mut client, mut server) = pair(&proxy, &server);
    for _ in 0..5 {
        let begun = Instant::now();
        client.write_all(b"there").expect("it is open");
        server.read_exact(&mut [0; 5]).expect("it arrives");
        assert!(begun.elapsed() >= delay, "{:?}", begun.elapsed());
        server.write_all(b"back").expect("it is open");
        client.read_exact(&mut [0; 4]).expect("it arrives");
        assert!(begun.elapsed() >= 2 * delay, "{:?}", begun.elapsed());
    }
}

/// Two connections fill a path. Returns what arrived of each when it was `total` together, and how
/// long that took. All bytes wait at the proxy from the beginning, so that no writer is late.
fn share_of_two(rate: u64, total: usize) -> ([usize; 2], Duration) {
    let (server, address) = listener();
    let proxy = Proxy::to(address).down(Path { delay: Duration::ZERO, rate: Some(rate) }).start();
    let mut pairs = [pair(&proxy, &server), pair(&proxy, &server)];
    let begun = Instant::now();
    proxy.freeze();
    for (client, server) in &mut pairs {
        client.set_nonblocking(true).expect("a socket can be non-blocking");
        server.set_write_timeout(Some(A_WHILE)).expect("a time");
        server.write_all(&noise(total, 1)).expect("the kernel's buffers hold it");
    }
    proxy.thaw();
    let (mut arrived, mut scratch) = ([0; 2], vec![0; 1024]);
    while arrived.iter().sum::<usize>() < total {
        for (count, (client, _)) in arrived.iter_mut().zip(&mut pairs) {
            *count += client.read(&mut scratch).unwrap_or(0);
        }
        thread::yield_now();
    }
    (arrived, begun.elapsed())
}

#[test]
fn a_rate_is_kept_and_shared_in_equal_parts() {
    for (rate, total) in [(50_000, 30_000), (5_000_000, 200_000)] {
        let (arrived, took) = share_of_two(rate, total);
        // A few ms that the thread was late may be made up for.
        let least = Duration::from_secs_f64(0.9 * total as f64 / rate as f64);
        assert!(took >= least, "{total} bytes at {rate} bytes/s in {took:?}");
        for count in arrived {
            assert!((total * 4 / 10..=total * 6 / 10).contains(&count), "{arrived:?} of {total}");
        }
    }
}

#[test]
fn small_buffers_hold_little() {
    let (server, address) = listener();
    let proxy = Proxy::to(address).buffers(4096).start();
    let (mut client, _unread) = pair(&proxy, &server);
    client.set_write_timeout(Some(A_WHILE)).expect("a time");
    client.write_all(&noise(32 * MIB, 1)).expect_err("nobody reads");
    assert!(proxy.taken_up() < MIB as u64, "{} bytes", proxy.taken_up());
}

#[test]
fn while_frozen_nothing_moves_and_nothing_ends() {
    let (server, address) = listener();
    let proxy = Proxy::to(address).start();
    let (mut client, mut at_server) = pair(&proxy, &server);
    proxy.freeze();
    client.write_all(b"x").expect("the kernel takes it");
    at_server.write_all(b"y").expect("the kernel takes it");
    let mut late = connect(&proxy);
    late.write_all(b"z").expect("the kernel takes it");
    assert!(is_silent(&at_server) && is_silent(&client) && is_silent(&late));
    assert_eq!((proxy.accepted(), proxy.open()), (1, 1));
    proxy.thaw();
    let mut byte = [0];
    at_server.read_exact(&mut byte).expect("it arrives");
    assert_eq!(&byte, b"x");
    client.read_exact(&mut byte).expect("it arrives");
    assert_eq!(&byte, b"y");
    let (mut at_server, _) = server.accept().expect("the late one");
    at_server.read_exact(&mut byte).expect("it arrives");
    assert_eq!(&byte, b"z");
}

#[test]
fn connections_are_cut_as_they_are_told() {
    let (server, address) = listener();
    let proxy = Proxy::to(address).start();
    let (mut client, mut at_server) = pair(&proxy, &server);
    proxy.cut_fin();
    for end in [&mut client, &mut at_server] {
        assert_eq!(end.read(&mut [0]).expect("a clean end"), 0);
    }
    drop((client, at_server));
    wait_for(|| proxy.open() == 0);

    let (mut client, mut at_server) = pair(&proxy, &server);
    // Also those through which nothing moves.
    proxy.freeze();
    proxy.cut_rst();
    for end in [&mut client, &mut at_server] {
        let error = end.read(&mut [0]).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    proxy.thaw();
    pair(&proxy, &server);
    assert_eq!(proxy.accepted(), 3);
}

#[test]
fn resets_of_either_end_pass() {
    let (server, address) = listener();
    let proxy = Proxy::to(address).start();
    let (client, mut at_server) = pair(&proxy, &server);
    let client = socket2::Socket::from(client);
    client.set_linger(Some(Duration::ZERO)).expect("a time");
    drop(client);
    let error = at_server.read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    drop(server);
    let error = connect(&proxy).read(&mut [0]).expect_err("nobody listens any more");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_proxy_that_is_dropped_ends_its_connections() {
    let (server, address) = listener();
    let proxy = Proxy::to(address).delay(FOR_EVER).start();
    let at = socket_address(&proxy.address());
    let (mut client, mut at_server) = pair(&proxy, &server);
    drop(proxy);
    for end in [&mut client, &mut at_server] {
        assert!(matches!(end.read(&mut [0]), Ok(0) | Err(_)));
    }
    TcpStream::connect(at).expect_err("nobody listens any more");
}

fn udp() -> (UdpSocket, Multiaddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    let port = socket.local_addr().expect("it is bound").port();
    (socket, format!("/ip4/127.0.0.1/udp/{port}/quic-v1").parse().expect("an address"))
}

fn udp_client(proxy: &UdpProxy) -> UdpSocket {
    let (client, _) = udp();
    client.connect(socket_address(&proxy.address())).expect("a loopback address");
    client
}

#[test]
fn datagrams_pass_both_ways_and_find_their_client() {
    let (server, address) = udp();
    let delay = Duration::from_millis(20);
    let proxy = UdpProxy::to(address).delay(delay).start();
    let clients = [udp_client(&proxy), udp_client(&proxy)];
    let mut ports: Vec<SocketAddr> = Vec::new();
    for (id, client) in (0..=1_u8).zip(&clients) {
        let begun = Instant::now();
        client.send(&[id]).expect("it is open");
        let mut byte = [9];
        let (_, from) = server.recv_from(&mut byte).expect("it arrives");
        assert_eq!(byte, [id]);
        assert!(begun.elapsed() >= delay, "{:?}", begun.elapsed());
        ports.push(from);
    }
    for (id, client) in (0..=1_u8).zip(&clients).rev() {
        server.send_to(&[id], ports[usize::from(id)]).expect("it is open");
        let mut byte = [9];
        client.recv(&mut byte).expect("it arrives");
        assert_eq!(byte, [id]);
    }
    assert_eq!((proxy.passed_up(), proxy.passed_down()), (2, 2));
}

#[test]
fn datagrams_are_lost_while_frozen_and_as_often_as_told() {
    let (server, address) = udp();
    let proxy = UdpProxy::to(address.clone()).start();
    let client = udp_client(&proxy);
    proxy.freeze();
    client.send(b"lost").expect("it is open");
    wait_for(|| proxy.taken_up() == 1);
    proxy.thaw();
    client.send(b"passes").expect("it is open");
    let mut bytes = [0; 6];
    server.recv_from(&mut bytes).expect("it arrives");
    assert_eq!((&bytes, proxy.passed_up()), (b"passes", 1));

    let proxy = UdpProxy::to(address).loss(500).start();
    let client = udp_client(&proxy);
    for sent in 1..=100 {
        client.send(b"perhaps").expect("it is open");
        // One by one, so that no buffer of the kernel overflows.
        wait_for(|| proxy.taken_up() == sent);
    }
    drop(client);
    assert!((20..=80).contains(&proxy.passed_up()), "{} of 100", proxy.passed_up());
}

/// A node behind the proxy is a node at another port.
#[test]
fn nodes_talk_through_it() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let proxy = Proxy::to(crate::common::address(&server).await)
            .delay(Duration::from_millis(5))
            .rate(5_000_000)
            .start();
        let node = client(once()).await;
        let peer = node.connect(proxy.address()).await.expect("it listens");
        check_echo(&node, peer, noise(MIB, 1)).await;
        until(|| proxy.bytes_up() > MIB as u64 && proxy.bytes_down() > MIB as u64).await;

        proxy.freeze();
        let name = crate::common::echo_name();
        let call = node.client().send(peer, &name, "frozen").timeout(A_WHILE);
        assert!(call.await.is_err(), "nothing moves");
        proxy.thaw();
        check_echo(&node, peer, "thawed").await;

        proxy.cut_rst();
        until(|| proxy.open() == 0).await;
        within(Duration::from_secs(30), async {
            while node.client().send(peer, &name, "again").await.is_err() {}
        })
        .await;
        assert!(proxy.accepted() >= 2, "a new connection");
    });
}
