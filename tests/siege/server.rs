//! The server under siege, in a process of its own, and what is seen of it from outside.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use pointsub_service::registry::RegistryService;
use pointsub_swarm::{
    IncomingCall, Multiaddr, ProtocolName, Request, ServerConfig, ServerStats, Spawned,
};
use pointsub_tokio::Node;

use crate::MIB;

/// Whatever libp2p and the allocator have beside what this library holds.
pub(crate) const ELSEWHERE: usize = 32 * MIB;
/// What the connection's muxer keeps of a stream that nobody reads.
const WINDOW: usize = 256 * 1024;
/// What an open call keeps beside what is counted for it.
pub(crate) const CALL: usize = 8 * 1024;

/// Smaller than the defaults, so that an attack reaches every limit within a few seconds.
fn config() -> ServerConfig {
    ServerConfig::default()
        .with_max_block_size(MIB)
        .with_max_memory(32 * MIB)
        .with_max_memory_per_peer(16 * MIB)
        .with_max_memory_per_stream(4 * MIB)
        .with_max_concurrent_requests(256)
        .with_max_raw_streams(64)
        .with_max_streams(400)
        .with_max_calls_per_connection(25_000)
        .with_max_raw_idle(Duration::from_secs(30))
        .with_max_handler_time(Duration::from_secs(30))
        .with_read_timeout(Duration::from_secs(1))
        .with_write_timeout(Duration::from_secs(1))
}

/// The worst case by the formula in the documentation of [`ServerConfig`].
pub(crate) fn memory_bound() -> usize {
    let config = config();
    let stream = 80 * 1024 + config.buffer_pool_size() + WINDOW;
    config.max_memory()
        + config.max_streams() * stream
        + config.concurrency_ceiling() * 64 * 1024
        + config.max_open_calls() * CALL
        + ELSEWHERE
}

/// Serves, and answers every line that it reads with its counters.
pub(crate) async fn serve() {
    let quic = "/ip4/127.0.0.1/udp/0/quic-v1".parse().expect("an address");
    let node = Node::builder().listen(crate::common::loopback()).listen(quic);
    let node = node.server_config(config()).build().await.expect("a node");
    let name = |name| ProtocolName::new(name).expect("a protocol name");
    let server = node.server();
    server
        .register(&name("/echo/1.0.0"), |request: Request| async move { request.body })
        .expect("first");
    let never = |_: Request| std::future::pending::<String>();
    server.register(&name("/slow/1.0.0"), never).expect("first");
    // Calls that are held: nothing that comes is read, and nothing is sent.
    let held = |call: IncomingCall| async move {
        let _kept = call;
        std::future::pending::<String>().await
    };
    server.register_call(&name("/held/1.0.0"), held).expect("first");
    // What handlers hold themselves is theirs, and in no budget: all share one answer.
    let answer = incompressible();
    let large = move |_: Request| std::future::ready(answer.clone());
    server.register(&name("/large/1.0.0"), Spawned(large)).expect("first");
    // Its streams are taken and kept for a while, and nothing is read from them.
    let mut listener = server.listen(&name("/raw/1.0.0")).expect("first");
    tokio::spawn(async move {
        while let Some(stream) = listener.accept().await {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(4)).await;
                drop(stream);
            });
        }
    });
    let registry = RegistryService::new(&server).with_limits(crate::registry::limits());
    registry.serve().expect("first");
    let addresses = node.addresses().await;
    let of = |udp: bool| {
        let is = |one: &&Multiaddr| one.to_string().contains("/udp/") == udp;
        addresses.iter().find(is).expect("it listens").clone()
    };
    println!("{} {}", of(false), of(true));
    for line in std::io::stdin().lines() {
        if line.is_ok_and(|line| line == "registry") {
            let size = registry.size();
            println!("{} {} {}", size.servers, size.watches, size.bytes);
        } else {
            println!("{}", Seen::of(&server.stats()));
        }
    }
}

fn incompressible() -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..MIB / 8).flat_map(|_| next()).collect()
}

macro_rules! seen {
    ($($field:ident),* $(,)?) => {
        /// Counters of the server.
        #[derive(Debug, Clone, Copy, Default)]
        pub(crate) struct Seen {
            $(pub(crate) $field: u64,)*
        }

        impl Seen {
            fn of(stats: &ServerStats) -> String {
                [$(stats.$field),*].map(|count| count.to_string()).join(" ")
            }

            fn parse(line: &str) -> Self {
                let mut counts = line.split(' ').map(|n| n.parse().expect("a number"));
                Self { $($field: counts.next().expect("a number"),)* }
            }

            /// What has happened since.
            pub(crate) fn since(self, before: Self) -> Self {
                Self { $($field: self.$field.saturating_sub(before.$field),)* }
            }
        }
    };
}

seen!(
    ok,
    abandoned,
    refused,
    no_place,
    no_memory,
    no_stream,
    kept_out,
    stalled,
    started,
    violations,
    cut_off,
    message_timeouts,
    write_timeouts,
    streams_total,
);

/// How much the registry holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RegistrySeen {
    pub(crate) servers: usize,
    pub(crate) watches: usize,
    pub(crate) bytes: usize,
}

/// Ends when dropped.
pub(crate) struct ServerProcess {
    child: Child,
    ask: ChildStdin,
    lines: BufReader<ChildStdout>,
    pub(crate) address: Multiaddr,
    pub(crate) quic: Multiaddr,
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
        let addresses = line(&mut lines);
        let (address, quic) = addresses.split_once(' ').expect("two addresses");
        let [address, quic] = [address, quic].map(|text| text.parse().expect("an address"));
        Self { child, ask, lines, address, quic }
    }

    pub(crate) fn stats(&mut self) -> Seen {
        writeln!(self.ask, "?").expect("the server runs");
        Seen::parse(&line(&mut self.lines))
    }

    pub(crate) fn registry(&mut self) -> RegistrySeen {
        writeln!(self.ask, "registry").expect("the server runs");
        let line = line(&mut self.lines);
        let mut counts = line.split(' ').map(|n| n.parse().expect("a number"));
        let mut next = || counts.next().expect("a number");
        RegistrySeen { servers: next(), watches: next(), bytes: next() }
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
