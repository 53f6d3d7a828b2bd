//! One client and one server under changing load. Small requests beside large ones: do the small
//! ones wait? Many more callers: is as much done?

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

const CROWD: Group = Group::new(Kind::Random, Cell::new(512, 1024));

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
    /// Requests in a second with 1024 callers, as a multiple of those with 64, round by round.
    pub(crate) crowd: Spread,
}

/// What one round says.
struct Round {
    alone: Tally,
    beside: Tally,
    large: Tally,
    crowd: Tally,
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
        let pair = warm(contender, &[SMALL, LARGE])?;
        // A crowd may leave traces, which the others' latencies are not to show.
        let crowded = warm(contender, &[CROWD])?;
        pairs.push((contender, pair, crowded, Vec::new()));
    }
    for _ in 0..rounds {
        for (_, pair, crowded, rounds) in &mut pairs {
            let alone = pair.load(time, &[SMALL])?.tallies[0];
            let crowd = crowded.load(time, &[CROWD])?.tallies[0];
            let mixed = pair.load(time, &[SMALL, LARGE])?.tallies;
            rounds.push(Round { alone, beside: mixed[0], large: mixed[1], crowd });
        }
    }
    let rows = pairs.into_iter().map(|(contender, _, _, rounds)| summary(contender, &rounds));
    Ok(rows.collect())
}

fn summary(contender: Contender, rounds: &[Round]) -> Mixed {
    let spread = |figure: fn(&Round) -> f64| {
        Spread::of(rounds.iter().map(figure)).expect("there is at least one round")
    };
    let p99 = |figure: fn(&Round) -> Tally| {
        let millis = rounds.iter().map(|round| figure(round).p99.as_secs_f64() * 1e3);
        Spread::of(millis).expect("there is at least one round")
    };
    Mixed {
        contender,
        alone: p99(|round| round.alone),
        beside: p99(|round| round.beside),
        ratio: spread(|round| round.beside.p99.as_secs_f64() / round.alone.p99.as_secs_f64()),
        large_per_s: spread(|round| round.large.per_s()),
        small_per_s: spread(|round| round.beside.per_s()),
        crowd: spread(|round| round.crowd.per_s() / round.alone.per_s()),
    }
}
