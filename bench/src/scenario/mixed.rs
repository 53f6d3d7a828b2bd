//! Small requests beside large ones, from one client to one server: do the small ones wait?

use std::time::Duration;

use crate::body::Kind;
use crate::contender::{Contender, Failure};
use crate::load::{Group, Tally};
use crate::options::Options;
use crate::sample::Spread;
use crate::scenario::matrix::warm;
use crate::size::Cell;

const SMALL: Group = Group::new(Kind::Random, Cell::new(512, 64));
const LARGE: Group = Group::new(Kind::Random, Cell::new(8 * 1024 * 1024, 4));

/// Who is compared if nobody is named.
const CONTENDERS: [Contender; 4] =
    [Contender::PointSub, Contender::RequestResponse, Contender::RawStream, Contender::Tonic];

/// What one contender does to small requests.
#[derive(Debug)]
pub(crate) struct Mixed {
    /// Who.
    pub(crate) contender: Contender,
    /// 99th percentile in milliseconds with small requests alone.
    pub(crate) alone: Spread,
    /// The same with large ones beside them.
    pub(crate) beside: Spread,
    /// How much that is more, round by round.
    pub(crate) ratio: Spread,
    /// Large requests in a second.
    pub(crate) large_per_s: Spread,
    /// Small requests in a second beside them.
    pub(crate) small_per_s: Spread,
}

/// Measures.
pub(crate) fn run(options: &Options) -> Result<Vec<Mixed>, Failure> {
    eprintln!("mixed load");
    let (rounds, time) = if options.quick { (3, 400) } else { (5, 800) };
    let time = Duration::from_millis(time);
    let contenders = match &options.only {
        Some(only) => only.clone(),
        None if options.quick => vec![Contender::PointSub],
        None => CONTENDERS.to_vec(),
    };
    let mut pairs = Vec::new();
    for contender in contenders {
        pairs.push((contender, warm(contender, &[SMALL, LARGE])?, Vec::new()));
    }
    for _ in 0..rounds {
        for (_, pair, rounds) in &mut pairs {
            let alone = pair.load(time, &[SMALL])?.tallies[0];
            let tallies = pair.load(time, &[SMALL, LARGE])?.tallies;
            rounds.push((alone, tallies[0], tallies[1]));
        }
    }
    let rows = pairs.into_iter().map(|(contender, _, rounds)| summary(contender, &rounds));
    Ok(rows.collect())
}

fn summary(contender: Contender, rounds: &[(Tally, Tally, Tally)]) -> Mixed {
    let spread = |figure: fn(&(Tally, Tally, Tally)) -> f64| {
        Spread::of(rounds.iter().map(figure)).expect("there is at least one round")
    };
    Mixed {
        contender,
        alone: spread(|(alone, _, _)| alone.p99.as_secs_f64() * 1e3),
        beside: spread(|(_, beside, _)| beside.p99.as_secs_f64() * 1e3),
        ratio: spread(|(alone, beside, _)| beside.p99.as_secs_f64() / alone.p99.as_secs_f64()),
        large_per_s: spread(|(_, _, large)| large.requests as f64 / large.elapsed.as_secs_f64()),
        small_per_s: spread(|(_, small, _)| small.requests as f64 / small.elapsed.as_secs_f64()),
    }
}
