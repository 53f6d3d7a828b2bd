//! What a fleet is made of, and what befalls it.

use std::time::Duration;

use pointsub_core::endpoint::LimitPolicy;
use pointsub_core::{ClientConfig, Hedge, ServerConfig};

/// How a fleet is set up. The default is the set-up of the report: ten servers with four workers,
/// a hundred clients, 10 ms of service, 1 to 20 ms from each client to each server, and callers who
/// wait for a second.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Everything random follows from it.
    pub seed: u64,
    /// How many clients there are.
    pub clients: usize,
    /// How many servers there are.
    pub servers: usize,
    /// How many requests a server works on at a time; others wait in the order in which they came.
    pub workers: usize,
    /// The mean of the service times, which are distributed lognormally.
    pub service: Duration,
    /// The standard deviation of their logarithm.
    pub sigma: f64,
    /// The load as a part of the fleet's capacity, from each of these times on.
    pub load: Vec<(Duration, f64)>,
    /// How long callers wait, and the machines know it; `None` if they wait for as long as the
    /// client's own limits let them.
    pub deadline: Option<Duration>,
    /// How long an answer is of use.
    pub worth: Duration,
    /// How often a caller asks again that got no answer in time.
    pub asks_again: u32,
    /// How far servers are from clients.
    pub distance: Distance,
    /// How clients choose servers.
    pub choice: Choice,
    /// When a further server is asked while one takes long.
    pub hedge: Option<Hedge>,
    /// Whether requests may be executed twice.
    pub idempotent: bool,
    /// How clients are configured.
    pub client: ClientConfig,
    /// How servers are configured.
    pub server: ServerConfig,
    /// What befalls the fleet, and when.
    pub faults: Vec<(Duration, Fault)>,
    /// From when on it is measured.
    pub from: Duration,
    /// When it ends.
    pub until: Duration,
    /// So many of the clients are hostile: they ask a hundred times as often, without a deadline,
    /// each one server.
    pub hostile: usize,
}

/// How far servers are from clients, one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    /// 1 to 20 ms, for each pair.
    Pairs,
    /// 50 µs: processes on one machine.
    Machine,
    /// So many servers are at 1 ms, the others at 50 ms.
    Near(usize),
    /// Clients and servers are spread over so many regions: 1 to 2 ms within one, 30 to 60 ms
    /// between two.
    Regions(usize),
}

/// How clients choose servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// As the library does by default.
    Default,
    /// `XorOrder`.
    Xor,
    /// `Weighted`.
    Weighted,
    /// `PeakEwma`.
    TwoChoices,
    /// Each client asks one server by its Peer ID, always the same.
    OneServer,
    /// A reference: of two at random the one with fewer requests in flight, further tries for a
    /// tenth of the calls, ejection for 5 s after 5 failures in a row.
    ReferenceTwoChoices,
    /// A reference: one after the other, one try.
    ReferenceRoundRobin,
}

impl Choice {
    /// Whether calls are spread by the simulator, and not by the library.
    pub(super) const fn is_reference(self) -> bool {
        matches!(self, Self::ReferenceTwoChoices | Self::ReferenceRoundRobin)
    }

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Xor => "XOR",
            Self::Weighted => "weighted",
            Self::TwoChoices => "two choices",
            Self::OneServer => "one server",
            Self::ReferenceTwoChoices => "p2c, 10 % budget",
            Self::ReferenceRoundRobin => "round robin",
        }
    }
}

/// Something that befalls servers, given as a range of their numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// They are gone: connections break, dials fail.
    Crash(usize, usize),
    /// They are back after a crash.
    Start(usize, usize),
    /// They neither take in nor say anything; what is sent to them is lost.
    Silent(usize, usize),
    /// They take things in again; connections of before are broken.
    Heard(usize, usize),
    /// They take so many times longer.
    Slow(usize, usize, f64),
    /// They answer everything at once with an error of the application's.
    Erring(usize, usize, bool),
    /// They are drained, stop, and come back half a second later.
    Drain(usize, usize),
    /// They are killed, and come back half a second later.
    Kill(usize, usize),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 1,
            clients: 100,
            servers: 10,
            workers: 4,
            service: Duration::from_millis(10),
            sigma: 0.6,
            load: vec![(Duration::ZERO, 0.5)],
            deadline: Some(Duration::from_secs(1)),
            worth: Duration::from_secs(1),
            asks_again: 0,
            distance: Distance::Pairs,
            choice: Choice::Default,
            hedge: None,
            idempotent: true,
            client: ClientConfig::default(),
            server: ServerConfig::default(),
            faults: Vec::new(),
            from: Duration::from_secs(5),
            until: Duration::from_secs(20),
            hostile: 0,
        }
    }
}

impl Setup {
    /// Calls per second that the fleet can answer.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        (self.servers * self.workers) as f64 / self.service.as_secs_f64()
    }

    /// With a load that stands still.
    #[must_use]
    pub fn at_load(mut self, load: f64) -> Self {
        self.load = vec![(Duration::ZERO, load)];
        self
    }

    /// With another rule for the servers' limit.
    #[must_use]
    pub fn with_limit(mut self, policy: LimitPolicy) -> Self {
        self.server = self.server.with_limit_policy(policy);
        self
    }

    /// The load at a time after the begin, in calls a second.
    #[must_use]
    pub fn rate(&self, nanos: u64) -> f64 {
        let now = Duration::from_nanos(nanos);
        let load = self.load.iter().rev().find(|(from, _)| *from <= now).map_or(0.0, |l| l.1);
        load * self.capacity()
    }
}
