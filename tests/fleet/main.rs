//! A fleet of real processes beside the same fleet simulated:
//! `cargo run --release -p pointsub-tests --example fleet_processes [overload|outage] [PLOTS]`.
//!
//! Ten server processes and two hundred client processes on this machine talk over its loopback. A
//! handler waits for one of its server's workers and then for its service time, so that it takes no
//! processor. The simulator lives the same [`Setup`]. Both are told second by second.

mod client;
mod processes;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use pointsub_tests::fleet::{self, Distance, Fault, Report, Second, Setup, Times};

/// Each load of the overload lasts so long.
const STEP: u64 = 10;
/// When the servers are killed, when they are back, and when the experiment ends.
const OUTAGE: [u64; 3] = [15, 25, 40];

/// A fleet that this machine can carry: 1000 calls a second.
fn setup(name: &str) -> Option<Setup> {
    let setup = Setup {
        clients: 200,
        service: Duration::from_millis(40),
        distance: Distance::Machine,
        from: Duration::ZERO,
        ..Setup::default()
    };
    match name {
        "overload" => {
            let loads = [0.5, 0.8, 0.95, 1.2, 2.0, 4.0, 0.8];
            let from = |nth: usize| Duration::from_secs(STEP * nth as u64);
            let load = loads.iter().enumerate().map(|(nth, load)| (from(nth), *load)).collect();
            Some(Setup { load, until: from(loads.len()), ..setup })
        }
        "outage" => {
            let [down, up, until] = OUTAGE.map(Duration::from_secs);
            let servers = setup.servers;
            let faults = vec![(down, Fault::Crash(0, servers)), (up, Fault::Start(0, servers))];
            Some(Setup { faults, until, ..setup }.at_load(0.8))
        }
        _ => None,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (names, plots) = match args[..] {
        ["serve", name, number, port] => {
            let setup = setup(name).expect("an experiment");
            let number = number.parse().expect("a number");
            server::serve(&setup, number, port.parse().expect("a port")).await;
            return ExitCode::SUCCESS;
        }
        ["call", name, number] => {
            let setup = setup(name).expect("an experiment");
            client::call(&setup, number.parse().expect("a number")).await;
            return ExitCode::SUCCESS;
        }
        [] => (vec!["overload", "outage"], None),
        [name] if setup(name).is_some() => (vec![name], None),
        [name, plots] if setup(name).is_some() => (vec![name], Some(PathBuf::from(plots))),
        _ => {
            eprintln!("fleet_processes [overload|outage] [PLOTS]");
            return ExitCode::from(2);
        }
    };
    for name in names {
        compare(name, plots.as_deref());
    }
    ExitCode::SUCCESS
}

/// Lets a fleet live twice, and prints what came of it.
fn compare(name: &str, plots: Option<&std::path::Path>) {
    let setup = setup(name).expect("an experiment");
    let simulated = fleet::run(&setup);
    let real = processes::run(name, &setup);
    let both = [("simulated", &simulated), ("processes", &real)];
    println!("## {name}\n");
    match name {
        "overload" => loads(&setup, both),
        _ => seconds(&setup, both),
    }
    for (kind, report) in both {
        let Some(folder) = plots else { continue };
        let file = folder.join(format!("{name}-{kind}.svg"));
        std::fs::write(&file, fleet::svg(&format!("{name}, {kind}"), report)).expect("a plot");
    }
}

/// A row for each load. Its first two seconds are those in which the fleet finds its way.
fn loads(setup: &Setup, both: [(&str, &Report); 2]) {
    println!("| load % | fleet | goodput % of capacity | p50 ms | p99 ms | failed % of calls |");
    println!("|---|---|---|---|---|---|");
    for (from, load) in &setup.load {
        let from = from.as_secs() as usize;
        for (kind, report) in both {
            let until = report.seconds.len().min(from + STEP as usize);
            let looked_at = &report.seconds[until.min(from + 2)..until];
            let total = Sums::of(looked_at);
            let capacity = setup.capacity() * looked_at.len() as f64;
            println!(
                "| {:.0} | {kind} | {:.1} | {:.0} | {:.0} | {:.2} |",
                load * 100.0,
                total.good as f64 * 100.0 / capacity,
                total.times.quantile(0.5).as_secs_f64() * 1e3,
                total.times.quantile(0.99).as_secs_f64() * 1e3,
                total.failed as f64 * 100.0 / total.calls.max(1) as f64,
            );
        }
    }
    println!();
}

/// A row for each second.
fn seconds(setup: &Setup, both: [(&str, &Report); 2]) {
    println!("| second | calls | answered, simulated | answered, processes |");
    println!("|---|---|---|---|");
    let until = both.iter().map(|(_, report)| report.seconds.len()).min().unwrap_or(0);
    for second in 0..until {
        let [good, real_good] = both.map(|(_, report)| report.seconds[second].good);
        println!("| {second} | {} | {good} | {real_good} |", both[1].1.seconds[second].calls);
    }
    for (kind, report) in both {
        let [_, up, _] = OUTAGE;
        let back = report.recovery(up as usize, 0.95 * setup.rate(0));
        let back = back.map_or("never".to_string(), |seconds| format!("after {seconds} s"));
        println!("\n{kind}: 95 % of the calls are answered again {back}.");
    }
    println!();
}

/// Several seconds together.
#[derive(Default)]
struct Sums {
    calls: u64,
    good: u64,
    failed: u64,
    times: Times,
}

impl Sums {
    fn of(seconds: &[Second]) -> Self {
        let mut sums = Self::default();
        for second in seconds {
            sums.calls += second.calls;
            sums.good += second.good;
            sums.failed += second.failed;
            sums.times.add(&second.times);
        }
        sums
    }
}
