//! Ten nodes in processes of their own that talk for hours while eight of them die and come back:
//! `cargo run --release -p pointsub-tests --example soak -- [--seconds N] [--seed S] [--rate R]`:
//! for N seconds (7200), R requests a second in all (50).
//!
//! Two nodes are never restarted. What they hold is printed once a minute: memory, descriptors, threads,
//! tasks, and what their own methods tell of peers, connections, addresses and streams. The command fails
//! if that grows ([`verdict`]), if a node ends by itself or an answer is wrong, and if requests between the
//! two fail.

mod fleet;
mod node;
mod traffic;
mod verdict;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "soak [--seconds N] [--seed S] [--rate R]";

/// How many nodes there are.
const NODES: usize = 10;
/// The first of them are never restarted.
const STABLE: usize = 2;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
struct Options {
    lasts: Duration,
    seed: u64,
    /// Requests a second of all nodes.
    rate: u32,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self { lasts: Duration::from_secs(7200), seed: 0, rate: 50 };
        while let Some(arg) = args.next() {
            let number = args.next()?.parse::<u64>().ok()?;
            match arg.as_str() {
                "--seconds" => options.lasts = Duration::from_secs(number),
                "--seed" => options.seed = number,
                "--rate" => options.rate = number.try_into().ok()?,
                _ => return None,
            }
        }
        Some(options)
    }

    /// Each line of the table is about so long: a minute, and less where that would be few lines.
    fn line(self) -> Duration {
        (self.lasts / 40).clamp(Duration::from_secs(3), Duration::from_secs(60))
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "node") {
        node::run(&node::Setup::parse(&args[1..]).expect("what the parent says"));
        return ExitCode::SUCCESS;
    }
    let Some(options) = Options::parse(args.into_iter()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let seen = fleet::run(options);
    if verdict::tell(&seen) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
