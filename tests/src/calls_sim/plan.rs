//! What the calls of a life are, drawn from a seed.

use std::rc::Rc;
use std::time::Duration;

use pointsub_core::wire::Credit;

use super::app::From;
use crate::sim::Rng;

/// The longest message that either end takes.
pub(super) const MAX_MESSAGE: usize = 300 * 1024;
/// From when on all applications read and write at once.
pub(super) const HEALED: u64 = 400;
/// For so long a reader stops, if it does.
pub(super) const STOPPED: u64 = 60_000;

/// One call, as both applications want it.
#[derive(Debug, Clone)]
pub(super) struct CallPlan {
    /// When it is opened.
    pub(super) at: u64,
    pub(super) argument: usize,
    pub(super) to_server: Vec<usize>,
    pub(super) to_client: Vec<usize>,
    pub(super) client_window: Credit,
    pub(super) server_window: Credit,
    /// How far both may grow.
    pub(super) grows_to: Credit,
    /// The client says at once that it sends nothing.
    pub(super) silent: bool,
    /// In how many percent of its turns an application reads, and writes.
    pub(super) reads: u64,
    pub(super) writes: u64,
    /// How many milliseconds after its opening the client cancels.
    pub(super) cancel: Option<u64>,
    pub(super) deadline: Option<u64>,
    pub(super) idle: Option<Duration>,
    /// The handler fails when its messages are sent.
    pub(super) fails: bool,
    /// The handler ends when its messages are sent, whatever the client does.
    pub(super) early: bool,
    /// The handler is slow to stop, and to accept.
    pub(super) sluggish: u64,
    /// Who stops reading for a minute, and when.
    pub(super) stops: Option<(From, u64)>,
}

/// The world of a life.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Milliseconds from one end to the other.
    pub(super) latency: u64,
    /// Bytes that may be under way.
    pub(super) pipe: usize,
    pub(super) memory: usize,
    pub(super) max_calls: usize,
    pub(super) calls: Vec<Rc<CallPlan>>,
}

fn window(rng: &mut Rng) -> Credit {
    match rng.below(5) {
        0 => Credit::new(8192, 1),
        1 => Credit::new(16 * 1024, 4),
        2 => Credit::new(64 * 1024, 32),
        3 => Credit::new(1024 * 1024, 2),
        _ => Credit::new(256 * 1024, 1000),
    }
}

fn lengths(rng: &mut Rng) -> Vec<usize> {
    let (count, kind) = (rng.below(40), rng.below(5));
    (0..count)
        .map(|_| match kind {
            0 => 0,
            1 => rng.below(100) as usize,
            2 => rng.below(3000) as usize,
            3 if rng.chance(20) => rng.below(100_000) as usize,
            _ if rng.chance(5) => rng.below(MAX_MESSAGE as u64 + 20_000) as usize,
            _ => rng.below(40) as usize,
        })
        .collect()
}

impl CallPlan {
    fn draw(rng: &mut Rng) -> Self {
        let silent = rng.chance(30);
        let slow = rng.chance(40);
        Self {
            at: rng.below(200),
            argument: rng.below(2000) as usize,
            to_server: if silent { Vec::new() } else { lengths(rng) },
            to_client: lengths(rng),
            client_window: window(rng),
            server_window: window(rng),
            silent,
            reads: if slow { 1 + rng.below(10) } else { 50 + rng.below(51) },
            writes: 20 + rng.below(81),
            cancel: rng.chance(25).then(|| rng.below(300)),
            deadline: rng.chance(10).then(|| 1 + rng.below(600)),
            idle: rng.chance(10).then(|| Duration::from_millis(1 + rng.below(300))),
            fails: rng.chance(20),
            early: rng.chance(20),
            sluggish: if rng.chance(30) { rng.below(50) } else { 0 },
            stops: rng.chance(2).then(|| {
                (if rng.chance(50) { From::Client } else { From::Server }, rng.below(300))
            }),
            grows_to: if rng.chance(50) { Credit::new(512 * 1024, 200) } else { Credit::NONE },
        }
    }
}

impl Plan {
    pub(super) fn of_seed(seed: u64) -> Self {
        let mut rng = Rng::of(seed, &[0x6361_6c6c]);
        let calls = 1 + rng.below(12);
        Self {
            latency: 1 + rng.below(20),
            pipe: 8 * 1024 + rng.below(200 * 1024) as usize,
            memory: 64 * 1024 + rng.below(4 * 1024 * 1024) as usize,
            max_calls: if rng.chance(20) { 4 } else { 100 },
            calls: (0..calls).map(|_| Rc::new(CallPlan::draw(&mut rng))).collect(),
        }
    }
}
