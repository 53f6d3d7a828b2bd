//! The machines on one and on two threads, and what they do under locks.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use super::Extent;
use super::endpoint::{self, Connection, Held};
use crate::sample::Spread;

/// Requests under way on each connection.
const IN_FLIGHT: usize = 64;

/// Two threads with a connection each, which share something, beside one.
#[derive(Debug)]
pub(crate) struct Scaling {
    /// What they share.
    pub(crate) shared: &'static str,
    /// Requests in a second on one thread and on two.
    pub(crate) rates: [Spread; 2],
    /// Requests in a second on two ÷ on one, round by round.
    pub(crate) ratio: Spread,
}

/// What a request costs under a shared lock.
#[derive(Debug)]
pub(crate) struct Lock {
    /// Whose lock.
    pub(crate) end: End,
    /// Nanoseconds for a request.
    pub(crate) nanos: Spread,
    /// How often the lock is taken for a request.
    pub(crate) taken: f64,
}

/// An end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Server,
    Client,
}

impl End {
    /// In tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Server => "server's",
            Self::Client => "client's",
        }
    }

    /// The most nanoseconds of a request that are wanted.
    pub(crate) const fn bound(self) -> f64 {
        match self {
            Self::Server => 60.0,
            Self::Client => 150.0,
        }
    }

    /// The nanoseconds that were measured before the planes exchanged messages, on another machine.
    pub(crate) const fn before(self) -> &'static str {
        match self {
            Self::Server => "101 to 112",
            Self::Client => "141 to 149",
        }
    }
}

/// Measures one thread and two, with endpoints that they share or not.
pub(super) fn scaling(extent: Extent) -> Vec<Scaling> {
    // What two threads get if nothing stands between them: less than twice as much on many machines.
    let shared = [
        ("nothing shared", false, false),
        ("the server shared", true, false),
        ("the client shared", false, true),
        ("both shared", true, true),
    ];
    shared.map(|(what, server, client)| Scaling::measure(what, server, client, extent)).into()
}

impl Scaling {
    fn measure(shared: &'static str, server: bool, client: bool, extent: Extent) -> Self {
        let mut one = connections(1, server, client);
        let mut two = connections(2, server, client);
        rate(&mut one, extent.time / 2);
        rate(&mut two, extent.time / 2);
        let mut found = Vec::new();
        for _ in 0..extent.rounds {
            found.push([rate(&mut one, extent.time), rate(&mut two, extent.time)]);
        }
        let spread = |figure: fn(&[f64; 2]) -> f64| {
            Spread::of(found.iter().map(figure)).expect("there is at least one round")
        };
        let rates = [spread(|rates| rates[0]), spread(|rates| rates[1])];
        Self { shared, rates, ratio: spread(|rates| rates[1] / rates[0]) }
    }
}

/// So many connections, each of which has endpoints of its own or shares them.
fn connections(number: usize, server: bool, client: bool) -> Vec<Connection> {
    let (at_server, at_client) = (endpoint::server(), endpoint::client(number));
    let connections = (0..number).map(|number| {
        let at_server = if server { at_server.clone() } else { endpoint::server() };
        let at_client = if client { at_client.clone() } else { endpoint::client(number + 1) };
        Connection::open(number, &at_client, &at_server, IN_FLIGHT)
    });
    connections.collect()
}

/// Runs each connection on a thread of its own. Returns requests in a second, of all together.
fn rate(connections: &mut [Connection], time: Duration) -> f64 {
    let barrier = Barrier::new(connections.len());
    thread::scope(|scope| {
        let threads: Vec<_> = connections
            .iter_mut()
            .map(|connection| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let start = Instant::now();
                    connection.run(time) as f64 / start.elapsed().as_secs_f64()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
    })
}

/// Measures what is done under the locks of both ends, on one thread.
pub(super) fn locks(extent: Extent) -> Vec<Lock> {
    let (server, client) = (endpoint::server(), endpoint::client(1));
    let mut connection = Connection::open(0, &client, &server, IN_FLIGHT);
    connection.run(extent.time / 2);
    let clock = clock();
    let mut rounds: Vec<(u64, [Held; 2])> = Vec::new();
    for _ in 0..extent.rounds {
        connection.time_locks();
        rounds.push((connection.run(extent.time), connection.held));
    }
    [End::Server, End::Client].map(|end| Lock::new(end, &rounds, clock)).into()
}

impl Lock {
    fn new(end: End, rounds: &[(u64, [Held; 2])], clock: f64) -> Self {
        let held = |held: &[Held; 2]| held[end as usize];
        let per_request = |(requests, both): &(u64, [Held; 2])| {
            let Held { time, sections } = held(both);
            (time.as_nanos() as f64 - clock * sections as f64) / *requests as f64
        };
        let taken =
            |(requests, both): &(u64, [Held; 2])| held(both).sections as f64 / *requests as f64;
        let nanos =
            Spread::of(rounds.iter().map(per_request)).expect("there is at least one round");
        let taken = Spread::of(rounds.iter().map(taken)).map_or(0.0, |spread| spread.median);
        Self { end, nanos, taken }
    }
}

/// How many nanoseconds pass between two readings of the clock with nothing between them.
fn clock() -> f64 {
    const TIMES: u32 = 100_000;
    let mut passed = Duration::ZERO;
    for _ in 0..TIMES {
        passed += Instant::now().elapsed();
    }
    passed.as_nanos() as f64 / f64::from(TIMES)
}
