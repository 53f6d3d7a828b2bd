//! Every contender in every cell.
//!
//! A cell has processes of its own, so that their peak of memory is the cell's. They live through
//! all its rounds, in which contenders take turns: whatever disturbs a round disturbs all of them.

use std::time::{Duration, Instant};

use crate::body::Kind;
use crate::contender::{Contender, Failure};
use crate::load::Group;
use crate::options::Options;
use crate::process::Pair;
use crate::sample::{Sample, Samples};
use crate::size::Cell;

/// Before the first round: connections open their streams, pools fill.
pub(super) const WARM_UP: Duration = Duration::from_millis(120);

/// The samples, and what did not work.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    /// What was measured.
    pub(crate) samples: Samples,
    /// Who failed where, and how.
    pub(crate) failures: Vec<(Contender, Cell, String)>,
}

/// Measures.
pub(crate) fn run(options: &Options) -> Matrix {
    let mut matrix = Matrix::default();
    let end = options.budget.map(|budget| Instant::now() + budget);
    for (number, cell) in options.cells.iter().enumerate() {
        eprintln!("{cell}");
        // What one cell leaves of its share is the others'.
        let left = (options.cells.len() - number) as u32;
        let end = end.map(|end| {
            let now = Instant::now();
            now + end.saturating_duration_since(now) / left
        });
        matrix.measure(*cell, end, options, &options.contenders());
    }
    matrix
}

impl Matrix {
    /// At least one round, and no further one after `end`.
    pub(super) fn measure(
        &mut self,
        cell: Cell,
        end: Option<Instant>,
        options: &Options,
        contenders: &[Contender],
    ) {
        let groups = [Group::new(Kind::Random, cell)];
        let mut pairs = Vec::new();
        for contender in contenders {
            match warm(*contender, &groups) {
                Ok(pair) => pairs.push((*contender, pair)),
                Err(failure) => self.fail(*contender, cell, &failure),
            }
        }
        for round in 0..options.rounds {
            if round > 0 && end.is_some_and(|end| end < Instant::now()) {
                eprintln!("{cell}: {round} rounds, this machine is slow");
                break;
            }
            pairs.retain_mut(|(contender, pair)| match pair.load(options.time, &groups) {
                Ok(loaded) => {
                    self.samples.0.push(Sample::new(*contender, cell, round, &loaded));
                    true
                }
                Err(failure) => {
                    self.fail(*contender, cell, &failure);
                    false
                }
            });
        }
    }

    fn fail(&mut self, contender: Contender, cell: Cell, failure: &Failure) {
        eprintln!("{contender} in {cell}: {failure}");
        self.failures.push((contender, cell, failure.to_string()));
    }
}

/// A pair that has been used.
pub(super) fn warm(contender: Contender, groups: &[Group]) -> Result<Pair, Failure> {
    let mut pair = Pair::start(contender)?;
    pair.load(WARM_UP, groups)?;
    Ok(pair)
}
