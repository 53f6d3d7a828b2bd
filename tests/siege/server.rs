//! The server under siege, in a process of its own, and what is seen of it from outside.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use pointsub_swarm::{Multiaddr, ProtocolName, Request, ServerConfig};
use pointsub_tokio::Node;

use crate::MIB;

/// Streams of the hostile connection and of the honest one.
const STREAMS: usize = 257;
/// Whatever libp2p and the allocator have beside what this library holds.
const ELSEWHERE: usize = 32 * MIB;

/// Smaller than the defaults, so that an attack reaches every limit within a few seconds.
fn config() -> ServerConfig {
    ServerConfig::default()
        .with_max_block_size(MIB)
        .with_max_memory(32 * MIB)
        .with_max_memory_per_peer(16 * MIB)
        .with_max_memory_per_stream(4 * MIB)
        .with_max_concurrent_requests(256)
        .with_read_timeout(Duration::from_secs(1))
        .with_write_timeout(Duration::from_secs(1))
}

/// The worst case by the formula in the documentation of [`ServerConfig`].
pub(crate) fn memory_bound() -> usize {
    let config = config();
    let streams = STREAMS * (80 * 1024 + config.buffer_pool_size());
    config.max_memory() + streams + config.concurrency_ceiling() * 64 * 1024 + ELSEWHERE
}

/// Serves, and answers every line that it reads with its counters.
pub(crate) async fn serve() {
    let node = Node::builder().listen(crate::common::loopback()).server_config(config());
    let node = node.build().await.expect("a node");
    let name = ProtocolName::new("/echo/1.0.0").expect("a protocol name");
    let echo = |request: Request| async move { request.body };
    node.server().register(&name, echo).expect("first");
    println!("{}", node.addresses().await.remove(0));
    for _ in std::io::stdin().lines() {
        let stats = node.server().stats();
        let counted = [
            stats.ok,
            stats.abandoned,
            stats.refused,
            stats.violations,
            stats.cut_off,
            stats.message_timeouts,
            stats.write_timeouts,
            stats.streams_total,
        ];
        println!("{}", counted.map(|count| count.to_string()).join(" "));
    }
}

/// Counters of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) ok: u64,
    pub(crate) abandoned: u64,
    pub(crate) refused: u64,
    pub(crate) violations: u64,
    pub(crate) cut_off: u64,
    pub(crate) message_timeouts: u64,
    pub(crate) write_timeouts: u64,
    pub(crate) streams_total: u64,
}

/// Ends when dropped.
pub(crate) struct ServerProcess {
    child: Child,
    ask: ChildStdin,
    lines: BufReader<ChildStdout>,
    pub(crate) address: Multiaddr,
}

impl ServerProcess {
    pub(crate) fn start() -> Self {
        let exe = std::env::current_exe().expect("this program");
        let mut child = Command::new(exe)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let ask = child.stdin.take().expect("piped");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let address = line(&mut lines).parse().expect("an address");
        Self { child, ask, lines, address }
    }

    pub(crate) fn stats(&mut self) -> Seen {
        writeln!(self.ask, "?").expect("the server runs");
        let line = line(&mut self.lines);
        let counts: Vec<u64> = line.split(' ').map(|n| n.parse().expect("a number")).collect();
        let [
            ok,
            abandoned,
            refused,
            violations,
            cut_off,
            message_timeouts,
            write_timeouts,
            streams_total,
        ] = counts[..]
        else {
            panic!("{line}");
        };
        Seen {
            ok,
            abandoned,
            refused,
            violations,
            cut_off,
            message_timeouts,
            write_timeouts,
            streams_total,
        }
    }

    /// Bytes of memory now.
    pub(crate) fn resident(&self) -> usize {
        self.status("VmRSS:")
    }

    /// The most since it was last forgotten.
    pub(crate) fn peak(&self) -> usize {
        self.status("VmHWM:")
    }

    pub(crate) fn forget_peak(&self) {
        // Where that is not allowed, the peak is that of all attacks so far, which is stricter.
        let _refused = std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
    }

    /// Elsewhere than on Linux this is zero: only the counters are checked there.
    fn status(&self, field: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let value = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = value.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        kib.unwrap_or(0) * 1024
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn line(lines: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).expect("the server runs");
    line.trim().to_owned()
}
