//! Messages that the server pushes: over one stream as fast as they are taken, to many subscriptions of
//! one client, and one message to all subscriptions of a hundred clients.

use std::time::Duration;

use crate::contender::feed::Pace;
use crate::contender::{Contender, Failure};
use crate::load::{Group, Tally};
use crate::options::Options;
use crate::process::{Client, Loaded, Pair, Server};
use crate::sample::Spread;
use crate::size::Cell;

/// Who is compared if nobody is named.
const CONTENDERS: [Contender; 5] = [
    Contender::PointSub,
    Contender::AsyncStd,
    Contender::RawStream,
    Contender::Tonic,
    Contender::TonicTls,
];
/// Those that hold as many streams as there are subscriptions.
const CROWD: [Contender; 4] =
    [Contender::PointSub, Contender::AsyncStd, Contender::Tonic, Contender::TonicTls];
/// Bytes of a message on one stream.
const SIZES: [usize; 3] = [32, 512, 64 * 1024];
/// Subscriptions of one client, each with ten messages a second.
const SUBSCRIPTIONS: Cell = Cell::new(512, 1000);
/// Connections, and subscriptions over all of them, to which one message is sent in a second.
const CONNECTIONS: usize = 100;
const AUDIENCE: Cell = Cell::new(512, 10_000);
const WARM_UP: Duration = Duration::from_millis(200);

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// One stream.
    pub(crate) one: Vec<One>,
    /// Many subscriptions.
    pub(crate) many: Vec<Many>,
}

/// One stream of messages as fast as they are taken.
#[derive(Debug)]
pub(crate) struct One {
    /// Who.
    pub(crate) contender: Contender,
    /// Bytes of a message.
    pub(crate) cell: Cell,
    /// Messages in a second, round by round.
    pub(crate) per_s: Vec<f64>,
    /// Microseconds of processor time of both processes for a message.
    pub(crate) cpu_us: Option<Spread>,
}

/// Subscriptions.
#[derive(Debug)]
pub(crate) struct Many {
    /// Who.
    pub(crate) contender: Contender,
    /// What.
    pub(crate) audience: Audience,
    /// Milliseconds from when a message was to be sent until half of all had arrived.
    pub(crate) p50_ms: Spread,
    /// The same until the last had arrived.
    pub(crate) last_ms: Spread,
    /// Microseconds of processor time of both processes for a message.
    pub(crate) cpu_us: Option<Spread>,
    /// KiB for each subscription, at the client and at the server.
    pub(crate) memory_kib: Option<[f64; 2]>,
}

/// Who subscribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A thousand subscriptions of one client, each with ten messages a second.
    OneClient,
    /// Ten thousand of a hundred clients, to which one message goes at the same time.
    HundredClients,
}

impl Audience {
    /// In the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OneClient => "1000 of one client, 10 messages/s each",
            Self::HundredClients => "10 000 over 100 connections, a message/s to all",
        }
    }

    const fn group(self) -> Group {
        match self {
            Self::OneClient => Group::take(Pace::Each, SUBSCRIPTIONS),
            Self::HundredClients => Group::take(Pace::Together, AUDIENCE),
        }
    }

    const fn subscriptions(self) -> usize {
        match self {
            Self::OneClient => SUBSCRIPTIONS.callers,
            Self::HundredClients => AUDIENCE.callers,
        }
    }

    const fn clients(self) -> usize {
        match self {
            Self::OneClient => 1,
            Self::HundredClients => CONNECTIONS,
        }
    }
}

/// Measures; what cannot be measured is told, and left out.
pub(crate) fn run(options: &Options, failures: &mut Vec<String>) -> Streams {
    let mut found = Streams::default();
    for size in SIZES {
        eprintln!("a stream of {size} bytes");
        one(options, Cell::new(size, 1), &mut found.one, failures);
    }
    for audience in [Audience::OneClient, Audience::HundredClients] {
        eprintln!("subscriptions: {}", audience.name());
        for contender in contenders(options, &CROWD) {
            match many(options, contender, audience) {
                Ok(row) => found.many.push(row),
                Err(failure) => fail(contender, audience.name(), &failure, failures),
            }
        }
    }
    found
}

fn contenders(options: &Options, all: &[Contender]) -> Vec<Contender> {
    match &options.only {
        Some(only) => only.iter().copied().filter(|one| all.contains(one)).collect(),
        None => all.to_vec(),
    }
}

fn fail(contender: Contender, what: &str, failure: &Failure, failures: &mut Vec<String>) {
    eprintln!("{contender}, {what}: {failure}");
    failures.push(format!("streams of {contender}, {what}: {failure}"));
}

/// All contenders take turns.
fn one(options: &Options, cell: Cell, rows: &mut Vec<One>, failures: &mut Vec<String>) {
    let groups = [Group::take(Pace::Full, cell)];
    let mut pairs = Vec::new();
    for contender in contenders(options, &CONTENDERS) {
        let started = Pair::start(contender).and_then(|mut pair| {
            pair.load(WARM_UP, &groups)?;
            Ok(pair)
        });
        match started {
            Ok(pair) => pairs.push((contender, pair, Vec::<Loaded>::new())),
            Err(failure) => fail(contender, &cell.to_string(), &failure, failures),
        }
    }
    for _ in 0..options.rounds {
        pairs.retain_mut(|(contender, pair, loads)| match pair.load(options.time, &groups) {
            Ok(loaded) => {
                loads.push(loaded);
                true
            }
            Err(failure) => {
                fail(*contender, &cell.to_string(), &failure, failures);
                false
            }
        });
    }
    rows.extend(pairs.into_iter().map(|(contender, _, loads)| One {
        contender,
        cell,
        per_s: loads.iter().map(|loaded| loaded.tallies[0].per_s()).collect(),
        cpu_us: Spread::of(loads.iter().filter_map(Loaded::cpu_us)),
    }));
}

/// With fresh processes, whose memory is that of the subscriptions.
fn many(options: &Options, contender: Contender, audience: Audience) -> Result<Many, Failure> {
    let (rounds, time) = if options.quick { (1, 2500) } else { (3, 4500) };
    let time = Duration::from_millis(time);
    let mut server = Server::start(contender, 1)?;
    let mut client = Client::start(contender, audience.clients(), server.addresses())?;
    let before = [client.usage()?, server.usage()?].map(|usage| usage.resident_kib);
    let mut loads = Vec::new();
    for _ in 0..rounds {
        loads.push(client.load(&mut server, time, &[audience.group()])?);
    }
    let after = [client.usage()?, server.usage()?].map(|usage| usage.peak_kib);
    let each = |end: usize| {
        let more = after[end]?.saturating_sub(before[end]?);
        Some(more as f64 / audience.subscriptions() as f64)
    };
    let millis = |figure: fn(&Tally) -> Duration| {
        let figures = loads.iter().map(|loaded| figure(&loaded.tallies[0]).as_secs_f64() * 1e3);
        Spread::of(figures).ok_or("no rounds")
    };
    Ok(Many {
        contender,
        audience,
        p50_ms: millis(|tally| tally.p50)?,
        last_ms: millis(|tally| tally.max)?,
        cpu_us: Spread::of(loads.iter().filter_map(Loaded::cpu_us)),
        memory_kib: each(0).zip(each(1)).map(|(client, server)| [client, server]),
    })
}
