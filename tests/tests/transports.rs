//! What the tokio adapter has beyond plain TCP: QUIC and DNS names.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use libp2p_core::muxing::StreamMuxer;
use libp2p_core::transport::{DialOpts, PortUse};
use libp2p_core::{Endpoint, Transport as _};
use pointsub_tokio::{
    Cause, ClientConfig, Keypair, Listener, Multiaddr, Node, ProtocolName, RawStream, Request, quic,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
const MIB: usize = 1024 * 1024;
/// No test takes nearly as long: whatever does hangs.
const HUNG: Duration = Duration::from_secs(60);

fn echo() -> ProtocolName {
    ProtocolName::new("/echo/1.0.0").expect("a protocol name")
}

async fn server(listen: &[&str]) -> Node {
    let listen = listen.iter().map(|address| address.parse().expect("an address"));
    let node = listen.fold(Node::builder(), |builder, address| builder.listen(address));
    let node = node.build().await.expect("a node");
    let handler = |request: Request| async move { request.body };
    node.server().register(&echo(), handler).expect("first");
    node
}

async fn check_echo(from: &Node, to: &Node, len: usize) {
    let body = Bytes::from(vec![len as u8; len]);
    let answer = from.client().send(to.peer_id(), &echo(), body.clone()).await;
    assert!(answer.expect("an echo") == body);
}

fn is_quic(address: &Multiaddr) -> bool {
    address.to_string().contains("/quic-v1")
}

#[tokio::test]
async fn requests_go_over_quic() {
    let server = server(&["/ip4/127.0.0.1/udp/0/quic-v1", "/ip6/::1/udp/0/quic-v1"]).await;
    let addresses = server.addresses().await;
    assert!(addresses.len() == 2 && addresses.iter().all(is_quic), "{addresses:?}");
    for address in addresses {
        let node = Node::builder().build().await.expect("a node");
        assert_eq!(node.connect(address).await.expect("it listens"), server.peer_id());
        for len in [0, 1, 70_000, 5 << 20] {
            check_echo(&node, &server, len).await;
        }
    }
}

#[tokio::test]
async fn one_node_listens_on_tcp_and_quic() {
    let server = server(&["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]).await;
    for address in server.addresses().await {
        let node = Node::builder().build().await.expect("a node");
        node.connect(address).await.expect("it listens");
        check_echo(&node, &server, 100).await;
    }
}

#[tokio::test]
async fn a_name_can_be_dialled() {
    let server = server(&["/ip4/127.0.0.1/tcp/0"]).await;
    let address = server.addresses().await.remove(0).to_string();
    let named = address.replace("/ip4/127.0.0.1/", "/dns4/localhost/");
    assert_ne!(named, address);
    let node = Node::builder().build().await.expect("a node");
    let peer = node.connect(named.parse().expect("an address")).await.expect("it listens");
    assert_eq!(peer, server.peer_id());
    check_echo(&node, &server, 100).await;
}

fn raw() -> ProtocolName {
    ProtocolName::new("/raw").expect("a protocol name")
}

/// A node that is connected to another, which listens for raw streams.
async fn raw_over_quic() -> (Node, Node, Listener) {
    let server = server(&[QUIC]).await;
    let listener = server.server().listen(&raw()).expect("first");
    let node = Node::builder().build().await.expect("a node");
    node.connect(server.addresses().await.remove(0)).await.expect("it listens");
    (node, server, listener)
}

async fn dial_raw(node: &Node, server: &Node) -> RawStream {
    node.client().dial(server.peer_id(), &raw()).await.expect("it listens")
}

#[tokio::test]
async fn a_raw_stream_goes_over_quic() {
    let (node, server, mut listener) = raw_over_quic().await;
    let mut one = dial_raw(&node, &server).await;
    one.write_all(b"over UDP").await.expect("written");
    one.shutdown().await.expect("closed");
    let mut two = listener.accept().await.expect("it runs");
    let mut heard = String::new();
    two.read_to_string(&mut heard).await.expect("an end");
    assert_eq!(heard, "over UDP");
    two.write_all(b"and back").await.expect("written");
    two.shutdown().await.expect("closed");
    let mut answer = String::new();
    one.read_to_string(&mut answer).await.expect("an end");
    assert_eq!(answer, "and back");
}

/// Runs something on a runtime of its own, which ends with it: nothing is done afterwards.
fn elsewhere(what: impl Future<Output = ()> + Send + 'static) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(what);
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_closed_over_quic_arrives_although_the_node_ends() {
    let server = server(&[QUIC]).await;
    let mut listener = server.server().listen(&raw()).expect("first");
    let at = server.addresses().await.remove(0);
    let body: Vec<u8> = (0..4 * MIB).map(|n| (n / 251) as u8).collect();
    let sent = body.clone();
    let sender = elsewhere(async move {
        let node = Node::builder().build().await.expect("a node");
        let peer = node.connect(at).await.expect("it listens");
        let mut stream = node.client().dial(peer, &raw()).await.expect("it listens");
        stream.write_all(&sent).await.expect("written");
        stream.shutdown().await.expect("closed");
        node.shutdown(Duration::ZERO).await;
    });
    let mut stream = listener.accept().await.expect("it runs");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("bytes, then the end");
    assert!(bytes == body);
    sender.join().expect("a thread");
}

#[tokio::test]
async fn a_raw_stream_that_is_reset_over_quic_reads_as_an_error() {
    let (node, server, mut listener) = raw_over_quic().await;
    for end in [RawStream::reset, drop] {
        for words in ["", "half"] {
            let mut one = dial_raw(&node, &server).await;
            one.write_all(words.as_bytes()).await.expect("written");
            one.flush().await.expect("flushed");
            let mut two = listener.accept().await.expect("it runs");
            end(one);
            let mut bytes = Vec::new();
            let error = two.read_to_end(&mut bytes).await.expect_err("no end");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_streams_that_nobody_reads_over_quic_do_not_delay_requests() {
    let (node, server, mut listener) = raw_over_quic().await;
    let (written, mut unread) = (Arc::<AtomicUsize>::default(), Vec::new());
    for _ in 0..2 {
        let mut one = dial_raw(&node, &server).await;
        let written = written.clone();
        tokio::spawn(async move {
            for _ in 0..10 * MIB / 4096 {
                one.write_all(&[7; 4096]).await.expect("room, or none for ever");
                written.fetch_add(4096, Ordering::SeqCst);
            }
            std::future::pending::<()>().await;
        });
        unread.push(listener.accept().await.expect("it runs"));
    }
    let requests = async {
        // Until the streams take no more, and well beyond.
        let (mut last, mut unchanged) = (0, 0);
        while unchanged < 200 {
            check_echo(&node, &server, 1024).await;
            let now = written.load(Ordering::SeqCst);
            unchanged = if now == last { unchanged + 1 } else { 0 };
            last = now;
        }
    };
    tokio::time::timeout(HUNG, requests).await.expect("answers");
}

/// A peer that has no protocol at all, and says so as libp2p's implementation in Go does.
fn refusing() -> (Multiaddr, quinn::Endpoint) {
    let keypair = Keypair::generate_ed25519();
    let tls = libp2p_tls::make_server_config(&keypair).expect("it can sign");
    let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls).expect("TLS 1.3");
    let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    let at = ([127, 0, 0, 1], 0).into();
    let endpoint = quinn::Endpoint::server(config, at).expect("a socket");
    let port = endpoint.local_addr().expect("it is bound").port();
    let at = format!("/ip4/127.0.0.1/udp/{port}/quic-v1/p2p/{}", keypair.public().to_peer_id());
    let peer = endpoint.clone();
    tokio::spawn(async move {
        let connection = peer.accept().await.expect("it runs").await.expect("a connection");
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            let _gone = send.reset(quinn::VarInt::from_u32(0x1001));
            let _gone = recv.stop(quinn::VarInt::from_u32(0x1001));
        }
    });
    (at.parse().expect("an address"), endpoint)
}

#[tokio::test]
async fn a_protocol_that_is_refused_with_a_code_over_quic_is_unsupported() {
    let (at, _peer) = refusing();
    let node = Node::builder().client_config(ClientConfig::default().with_max_retries(0));
    let node = node.build().await.expect("a node");
    let peer = node.connect(at).await.expect("it listens");
    // The first time two formats are proposed, then the one that the peer may have.
    for _ in 0..3 {
        let error = node.client().send(peer, &echo(), "x").await.expect_err("it is refused");
        assert_eq!(error.cause, Cause::Unsupported, "{error:?}");
    }
    let error = node.client().dial(peer, &raw()).await.expect_err("it is refused");
    assert_eq!(error.cause, Cause::Unsupported, "{error:?}");
}

/// A bare connection to a node, which is up at the other end too.
async fn observer(at: Multiaddr) -> quic::Connection {
    let keypair = Keypair::generate_ed25519();
    let mut transport = quic::Transport::new(&keypair).expect("it can sign");
    let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let dial = transport.dial(at, opts).expect("an address");
    let (_, mut connection) = dial.await.expect("a connection");
    // The node opens streams of its own.
    inbound(&mut connection).await.expect("a stream");
    connection
}

async fn inbound(connection: &mut quic::Connection) -> std::io::Result<quic::Stream> {
    poll_fn(|cx| Pin::new(&mut *connection).poll_inbound(cx)).await
}

#[tokio::test]
async fn the_peers_of_a_node_that_shuts_down_were_told_over_quic() {
    let (address, at) = tokio::sync::oneshot::channel();
    let (end, ends) = tokio::sync::oneshot::channel::<()>();
    let node = elsewhere(async {
        let node = server(&[QUIC]).await;
        address.send(node.addresses().await.remove(0)).expect("somebody waits");
        ends.await.expect("it comes");
        node.shutdown(Duration::ZERO).await;
    });
    let at: Multiaddr = at.await.expect("it listens");
    let mut observers = Vec::new();
    for _ in 0..40 {
        observers.push(observer(at.clone()).await);
    }
    end.send(()).expect("it runs");
    for mut connection in observers {
        let error = loop {
            if let Err(error) = inbound(&mut connection).await {
                break error;
            }
        };
        assert!(format!("{error:?}").contains("ApplicationClosed"), "{error:?}");
    }
    node.join().expect("a thread");
}

/// The one that is asked dials back, and the nonce that it brings is acknowledged with a message and
/// no close.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_finds_out_over_quic_that_it_can_be_reached() {
    let helper = server(&[QUIC]).await;
    let node = Node::builder().listen(QUIC.parse().expect("an address")).build().await;
    let node = node.expect("a node");
    node.connect(helper.addresses().await.remove(0)).await.expect("it listens");
    let found = async {
        loop {
            let found = node.external_addresses().await;
            if !found.is_empty() {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(HUNG, found).await.expect("an address");
    assert_eq!(found, node.addresses().await);
}

/// QUIC's own close throws away what has not left yet.
#[tokio::test(flavor = "multi_thread")]
async fn answers_over_quic_arrive_although_the_node_ends() {
    for len in [1000, 4 * MIB] {
        for _ in 0..10 {
            let server = Node::builder().listen(QUIC.parse().expect("an address")).build().await;
            let server = server.expect("a node");
            let (begun, mut at_work) = tokio::sync::mpsc::unbounded_channel();
            let (open, gate) = watch::channel(false);
            let handler = move |_: Request| {
                let (begun, mut gate) = (begun.clone(), gate.clone());
                async move {
                    begun.send(()).expect("the test waits for it");
                    gate.wait_for(|open| *open).await.expect("the test opens it");
                    vec![7; len]
                }
            };
            server.server().register(&echo(), handler).expect("first");
            let node = Node::builder().build().await.expect("a node");
            let peer = node.connect(server.addresses().await.remove(0)).await.expect("it listens");
            let client = node.client();
            let call = tokio::spawn(async move { client.send(peer, &echo(), "?").await });
            at_work.recv().await.expect("the handler is there");
            let handle = server.server();
            let end = tokio::spawn(server.shutdown(Duration::from_secs(30)));
            while handle.is_running() {
                tokio::task::yield_now().await;
            }
            open.send(true).expect("the handler waits for it");
            let answer = call.await.expect("it does not panic").expect("it was answered");
            assert_eq!(answer.len(), len);
            end.await.expect("it does not panic");
        }
    }
}

/// Tells this test, when it runs in a child process, to be the client: the address of the server.
const CLIENT_OF: &str = "POINTSUB_TEST_CLIENT_OF";

/// Counts one handler as long as it lives.
struct AtWork(Arc<watch::Sender<usize>>);

impl AtWork {
    fn begin(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A process that is killed says nothing over QUIC: there is no kernel that does so in its place.
#[tokio::test(flavor = "multi_thread")]
async fn the_handlers_of_a_client_that_is_killed_are_stopped() {
    if let Ok(at) = std::env::var(CLIENT_OF) {
        let node = Node::builder().build().await.expect("a node");
        let peer = node.connect(at.parse().expect("an address")).await.expect("it listens");
        let (client, echo) = (node.client(), echo());
        let asked = (0..8).map(|_| client.send(peer, &echo, "?").into_future());
        futures::future::join_all(asked).await;
        panic!("nobody answers");
    }
    let server = Node::builder().listen(QUIC.parse().expect("an address")).build().await;
    let server = server.expect("a node");
    let (count, mut at_work) = watch::channel(0);
    let count = Arc::new(count);
    let handler = move |_: Request| {
        let guard = AtWork::begin(&count);
        async move {
            let _guard = guard;
            std::future::pending::<Bytes>().await
        }
    };
    server.server().register(&echo(), handler).expect("first");
    let mut client = std::process::Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "the_handlers_of_a_client_that_is_killed_are_stopped"])
        .env(CLIENT_OF, server.addresses().await.remove(0).to_string())
        .spawn()
        .expect("this test runs again");
    let begun = tokio::time::timeout(HUNG, at_work.wait_for(|count| *count == 8)).await.is_ok();
    client.kill().expect("it runs");
    client.wait().expect("it is our child");
    assert!(begun, "all of them begin");
    let stopped = tokio::time::timeout(HUNG, at_work.wait_for(|count| *count == 0)).await;
    stopped.expect("they are stopped").expect("the handler is registered");
    // They are counted when their tasks have ended.
    let counted = async {
        while server.server().stats().abandoned != 8 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HUNG, counted).await.expect("each is counted");
}

/// Each byte that is written alone would be a frame of its own, if nobody gathered them.
#[tokio::test(flavor = "multi_thread")]
async fn many_single_bytes_arrive_over_quic() {
    const LEN: usize = 200_000;
    let (node, server, mut listener) = raw_over_quic().await;
    let mut one = dial_raw(&node, &server).await;
    let bytes = async {
        one.write_all(&[0]).await.expect("written");
        let mut two = listener.accept().await.expect("it runs");
        for n in 1..LEN {
            one.write_all(&[n as u8]).await.expect("written");
        }
        one.shutdown().await.expect("closed");
        let mut bytes = Vec::new();
        two.read_to_end(&mut bytes).await.expect("an end");
        bytes
    };
    let bytes = tokio::time::timeout(HUNG, bytes).await.expect("all of them come");
    assert!(bytes.iter().copied().eq((0..LEN).map(|n| n as u8)), "{} bytes came", bytes.len());
}
