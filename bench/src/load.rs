//! The load: callers that send one request after the other, or take what the server pushes, for a time,
//! all measured alike.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use tokio::sync::oneshot;

use crate::body::{Bodies, Kind};
use crate::contender::feed::{Feed, Pace, age};
use crate::contender::{Caller, Failure, Runner};
use crate::size::Cell;

/// A caller that is alone sends at least so many requests, however long they take, and at least one
/// over each way.
const FEW: usize = 2;

/// What a caller does.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// It sends requests with bodies of a kind.
    Ask(Kind),
    /// It opens one stream of messages, and takes them.
    Take(Pace),
}

/// Callers that are alike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    work: Work,
    /// How large bodies or messages are and how many callers there are.
    cell: Cell,
}

impl Group {
    /// Callers with bodies of a kind.
    pub(crate) const fn new(kind: Kind, cell: Cell) -> Self {
        Self { work: Work::Ask(kind), cell }
    }

    /// Callers that take messages.
    pub(crate) const fn take(pace: Pace, cell: Cell) -> Self {
        Self { work: Work::Take(pace), cell }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.work {
            Work::Ask(kind) => write!(f, "{}:{}", kind.name(), self.cell),
            Work::Take(pace) => write!(f, "{pace}:{}", self.cell),
        }
    }
}

impl FromStr for Group {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let (kind, cell) = text.split_once(':').ok_or("a group is random:512x64")?;
        let work = match kind.parse() {
            Ok(kind) => Work::Ask(kind),
            Err(_) => Work::Take(kind.parse()?),
        };
        Ok(Self { work, cell: cell.parse()? })
    }
}

/// What came of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Requests answered, each with what was sent, or messages taken.
    pub(crate) requests: u64,
    /// From the beginning until the last answer.
    pub(crate) elapsed: Duration,
    /// Half of all requests took no longer, and half of the messages that have a time.
    pub(crate) p50: Duration,
    /// 99 of 100 took no longer.
    pub(crate) p99: Duration,
    /// None took longer.
    pub(crate) max: Duration,
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
        Self { requests: times.len() as u64, elapsed, p50: at(0.5), p99: at(0.99), max: at(1.0) }
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
    let callers = groups.iter().map(|Group { work, cell }| {
        let size = cell.size.0;
        let life = |number| match *work {
            Work::Ask(kind) => Life::Ask(Bodies::new(kind, size, number)),
            Work::Take(pace) => Life::Take(Feed { size, pace }),
        };
        (0..cell.callers).map(life).collect::<Vec<_>>()
    });
    let callers: Vec<Vec<Life>> = callers.collect();
    let least = if callers.iter().flatten().count() == 1 { FEW.max(ways.len()) } else { 1 };
    let ways: Arc<[C]> = ways.into();
    let start = Instant::now();
    let mut running = Vec::new();
    for group in callers {
        running.push(group.into_iter().enumerate().map(|(number, life)| {
            let (done, outcome) = oneshot::channel();
            let ways = ways.clone();
            let sending = async move {
                let mut ways = ways.iter().cycle().skip(number % ways.len());
                let end = start + time;
                let times = match life {
                    Life::Ask(bodies) => send(ways, bodies, end, least).await,
                    Life::Take(feed) => take(ways.next().expect("a circle"), feed, end).await,
                };
                let _gone = done.send(times);
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

/// One caller's.
enum Life {
    Ask(Bodies),
    Take(Feed),
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

/// Takes messages, and returns how old each was; those that come as fast as they are taken have no age.
async fn take<C: Caller>(caller: &C, feed: Feed, end: Instant) -> Result<Vec<Duration>, Failure> {
    /// So often the clock is read, if there is no time between messages.
    const LOOK: usize = 64;
    let mut messages = caller.subscribe(feed).await?;
    let mut ages = Vec::new();
    while let Some(message) = messages.next().await {
        let message = message?;
        if message.len() != feed.size {
            return Err(format!("a message has {} bytes", message.len()).into());
        }
        let hurried = feed.pace == Pace::Full;
        ages.push(if hurried { Duration::ZERO } else { age(&message) });
        if (!hurried || ages.len().is_multiple_of(LOOK)) && Instant::now() >= end {
            return Ok(ages);
        }
    }
    Err("the server has ended a stream of messages".into())
}

/// Sends requests, and returns how long each took.
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
