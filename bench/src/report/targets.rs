//! What this library is to reach, and whether it does.
//!
//! All of it is relative to others in the same run, so that it means the same on any machine; it
//! was set for one with two cores.

use crate::contender::Contender::{
    self, AsyncStd, Composed, Plain, PointSub, RawStream, Recorded, Stock, Tonic, TonicTls, Typed,
};
use crate::report::{BASELINE, Findings};
use crate::sample::{CPU, Figure, P50, RATE, Spread};
use crate::size::{Cell, Size};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Something to reach.
#[derive(Debug)]
pub(crate) struct Target {
    /// What.
    pub(crate) what: String,
    /// What was measured, and where if there are several places.
    pub(crate) found: String,
    /// Whether it is reached.
    pub(crate) met: bool,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {bound}"),
            Self::AtMost(bound) => format!("≤ {bound}"),
        }
    }
}

use Bound::{AtLeast, AtMost};

/// Every target for which there are figures.
pub(crate) fn targets(findings: &Findings) -> Vec<Target> {
    let mut list = List { findings, targets: Vec::new() };
    list.small_requests();
    list.large_requests();
    list.relatives();
    list.overheads();
    list.memory();
    list.mixed();
    list.streams();
    list.core();
    list.threads();
    list.compression();
    list.links();
    list.targets
}

struct List<'a> {
    findings: &'a Findings,
    targets: Vec<Target>,
}

