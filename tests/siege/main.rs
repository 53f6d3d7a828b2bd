//! Hostile peers over real sockets: `cargo run --example siege`.
//!
//! A server in a process of its own, an honest client that asks all the time, and one hostile peer
//! after the other. For each it is checked that the honest one was served, how much memory the
//! server took, and what became of the hostile one.

mod attacks;
mod server;

/// A peer without this library, shared with the end-to-end tests.
#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../tests/e2e/raw.rs"]
mod raw;

/// What it is built on there.
mod common {
    pub(crate) fn loopback() -> pointsub_swarm::Multiaddr {
        "/ip4/127.0.0.1/tcp/0".parse().expect("an address")
    }
}

mod support {
    use pointsub_tokio::Tokio;

    pub(crate) fn rt() -> Tokio {
        Tokio::default()
    }
}

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pointsub_swarm::{ClientConfig, PeerId, ProtocolName};
use pointsub_tokio::Node;

use attacks::{ATTACKS, Attack};
use raw::RawPeer;
use server::ServerProcess;

const MIB: usize = 1024 * 1024;

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        server::serve().await;
        return ExitCode::SUCCESS;
    }
    let mut server = ServerProcess::start();
    let honest = Honest::connect(&server).await;
    let bound = server::memory_bound();
    println!("the server may take {} MiB more than at rest", bound / MIB);
    let mut failed = false;
    for attack in ATTACKS {
        let report = siege(attack, &mut server, &honest).await;
        let (grown, problem) = (report.grown, report.problem(bound));
        println!(
            "{:<28} {:<44} honest: {:>5} answers, slowest {:>4.0?}; server: +{:>3} MiB{}",
            attack.name,
            report.fate,
            report.answers,
            report.slowest,
            grown / MIB,
            problem.map_or(String::new(), |problem| format!("  FAILED: {problem}")),
        );
        failed |= problem.is_some();
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What one attack came to.
struct Report {
    fate: String,
    answers: u64,
    failures: u64,
    slowest: Duration,
    /// Bytes of memory that the server process had at most beyond what it had before.
    grown: usize,
    /// What the server should have counted, and did not.
    missed: Option<&'static str>,
}

impl Report {
    fn problem(&self, bound: usize) -> Option<&'static str> {
        if self.failures > 0 {
            return Some("honest requests failed");
        }
        if self.answers == 0 {
            return Some("the honest client was not served");
        }
        if self.grown > bound {
            return Some("more memory than stated");
        }
        self.missed
    }
}

async fn siege(attack: &Attack, server: &mut ServerProcess, honest: &Honest) -> Report {
    let before = server.stats();
    server.forget_peak();
    let rest = server.resident();
    let over = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(honest.clone().ask_until(over.clone()));
    let hostile = RawPeer::client().await;
    let target = hostile.dial(server.address.clone()).await;
    (attack.run)(hostile, target, server.address.clone()).await;
    over.store(true, Ordering::Relaxed);
    let (answers, failures, slowest) = asking.await.expect("the honest client goes on");
    let mut after = server.stats();
    // What is left was served to the hostile one.
    after.ok -= answers;
    let seen = (attack.seen)(&before, &after);
    let fate = match &seen {
        Ok(fate) => fate.clone(),
        Err(_) => format!("{before:?} {after:?}"),
    };
    let grown = server.peak().saturating_sub(rest);
    Report { fate, answers, failures, slowest, grown, missed: seen.err() }
}

/// Somebody who keeps to the rules.
#[derive(Clone)]
struct Honest {
    node: Arc<Node>,
    server: PeerId,
}

impl Honest {
    async fn connect(server: &ServerProcess) -> Self {
        let config = ClientConfig::default().with_max_retries(0);
        let node = Node::builder().client_config(config).build().await.expect("a node");
        let server = node.connect(server.address.clone()).await.expect("it listens");
        Self { node: Arc::new(node), server }
    }

    /// Answers, failures, and the longest wait.
    async fn ask_until(self, over: Arc<AtomicBool>) -> (u64, u64, Duration) {
        let echo = ProtocolName::new("/echo/1.0.0").expect("a protocol name");
        let (mut answers, mut failures, mut slowest) = (0, 0, Duration::ZERO);
        while !over.load(Ordering::Relaxed) || answers + failures == 0 {
            let asked = Instant::now();
            let answer = self.node.client().send(self.server, &echo, "an honest question").await;
            slowest = slowest.max(asked.elapsed());
            match answer {
                Ok(answer) if answer == "an honest question" => answers += 1,
                other => {
                    eprintln!("{other:?}");
                    failures += 1;
                }
            }
        }
        (answers, failures, slowest)
    }
}
