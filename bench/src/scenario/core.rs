//! The machines alone: a client and a server in memory, on one thread.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pointsub_core::{Format, Timestamp};
use pointsub_tests::pair::Pair;

use crate::options::Options;
use crate::sample::Spread;

const IN_FLIGHT: [usize; 3] = [1, 1000, 100_000];
const PEERS: [usize; 2] = [1, 1000];
const BODY: &[u8] = &[7; 32];

/// What requests cost with so many of them under way.
#[derive(Debug)]
pub(crate) struct Core {
    /// How many requests are under way.
    pub(crate) in_flight: usize,
    /// Nanoseconds for a request and its answer, at both ends, with 1 and with 1000 peers.
    pub(crate) nanos: [Spread; 2],
    /// How much more it is with 1000 peers, round by round.
    pub(crate) ratio: Spread,
}

/// Measures.
pub(crate) fn run(options: &Options) -> Vec<Core> {
    eprintln!("core");
    let (rounds, millis) = if options.quick { (3, 60) } else { (5, 200) };
    let time = Duration::from_millis(millis);
    let mut rows = Vec::new();
    for in_flight in IN_FLIGHT {
        let [mut one, mut many] = PEERS.map(|peers| Load::new(peers, in_flight));
        one.run(time / 2);
        many.run(time / 2);
        let mut found = Vec::new();
        for _ in 0..rounds {
            found.push([one.run(time), many.run(time)]);
        }
        let spread = |figure: fn(&[f64; 2]) -> f64| {
            Spread::of(found.iter().map(figure)).expect("there is at least one round")
        };
        rows.push(Core {
            in_flight,
            nanos: [spread(|nanos| nanos[0]), spread(|nanos| nanos[1])],
            ratio: spread(|nanos| nanos[1] / nanos[0]),
        });
    }
    rows
}

/// A client and its peers with so many requests under way.
pub(super) struct Load {
    pair: Pair,
    start: Instant,
}

impl Load {
    /// So many requests under way, in turn to each of so many peers.
    pub(super) fn new(peers: usize, in_flight: usize) -> Self {
        let mut pair = Pair::new(peers, Format::Native);
        for _ in 0..in_flight {
            pair.send(Bytes::from_static(BODY), Timestamp::ZERO);
        }
        Self { pair, start: Instant::now() }
    }

    /// Lets requests be answered for a time, each followed by another. Returns what one took, in
    /// nanoseconds.
    pub(super) fn run(&mut self, time: Duration) -> f64 {
        let start = Instant::now();
        let mut answered = 0;
        while start.elapsed() < time {
            let now = Timestamp::ZERO + self.start.elapsed();
            let answers = self.pair.turn(now);
            for _ in 0..answers {
                self.pair.send(Bytes::from_static(BODY), now);
            }
            answered += answers;
        }
        start.elapsed().as_nanos() as f64 / answered as f64
    }
}
