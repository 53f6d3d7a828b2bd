//! What was measured in one round, and what several rounds say together.

use std::fmt;

use crate::contender::Contender;
use crate::process::Loaded;
use crate::size::Cell;

/// One round of one contender in one cell.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// Who.
    pub(crate) contender: Contender,
    /// What.
    pub(crate) cell: Cell,
    /// Rounds with the same number ran next to each other.
    pub(crate) round: usize,
    /// Requests answered in a second.
    pub(crate) req_per_s: f64,
    /// Half of the requests took no longer.
    pub(crate) p50_us: f64,
    /// 99 of 100 requests took no longer.
    pub(crate) p99_us: f64,
    /// Processor time of both processes for 1000 requests.
    pub(crate) cpu_ms_per_1000: Option<f64>,
    /// The most memory that client and server have had resident by now.
    pub(crate) rss_mib: Option<[f64; 2]>,
}

impl Sample {
    /// What the first group of a load says.
    pub(crate) fn new(contender: Contender, cell: Cell, round: usize, loaded: &Loaded) -> Self {
        let tally = loaded.tallies[0];
        let micros = |time: std::time::Duration| time.as_secs_f64() * 1e6;
        let mib = |kib: u64| kib as f64 / 1024.0;
        Self {
            contender,
            cell,
            round,
            req_per_s: tally.per_s(),
            p50_us: micros(tally.p50),
            p99_us: micros(tally.p99),
            cpu_ms_per_1000: loaded.cpu_us(),
            rss_mib: loaded
                .client
                .peak_kib
                .zip(loaded.server.peak_kib)
                .map(|(c, s)| [mib(c), mib(s)]),
        }
    }

    /// Bytes of bodies in a second, each way.
    pub(crate) fn mb_per_s(&self) -> f64 {
        self.req_per_s * self.cell.size.0 as f64 / 1e6
    }

    /// The higher of the two peaks of memory.
    pub(crate) fn peak_mib(&self) -> Option<f64> {
        self.rss_mib.map(|[client, server]| client.max(server))
    }
}

/// The median of several figures, and the least and the greatest of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// Half of them are lower.
    pub(crate) median: f64,
    /// The least.
    pub(crate) low: f64,
    /// The greatest.
    pub(crate) high: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (low, high) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = match figures.len() % 2 {
            0 => (figures[middle - 1] + figures[middle]) / 2.0,
            _ => figures[middle],
        };
        Some(Self { median, low, high })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, low, high } = self;
        // Three digits of what is small, too.
        let digits = if *median < 0.1 { 4 } else { 2 };
        write!(f, "{median:.digits$} ({low:.digits$} to {high:.digits$})")
    }
}

/// Who and where.
pub(crate) type Place = (Contender, Cell);

/// A figure of a sample.
pub(crate) type Figure = fn(&Sample) -> Option<f64>;

/// Requests in a second.
pub(crate) const RATE: Figure = |sample| Some(sample.req_per_s);
/// The median latency.
pub(crate) const P50: Figure = |sample| Some(sample.p50_us);
/// The 99th percentile of latency.
pub(crate) const P99: Figure = |sample| Some(sample.p99_us);
/// Processor time.
pub(crate) const CPU: Figure = |sample| sample.cpu_ms_per_1000;

/// All samples of a run.
#[derive(Debug, Default)]
pub(crate) struct Samples(pub(crate) Vec<Sample>);

impl Samples {
    /// Those of one contender in one cell, in the order of rounds.
    pub(crate) fn at(&self, (contender, cell): Place) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |s| s.contender == contender && s.cell == cell)
    }

    /// A figure over all rounds.
    pub(crate) fn spread(&self, place: Place, figure: Figure) -> Option<Spread> {
        Spread::of(self.at(place).filter_map(figure))
    }

    /// How often a figure of one goes into that of another, round by round.
    pub(crate) fn ratio(&self, one: Place, other: Place, figure: Figure) -> Option<Spread> {
        let ratios = self.at(one).filter_map(|one| {
            let other = self.at(other).find(|other| other.round == one.round)?;
            Some(figure(one)? / figure(other)?)
        });
        Spread::of(ratios)
    }

    /// The cells that were measured, in that order.
    pub(crate) fn cells(&self) -> Vec<Cell> {
        let mut cells: Vec<Cell> = Vec::new();
        for sample in &self.0 {
            if !cells.contains(&sample.cell) {
                cells.push(sample.cell);
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_middle_and_both_ends() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([2.0]), Some(Spread { median: 2.0, low: 2.0, high: 2.0 }));
        let odd = Spread::of([9.0, 1.0, 4.0]);
        assert_eq!(odd, Some(Spread { median: 4.0, low: 1.0, high: 9.0 }));
        let even = Spread::of([9.0, 1.0, 4.0, 2.0]);
        assert_eq!(even, Some(Spread { median: 3.0, low: 1.0, high: 9.0 }));
    }

    #[test]
    fn ratios_are_formed_within_a_round() {
        let cell = Cell::new(512, 1);
        let sample = |contender, round, req_per_s| Sample {
            contender,
            cell,
            round,
            req_per_s,
            p50_us: 1.0,
            p99_us: 1.0,
            cpu_ms_per_1000: None,
            rss_mib: None,
        };
        let samples = Samples(vec![
            sample(Contender::PointSub, 0, 10.0),
            sample(Contender::Tonic, 0, 5.0),
            sample(Contender::PointSub, 1, 90.0),
            sample(Contender::Tonic, 1, 30.0),
            sample(Contender::PointSub, 2, 7.0),
        ]);
        let (ours, theirs) = ((Contender::PointSub, cell), (Contender::Tonic, cell));
        let ratio = samples.ratio(ours, theirs, RATE);
        assert_eq!(ratio, Some(Spread { median: 2.5, low: 2.0, high: 3.0 }));
        assert_eq!(samples.ratio(ours, theirs, CPU), None);
    }
}
