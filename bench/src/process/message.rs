//! Lines between processes.

use std::fmt::Write;
use std::time::Duration;

use crate::contender::Failure;
use crate::load::{Group, Tally};
use crate::meter::Usage;

/// Tells a process to say what it has used.
pub(super) const USAGE: &str = "usage";
/// Begins an answer that tells of a failure.
const FAILED: &str = "failed: ";

/// What a client is told: to load the server for a time.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) time: Duration,
    pub(super) groups: Vec<Group>,
}

impl Load {
    pub(super) fn encode(&self) -> String {
        let mut line = self.time.as_millis().to_string();
        for group in &self.groups {
            write!(line, " {group}").expect("a string takes everything");
        }
        line
    }

    pub(super) fn decode(line: &str) -> Result<Self, Failure> {
        let mut words = line.split_whitespace();
        let time = Duration::from_millis(words.next().ok_or("an empty line")?.parse()?);
        Ok(Self { time, groups: words.map(str::parse).collect::<Result<_, _>>()? })
    }
}

/// What a process answers.
#[derive(Debug)]
pub(super) struct Answer {
    /// What a client used for a load, or a process since it began.
    pub(super) usage: Usage,
    /// How many streams a client has open, if it counts them.
    pub(super) streams: usize,
    /// One for each group of a load.
    pub(super) tallies: Vec<Tally>,
}

impl Answer {
    pub(super) fn encode(outcome: &Result<Self, Failure>) -> String {
        let Self { usage, streams, tallies } = match outcome {
            Ok(answer) => answer,
            Err(failure) => return format!("{FAILED}{failure}").replace('\n', " "),
        };
        let cpu = usage.cpu.map(|cpu| cpu.as_nanos());
        let (peak, resident) = (optional(usage.peak_kib), optional(usage.resident_kib));
        let mut line = format!("{} {peak} {resident} {streams}", optional(cpu));
        for Tally { requests, elapsed, p50, p99, max } in tallies {
            let [elapsed, p50, p99, max] = [elapsed, p50, p99, max].map(Duration::as_nanos);
            write!(line, " {requests} {elapsed} {p50} {p99} {max}")
                .expect("a string takes everything");
        }
        line
    }

    pub(super) fn decode(line: &str) -> Result<Self, Failure> {
        if let Some(failure) = line.strip_prefix(FAILED) {
            return Err(failure.into());
        }
        let malformed = || format!("an answer was expected, not {line:?}");
        let number = |word: &str| word.parse::<u64>().map_err(|_| malformed());
        let words: Vec<&str> = line.split_whitespace().collect();
        let (now, tallies) = words.split_at_checked(4).ok_or_else(malformed)?;
        let usage = Usage {
            cpu: number(now[0]).ok().map(Duration::from_nanos),
            peak_kib: number(now[1]).ok(),
            resident_kib: number(now[2]).ok(),
        };
        let tallies = tallies.chunks(5).map(|words| {
            let [requests, elapsed, p50, p99, max] = words else { return Err(malformed()) };
            let nanos = |word| number(word).map(Duration::from_nanos);
            Ok(Tally {
                requests: number(requests)?,
                elapsed: nanos(elapsed)?,
                p50: nanos(p50)?,
                p99: nanos(p99)?,
                max: nanos(max)?,
            })
        });
        let streams = number(now[3])? as usize;
        Ok(Self { usage, streams, tallies: tallies.collect::<Result<_, _>>()? })
    }
}

fn optional(number: Option<impl ToString>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}
