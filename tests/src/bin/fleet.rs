//! Lets fleets of clients and servers live in virtual time, and prints tables of what came of it.
//!
//! `fleet [EXPERIMENT]… [--seeds N] [--compare] [--loose] [--plots FOLDER]`: `--compare` has all strategies run,
//! and with `--loose` what misses its target is no failure. Without an experiment, all are run.
//! `--ci` runs those that take two minutes, with one seed, and `--planted` plants faults in the
//! policies and fails if one is not caught.

use std::process::ExitCode;

use pointsub_tests::fleet::Choice;
use pointsub_tests::fleet::experiments::{ALL, Options, planted};

/// Experiments that are run for each change.
const CI: [&str; 6] = ["ci", "metastable", "restart", "direct", "hedge", "hostile"];

const USAGE: &str =
    "fleet [EXPERIMENT]... [--seeds N] [--compare] [--loose] [--plots FOLDER] [--ci] [--planted]";

fn main() -> ExitCode {
    let mut options = Options::default();
    let mut names = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seeds" => match args.next().and_then(|seeds| seeds.parse().ok()) {
                Some(seeds) => options.seeds = seeds,
                None => return usage(),
            },
            "--compare" => {
                options.choices = vec![
                    Choice::Default,
                    Choice::Weighted,
                    Choice::Xor,
                    Choice::TwoChoices,
                    Choice::ReferenceTwoChoices,
                    Choice::ReferenceRoundRobin,
                ];
            }
            "--plots" => match args.next() {
                Some(folder) => options.plots = Some(folder.into()),
                None => return usage(),
            },
            "--ci" => {
                options.seeds = 1;
                options.choices = vec![Choice::Default];
                names.extend(CI.map(String::from));
            }
            "--planted" => {
                let table = planted();
                println!("## planted\n\n{table}");
                return if table.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            }
            "--loose" => options.strict = false,
            name if ALL.iter().any(|(known, _)| *known == name) => names.push(name.to_string()),
            _ => return usage(),
        }
    }
    let mut good = true;
    for (name, experiment) in ALL {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            let table = experiment(&options);
            println!("## {name}\n\n{table}");
            good &= table.broken.is_empty();
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}\n\nExperiments:");
    ALL.iter().for_each(|(name, _)| eprintln!("  {name}"));
    ExitCode::from(2)
}
