//! A server process on one and on two worker threads.

use super::Extent;
use crate::body::Kind;
use crate::contender::{Contender, Failure};
use crate::load::Group;
use crate::process::{Client, Loaded, Server};
use crate::sample::Spread;
use crate::scenario::matrix::WARM_UP;
use crate::size::Cell;

const CONNECTIONS: [usize; 3] = [2, 8, 64];
const WORKERS: [usize; 2] = [1, 2];
/// Callers on each connection.
const CALLERS: usize = 8;

/// A server behind so many connections, on one and on two worker threads.
#[derive(Debug)]
pub(crate) struct Workers {
    /// How many connections.
    pub(crate) connections: usize,
    /// With one and with two worker threads.
    pub(crate) of: [Served; 2],
    /// Requests in a second with two ÷ with one, round by round.
    pub(crate) ratio: Spread,
}

/// What a server process did.
#[derive(Debug)]
pub(crate) struct Served {
    /// Requests in a second.
    pub(crate) rate: Spread,
    /// How many cores the server used, and the client: the server is the bottleneck if it used as many
    /// as it has worker threads. `None` where the system does not say.
    pub(crate) cores: [Option<Spread>; 2],
}

/// A server, a client with a node for each connection, and what they did in each round.
struct Bench {
    server: Server,
    client: Client,
    rounds: Vec<Loaded>,
}

/// Measures.
pub(super) fn measure(extent: Extent) -> Result<Vec<Workers>, Failure> {
    CONNECTIONS.iter().map(|connections| behind(*connections, extent)).collect()
}

fn behind(connections: usize, extent: Extent) -> Result<Workers, Failure> {
    eprintln!("{connections} connections");
    let cell = Cell::new(512, connections * CALLERS);
    let load = [Group::new(Kind::Random, cell)];
    let mut benches = Vec::new();
    for workers in WORKERS {
        let mut bench = Bench::start(workers, connections)?;
        bench.client.load(&mut bench.server, WARM_UP, &load)?;
        benches.push(bench);
    }
    for _ in 0..extent.rounds {
        for bench in &mut benches {
            let loaded = bench.client.load(&mut bench.server, extent.time, &load)?;
            bench.rounds.push(loaded);
        }
    }
    let [one, two]: [Bench; 2] = benches.try_into().map_err(|_| "there are two")?;
    let rounds = one.rounds.iter().zip(&two.rounds);
    let ratio = Spread::of(rounds.map(|(one, two)| rate(two) / rate(one)));
    let ratio = ratio.ok_or("there is at least one round")?;
    Ok(Workers { connections, of: [one.served()?, two.served()?], ratio })
}

impl Bench {
    /// The client has as many worker threads as there are cores: it is not to be the bottleneck.
    fn start(workers: usize, connections: usize) -> Result<Self, Failure> {
        let contender = Contender::PointSub;
        let server = Server::start_on(workers, contender, 1)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let client = Client::start_on(cores, contender, connections, server.addresses())?;
        Ok(Self { server, client, rounds: Vec::new() })
    }

    fn served(&self) -> Result<Served, Failure> {
        let spread =
            |figure: fn(&Loaded) -> Option<f64>| Spread::of(self.rounds.iter().filter_map(figure));
        let rate = spread(|loaded| Some(rate(loaded))).ok_or("there is at least one round")?;
        let server = spread(|loaded| cores(loaded, loaded.server.cpu?));
        let client = spread(|loaded| cores(loaded, loaded.client.cpu?));
        Ok(Served { rate, cores: [server, client] })
    }
}

fn rate(loaded: &Loaded) -> f64 {
    loaded.tallies[0].per_s()
}

fn cores(loaded: &Loaded, cpu: std::time::Duration) -> Option<f64> {
    Some(cpu.as_secs_f64() / loaded.tallies[0].elapsed.as_secs_f64())
}
