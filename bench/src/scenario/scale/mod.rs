//! How costs grow: memory with connections and streams, time with whatever there is more of.

pub(crate) mod crowd;
pub(crate) mod curve;
mod growth;
pub(crate) mod memory;

use std::thread;
use std::time::Duration;

use self::crowd::Crowd;
use self::curve::{Curve, Load};
use self::memory::Held;
use crate::body::Kind;
use crate::contender::Failure;
use crate::load::Group;
use crate::meter::Usage;
use crate::options::Options;
use crate::size::Cell;

/// How long processes have to come to rest before their memory is looked at.
const REST: Duration = Duration::from_millis(200);

/// What was found; what could not be measured is empty.
#[derive(Debug, Default)]
pub(crate) struct Scale {
    /// What a connection and a stream hold.
    pub(crate) held: Vec<Held>,
    /// A server with very many streams.
    pub(crate) crowd: Option<Crowd>,
    /// The same load over more and more peers, ours and bare libp2p's.
    pub(crate) peers: Vec<Load>,
    /// Ten times as much of something, again and again: what a unit of work costs.
    pub(crate) curves: Vec<Curve>,
    /// Requests in a second meanwhile, where that says more.
    pub(crate) rates: Vec<Curve>,
}

/// How much time to take.
#[derive(Debug, Clone, Copy)]
struct Extent {
    rounds: usize,
    /// How long each step of a round lasts.
    time: Duration,
    /// How often processes are started to see what they hold.
    starts: usize,
    /// Nodes in each process of the crowd.
    nodes: usize,
}

/// Measures, and says what failed.
pub(crate) fn run(options: &Options, failures: &mut Vec<String>) -> Scale {
    eprintln!("scale");
    let extent = if options.quick {
        Extent { rounds: 2, time: Duration::from_millis(60), starts: 1, nodes: 1 }
    } else {
        Extent { rounds: 5, time: Duration::from_millis(200), starts: 3, nodes: 10 }
    };
    let mut scale = Scale::default();
    let mut note = |what: &str, outcome: Result<(), Failure>| {
        if let Err(failure) = outcome {
            eprintln!("Scale, {what}: {failure}");
            failures.push(format!("Scale, {what}: {failure}"));
        }
    };
    note("memory", memory::measure(extent).map(|held| scale.held = held));
    note("crowd", crowd::measure(extent).map(|crowd| scale.crowd = Some(crowd)));
    note("peers", growth::peers(extent).map(|loads| scale.peers = loads));
    note("curves", growth::measure(extent, &mut scale));
    scale
}

/// So many callers with small bodies.
const fn small(callers: usize) -> Group {
    Group::new(Kind::Random, Cell::new(512, callers))
}

/// The memory that a process has resident once it is at rest, in KiB.
fn at_rest(usage: impl FnOnce() -> Result<Usage, Failure>) -> Result<f64, Failure> {
    thread::sleep(REST);
    let resident = usage()?.resident_kib.ok_or("this system does not tell what is resident")?;
    Ok(resident as f64)
}
