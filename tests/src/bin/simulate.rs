//! Lives simulated lives, many at a time, and says which properties of the core do not hold.
//!
//! `--seeds N` of them (2000), from `--seed S` on (0), for `--minutes M` at most; `--timeline`
//! tells what happens in the life of one seed, and `--hash` only what its trace comes to. With
//! `--network`, the lives are those of the network machine, and `--plant FAULT` (or `--plant all`) says
//! in which of them a fault that is planted into one of its policies is found, and how it shows;
//! `--days N` tells what became of the requests of a laptop in N days.
//!
//! Without `--network`, `--plant NAME` has a message between the planes go astray now and then, as a driver
//! with a fault would: a property has to break then, and the command to fail.

use std::process::ExitCode;
use std::time::Duration;

use pointsub_tests::hunt::{ENOUGH, Hunt, explain};
use pointsub_tests::network;
use pointsub_tests::scenario::Scenario;
use pointsub_tests::sim::{self, Options, Seam};

const USAGE: &str =
    "simulate [--seeds N] [--seed S] [--minutes M] [--timeline] [--hash] [--plant NAME]
simulate --network [--seeds N] [--seed S] [--minutes M] [--timeline] [--hash]
simulate --network (--plant FAULT | --days N)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [network, what, which] = args.as_slice()
        && network == "--network"
    {
        match (what.as_str(), which.parse()) {
            ("--plant", _) => return plant_faults(which),
            ("--days", Ok(days)) => return live_days(days),
            _ => {}
        }
    }
    let (network, others): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|arg| arg == "--network");
    match parse(others.into_iter()) {
        Some((hunt, show)) if !network.is_empty() => run_networks(hunt, show),
        Some((hunt, Show::Hunt)) => run(hunt),
        Some((hunt, show)) => tell(hunt, show),
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Show {
    Hunt,
    Timeline,
    Hash,
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<(Hunt, Show)> {
    let mut hunt = Hunt { seed: 0, seeds: ENOUGH, within: None, options: Options::default() };
    let (mut show, mut counted) = (Show::Hunt, false);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--timeline" => show = Show::Timeline,
            "--hash" => show = Show::Hash,
            "--seeds" => (hunt.seeds, counted) = (args.next()?.parse().ok()?, true),
            "--seed" => hunt.seed = args.next()?.parse().ok()?,
            "--minutes" => {
                let minutes: f64 = args.next()?.parse().ok()?;
                hunt.within = Some(Duration::try_from_secs_f64(60.0 * minutes).ok()?);
            }
            "--plant" => {
                let plant = args.next()?.parse().inspect_err(|error| eprintln!("{error}"));
                hunt.options.seam = Seam::Planted(plant.ok()?);
            }
            _ => return None,
        }
    }
    if hunt.within.is_some() && !counted {
        hunt.seeds = u64::MAX;
    }
    Some((hunt, show))
}

fn run(hunt: Hunt) -> ExitCode {
    let hunted = hunt.run();
    print!("{hunted}");
    if let Some((seed, failure)) = &hunted.broken {
        print!("{}", explain(*seed, failure, hunt.options));
        return ExitCode::FAILURE;
    }
    if hunted.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn live_days(days: u64) -> ExitCode {
    match network::days(days) {
        Ok(sum) => {
            print!("{sum}");
            ExitCode::SUCCESS
        }
        Err(broken) => {
            println!("{broken}");
            ExitCode::FAILURE
        }
    }
}

fn plant_faults(fault: &str) -> ExitCode {
    let mut found = true;
    let all = network::Planted::ALL.iter();
    let mut planted = all.filter(|(_, name)| fault == "all" || fault == *name).peekable();
    if planted.peek().is_none() {
        let names: Vec<&str> = network::Planted::ALL.iter().map(|(_, name)| *name).collect();
        eprintln!("{USAGE}\nfaults: all, {}", names.join(", "));
        return ExitCode::from(2);
    }
    for (planted, name) in planted {
        match network::find(*planted, ENOUGH) {
            Some((seed, broken)) => println!("{name}: found in seed {seed}: {broken}"),
            None => {
                println!("{name}: not found in {ENOUGH} lives");
                found = false;
            }
        }
    }
    if found { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_networks(hunt: Hunt, show: Show) -> ExitCode {
    if show == Show::Hunt {
        let lives = network::live_all(hunt.seed, hunt.seeds);
        print!("{lives}");
        return if lives.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let life = network::live(hunt.seed, show == Show::Timeline);
    life.timeline.iter().for_each(|line| println!("{line}"));
    println!("seed {}: trace {:016x}", hunt.seed, life.hash);
    match life.broken {
        None => ExitCode::SUCCESS,
        Some(broken) => {
            println!("it breaks: {broken}");
            ExitCode::FAILURE
        }
    }
}

fn tell(hunt: Hunt, show: Show) -> ExitCode {
    let seed = hunt.seed;
    let options = Options { timeline: show == Show::Timeline, ..hunt.options };
    match sim::run(&Scenario::of_seed(seed), options) {
        Ok(life) => {
            life.timeline.iter().for_each(|note| println!("{note}"));
            println!("seed {seed}: trace {:016x}", life.hash);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            failure.timeline.iter().for_each(|note| println!("{note}"));
            println!("seed {seed} breaks {}: {}", failure.check, failure.message);
            ExitCode::FAILURE
        }
    }
}
