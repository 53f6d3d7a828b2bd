//! What is tried with fleets, and what has to hold.

mod crowd;
mod direct;
mod ill;
mod outage;
mod overload;
mod planted;
mod selection;
mod table;

use std::time::Duration;

pub use planted::{PLANTS, Plant, planted};
pub use table::Table;

use super::{Choice, Report, Setup, run};

/// What an experiment is run with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Each figure is the median of so many seeds.
    pub seeds: u64,
    /// The strategies that are compared.
    pub choices: Vec<Choice>,
    /// Changes each set-up before it is run.
    pub change: fn(Setup) -> Setup,
    /// Whether what does not reach its target is an error.
    pub strict: bool,
    /// Where plots over time go, if they are wanted.
    pub plots: Option<std::path::PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        let choices = vec![Choice::Default, Choice::ReferenceTwoChoices];
        Self { seeds: 5, choices, change: |setup| setup, strict: true, plots: None }
    }
}

/// Runs one and tells its figures.
pub type Experiment = fn(&Options) -> Table;

/// All experiments by name.
pub const ALL: [(&str, Experiment); 16] = [
    ("load", overload::load),
    ("limit", overload::limit),
    ("metastable", overload::metastable),
    ("handlers", overload::handlers),
    ("direct", direct::direct),
    ("outage", outage::outage),
    ("restart", outage::restart),
    ("ill", ill::ill),
    ("near", crowd::near),
    ("hedge", crowd::hedge),
    ("pool", crowd::pool),
    ("hostile", crowd::hostile),
    ("ci", crowd::ci),
    ("selection", selection::selection),
    ("speed", crowd::speed),
    ("large", crowd::large),
];

/// The reports of a set-up with each seed.
fn runs(options: &Options, setup: &Setup) -> Vec<Report> {
    let one = |seed| {
        let setup = Setup { seed, ..setup.clone() };
        run(&(options.change)(setup))
    };
    (1..=options.seeds).map(one).collect()
}

/// Plots the first of some reports, if that is wanted.
fn plot(options: &Options, name: &str, reports: &[Report], table: &mut Table) {
    let (Some(folder), Some(report)) = (&options.plots, reports.first()) else { return };
    let file = folder.join(format!("{}.svg", name.replace([' ', '%', ','], "-")));
    if let Err(error) = std::fs::write(&file, crate::fleet::svg(name, report)) {
        table.broken.push(format!("{}: {error}", file.display()));
    }
}

/// The middle one of what the reports come to.
fn median(reports: &[Report], figure: impl Fn(&Report) -> f64) -> f64 {
    let mut figures: Vec<f64> = reports.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What did not hold in any of them.
fn all_broken(reports: &[Report], table: &mut Table) {
    for (index, report) in reports.iter().enumerate() {
        for broken in &report.broken {
            table.broken.push(format!("seed {}: {broken}", index + 1));
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
