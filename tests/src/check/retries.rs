//! Retries, their pauses, and hedges stay within their policy and budget.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pointsub_core::wire::{Decoder, Flags, Kind};
use pointsub_core::{NodeOutcome, NodeTry, StreamOp, Timestamp};

use super::{Check, ensure};
use crate::scenario::{LIMIT, Scenario};
use crate::sim::{Event, Sent, Side, World};

/// How often a request that was surely not processed is moved to another stream in one try.
const MOVES: u32 = 3;
/// Further nodes that a call asks without waiting for a failure.
const HEDGES: u64 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Retries {
    /// A clock that stands still makes pauses look shorter than they are.
    pauses: bool,
    /// Reads what the client writes.
    streams: BTreeMap<u32, Decoder>,
    /// When each request to one peer was written: the last few times.
    written: BTreeMap<u64, Vec<Timestamp>>,
    hedged: u64,
    /// Requests and calls that were accepted.
    firsts: u64,
    /// When the first was.
    since: Option<Timestamp>,
}

impl Retries {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let pauses = !scenario.stalls_client_clock();
        Self {
            pauses,
            streams: BTreeMap::new(),
            written: BTreeMap::new(),
            hedged: 0,
            firsts: 0,
            since: None,
        }
    }

    /// Between two tries there is at least the shortest pause; within one, a request that was
    /// surely not processed is moved a few times without any.
    fn paused(&mut self, number: u64, world: &World) -> Result<(), String> {
        let Some(written) = self.written.get_mut(&number) else { return Ok(()) };
        written.push(world.now);
        let floor = world.config.retry_interval().min(Duration::from_secs(30)) / 2;
        if let Some(at) = written.len().checked_sub(2 + MOVES as usize) {
            let gap = world.now.since(written[at]);
            ensure!(gap >= floor, "tried again and again within {gap:?}, not {floor:?}");
        }
        Ok(())
    }
}

impl Check for Retries {
    fn name(&self) -> &'static str {
        "retries"
    }

    fn observe(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        match event {
            Event::Accepted { sent, .. } => {
                if sent.to.is_some() && self.pauses {
                    self.written.insert(sent.number, Vec::new());
                }
                self.hedged += u64::from(sent.hedge.is_some());
                self.firsts += 1;
                self.since.get_or_insert(world.now);
            }
            Event::Opened { link, format } => {
                self.streams.insert(*link, Decoder::new(*format, LIMIT as usize));
            }
            Event::Gone { link } => drop(self.streams.remove(link)),
            Event::Output { link, to: Side::Server, op: StreamOp::Write(bytes) } => {
                let Some(decoder) = self.streams.get_mut(link) else { return Ok(()) };
                decoder.push(bytes.clone());
                let mut numbers = Vec::new();
                while let Ok(Some(frame)) = decoder.next_frame() {
                    let plain = frame.header.kind.is_none();
                    let request = frame.header.kind == Some(Kind::Request);
                    // The number of one that is compressed does not show.
                    if plain || request && !frame.header.flags.contains(Flags::COMPRESSED) {
                        numbers.extend(frame.body.first_chunk().map(|n| u64::from_be_bytes(*n)));
                    }
                }
                for number in numbers {
                    self.paused(number, world)?;
                }
            }
            Event::Failed { sent, error } if sent.to.is_some() => {
                let most = (1 + world.config.max_retries()) * (1 + MOVES);
                ensure!(error.attempts <= most, "{} attempts: {error}", error.attempts);
            }
            Event::Attempts { sent, attempts, .. } => rounds(sent, attempts, world)?,
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, world: &World) -> Result<(), String> {
        let stats = world.client.stats();
        // Each first try gives a tenth of a further one; fifty are there from the beginning, and one in
        // ten seconds.
        let further = stats.retries + stats.failovers + stats.hedges;
        let passed = self.since.map_or(0, |since| world.now.since(since).as_secs() + 1);
        let most = 500 + self.firsts + passed;
        ensure!(10 * further <= most, "beyond the retry budget: {stats:?}");
        ensure!(stats.hedges <= HEDGES * self.hedged, "{} hedges", stats.hedges);
        Ok(())
    }
}

fn rounds(sent: &Sent, attempts: &[NodeTry], world: &World) -> Result<(), String> {
    let distinct: BTreeSet<_> = attempts.iter().map(|attempt| attempt.node).collect();
    let rounds = 1 + world.config.max_retries() as usize;
    let most = distinct.len() * rounds;
    ensure!(attempts.len() <= most, "a node was asked twice in a round");
    let mut begun: Vec<&NodeTry> = attempts.iter().collect();
    begun.sort_by_key(|attempt| attempt.after);
    for pair in begun.windows(2) {
        let (before, next) = (pair[0], pair[1]);
        let Some(delay) = sent.hedge else {
            ensure!(next.after >= before.after + before.took, "two nodes at once, without a hedge");
            ensure!(before.outcome != NodeOutcome::Cancelled, "a loser, without a hedge");
            continue;
        };
        let runs = |attempt: &&NodeTry| {
            attempt.after < next.after && attempt.after + attempt.took > next.after
        };
        if !attempts.iter().any(|attempt| runs(&attempt)) {
            continue;
        }
        let failed = |attempt: &&NodeTry| {
            matches!(attempt.outcome, NodeOutcome::Failed(_))
                && attempt.after + attempt.took == next.after
        };
        let in_time = next.after >= before.after + delay;
        let failover = attempts.iter().any(|attempt| failed(&attempt));
        ensure!(in_time || failover, "a hedge after {:?}", next.after - before.after);
    }
    Ok(())
}
