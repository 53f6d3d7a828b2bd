//! A day of a laptop: at home, on the way, in an office that lets nothing through but a relay, with a VPN
//! for a while, and asleep in between. Each minute it asks a server. A request that got no stream on a connection
//! which broke is put on the next one, and nothing else is tried twice.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use pointsub_core::network::OpenFailure;

use super::plan::{Answer, Op, Place, Plan};
use super::world::World;
use crate::sim::Rng;

/// How long the laptop is awake.
const AWAKE: Duration = Duration::from_secs(16 * 3600);
const MINUTE: Duration = Duration::from_secs(60);
/// Where the server is in the local network, on the internet, and through a relay.
const LOCAL: usize = 0;
const DIRECT: usize = 1;
const RELAY: usize = 2;

/// What came of the requests of a day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Day {
    /// How many there were.
    pub requests: u64,
    /// How many were answered.
    pub answered: u64,
    /// How often one got no stream on a connection that broke, and was put on the next.
    pub moved: u64,
    /// Why the others were not, and how many of each.
    pub failures: BTreeMap<&'static str, u64>,
    /// The longest time until a request had a connection.
    pub longest: Duration,
}

impl Day {
    pub(super) fn fail(&mut self, why: &'static str, count: usize) {
        if count > 0 {
            *self.failures.entry(why).or_default() += count as u64;
        }
    }

    pub(super) fn fail_open(&mut self, why: &OpenFailure) {
        let why = match why {
            OpenFailure::NoAddress | OpenFailure::Gone => "no address",
            OpenFailure::Unreachable(_) => "no address led to the server",
        };
        self.fail(why, 1);
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.answered += other.answered;
        self.moved += other.moved;
        self.longest = self.longest.max(other.longest);
        for (why, count) in &other.failures {
            *self.failures.entry(why).or_default() += count;
        }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, answered, moved, .. } = self;
        writeln!(f, "{requests} requests, {answered} answered, {moved} put on another connection")?;
        for (why, count) in &self.failures {
            writeln!(f, "{count:>6}  {why}")?;
        }
        writeln!(f, "the longest wait for a connection was {:.1} s", self.longest.as_secs_f64())
    }
}

/// Lives so many days, and says what came of all their requests.
///
/// # Errors
/// What did not hold, if anything did not.
pub fn days(days: u64) -> Result<Day, String> {
    let mut sum = Day::default();
    for seed in 0..days {
        let mut world = World::new(seed, plan(seed), None);
        world.day = Some(Day::default());
        world.live().map_err(|broken| format!("day {seed}: {broken}"))?;
        sum.add(&world.day.unwrap_or_default());
    }
    Ok(sum)
}

fn plan(seed: u64) -> Plan {
    let mut rng = Rng::of(seed, &[0x6c61_7074]);
    let place =
        |relayed, millis| Place::new(Answer::Peer(0), relayed, Duration::from_millis(millis));
    let mut nowhere = place(false, 50);
    nowhere.answer = Answer::Never;
    let places = vec![place(false, 2), place(false, 40), place(true, 150), nowhere];
    let mut ops: Vec<(Duration, Op)> = Vec::new();
    for at in [LOCAL, DIRECT, RELAY] {
        ops.push((Duration::ZERO, Op::Name { peer: 0, at, application: true }));
    }
    for minute in 1..AWAKE.as_secs() / 60 {
        ops.push((MINUTE * minute as u32 + rng.micros(5_000_000), Op::Open { peer: 0 }));
    }
    // Where the laptop is from when on, in minutes, and what leads to the server there.
    let travels: [(u32, &[usize]); 7] = [
        (60, &[DIRECT, RELAY]),
        (90, &[RELAY]),
        (420, &[DIRECT, RELAY]),
        (480, &[RELAY]),
        (630, &[DIRECT, RELAY]),
        (660, &[LOCAL, DIRECT, RELAY]),
        (900, &[DIRECT]),
    ];
    for (minute, leads) in travels {
        let when = MINUTE * minute + rng.micros(30_000_000);
        for at in [LOCAL, DIRECT, RELAY] {
            let op = if leads.contains(&at) { Op::Thaw { at } } else { Op::Freeze { at } };
            ops.push((when, op));
        }
        ops.push((when, Op::Roam));
    }
    for minute in [75, 240, 360, 600, 700, 800] {
        let when = MINUTE * minute + rng.micros(60_000_000);
        let (seconds, clock_stands) = (300 + rng.below(3 * 3600), rng.chance(50));
        ops.push((when, Op::Sleep { seconds, clock_stands }));
    }
    for quarter in 0..64 {
        ops.push((MINUTE * 15 * quarter + rng.micros(900_000_000), Op::Forget));
    }
    Plan { peers: 1, places, elsewhere: vec![None], homes: vec![DIRECT], ops, heal: AWAKE }
}
