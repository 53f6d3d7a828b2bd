//! What an idle call takes, at either end. A program of its own, which is its server too: what a process
//! has resident is that of all who run in it.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use futures::future::join_all;
use pointsub_swarm::{IncomingCall, Multiaddr, ProtocolName, ServerConfig, StreamingCall};
use pointsub_tokio::Node;

const HELD: ProtocolName = ProtocolName::from_static("/held/1.0.0");
/// Tells this program, when it runs as a child, to be the server.
const ROLE: &str = "POINTSUB_TEST_SERVER";
/// So many calls are open when it is looked for the first time, and so many more then.
const FEW: usize = 2000;
const MORE: usize = 8000;
/// Fewer than a server lets in at once however they come.
const AT_ONCE: usize = 50;
/// The most that one takes, in bytes.
const MOST: usize = 1536;

async fn serve() {
    let listen = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
    let config = ServerConfig::default().with_max_calls_per_connection(2 * (FEW + MORE));
    let node = Node::builder().listen(listen).server_config(config).build().await;
    let node = node.expect("a node");
    // A subscription to something that does not happen. What its future takes is counted too: little
    // beside the call itself.
    let subscribe = |call: IncomingCall| async move { call.sender.draining().await };
    node.server().register_call(&HELD, subscribe).expect("first");
    println!("LISTENS {}", node.address().await.expect("it listens"));
    std::future::pending::<()>().await;
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

fn start() -> (Server, Multiaddr) {
    let mut child = Command::new(std::env::current_exe().expect("this test has a path"))
        .args(["--exact", "--nocapture", "an_idle_call_takes_little"])
        .env(ROLE, "")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test binary runs again");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut lines = output.lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.split_once("LISTENS ").map(|(_, at)| at.to_owned()));
    let address = address.expect("the server listens").parse().expect("an address");
    (Server(child), address)
}

/// Bytes that a process has resident.
fn resident(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is told");
    let kib = line.trim().trim_end_matches(" kB");
    kib.parse::<usize>().expect("a number") * 1024
}

#[tokio::test]
async fn an_idle_call_takes_little() {
    if std::env::var_os(ROLE).is_some() {
        return serve().await;
    }
    let (server, address) = start();
    let node = Node::builder().build().await.expect("a node");
    let peer = node.connect(address).await.expect("it listens");
    let mut calls: Vec<StreamingCall> = Vec::with_capacity(FEW + MORE);
    let ends = [server.0.id(), std::process::id()];
    let mut before = [0; 2];
    for open in [FEW, FEW + MORE] {
        before = ends.map(resident);
        while calls.len() < open {
            let opens = (0..AT_ONCE).map(|_| node.client().open(peer, &HELD, "").receive_only());
            calls.extend(join_all(opens).await.into_iter().map(|call| call.expect("accepted")));
        }
    }
    let after = ends.map(resident);
    let [at_server, at_client] = [0, 1].map(|end| after[end].saturating_sub(before[end]) / MORE);
    println!("{at_server} bytes at the server, {at_client} at the client");
    assert!(at_server <= MOST && at_client <= MOST, "{at_server} and {at_client} bytes");
}
