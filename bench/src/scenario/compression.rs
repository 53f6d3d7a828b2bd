//! What compression saves and what it costs.

use std::time::Duration;

use crate::body::Kind;
use crate::contender::{Contender, Failure};
use crate::load::Group;
use crate::options::Options;
use crate::process::{Loaded, Pair};
use crate::proxy::Proxy;
use crate::sample::Spread;
use crate::scenario::matrix::warm;
use crate::size::{Cell, Size};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const SIZES: [usize; 3] = [512, 64 * KIB, MIB];
/// As many callers as keep both processes busy.
const CALLERS: usize = 8;
/// Long enough for some requests of any size.
const COUNTED: Duration = Duration::from_millis(60);

const SMALL: Group = Group::new(Kind::Random, Cell::new(512, 8));
const LARGE: Group = Group::new(Kind::Text, Cell::new(32 * MIB, 1));

/// What was found.
#[derive(Debug)]
pub(crate) struct Compression {
    /// For bodies of each kind and size.
    pub(crate) prices: Vec<Price>,
    /// What others notice of a large body.
    pub(crate) beside: Beside,
}

/// What compression of bodies of one kind and size saves and costs.
#[derive(Debug)]
pub(crate) struct Price {
    /// What bodies are made of.
    pub(crate) kind: Kind,
    /// How large they are.
    pub(crate) size: Size,
    /// Bytes on the wire for a request and its answer, off and on.
    pub(crate) wire: [f64; 2],
    /// Milliseconds of processor time of both processes for 1000 requests, off and on.
    pub(crate) cpu_ms_per_1000: [Option<Spread>; 2],
    /// How much more processor time it takes, round by round.
    pub(crate) cpu: Option<Spread>,
    /// How many more requests in a second there are, round by round.
    pub(crate) rate: Spread,
}

/// The 99th percentile of small requests, in milliseconds.
#[derive(Debug)]
pub(crate) struct Beside {
    /// With nothing beside them.
    pub(crate) alone: Spread,
    /// Beside a large body that is not compressed.
    pub(crate) off: Spread,
    /// Beside the same, compressed.
    pub(crate) on: Spread,
    /// How much the last is more than the one before, round by round.
    pub(crate) ratio: Spread,
}

/// Measures.
pub(crate) fn run(options: &Options) -> Result<Compression, Failure> {
    eprintln!("compression");
    let (rounds, millis) = if options.quick { (3, 60) } else { (9, 120) };
    let mut counted = [Counted::start(Contender::PointSub)?, Counted::start(Contender::Deflate)?];
    let mut prices = Vec::new();
    for kind in Kind::ALL {
        // What an allocator keeps of bodies of one kind is not to bear on the next.
        let mut pairs = pairs()?;
        for size in SIZES {
            let cell = Cell::new(size, CALLERS);
            let wire = [counted[0].bytes(kind, cell)?, counted[1].bytes(kind, cell)?];
            let groups = [Group::new(kind, cell)];
            let mut loads = Vec::new();
            for _ in 0..rounds {
                let time = Duration::from_millis(millis);
                loads.push([pairs[0].load(time, &groups)?, pairs[1].load(time, &groups)?]);
            }
            prices.push(Price::new(kind, cell.size, wire, &loads));
        }
    }
    let (rounds, millis) = if options.quick { (2, 400) } else { (4, 800) };
    let beside = Beside::measure(&mut pairs()?, rounds, Duration::from_millis(millis))?;
    Ok(Compression { prices, beside })
}

/// Without compression and with it.
fn pairs() -> Result<[Pair; 2], Failure> {
    let any = [Group::new(Kind::Random, Cell::new(512, CALLERS))];
    Ok([warm(Contender::PointSub, &any)?, warm(Contender::Deflate, &any)?])
}

impl Price {
    fn new(kind: Kind, size: Size, wire: [f64; 2], loads: &[[Loaded; 2]]) -> Self {
        let cpu = Loaded::cpu_us;
        let rate = |load: &Loaded| load.tallies[0].per_s();
        let ratio = |[off, on]: &[Loaded; 2]| Some(cpu(on)? / cpu(off)?);
        let rates = loads.iter().map(|[off, on]| rate(on) / rate(off));
        Self {
            kind,
            size,
            wire,
            cpu_ms_per_1000: [0, 1].map(|i| Spread::of(loads.iter().filter_map(|l| cpu(&l[i])))),
            cpu: Spread::of(loads.iter().filter_map(ratio)),
            rate: Spread::of(rates).expect("there is at least one round"),
        }
    }

    /// Whether compression can gain nothing with such bodies, and is to cost next to nothing.
    pub(crate) fn is_futile(&self) -> bool {
        self.size.0 < KIB || self.kind == Kind::Random
    }
}

impl Beside {
    fn measure(pairs: &mut [Pair; 2], rounds: usize, time: Duration) -> Result<Self, Failure> {
        let [plain, deflate] = pairs;
        let mut found = Vec::new();
        for _ in 0..rounds {
            let loads = [
                deflate.load(time, &[SMALL])?,
                plain.load(time, &[SMALL, LARGE])?,
                deflate.load(time, &[SMALL, LARGE])?,
            ];
            found.push(loads.map(|loaded| loaded.tallies[0].p99.as_secs_f64() * 1e3));
        }
        let spread = |figure: fn(&[f64; 3]) -> f64| {
            Spread::of(found.iter().map(figure)).expect("there is at least one round")
        };
        Ok(Self {
            alone: spread(|p99| p99[0]),
            off: spread(|p99| p99[1]),
            on: spread(|p99| p99[2]),
            ratio: spread(|p99| p99[2] / p99[1]),
        })
    }
}

/// A pair whose bytes are counted.
struct Counted {
    pair: Pair,
    proxy: Proxy,
}

impl Counted {
    fn start(contender: Contender) -> Result<Self, Failure> {
        let start = |through: &mut dyn FnMut(String) -> Result<String, Failure>| {
            Pair::start_through(contender, through)
        };
        let (pair, proxy) = Proxy::before(u64::MAX, start)?;
        Ok(Self { pair, proxy })
    }

    /// Bytes for a request and its answer.
    fn bytes(&mut self, kind: Kind, cell: Cell) -> Result<f64, Failure> {
        let before = self.proxy.bytes();
        let loaded = self.pair.load(COUNTED, &[Group::new(kind, cell)])?;
        let bytes = self.proxy.bytes() - before;
        Ok(bytes as f64 / loaded.tallies[0].requests as f64)
    }
}
