//! Lives simulated lives, many at a time, and says which properties of the core do not hold.
//!
//! `--seeds N` of them (2000), from `--seed S` on (0), for `--minutes M` at most; `--timeline`
//! tells what happens in the life of one seed, and `--hash` only what its trace comes to. With
//! `--network`, the lives are those of the network machine, and `--find FAULT` (or `--find all`) says
//! in which of them a fault that is planted into one of its policies is found, and how it shows;
//! `--days N` tells what became of the requests of a laptop in N days. With
//! `--calls`, they are those of two tables of calls, and of each fault that is planted in them.
//!
//! `--plant NAME` has a message between the planes go astray now and then, as a driver
//! with a fault would: a property has to break then, and the command to fail.

use std::process::ExitCode;
use std::time::Duration;

use pointsub_tests::calls_sim::{self, Met, Planted};
use pointsub_tests::hunt::{ENOUGH, Hunt, explain};
use pointsub_tests::network;
use pointsub_tests::scenario::Scenario;
use pointsub_tests::sim::{self, Options, Seam};

const USAGE: &str =
    "simulate [--network | --calls] [--seeds N] [--seed S] [--minutes M] [--timeline] [--hash] [--plant NAME]
simulate --network (--find FAULT | --days N)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [network, what, which] = args.as_slice()
        && network == "--network"
    {
        match (what.as_str(), which.parse()) {
            ("--find", _) => return plant_faults(which),
            ("--days", Ok(days)) => return live_days(days),
            _ => {}
        }
    }
    let (network, others): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|arg| arg == "--network");
    let (calls, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|arg| arg == "--calls");
    let done = match parse(others.into_iter()) {
        Some(asked) if !calls.is_empty() => Ok(run_calls(asked.hunt)),
        Some(asked) if !network.is_empty() => run_networks(asked),
        Some(asked) => run(asked),
        None => Err(USAGE.to_owned()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })
}

/// What the command is to do.
struct Asked {
    hunt: Hunt,
    show: Show,
    plant: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Show {
    Hunt,
    Timeline,
    Hash,
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Asked> {
    let mut hunt = Hunt { seed: 0, seeds: ENOUGH, within: None, options: Options::default() };
    let (mut show, mut counted, mut plant) = (Show::Hunt, false, None);
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
            "--plant" => plant = Some(args.next()?),
            _ => return None,
        }
    }
    if hunt.within.is_some() && !counted {
        hunt.seeds = u64::MAX;
    }
    Some(Asked { hunt, show, plant })
}

fn run(asked: Asked) -> Result<ExitCode, String> {
    let Asked { mut hunt, show, plant } = asked;
    if let Some(plant) = plant {
        hunt.options.seam = Seam::Planted(plant.parse()?);
    }
    if show != Show::Hunt {
        return Ok(tell(hunt, show));
    }
    let hunted = hunt.run();
    print!("{hunted}");
    if let Some((seed, failure)) = &hunted.broken {
        print!("{}", explain(*seed, failure, hunt.options));
        return Ok(ExitCode::FAILURE);
    }
    Ok(if hunted.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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

fn run_networks(asked: Asked) -> Result<ExitCode, String> {
    let Asked { hunt, show, plant } = asked;
    let plant = plant.map(|plant| plant.parse()).transpose()?;
    if show == Show::Hunt {
        let lives = network::live_all(hunt.seed, hunt.seeds, plant);
        print!("{lives}");
        return Ok(if lives.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let life = network::live_with(hunt.seed, show == Show::Timeline, plant);
    life.timeline.iter().for_each(|line| println!("{line}"));
    println!("seed {}: trace {:016x}", hunt.seed, life.hash);
    Ok(match life.broken {
        None => ExitCode::SUCCESS,
        Some(broken) => {
            println!("it breaks: {broken}");
            ExitCode::FAILURE
        }
    })
}

fn run_calls(hunt: Hunt) -> ExitCode {
    let mut met = Met::default();
    for seed in hunt.seed..hunt.seed + hunt.seeds {
        match calls_sim::live(seed, None) {
            Ok(life) => met = met.and(life),
            Err(broken) => {
                println!("seed {seed} breaks: {broken}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{} lives: {met:?}", hunt.seeds);
    sim::keep_panics_quiet();
    for fault in Planted::ALL {
        let found = (0..1000).find(|seed| calls_sim::live(*seed, Some(fault)).is_err());
        println!("{fault:?} is found with seed {found:?}");
        if found.is_none() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
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
