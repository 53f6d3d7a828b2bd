//! The load: callers that send one request after the other, for a time, all measured alike.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::join_all;
use tokio::sync::oneshot;

use crate::body::{Bodies, Kind};
use crate::contender::{Caller, Failure, Runner};
use crate::size::Cell;

/// A caller that is alone sends at least so many requests, however long they take, and at least one
/// over each way.
const FEW: usize = 2;

/// Callers that are alike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    /// What their bodies are made of.
    pub(crate) kind: Kind,
    /// How large these are and how many callers there are.
    pub(crate) cell: Cell,
}

impl Group {
    /// Callers with bodies of a kind.
    pub(crate) const fn new(kind: Kind, cell: Cell) -> Self {
        Self { kind, cell }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.cell)
    }
}

impl FromStr for Group {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let (kind, cell) = text.split_once(':').ok_or("a group is random:512x64")?;
        Ok(Self { kind: kind.parse()?, cell: cell.parse()? })
    }
}

/// What came of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Requests answered, each with what was sent.
    pub(crate) requests: u64,
    /// From the beginning until the last answer.
    pub(crate) elapsed: Duration,
    /// Half of all requests took no longer.
    pub(crate) p50: Duration,
    /// 99 of 100 took no longer.
    pub(crate) p99: Duration,
}

impl Tally {
    /// Requests in a second.
    pub(crate) fn per_s(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    fn new(callers: Vec<Vec<Duration>>, elapsed: Duration) -> Self {
        let mut times: Vec<Duration> = callers.into_iter().flatten().collect();
        times.sort_unstable();
        let at = |share: f64| {
            let index = (times.len() as f64 * share) as usize;
            times.get(index).or(times.last()).copied().unwrap_or_default()
        };
        Self { requests: times.len() as u64, elapsed, p50: at(0.5), p99: at(0.99) }
    }
}

/// Lets all groups send for a time, and each request that is under way then end. Every one sends
/// over each of `ways` in turn; the first over the first, the second over the second.
///
/// Every latency is kept, so that percentiles are exact.
pub(crate) async fn run<C: Caller>(
    runner: &impl Runner,
    ways: &[C],
    groups: &[Group],
    time: Duration,
) -> Result<Vec<Tally>, Failure> {
    // Bodies are made before the clock is started.
    let callers = groups.iter().map(|group| {
        let Group { kind, cell } = *group;
        (0..cell.callers).map(|number| Bodies::new(kind, cell.size.0, number)).collect::<Vec<_>>()
    });
    let callers: Vec<Vec<Bodies>> = callers.collect();
    let least = if callers.iter().flatten().count() == 1 { FEW.max(ways.len()) } else { 1 };
    let ways: Arc<[C]> = ways.into();
    let start = Instant::now();
    let mut running = Vec::new();
    for group in callers {
        running.push(group.into_iter().enumerate().map(|(number, bodies)| {
            let (done, outcome) = oneshot::channel();
            let ways = ways.clone();
            let sending = async move {
                let ways = ways.iter().cycle().skip(number % ways.len());
                let _gone = done.send(send(ways, bodies, start + time, least).await);
            };
            runner.spawn(sending.boxed());
            outcome
        }));
    }
    let groups = running.into_iter().map(|group| async move {
        let callers = join_all(group).await.into_iter().map(|ended| ended?);
        let callers = callers.collect::<Result<Vec<_>, Failure>>()?;
        Ok::<_, Failure>(Tally::new(callers, start.elapsed()))
    });
    join_all(groups).await.into_iter().collect()
}

/// Whether an answer is what was sent. Large ones are compared in pieces, with other tasks in
/// between: what small requests wait for beside them is to be the library, not this.
async fn same(answer: &[u8], body: &[u8]) -> bool {
    const PIECE: usize = 64 * 1024;
    if answer.len() != body.len() {
        return false;
    }
    for (answer, body) in answer.chunks(PIECE).zip(body.chunks(PIECE)) {
        if answer != body {
            return false;
        }
        if answer.len() == PIECE {
            // On any runtime.
            tokio::task::yield_now().await;
        }
    }
    true
}

/// One caller's life; returns how long each request took.
async fn send<C: Caller>(
    mut ways: impl Iterator<Item = &C>,
    mut bodies: Bodies,
    end: Instant,
    least: usize,
) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::new();
    while times.len() < least || Instant::now() < end {
        let body = bodies.next();
        let start = Instant::now();
        let caller = ways.next().expect("they are a circle");
        let answer = caller.call(body.clone()).await?;
        times.push(start.elapsed());
        if !same(&answer, &body).await {
            let (sent, got) = (body.len(), answer.len());
            return Err(format!("{sent} bytes came back changed, as {got}").into());
        }
    }
    Ok(times)
}
