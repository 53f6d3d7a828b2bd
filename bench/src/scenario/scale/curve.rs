//! What something costs while there is more and more of it.

use std::time::Duration;

use super::Extent;
use crate::contender::Failure;
use crate::process::Loaded;
use crate::sample::Spread;
use crate::scenario::matrix::WARM_UP;

/// Steps of one kind of work.
#[derive(Debug)]
pub(crate) struct Curve {
    /// What there is more and more of.
    pub(crate) what: &'static str,
    /// From the least of it to the most.
    pub(crate) steps: Vec<Step>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Step {
    /// How much there is.
    pub(crate) work: usize,
    /// The figure.
    pub(crate) figure: Spread,
    /// How often the figure of the step before goes into it, round by round; 1 at the first.
    pub(crate) factor: Spread,
    /// How often that of the first step goes into it, round by round.
    pub(crate) relative: Spread,
}

impl Curve {
    /// Of rounds that have a figure for each step. `None` without rounds.
    pub(crate) fn new(what: &'static str, works: &[usize], rounds: &[Vec<f64>]) -> Option<Self> {
        let steps = works.iter().enumerate().map(|(at, work)| {
            let spread = |figure: &dyn Fn(&[f64]) -> f64| {
                Spread::of(rounds.iter().map(|round| figure(round)))
            };
            Some(Step {
                work: *work,
                figure: spread(&|round| round[at])?,
                factor: spread(&|round| round[at] / round[at.saturating_sub(1)])?,
                relative: spread(&|round| round[at] / round[0])?,
            })
        });
        Some(Self { what, steps: steps.collect::<Option<_>>()? })
    }

    /// Measures: in each round, all steps take turns.
    pub(super) fn measure(
        what: &'static str,
        works: &[usize],
        rounds: usize,
        mut step: impl FnMut(usize) -> Result<f64, Failure>,
    ) -> Result<Self, Failure> {
        let mut found = Vec::new();
        for _ in 0..rounds {
            let round = (0..works.len()).map(&mut step);
            found.push(round.collect::<Result<Vec<_>, _>>()?);
        }
        Ok(Self::new(what, works, &found).expect("there is at least one round"))
    }
}

/// How a load fares while there is more and more of something.
#[derive(Debug)]
pub(crate) struct Load {
    /// Microseconds of processor time of both processes for a request.
    pub(crate) cpu: Curve,
    /// Requests in a second.
    pub(crate) rate: Curve,
}

impl Load {
    /// Measures: in each round, all steps take turns. There is a round before that does not count.
    pub(super) fn measure(
        what: &'static str,
        works: &[usize],
        extent: Extent,
        mut load: impl FnMut(usize, Duration) -> Result<Loaded, Failure>,
    ) -> Result<Self, Failure> {
        eprintln!("{what}");
        for step in 0..works.len() {
            load(step, WARM_UP.min(extent.time))?;
        }
        let mut rates = Vec::new();
        let cpu = Curve::measure(what, works, extent.rounds, |step| {
            let loaded = load(step, extent.time)?;
            rates.push(loaded.tallies[0].per_s());
            loaded.cpu_us().ok_or_else(|| "this system does not tell processor time".into())
        })?;
        let rates: Vec<Vec<f64>> = rates.chunks(works.len()).map(<[_]>::to_vec).collect();
        let rate = Curve::new(what, works, &rates).expect("there is at least one round");
        Ok(Self { cpu, rate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_formed_within_a_round() {
        let rounds = [vec![2.0, 4.0, 40.0], vec![1.0, 3.0, 6.0], vec![1.0, 1.0, 9.0]];
        let curve = Curve::new("work", &[1, 10, 100], &rounds).expect("there are rounds");
        let medians = |figure: fn(&Step) -> Spread| {
            curve.steps.iter().map(|step| figure(step).median).collect::<Vec<_>>()
        };
        assert_eq!(medians(|step| step.figure), [1.0, 3.0, 9.0]);
        assert_eq!(medians(|step| step.factor), [1.0, 2.0, 9.0]);
        assert_eq!(medians(|step| step.relative), [1.0, 2.0, 9.0]);
        assert_eq!(curve.steps[2].relative, Spread { median: 9.0, low: 6.0, high: 20.0 });
        assert!(Curve::new("work", &[1], &[]).is_none());
    }

    #[test]
    fn steps_take_turns() {
        let mut asked = Vec::new();
        let curve = Curve::measure("work", &[1, 10], 2, |step| {
            asked.push(step);
            Ok(asked.len() as f64)
        });
        let curve = curve.expect("no step fails");
        assert_eq!(asked, [0, 1, 0, 1]);
        assert_eq!(curve.steps[1].figure, Spread { median: 3.0, low: 2.0, high: 4.0 });
    }
}
