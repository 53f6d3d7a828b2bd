//! The server process dies without a word.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::join_all;
use libp2p_identity::Keypair;
use pointsub_swarm::{
    Cause, ClientConfig, Delivery, HandlerError, IncomingCall, Multiaddr, ServerConfig,
};

use crate::common::*;
use crate::draining::Load;

/// Tells this test, when it runs in a child process, to be the server: its key and address.
const ROLE: &str = "POINTSUB_TEST_SERVER";

pub(crate) struct Server {
    process: Child,
    pub(crate) address: Multiaddr,
}

impl Server {
    /// Runs this test binary again, as a server.
    pub(crate) fn start(key: &[u8], listen: &Multiaddr) -> Self {
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut process = Command::new(std::env::current_exe().expect("this test has a path"))
            .args(["--exact", "--nocapture", "crash::calls_end_when_the_server_is_killed"])
            .env(ROLE, format!("{key} {listen}"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test binary runs again");
        let output = process.stdout.take().expect("it is piped");
        let address = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("LISTENS ").map(|(_, address)| address.to_owned()))
            .expect("the server listens");
        Self { process, address: address.parse().expect("an address") }
    }

    /// Where it listens, without its name.
    pub(crate) fn place(&self) -> Multiaddr {
        self.address.iter().take(2).collect()
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it is our child");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

/// Says hello, and no more.
async fn subscribe(call: IncomingCall) -> Result<(), HandlerError> {
    let mut sender = call.sender;
    sender.send("hello").await?;
    std::future::pending().await
}

async fn be_the_server(role: String) {
    let (key, listen) = role.split_once(' ').expect("key and address");
    let byte = |i| u8::from_str_radix(&key[i..i + 2], 16).expect("hexadecimal");
    let key: Vec<u8> = (0..key.len()).step_by(2).map(byte).collect();
    let node = Node::builder()
        .keypair(Keypair::from_protobuf_encoding(&key).expect("a key"))
        .listen(listen.parse().expect("an address"))
        .server_config(ServerConfig::default())
        .build()
        .await
        .expect("a node");
    node.server().register(&echo_name(), echo).expect("first");
    node.server().register(&name("/hang"), |_| hang(Alive::default())).expect("first");
    node.server().register_call(&name("/subscribe"), subscribe).expect("first");
    let count = |call| crate::calls_resumption::count(Alive::default(), call);
    node.server().register_call(&name("/log/1.0.0"), count).expect("first");
    println!("LISTENS {}", address(&node).await);
    // Until it is killed.
    std::future::pending::<()>().await;
}

/// W4: memory follows what arrives, not what is announced.
#[cfg(target_os = "linux")]
#[test]
fn nothing_is_allocated_for_an_announcement() {
    use crate::raw::{NATIVE, PLAIN, REQUEST, RawPeer, native, plain, read_plain, write};

    fn peak(server: &Server) -> usize {
        let path = format!("/proc/{}/status", server.process.id());
        let status = std::fs::read_to_string(path).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).expect("a number");
        kib.parse::<usize>().expect("a number") * 1024
    }

    run(async {
        let key = Keypair::generate_ed25519().to_protobuf_encoding().expect("an ed25519 key");
        let server = Server::start(&key, &loopback());
        let hostile = RawPeer::client().await;
        let peer = hostile.dial(server.address.clone()).await;
        let before = peak(&server);
        // A gigabyte and a quarter is announced, and two kilobytes of each body are sent.
        let mut body = native(REQUEST, 1, &[], &[7; 2048]);
        body[..4].copy_from_slice(&(32 * MIB as u32).to_be_bytes());
        let mut plain_body = plain(&[7; 2048]);
        plain_body[..4].copy_from_slice(&(32 * MIB as u32).to_be_bytes());
        let mut streams = Vec::new();
        for _ in 0..20 {
            for (name, bytes) in [(NATIVE, &body), (PLAIN, &plain_body)] {
                let mut stream = hostile.open(peer, name).await.expect("announced");
                write(&mut stream, bytes).await.expect("the server reads");
                streams.push(stream);
            }
        }
        // When this is answered, all of that was looked at.
        let mut last = hostile.open(peer, PLAIN).await.expect("announced");
        write(&mut last, &plain(b"last")).await.expect("the server reads");
        assert_eq!(read_plain(&mut last).await.as_deref(), Some(&b"last"[..]));
        let grown = peak(&server) - before;
        assert!(grown < 32 * MIB, "{grown} bytes more at the peak");
    });
}

#[test]
fn calls_end_when_the_server_is_killed() {
    if let Ok(role) = std::env::var(ROLE) {
        return crate::support::block_on(be_the_server(role));
    }
    run(async {
        let key = Keypair::generate_ed25519().to_protobuf_encoding().expect("an ed25519 key");
        let mut server = Server::start(&key, &loopback());
        let node = client(once()).await;
        let peer = node.connect(server.address.clone()).await.expect("the server listens");
        check_echo(&node, peer, "before").await;

        let (hang, client) = (name("/hang"), node.client());
        let (waiting, large) = (Bytes::from("small"), noise(MIB, 1));
        let calls = (0..50).map(|i| {
            let body = if i % 10 == 0 { large.clone() } else { waiting.clone() };
            let (client, hang) = (client.clone(), hang.clone());
            spawn(async move { client.send(peer, &hang, body).await })
        });
        let calls: Vec<_> = calls.collect();
        until(|| client.stats().in_flight == 50 && client.stats().waiting == 0).await;
        server.kill();
        for outcome in join_all(calls).await {
            let error = outcome.expect_err("nobody answers");
            assert!(
                matches!(error.cause, Cause::Lost(_) | Cause::RemoteClosed | Cause::Unreachable(_)),
                "{error:?}"
            );
        }
        let stats = client.stats();
        assert_eq!((stats.in_flight, stats.failed), (0, 50));

        // Dead, and known to be.
        let error = client.send(peer, &echo_name(), "to nobody").await.expect_err("it is dead");
        assert_eq!(error.delivery, Delivery::NotProcessed, "{error:?}");

        let _server = Server::start(&key, &server.place());
        check_echo(&node, peer, "after").await;
    });
}

#[test]
fn a_thousand_open_calls_end_when_the_server_is_killed() {
    run(async {
        let key = Keypair::generate_ed25519().to_protobuf_encoding().expect("an ed25519 key");
        let mut server = Server::start(&key, &loopback());
        let node = client(patient()).await;
        let peer = node.connect(server.address.clone()).await.expect("the server listens");
        let mut calls = Vec::new();
        while calls.len() < 1000 {
            let open = || node.client().open(peer, &name("/subscribe"), "").receive_only();
            let opened = join_all((0..50).map(|_| open())).await;
            calls.extend(opened.into_iter().map(|call| call.expect("accepted")));
        }
        for call in calls.iter_mut().step_by(2) {
            assert_eq!(call.recv().await.expect("open").expect("a message"), "hello");
        }
        server.kill();
        for (number, mut call) in calls.into_iter().enumerate() {
            let mut outcome = call.recv().await;
            if number % 2 == 1
                && let Ok(message) = outcome
            {
                assert_eq!(message.expect("a message"), "hello", "what came before is not lost");
                outcome = call.recv().await;
            }
            let error = outcome.expect_err("nobody is there");
            assert!(matches!(error.cause, Cause::Lost(_) | Cause::RemoteClosed), "{error:?}");
            assert_eq!(error.delivery, Delivery::Processed);
        }
        until(|| node.client().stats().streams == 0).await;
    });
}

/// Kills each of three servers in turn and starts it again, under calls that may be made twice.
#[test]
fn a_rolling_restart_by_kill_fails_no_call() {
    run(async {
        let key = || Keypair::generate_ed25519().to_protobuf_encoding().expect("an ed25519 key");
        let keys = [key(), key(), key()];
        let mut servers = keys.each_ref().map(|key| Server::start(key, &loopback()));
        let node = client(ClientConfig::default()).await;
        let mut peers = Vec::new();
        for server in &servers {
            peers.push(node.connect(server.address.clone()).await.expect("it listens"));
        }
        let load = Load::start(&node, &peers);
        for (server, key) in servers.iter_mut().zip(&keys) {
            load.goes_on().await;
            server.kill();
            // The calls go on meanwhile.
            let (key, place) = (key.clone(), server.place());
            let (started, again) = oneshot::channel();
            thread::spawn(move || drop(started.send(Server::start(&key, &place))));
            *server = again.await.expect("it starts again");
        }
        load.goes_on().await;
        load.end().await;
    });
}
