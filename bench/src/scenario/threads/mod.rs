//! What a second thread gains: a server process on one and on two worker threads, and the machines of
//! the core on one and on two threads that share an endpoint.

mod endpoint;
mod machines;
pub(crate) mod process;

use std::time::Duration;

pub(crate) use self::machines::{Lock, Scaling};
use self::process::Workers;
use crate::options::Options;

/// What was found; what could not be measured is empty.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    /// Servers on one and on two worker threads.
    pub(crate) servers: Vec<Workers>,
    /// The machines on one and on two threads.
    pub(crate) core: Vec<Scaling>,
    /// What a request costs under each shared lock.
    pub(crate) locks: Vec<Lock>,
}

/// How much time to take.
#[derive(Debug, Clone, Copy)]
struct Extent {
    rounds: usize,
    /// How long each step of a round lasts.
    time: Duration,
}

/// Measures, and says what failed.
pub(crate) fn run(options: &Options, failures: &mut Vec<String>) -> Threads {
    eprintln!("threads");
    let extent = if options.quick {
        Extent { rounds: 3, time: Duration::from_millis(60) }
    } else {
        Extent { rounds: 5, time: Duration::from_millis(250) }
    };
    let mut threads = Threads {
        servers: Vec::new(),
        core: machines::scaling(extent),
        locks: machines::locks(extent),
    };
    match process::measure(extent) {
        Ok(servers) => threads.servers = servers,
        Err(failure) => {
            eprintln!("Threads, servers: {failure}");
            failures.push(format!("Threads, servers: {failure}"));
        }
    }
    threads
}
