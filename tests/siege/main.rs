//! Hostile peers over real sockets: `cargo run --example siege`.
//!
//! A server in a process of its own, an honest client that asks all the time, and one attack after the
//! other, over TCP and over QUIC. For each it is checked that the honest client was served (of its
//! requests at least 99 in 100), how much memory the server took, and what became of the hostile peers.
//!
//! `cargo run --example siege -- NAME` does those alone that have this in their name.

mod attacks;
mod holders;
mod hordes;
mod registry;
mod server;
mod strangers;

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
    let wanted = std::env::args().nth(1);
    if wanted.as_deref() == Some("serve") {
        server::serve().await;
        return ExitCode::SUCCESS;
    }
    let mut server = ServerProcess::start();
    let honest = Honest::connect(&server).await;
    let bound = server::memory_bound();
    println!("the server may take {} MiB more than at rest", bound / MIB);
    let (mut failed, mut done) = (false, 0);
    let attacks = [ATTACKS, holders::ATTACKS, strangers::ATTACKS].into_iter().flatten();
    let each = attacks.flat_map(|attack| [(attack, false), (attack, true)]);
    for (attack, quic) in each.filter(|(attack, quic)| !quic || attack.is_for_quic) {
        let name = format!("{}{}", attack.name, if quic { ", QUIC" } else { "" });
        if wanted.as_ref().is_some_and(|wanted| !name.contains(wanted.as_str())) {
            continue;
        }
        done += 1;
        let report = siege(attack, quic, &mut server, &honest).await;
        let (grown, problem) = (report.grown, report.problem(bound));
        println!(
            "{:<38} {:<50} honest: {:>5} answers, slowest {:>4.0?}; server: +{:>3} MiB{}",
            name,
            report.fate,
            report.answers,
            report.slowest,
            grown / MIB,
            problem.map_or(String::new(), |problem| format!("  FAILED: {problem}")),
        );
        failed |= problem.is_some();
    }
    let (at_registry, one_failed) = registry::sieges(&mut server, wanted.as_deref()).await;
    done += at_registry;
    failed |= one_failed;
    println!("{done} attacks");
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
        if self.failures * 99 > self.answers {
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

async fn siege(attack: &Attack, quic: bool, server: &mut ServerProcess, honest: &Honest) -> Report {
    let before = server.stats();
    server.forget_peak();
    let rest = server.resident();
    let over = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(honest.clone().ask_until(over.clone()));
    let address = if quic { &server.quic } else { &server.address };
    let hostile = RawPeer::client().await;
    let target = hostile.dial(address.clone()).await;
    (attack.run)(hostile, target, address.clone()).await;
    over.store(true, Ordering::Relaxed);
    let (answers, failures, slowest) = asking.await.expect("the honest client goes on");
    let mut seen = server.stats().since(before);
    // What is left was served to the hostile ones.
    seen.ok = seen.ok.saturating_sub(answers);
    seen.started = seen.started.saturating_sub(answers);
    let fate_of = (attack.seen)(&seen);
    let fate = match &fate_of {
        Ok(fate) => fate.clone(),
        Err(_) => format!("{seen:?}"),
    };
    let grown = server.peak().saturating_sub(rest);
    Report { fate, answers, failures, slowest, grown, missed: fate_of.err() }
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
                    if failures < 3 {
                        eprintln!("{other:?}");
                    }
                    failures += 1;
                }
            }
        }
        (answers, failures, slowest)
    }
}
