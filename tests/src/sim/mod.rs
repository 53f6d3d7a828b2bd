//! The interpreter: lives a [`Scenario`] with machines of the core on modelled streams, in virtual
//! time, and shows everything that happens to the checkers in [`crate::check`].
//!
//! It knows nothing about where the scenario came from. The clock jumps to the next thing that is
//! due, so that a pause of half a minute costs nothing. Equal scenarios give equal traces.

mod byzantine;
mod calls;
mod client;
mod connections;
mod event;
mod faults;
mod intruder;
mod link;
mod note;
mod opening;
mod peer;
mod raws;
mod seam;
mod server;
mod serving;
mod single_shot;
mod streams;
mod world;

pub use calls::{Asked, Sent, answer_to};
pub use client::SimClient;
pub use connections::Conn;
pub use event::{Event, Known};
pub use intruder::Intruder;
pub use link::{End, Link, Opener, Pipe, Side};
pub use note::{Note, Who};
pub use peer::{Clock, PROTOCOLS, Peer, Work};
pub use raws::RawLink;
pub use seam::{Parts, Plant, Seam, ServerParts};
pub use server::SimServer;
pub use world::World;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::coverage::Coverage;
use crate::scenario::Scenario;

/// A small generator whose sequence never changes (splitmix64), so that a seed outlives upgrades.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator of a seed and some numbers: what is drawn for one thing does not depend on
    /// what was drawn for others before.
    #[must_use]
    pub fn of(seed: u64, numbers: &[u64]) -> Self {
        let mut rng = Self(seed);
        for number in numbers {
            rng.0 = rng.next_u64() ^ number;
        }
        rng
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64() % end.max(1)
    }

    /// True in `percent` of the cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// At most so many microseconds.
    pub fn micros(&mut self, most: u32) -> Duration {
        Duration::from_micros(self.below(u64::from(most) + 1))
    }
}

/// How a life is lived, beside what the scenario says. Nothing of this may change what comes of
/// it, except the seam.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Cut what arrives into further pieces, decided by this seed.
    pub recut: Option<u64>,
    /// Let time pass at every machine before everything that happens.
    pub extra_ticks: bool,
    /// Keep what happened as text.
    pub timeline: bool,
    /// How the client and the servers are composed.
    pub seam: Seam,
}

/// What came of a life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Life {
    /// A hash of everything that happened, in order.
    pub hash: u64,
    /// Which situations it came into.
    pub coverage: Coverage,
    /// What became of each request, and when.
    pub outcomes: Vec<Outcome>,
    /// What happened, if that was to be kept.
    pub timeline: Vec<Note>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outcome {
    /// Which request.
    pub number: u64,
    /// When, in nanoseconds.
    pub at: u64,
    /// The peer that answered, or how it failed.
    pub what: Result<usize, String>,
}

/// A property that does not hold.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Which checker says so.
    pub check: &'static str,
    /// What it says.
    pub message: String,
    /// What happened before, if that was to be kept.
    pub timeline: Vec<Note>,
}

impl Failure {
    /// What makes two failures the same: the checker, and what it says without its numbers.
    #[must_use]
    pub fn kind(&self) -> String {
        let words = self.message.chars().filter(|c| !c.is_ascii_digit());
        format!("{}: {}", self.check, words.collect::<String>())
    }
}

thread_local! {
    static PANICKED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on, panics are not printed: where each was is told with the failure that it makes.
pub fn keep_panics_quiet() {
    std::panic::set_hook(Box::new(|panic| {
        PANICKED.set(panic.location().map(|place| format!("at {place}")).unwrap_or_default());
    }));
}

/// Lives one life.
///
/// # Errors
/// The first property that does not hold. A panic counts as one.
pub fn run(scenario: &Scenario, options: Options) -> Result<Life, Failure> {
    let life = catch_unwind(AssertUnwindSafe(|| World::new(scenario.clone(), options).live()));
    life.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let message = format!("{} {}", text.unwrap_or_default(), PANICKED.take());
        Err(Failure { check: "no_panic", message, timeline: Vec::new() })
    })
}
