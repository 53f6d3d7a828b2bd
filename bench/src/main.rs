//! Measures PointSub against its alternatives: an echo between two processes over loopback.
//!
//! ```sh
//! cargo run --release -p pointsub-bench              # all of it, within 13 minutes
//! cargo run --release -p pointsub-bench -- --quick   # the gist, within 90 seconds
//! cargo run --release -p pointsub-bench -- --help
//! ```
//!
//! The report goes to standard output, progress to standard error. README.md says how it is done.

mod body;
mod contender;
mod load;
mod meter;
mod options;
mod process;
mod proxy;
mod report;
mod sample;
mod scenario;
mod size;

use std::path::Path;
use std::time::Instant;

use contender::{Contender, Failure};
use options::{Options, Part};
use report::{Findings, json, markdown, svg};
use scenario::{compression, core, links, matrix, mixed, overheads, scale, streams, threads};

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [process::SERVE, contender, nodes] => contender.parse::<Contender>()?.serve(nodes.parse()?),
        [process::SEND, contender, nodes, addresses @ ..] => {
            contender.parse::<Contender>()?.send(nodes.parse()?, addresses)
        }
        arguments => measure(arguments),
    }
}

fn measure(arguments: &[&str]) -> Result<(), Failure> {
    let options = Options::parse(arguments)?;
    let workers = *process::WORKERS.get_or_init(|| options.workers);
    let start = Instant::now();
    let mut findings = Findings { workers, ..Findings::default() };
    for part in &options.parts {
        let measured = match part {
            Part::Matrix => {
                findings.matrix = matrix::run(&options);
                Ok(())
            }
            Part::Mixed => mixed::run(&options).map(|found| findings.mixed = found),
            Part::Compression => {
                compression::run(&options).map(|found| findings.compression = Some(found))
            }
            Part::Links => links::run(&options).map(|found| findings.links = found),
            Part::Streams => {
                findings.streams = streams::run(&options, &mut findings.failures);
                Ok(())
            }
            Part::Core => {
                findings.core = core::run(&options);
                Ok(())
            }
            Part::Threads => {
                findings.threads = threads::run(&options, &mut findings.failures);
                Ok(())
            }
            Part::Overheads => {
                findings.overheads = overheads::run(&options);
                Ok(())
            }
            Part::Scale => {
                findings.scale = scale::run(&options, &mut findings.failures);
                Ok(())
            }
        };
        // What the other parts find is worth having all the same.
        if let Err(failure) = measured {
            eprintln!("{part:?}: {failure}");
            findings.failures.push(format!("{part:?}: {failure}"));
        }
    }
    findings.took = start.elapsed();
    let report = markdown::report(&findings, arguments);
    if let Some(file) = &options.json {
        std::fs::write(file, json::array(&findings.matrix.samples))?;
    }
    if options.write {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::write(folder.join("RESULTS.md"), &report)?;
        let pictures = [
            ("ratios.svg", svg::ratios::picture(&findings.matrix.samples)),
            (report::CURVES, svg::curves::picture(&findings.scale.curves)),
        ];
        for (file, picture) in pictures {
            if let Some(picture) = picture {
                std::fs::write(folder.join(file), picture)?;
            }
        }
    }
    println!("{report}");
    let matrices = [&findings.matrix, &findings.overheads];
    match findings.failures.is_empty() && matrices.iter().all(|matrix| matrix.failures.is_empty()) {
        true => Ok(()),
        false => Err("not everything could be measured".into()),
    }
}