impl List<'_> {
    fn small_requests(&mut self) {
        let busy = Cell::new(512, 64);
        self.ours("requests/s", RATE, busy, BASELINE, AtLeast(20.0));
        self.ours("requests/s", RATE, busy, Tonic, AtLeast(8.0));
        self.ours("requests/s", RATE, Cell::new(32, 64), BASELINE, AtLeast(30.0));
        let calm = Cell::new(512, 1);
        self.ours("requests/s", RATE, calm, BASELINE, AtLeast(3.5));
        self.ours("p50", P50, calm, RawStream, AtMost(1.1));
        let cpu = self.findings.matrix.samples.ratio((BASELINE, busy), (PointSub, busy), CPU);
        self.add(format!("{busy} CPU of {BASELINE} ÷ ours"), cpu, AtLeast(15.0));
    }

    fn large_requests(&mut self) {
        let many = Cell::new(64 * KIB, 64);
        self.ours("requests/s", RATE, many, BASELINE, AtLeast(1.5));
        self.ours("requests/s", RATE, many, TonicTls, AtLeast(1.0));
        let eight = Cell::new(MIB, 8);
        self.ours("requests/s", RATE, eight, BASELINE, AtLeast(1.5));
        let stock = self.findings.matrix.samples.ratio((Stock, eight), (BASELINE, eight), RATE);
        self.add(format!("{eight} requests/s of {Stock} ÷ {BASELINE}'s"), stock, AtLeast(1.0));
        let huge = Cell::new(32 * MIB, 1);
        let samples = &self.findings.matrix.samples;
        let rate = |other: &Contender| samples.spread((*other, huge), RATE).map(|s| s.median);
        let others = [BASELINE, RawStream];
        let fastest = others
            .iter()
            .max_by(|a, b| rate(a).unwrap_or_default().total_cmp(&rate(b).unwrap_or_default()));
        if let Some(fastest) = fastest {
            self.ours("requests/s", RATE, huge, *fastest, AtLeast(1.0));
        }
    }

    /// async-std beside tokio, a swarm of one's own beside a node, and the plain format beside what it
    /// could be at best.
    fn relatives(&mut self) {
        for cell in [Cell::new(512, 1), Cell::new(512, 64)] {
            let samples = &self.findings.matrix.samples;
            let ratio = samples.ratio((Composed, cell), (PointSub, cell), RATE);
            self.add(format!("{cell} requests/s of {Composed} ÷ a node's"), ratio, AtLeast(0.95));
        }
        self.everywhere(AsyncStd, PointSub, AtLeast(0.8));
        self.everywhere(Plain, RawStream, AtLeast(0.9));
    }

    /// What typed services and recorders cost.
    fn overheads(&mut self) {
        let samples = &self.findings.overheads.samples;
        let cell = Cell::new(512, 64);
        for (contender, bound) in [(Typed, 1.1), (Recorded, 1.05)] {
            let ratio = samples.ratio((contender, cell), (PointSub, cell), CPU);
            self.add(format!("{cell} CPU of {contender} ÷ that of bytes"), ratio, AtMost(bound));
        }
    }

    fn memory(&mut self) {
        let huge = Cell::new(32 * MIB, 1);
        let samples = &self.findings.matrix.samples;
        let peak = Spread::of(samples.at((PointSub, huge)).filter_map(|s| s.peak_mib()));
        let most = peak.map(|peak| Spread { median: peak.high, ..peak });
        let bound = 2.5 * 32.0 + 24.0;
        self.add(format!("{huge} peak memory of a process, MiB"), most, AtMost(bound));
    }

    fn mixed(&mut self) {
        let ours = self.findings.mixed.iter().find(|mixed| mixed.contender == PointSub);
        let what = "512x64 p99 beside 8Mx4 ÷ that alone".to_owned();
        self.add(what, ours.map(|mixed| mixed.ratio), AtMost(5.0));
        let what = "512x1024 requests/s ÷ those at 512x64".to_owned();
        self.add(what, ours.map(|mixed| mixed.crowd), AtLeast(1.0));
    }

    fn streams(&mut self) {
        let one = &self.findings.streams.one;
        let ratio = |size: usize, other: Contender| {
            let rates = |who: Contender| {
                let row = one.iter().find(|row| row.contender == who && row.cell.size.0 == size)?;
                Some(row.per_s.as_slice())
            };
            let pairs = rates(PointSub)?.iter().zip(rates(other)?);
            Spread::of(pairs.map(|(ours, theirs)| ours / theirs))
        };
        let bounds = [(32, Tonic, 10.0), (512, Tonic, 10.0), (64 * KIB, TonicTls, 1.5)];
        let found = bounds.map(|(size, other, bound)| (size, other, bound, ratio(size, other)));
        for (size, other, bound, ratio) in found {
            let what = format!("a stream of {}: messages/s ÷ {other}'s", Size(size));
            self.add(what, ratio, AtLeast(bound));
        }
    }

    fn core(&mut self) {
        for row in &self.findings.core {
            let what = format!("core, {} in flight: cost at 1000 peers ÷ at 1", row.in_flight);
            self.add(what, Some(row.ratio), AtMost(1.3));
        }
    }

    fn threads(&mut self) {
        let threads = &self.findings.threads;
        for core in &threads.core {
            self.add(
                format!("core, {}: 2 threads ÷ 1", core.shared),
                Some(core.ratio),
                AtLeast(1.85),
            );
        }
        for lock in &threads.locks {
            let what = format!("ns of a request under the {} lock, 64 in flight", lock.end.name());
            self.add(what, Some(lock.nanos), AtMost(lock.end.bound()));
        }
    }

    fn compression(&mut self) {
        let Some(compression) = &self.findings.compression else { return };
        for price in compression.prices.iter().filter(|price| price.is_futile()) {
            let what = format!("{} {} CPU, compression on ÷ off", price.size, price.kind.name());
            self.add(what, price.cpu, AtMost(1.03));
        }
        // Loopback is faster than any compressor.
        for price in compression.prices.iter().filter(|price| !price.is_futile()) {
            let bodies = format!("{} {}", price.size, price.kind.name());
            let what = format!("{bodies} requests/s, compression on ÷ off");
            self.add(what, Some(price.rate), AtLeast(0.9));
            self.add(format!("{bodies} CPU, compression on ÷ off"), price.cpu, AtMost(1.15));
        }
        let what = "512x8 p99 beside 32Mx1 text, compressed ÷ not".to_owned();
        self.add(what, Some(compression.beside.ratio), AtMost(1.1));
    }

    fn links(&mut self) {
        for link in &self.findings.links {
            let least = if link.rate == 10 { 2.0 } else { 0.9 };
            let bodies = format!("{} {}", link.cell, link.kind.name());
            let what = format!("{bodies} requests/s over {} Mbit/s, on ÷ off", link.rate);
            self.add(what, Some(link.gain), AtLeast(least));
        }
    }

    /// This library beside another in one cell.
    fn ours(&mut self, name: &str, figure: Figure, cell: Cell, other: Contender, bound: Bound) {
        let samples = &self.findings.matrix.samples;
        let ratio = samples.ratio((PointSub, cell), (other, cell), figure);
        self.add(format!("{cell} {name} ÷ {other}'s"), ratio, bound);
    }

    /// Requests in a second in the worst of all cells.
    fn everywhere(&mut self, one: Contender, other: Contender, bound: Bound) {
        let samples = &self.findings.matrix.samples;
        let ratios = samples
            .cells()
            .into_iter()
            .filter_map(|cell| Some((cell, samples.ratio((one, cell), (other, cell), RATE)?)));
        let worst = ratios.min_by(|(_, a), (_, b)| a.median.total_cmp(&b.median));
        if let Some((cell, ratio)) = worst {
            let what = format!("requests/s of {one} ÷ {other}'s, in the worst cell ({cell})");
            self.add(what, Some(ratio), bound);
        }
    }

    fn add(&mut self, what: String, found: Option<Spread>, bound: Bound) {
        let Some(found) = found else { return };
        self.targets.push(Target {
            what: format!("{what} {}", bound.text()),
            found: found.to_string(),
            met: bound.holds(found.median),
        });
    }
}
