//! A hunt: many seeds on all cores, until one breaks a property.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::coverage::{Coverage, Situation};
use crate::scenario::{Scenario, shrink, source};
use crate::sim::{self, Failure, Options, Seam};

/// Fewer lives than this need not come into every situation.
pub const ENOUGH: u64 = 2000;
/// How long a scenario that fails is shrunk.
const SHRINK: Duration = Duration::from_secs(20);
/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(5);

/// Which seeds to live.
#[derive(Debug, Clone, Copy)]
pub struct Hunt {
    /// The first.
    pub seed: u64,
    /// How many; without end if there is a time.
    pub seeds: u64,
    /// For how long at most.
    pub within: Option<Duration>,
    /// How each is lived.
    pub options: Options,
}

/// What a hunt came to.
#[derive(Debug)]
pub struct Hunted {
    /// Lives that were lived.
    pub lives: u64,
    /// How long that took.
    pub took: Duration,
    /// In how many lives each situation was met.
    pub coverage: Coverage,
    /// A hash of the traces of all of them, in no order.
    pub hash: u64,
    /// The first seed that broke a property.
    pub broken: Option<(u64, Failure)>,
}

impl Hunt {
    /// Lives them, and says on standard error how far it is.
    #[must_use]
    pub fn run(self) -> Hunted {
        sim::keep_panics_quiet();
        let began = Instant::now();
        let (next, found) = (AtomicU64::new(0), AtomicBool::new(false));
        let sum = Mutex::new(Hunted {
            lives: 0,
            took: Duration::ZERO,
            coverage: Coverage::default(),
            hash: 0,
            broken: None,
        });
        let cores = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| self.work(began, &next, &found, &sum));
            }
            scope.spawn(|| self.tell(began, &next, &found));
        });
        let mut sum = sum.into_inner().expect("nobody panics with it");
        sum.took = began.elapsed();
        sum
    }

    fn is_over(self, began: Instant, number: u64) -> bool {
        number >= self.seeds || self.within.is_some_and(|within| began.elapsed() >= within)
    }

    fn work(self, began: Instant, next: &AtomicU64, found: &AtomicBool, sum: &Mutex<Hunted>) {
        let (mut lives, mut hash, mut coverage) = (0, 0_u64, Coverage::default());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if self.is_over(began, number) || found.load(Ordering::Relaxed) {
                break;
            }
            let seed = self.seed.wrapping_add(number);
            match sim::run(&Scenario::of_seed(seed), self.options) {
                Ok(life) => {
                    lives += 1;
                    hash = hash.wrapping_add(life.hash ^ seed);
                    coverage.add_life(&life.coverage);
                }
                Err(failure) => {
                    found.store(true, Ordering::Relaxed);
                    let mut sum = sum.lock().expect("nobody panics with it");
                    if sum.broken.as_ref().is_none_or(|(before, _)| seed < *before) {
                        sum.broken = Some((seed, failure));
                    }
                }
            }
        }
        let mut sum = sum.lock().expect("nobody panics with it");
        sum.lives += lives;
        sum.hash = sum.hash.wrapping_add(hash);
        sum.coverage.merge(&coverage);
    }

    fn tell(self, began: Instant, next: &AtomicU64, found: &AtomicBool) {
        let mut told = began;
        loop {
            thread::sleep(Duration::from_millis(20));
            let number = next.load(Ordering::Relaxed);
            if self.is_over(began, number) || found.load(Ordering::Relaxed) {
                return;
            }
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                let rate = number as f64 / began.elapsed().as_secs_f64();
                eprintln!("{number} lives, {rate:.0} a second");
            }
        }
    }
}

impl Hunted {
    /// Whether no property broke, and every situation was met.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.broken.is_none() && self.missing().is_empty()
    }

    /// Situations that so many lives should have come into.
    fn missing(&self) -> Vec<Situation> {
        if self.lives < ENOUGH { Vec::new() } else { self.coverage.missing() }
    }
}

impl fmt::Display for Hunted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lives, took) = (self.lives, self.took.as_secs_f64());
        for situation in Situation::ALL.iter().filter(|_| lives >= ENOUGH) {
            writeln!(f, "{:>9}  {}", self.coverage.count(*situation), situation.name())?;
        }
        let rate = lives as f64 / took;
        writeln!(f, "{lives} lives in {took:.1} s, {rate:.0} a second; traces {:016x}", self.hash)?;
        for situation in self.missing() {
            writeln!(f, "never met: {}", situation.name())?;
        }
        Ok(())
    }
}

/// What there is to say about a seed that breaks a property: the smallest scenario that does the
/// same, and how to see it again.
#[must_use]
pub fn explain(seed: u64, failure: &Failure, options: Options) -> String {
    let Failure { check, message, .. } = failure;
    let smallest = smallest(&Scenario::of_seed(seed), failure, options);
    let planted = match options.seam {
        Seam::Planted(plant) => format!(" --plant {}", plant.name()),
        _ => String::new(),
    };
    format!(
        "{smallest}\nseed {seed} breaks {check}: {message}\n\
         above: the smallest scenario that does the same, and how it goes\n\
         again: cargo run --release -p pointsub-tests --bin simulate -- --seeds 1 --seed {seed}{planted}\n"
    )
}

/// How the smallest scenario goes that fails as this one does, and its source.
#[must_use]
pub fn smallest(scenario: &Scenario, failure: &Failure, options: Options) -> String {
    sim::keep_panics_quiet();
    let kind = failure.kind();
    let smallest = shrink(scenario, SHRINK, |smaller| {
        let result = sim::run(smaller, options);
        result.is_err_and(|failure| failure.kind() == kind)
    });
    let timeline = sim::run(&smallest, Options { timeline: true, ..options });
    let mut text = String::new();
    if let Err(again) = timeline {
        for note in &again.timeline {
            text.push_str(&format!("{note}\n"));
        }
        text.push_str(&format!("then {}: {}\n\n", again.check, again.message));
    }
    text.push_str(&source(&smallest));
    text
}
