//! What is counted and timed.

use std::time::Duration;

/// Buckets of the histogram are a 32nd of an octave wide: 2 %.
const FINE: u64 = 32;

/// Times, in buckets of 2 %.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    buckets: Vec<u64>,
    count: u64,
}

impl Times {
    /// Counts a time, in nanoseconds.
    pub fn note(&mut self, nanos: u64) {
        let micros = (nanos / 1000).max(FINE);
        let octave = u64::from(micros.ilog2());
        let bucket = (octave * FINE + ((micros * FINE) >> octave) - FINE) as usize;
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
    }

    /// Counts all of these too.
    pub fn add(&mut self, others: &Self) {
        self.buckets.resize(self.buckets.len().max(others.buckets.len()), 0);
        for (bucket, count) in self.buckets.iter_mut().zip(&others.buckets) {
            *bucket += count;
        }
        self.count += others.count;
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The time that this share of them does not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                let (octave, fine) = (bucket as u64 / FINE, bucket as u64 % FINE);
                return Duration::from_micros((FINE + fine + 1) * (1 << octave) / FINE);
            }
        }
        Duration::ZERO
    }
}

/// What happened in one second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Second {
    /// Calls made, those of callers that ask again included.
    pub calls: u64,
    /// Calls answered while that was of use.
    pub good: u64,
    /// Calls that ended otherwise.
    pub failed: u64,
    /// Requests that came to servers, those refused included.
    pub arrivals: u64,
    /// Requests that were let in.
    pub admitted: u64,
    /// Dials and requests for streams.
    pub opens: u64,
    /// Requests that came to each server.
    pub by_server: Vec<u32>,
    /// Times until answers that were of use.
    pub times: Times,
}

/// What came of a fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Second by second.
    pub seconds: Vec<Second>,
    /// Over the time that is measured.
    pub measured: Total,
    /// Inputs to the machines and events of the world.
    pub events: u64,
    /// What did not hold.
    pub broken: Vec<String>,
    /// What the machines refuse to agree about: a hash of all that callers saw.
    pub trace: u64,
}

/// Sums over the time that is measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Total {
    /// Calls made.
    pub calls: u64,
    /// Calls answered while that was of use.
    pub good: u64,
    /// Calls that ended otherwise.
    pub failed: u64,
    /// Requests that clients made of servers.
    pub tries: u64,
    /// Of those, asked while another was under way for the same call.
    pub hedges: u64,
    /// Streams asked for.
    pub opens: u64,
    /// Of those, dials that were refused or not answered.
    pub in_vain: u64,
    /// Requests that workers did for callers that had gone.
    pub wasted: u64,
    /// Requests that workers did.
    pub worked: u64,
    /// Requests that came to each server.
    pub by_server: Vec<u64>,
    /// Times until answers that were of use.
    pub times: Times,
    /// Calls that failed for another reason than time or want of room.
    pub errors: u64,
}

impl Total {
    /// Requests per call.
    #[must_use]
    pub fn tries_per_call(&self) -> f64 {
        self.tries as f64 / self.calls.max(1) as f64
    }

    /// The requests of the server that got most, as a multiple of the mean.
    #[must_use]
    pub fn hottest(&self) -> f64 {
        let all: u64 = self.by_server.iter().sum();
        let most = self.by_server.iter().max().copied().unwrap_or(0);
        most as f64 * self.by_server.len() as f64 / all.max(1) as f64
    }

    /// The share of a server of all requests.
    #[must_use]
    pub fn share(&self, server: usize) -> f64 {
        let all: u64 = self.by_server.iter().sum();
        self.by_server.get(server).map_or(0.0, |own| *own as f64 / all.max(1) as f64)
    }
}

impl Report {
    /// Good answers as a part of capacity, over the measured time.
    #[must_use]
    pub fn goodput(&self, capacity: f64, over: Duration) -> f64 {
        self.measured.good as f64 / (capacity * over.as_secs_f64())
    }

    /// Good answers as a part of calls, over the measured time.
    #[must_use]
    pub fn success(&self) -> f64 {
        self.measured.good as f64 / self.measured.calls.max(1) as f64
    }

    /// From this second on, how many seconds it takes until one has so many good answers and the
    /// next has them too; `None` if none has.
    #[must_use]
    pub fn recovery(&self, from: usize, good: f64) -> Option<usize> {
        let enough = |second: &Second| second.good as f64 >= good;
        let rest = self.seconds.get(from..)?;
        rest.windows(2).position(|two| two.iter().all(enough))
    }

    /// The most requests that came to servers in a second of these.
    #[must_use]
    pub fn worst_second(&self, from: usize, until: usize) -> u64 {
        let seconds = self.seconds.iter().take(until).skip(from);
        seconds.map(|second| second.arrivals).max().unwrap_or(0)
    }

    /// The share of a server in these seconds.
    #[must_use]
    pub fn share(&self, server: usize, from: usize, until: usize) -> f64 {
        let seconds = || self.seconds.iter().take(until).skip(from);
        let own: u64 =
            seconds().filter_map(|s| s.by_server.get(server)).map(|n| u64::from(*n)).sum();
        let all: u64 = seconds().flat_map(|s| &s.by_server).map(|n| u64::from(*n)).sum();
        own as f64 / all.max(1) as f64
    }
}
