//! The simulator of the network plane: one [`Network`](pointsub_core::network::Network) in a world of
//! peers with several addresses, in virtual time. Links freeze, break without a word, slow down, and carry
//! little, so that bodies keep others waiting; messages overtake each other. Peers start anew at other
//! addresses; other peers, or nobody, are at addresses that were named. Relays refuse places, lose them and
//! start anew. The node sleeps, stands still for a moment, comes into other networks, and wants to reach more
//! peers at once than it may. A while after all has healed, each peer has to be reached, and each relay that is
//! wanted has given a place. On each connection the machine of a
//! [`Connection`](pointsub_core::connection::Connection) opens and retires streams and looks for silence.
//!
//! Equal seeds give equal traces.

mod check;
mod day;
mod plan;
mod planted;
mod situation;
mod world;

pub use day::{Day, days};
pub use planted::Planted;
pub use situation::Situation;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use plan::Plan;
use world::World;

/// Fewer lives than this need not come into every situation.
pub const ENOUGH: u64 = 2000;

/// What came of a life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// A hash of everything that happened, in order.
    pub hash: u64,
    /// Which situations it came into.
    pub situations: Vec<Situation>,
    /// What happened, if that was to be kept.
    pub timeline: Vec<String>,
    /// What did not hold.
    pub broken: Option<String>,
}

/// A fault that is planted: the driver mistakes an order of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A stream is opened on a connection that is retired.
    RetiredChosen,
}

impl FromStr for Plant {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "retired-chosen" => Ok(Self::RetiredChosen),
            _ => Err(format!("no fault is called {name}; there is retired-chosen")),
        }
    }
}

/// Lives the life of a seed.
#[must_use]
pub fn live(seed: u64, timeline: bool) -> Life {
    live_with(seed, timeline, None)
}

/// The same with a fault of a policy's.
#[must_use]
pub fn live_planted(seed: u64, planted: Planted) -> Life {
    let mut world = World::new(seed, Plan::of_seed(seed), None);
    world.planted = Some(planted);
    lived(world)
}

/// The same with a planted fault.
#[must_use]
pub fn live_with(seed: u64, timeline: bool, plant: Option<Plant>) -> Life {
    let mut world = World::new(seed, Plan::of_seed(seed), plant);
    world.timeline = timeline.then(Vec::new);
    lived(world)
}

fn lived(mut world: World) -> Life {
    let lived = catch_unwind(AssertUnwindSafe(|| world.live()));
    let broken = lived.unwrap_or_else(|_| Err("the machine panics".to_owned())).err();
    Life {
        hash: world.hash,
        situations: world.situations.into_iter().collect(),
        timeline: world.timeline.unwrap_or_default(),
        broken,
    }
}

/// The first seed of so many in whose life a planted fault is found, and how it shows.
#[must_use]
pub fn find(planted: Planted, seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| Some((seed, live_planted(seed, planted).broken?)))
}

/// What many lives came to.
#[derive(Debug, Default)]
pub struct Lives {
    /// How many there were.
    pub lives: u64,
    /// How long that took.
    pub took: Duration,
    /// A hash of the traces of all of them, in no order.
    pub hash: u64,
    /// In how many of them each situation was met.
    pub situations: BTreeMap<Situation, u64>,
    /// The first seed in which something did not hold, and what.
    pub broken: Option<(u64, String)>,
    /// In how many that was so.
    pub failures: u64,
}

/// Lives the lives of so many seeds from the first on, on all cores.
#[must_use]
pub fn live_all(first: u64, seeds: u64, plant: Option<Plant>) -> Lives {
    let began = Instant::now();
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Lives::default()));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds {
                        break;
                    }
                    let seed = first.wrapping_add(number);
                    let life = live_with(seed, false, plant);
                    sum.lock().expect("nobody panics with it").add(seed, life);
                }
            });
        }
    });
    let mut sum = sum.into_inner().expect("nobody panics with it");
    sum.took = began.elapsed();
    sum
}

impl Lives {
    fn add(&mut self, seed: u64, life: Life) {
        self.lives += 1;
        self.hash = self.hash.wrapping_add(life.hash ^ seed);
        for situation in life.situations {
            *self.situations.entry(situation).or_default() += 1;
        }
        if let Some(broken) = life.broken {
            self.failures += 1;
            if self.broken.as_ref().is_none_or(|(before, _)| seed < *before) {
                self.broken = Some((seed, broken));
            }
        }
    }

    fn missing(&self) -> impl Iterator<Item = &'static str> {
        let enough = self.lives >= ENOUGH;
        let all = Situation::ALL.iter().filter(move |_| enough);
        all.filter(|(one, _)| !self.situations.contains_key(one)).map(|(_, name)| *name)
    }

    /// Whether everything held, and every situation was met.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.broken.is_none() && self.missing().next().is_none()
    }
}

impl fmt::Display for Lives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (situation, name) in Situation::ALL.iter().filter(|_| self.lives >= ENOUGH) {
            let count = self.situations.get(situation).copied().unwrap_or_default();
            writeln!(f, "{count:>9}  {name}")?;
        }
        let (lives, took) = (self.lives, self.took.as_secs_f64());
        let rate = lives as f64 / took;
        writeln!(
            f,
            "{lives} networks in {took:.1} s, {rate:.0} a second; traces {:016x}",
            self.hash
        )?;
        for name in self.missing() {
            writeln!(f, "never met: {name}")?;
        }
        if let Some((seed, broken)) = &self.broken {
            writeln!(f, "{} of them break; seed {seed}: {broken}", self.failures)?;
            writeln!(f, "again: simulate --network --timeline --seed {seed}")?;
        }
        Ok(())
    }
}
