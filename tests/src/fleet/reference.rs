//! References to compare with: rules of a few lines, on the same transport.

use std::time::Duration;

use crate::sim::Rng;

use super::setup::Choice;

/// After so many failures in a row a server is left out,
const FAILURES: u32 = 5;
/// for so long.
const OUT: Duration = Duration::from_secs(5);
/// Further tries may be a tenth of the calls, in tenths of a try, and a few at once.
const MOST_TENTHS: u32 = 100;

/// How one client spreads its calls.
#[derive(Debug)]
pub(super) struct Reference {
    turns: Option<usize>,
    servers: Vec<Seen>,
    tenths: u32,
    rng: Rng,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    in_flight: u32,
    failures: u32,
    out_until: u64,
}

impl Reference {
    pub(super) fn new(choice: Choice, servers: usize, mut rng: Rng) -> Self {
        let turns =
            (choice == Choice::ReferenceRoundRobin).then(|| rng.below(servers as u64) as usize);
        Self { turns, servers: vec![Seen::default(); servers], tenths: MOST_TENTHS, rng }
    }

    /// A server for a call.
    pub(super) fn begin(&mut self, now: u64) -> usize {
        self.tenths = (self.tenths + 1).min(MOST_TENTHS);
        if let Some(turn) = &mut self.turns {
            *turn = (*turn + 1) % self.servers.len();
            return *turn;
        }
        self.choose(now, None)
    }

    /// A server for a further try, if there may be one.
    pub(super) fn further(&mut self, now: u64, failed: usize) -> Option<usize> {
        if self.turns.is_some() || self.tenths < 10 {
            return None;
        }
        self.tenths -= 10;
        Some(self.choose(now, Some(failed)))
    }

    fn choose(&mut self, now: u64, without: Option<usize>) -> usize {
        let (first, second) = (self.draw(now, without), self.draw(now, without));
        let busier = self.servers[second].in_flight < self.servers[first].in_flight;
        if busier { second } else { first }
    }

    fn draw(&mut self, now: u64, without: Option<usize>) -> usize {
        let mut drawn = 0;
        for _ in 0..20 {
            drawn = self.rng.below(self.servers.len() as u64) as usize;
            if self.servers[drawn].out_until <= now && Some(drawn) != without {
                break;
            }
        }
        drawn
    }

    pub(super) fn asked(&mut self, server: usize) {
        self.servers[server].in_flight += 1;
    }

    pub(super) fn ended(&mut self, server: usize, good: bool, now: u64) {
        let seen = &mut self.servers[server];
        seen.in_flight = seen.in_flight.saturating_sub(1);
        seen.failures = if good { 0 } else { seen.failures + 1 };
        if seen.failures >= FAILURES {
            seen.failures = 0;
            seen.out_until = now + OUT.as_nanos() as u64;
        }
    }
}
