//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::contender::{Contender, Failure};
use crate::size::Cell;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

const USAGE: &str = "usage: pointsub-bench [--quick] [--only NAME,…] [--cells SIZExCALLERS,…]
                      [--matrix] [--overheads] [--mixed] [--compression] [--links] [--streams]
                      [--core] [--threads] [--scale]
                      [--rounds N] [--millis N] [--workers N] [--json FILE] [--write]

  --quick        fewer cells, fewer and shorter rounds, no scale unless it is asked for: at most
                 90 s instead of 13 min
  --only         these contenders: pointsub, pointsub-async-std, pointsub-quic, pointsub-plain,
                 pointsub-composed, pointsub-stock, request-response, raw-stream, tonic, tonic-tls,
                 tarpc
  --cells        these cells of the matrix, such as 512x64,64Kx8,32Mx1
  --matrix, --overheads, --mixed, --compression, --links, --streams, --core, --threads, --scale
                 these parts; without any of them, all
  --rounds       so many rounds of the matrix
  --millis       so long in each of them
  --workers N    so many threads run the tasks of each process, instead of one for every two cores
  --json FILE    the samples of the matrix, for programs
  --write        the tables to bench/RESULTS.md and the pictures to ratios.svg and scale.svg there";

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Every contender in every cell.
    Matrix,
    /// Methods, typed services and recorders beside bytes.
    Overheads,
    /// Small requests beside large ones.
    Mixed,
    /// Compression on and off.
    Compression,
    /// The same over slow links.
    Links,
    /// Messages that the server pushes.
    Streams,
    /// The machines alone, in memory.
    Core,
    /// The server and the machines on one thread and on two.
    Threads,
    /// More and more of everything.
    Scale,
}

/// What to measure.
#[derive(Debug)]
pub(crate) struct Options {
    /// Whether to take little time.
    pub(crate) quick: bool,
    /// The contenders of the matrix and of the mixed load.
    pub(crate) only: Option<Vec<Contender>>,
    /// The cells of the matrix.
    pub(crate) cells: Vec<Cell>,
    /// What to do.
    pub(crate) parts: Vec<Part>,
    /// Rounds of the matrix.
    pub(crate) rounds: usize,
    /// How long each lasts.
    pub(crate) time: Duration,
    /// How long the matrix may take: rounds are left out when a cell has had its share of it. `None`
    /// if its extent was asked for.
    pub(crate) budget: Option<Duration>,
    /// How many threads run the tasks of each process.
    pub(crate) workers: usize,
    /// Where samples go.
    pub(crate) json: Option<PathBuf>,
    /// Whether to write the report.
    pub(crate) write: bool,
}

impl Options {
    /// Takes the arguments.
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self, Failure> {
        let quick = arguments.contains(&"--quick");
        let (rounds, millis, budget) = if quick { (3, 150, 58) } else { (5, 300, 310) };
        let mut options = Self {
            quick,
            only: None,
            cells: if quick { quick_cells() } else { all_cells() },
            parts: Vec::new(),
            rounds,
            time: Duration::from_millis(millis),
            budget: Some(Duration::from_secs(budget)),
            // There are two processes: together they have as many threads as there are cores.
            workers: std::thread::available_parallelism()
                .map_or(1, |cores| (cores.get() / 2).max(1)),
            json: None,
            write: false,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match *argument {
                "--quick" => {}
                "--only" => {
                    options.only = Some(list(value()?)?);
                }
                "--cells" => {
                    options.cells = list(value()?)?;
                    options.budget = None;
                    options.parts.push(Part::Matrix);
                }
                "--matrix" => options.parts.push(Part::Matrix),
                "--overheads" => options.parts.push(Part::Overheads),
                "--mixed" => options.parts.push(Part::Mixed),
                "--compression" => options.parts.push(Part::Compression),
                "--links" => options.parts.push(Part::Links),
                "--streams" => options.parts.push(Part::Streams),
                "--core" => options.parts.push(Part::Core),
                "--threads" => options.parts.push(Part::Threads),
                "--scale" => options.parts.push(Part::Scale),
                "--rounds" => {
                    options.rounds = value()?.parse::<usize>()?.max(1);
                    options.budget = None;
                }
                "--millis" => {
                    options.time = Duration::from_millis(value()?.parse()?);
                    options.budget = None;
                }
                "--workers" => options.workers = value()?.parse::<usize>()?.max(1),
                "--json" => options.json = Some(value()?.into()),
                "--write" => options.write = true,
                "--help" | "-h" => {
                    println!("{USAGE}");
                    std::process::exit(0);
                }
                other => return Err(format!("{other:?}?\n{USAGE}").into()),
            }
        }
        if options.parts.is_empty() {
            options.parts =
                vec![Part::Matrix, Part::Mixed, Part::Compression, Part::Core, Part::Threads];
            if !quick {
                options.parts.extend([Part::Overheads, Part::Links, Part::Streams, Part::Scale]);
            }
        }
        Ok(options)
    }

    /// The contenders of the matrix.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        self.only.clone().unwrap_or_else(|| Contender::ALL.to_vec())
    }
}

fn list<T: std::str::FromStr<Err = Failure>>(names: &str) -> Result<Vec<T>, Failure> {
    names.split(',').map(str::parse).collect()
}

/// Every size with every number of callers, as far as the bodies under way fit into 64 MiB: beyond
/// that it is memory that is measured.
fn all_cells() -> Vec<Cell> {
    let sizes = [32, 512, 64 * KIB, MIB, 32 * MIB];
    let cells = sizes.iter().flat_map(|size| [1, 8, 64, 1024].map(|n| Cell::new(*size, n)));
    cells.filter(|cell| cell.size.0 * cell.callers <= 64 * MIB).collect()
}

/// Those that the targets name.
fn quick_cells() -> Vec<Cell> {
    vec![
        Cell::new(32, 64),
        Cell::new(512, 1),
        Cell::new(512, 64),
        Cell::new(512, 1024),
        Cell::new(64 * KIB, 64),
        Cell::new(MIB, 8),
        Cell::new(32 * MIB, 1),
    ]
}
