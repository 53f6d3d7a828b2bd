//! Compression as it is by default, over links that carry so much and no more.

use std::time::Duration;

use crate::body::Kind;
use crate::contender::{Contender, Failure};
use crate::load::Group;
use crate::options::Options;
use crate::process::Pair;
use crate::proxy::Proxy;
use crate::sample::Spread;
use crate::size::Cell;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Megabits a second, each way.
pub(crate) const RATES: [u64; 3] = [10, 50, 200];
/// Enough callers to keep a link busy, and few enough to be done with it.
const CELLS: [Cell; 2] = [Cell::new(64 * KIB, 8), Cell::new(MIB, 2)];
const KINDS: [Kind; 2] = [Kind::Text, Kind::Json];
/// In which a connection learns how fast it is.
const WARM_UP: Duration = Duration::from_millis(500);

/// What compression gains over one link, for bodies of one kind and size.
#[derive(Debug)]
pub(crate) struct Link {
    /// Megabits a second, each way.
    pub(crate) rate: u64,
    /// What bodies are made of.
    pub(crate) kind: Kind,
    /// How large they are, and how many callers there are.
    pub(crate) cell: Cell,
    /// Milliseconds that the first request on a new connection takes, off and on.
    pub(crate) first_ms: [f64; 2],
    /// Requests in a second, off and on.
    pub(crate) per_s: [Spread; 2],
    /// On ÷ off, round by round.
    pub(crate) gain: Spread,
    /// How much of the link is used with compression on: 1 is all of it.
    pub(crate) used: Spread,
}

/// Measures.
pub(crate) fn run(options: &Options) -> Result<Vec<Link>, Failure> {
    eprintln!("links");
    let rounds = if options.quick { 1 } else { 3 };
    let mut links = Vec::new();
    for rate in RATES {
        for kind in KINDS {
            for cell in CELLS {
                links.push(Link::measure(rate, kind, cell, rounds)?);
            }
        }
    }
    Ok(links)
}

impl Link {
    fn measure(rate: u64, kind: Kind, cell: Cell, rounds: usize) -> Result<Self, Failure> {
        let group = Group::new(kind, cell);
        let bytes = rate * 1_000_000 / 8;
        let mut sides = [Contender::PointSub, Contender::Deflate].map(|contender| {
            Proxy::before(bytes, |through| Pair::start_through(contender, through))
        });
        let mut first_ms = [0.0; 2];
        for (side, first) in sides.iter_mut().zip(&mut first_ms) {
            let (pair, _) = side.as_mut().map_err(|failure| failure.to_string())?;
            let one = Group::new(kind, Cell::new(cell.size.0, 1));
            // A caller that is alone sends two, and half of them take no longer than the shorter.
            let loaded = pair.load(Duration::ZERO, &[one])?;
            *first = loaded.tallies[0].p99.as_secs_f64() * 1e3;
            pair.load(WARM_UP, &[group])?;
        }
        let time = Duration::from_millis(1000);
        let (mut rates, mut used) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let mut per_s = [0.0; 2];
            for (side, per_s) in sides.iter_mut().zip(&mut per_s) {
                let (pair, proxy) = side.as_mut().map_err(|failure| failure.to_string())?;
                let before = proxy.bytes();
                let tally = pair.load(time, &[group])?.tallies[0];
                *per_s = tally.per_s();
                // Half of the bytes go each way.
                let sent = (proxy.bytes() - before) as f64 / 2.0 / tally.requests as f64;
                used.push(*per_s * sent / bytes as f64);
            }
            rates.push(per_s);
        }
        let spread = |figures: Vec<f64>| Spread::of(figures).expect("there is a round at least");
        Ok(Self {
            rate,
            kind,
            cell,
            first_ms,
            per_s: [0, 1].map(|side| spread(rates.iter().map(|rates| rates[side]).collect())),
            gain: spread(rates.iter().map(|[off, on]| on / off).collect()),
            used: spread(used.into_iter().skip(1).step_by(2).collect()),
        })
    }
}
