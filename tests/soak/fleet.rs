//! The processes: who is started, killed and stopped, and what they say.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use pointsub_tests::sim::Rng;

use crate::watch::{Row, heading};
use crate::{NODES, Options, STABLE};

/// A node that is told to stop has ended after this.
const STOPS_WITHIN: Duration = Duration::from_secs(15);

/// What was seen of all of them.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The lines of those that are never restarted.
    pub(crate) rows: [Vec<Row>; STABLE],
    /// Requests by what became of them.
    pub(crate) counts: BTreeMap<String, u64>,
    /// What must not be.
    pub(crate) faults: Vec<String>,
    /// How long each line is about.
    pub(crate) line: Duration,
}

/// A line of a node, or that there are no more, with the number of the process.
type Said = (usize, u64, Option<String>);

struct Process {
    child: Child,
    input: ChildStdin,
    generation: u64,
    key: u64,
    /// Its Peer ID and addresses, once it has said them.
    at: Option<String>,
    stopping: bool,
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

struct Fleet {
    options: Options,
    rng: Rng,
    nodes: [Option<Process>; NODES],
    sender: Sender<Said>,
    started: u64,
    killed: u64,
    stopped: u64,
    seen: Seen,
}

/// Lets the nodes live for as long as is asked for.
pub(crate) fn run(options: Options) -> Seen {
    let (sender, receiver) = channel();
    let mut fleet = Fleet {
        options,
        rng: Rng::of(options.seed, &[0x736f_616b]),
        nodes: Default::default(),
        sender,
        started: 0,
        killed: 0,
        stopped: 0,
        seen: Seen { line: options.line(), ..Seen::default() },
    };
    for number in 0..NODES {
        fleet.start(number, None);
    }
    println!("{}", heading());
    fleet.live(&receiver);
    println!(
        "{} processes were started, {} killed, {} stopped in good order",
        fleet.started, fleet.killed, fleet.stopped
    );
    fleet.seen
}

impl Fleet {
    fn live(&mut self, receiver: &Receiver<Said>) {
        let end = Instant::now() + self.options.lasts;
        let mut next = Instant::now() + self.pause();
        // Who is down, since which key and address, and until when.
        let mut down: Option<(usize, Instant, (u64, String))> = None;
        while Instant::now() < end {
            let until = down.as_ref().map_or(next, |(_, back, _)| (*back).min(next)).min(end);
            let wait = until.saturating_duration_since(Instant::now());
            match receiver.recv_timeout(wait) {
                Ok(said) => self.hear(said),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Some((number, back, before)) = &down
                && *back <= Instant::now()
            {
                let (number, before) = (*number, before.clone());
                down = None;
                self.start(number, Some(before));
            }
            if next <= Instant::now() {
                next += self.pause();
                let number = STABLE + self.rng.below((NODES - STABLE) as u64) as usize;
                if down.is_none()
                    && let Some(before) = self.end(number)
                {
                    down = Some((number, Instant::now() + self.rng.micros(5_000_000), before));
                }
            }
        }
    }

    /// How long nobody dies.
    fn pause(&mut self) -> Duration {
        Duration::from_secs(20) + self.rng.micros(20_000_000)
    }

    /// Starts a node, at times with the key, and the port, that it had before.
    fn start(&mut self, number: usize, before: Option<(u64, String)>) {
        self.started += 1;
        let mut key = self.options.seed.wrapping_mul(1 << 20) + self.started;
        let mut port = "0".to_owned();
        if let Some((old, at)) = before
            && self.rng.chance(50)
        {
            key = old;
            if self.rng.chance(50) {
                port = at.split('/').nth(4).unwrap_or("0").to_owned();
            }
        }
        let program = std::env::current_exe().expect("this program has a path");
        let line = self.options.line().as_millis().to_string();
        let rate = self.options.rate.to_string();
        let mut child = Command::new(program)
            .args(["node", &number.to_string(), &key.to_string(), &port, &line, &rate])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (generation, sender) = (self.started, self.sender.clone());
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                _ = sender.send((number, generation, Some(line)));
            }
            _ = sender.send((number, generation, None));
        });
        let process = Process { child, input, generation, key, at: None, stopping: false };
        self.nodes[number] = Some(process);
        let others: Vec<String> = self.nodes.iter().enumerate().filter_map(tells).collect();
        for other in others {
            self.tell(number, &other);
        }
    }

    /// Kills a node or stops it in good order. Returns the key and the addresses that it had.
    fn end(&mut self, number: usize) -> Option<(u64, String)> {
        let stop = self.rng.chance(50);
        let process = self.nodes[number].as_mut()?;
        let before = (process.key, process.at.clone()?);
        if stop {
            process.stopping = true;
            self.tell(number, "stop");
            self.stopped += 1;
            if !self.has_ended(number) {
                self.seen.faults.push(format!("node {number} did not stop"));
            }
        } else {
            self.killed += 1;
        }
        self.nodes[number] = None;
        Some(before)
    }

    fn has_ended(&mut self, number: usize) -> bool {
        let until = Instant::now() + STOPS_WITHIN;
        while Instant::now() < until {
            let Some(process) = &mut self.nodes[number] else { return true };
            if process.child.try_wait().is_ok_and(|status| status.is_some()) {
                return true;
            }
            thread::sleep(Duration::from_millis(100));
        }
        false
    }

    /// What is told to a process that has just died is lost.
    fn tell(&mut self, number: usize, line: &str) {
        if let Some(process) = &mut self.nodes[number] {
            _ = writeln!(process.input, "{line}");
        }
    }

    fn hear(&mut self, (number, generation, line): Said) {
        let current = self.nodes[number].as_mut().filter(|one| one.generation == generation);
        let Some(line) = line else {
            if current.is_some_and(|one| !one.stopping) {
                self.seen.faults.push(format!("node {number} ended by itself"));
                self.nodes[number] = None;
            }
            return;
        };
        match (line.split_once(' '), current) {
            (Some(("at", at)), Some(process)) => {
                process.at = Some(at.to_owned());
                let news = format!("peer {number} {at}");
                (0..NODES).filter(|other| *other != number).for_each(|one| self.tell(one, &news));
            }
            (Some(("row", row)), Some(_)) if number < STABLE => {
                let row = Row::parse(row).expect("a row");
                self.seen.rows[number].push(row);
                println!("{}", row.line(self.seen.rows[number].len(), number));
            }
            (Some(("count", count)), _) => {
                let (kind, count) = count.rsplit_once(' ').expect("a kind and a number");
                let count: u64 = count.parse().expect("a number");
                *self.seen.counts.entry(kind.to_owned()).or_default() += count;
            }
            _ => {}
        }
    }
}

/// What others are told of a node that has said where it is.
fn tells((number, process): (usize, &Option<Process>)) -> Option<String> {
    Some(format!("peer {number} {}", process.as_ref()?.at.as_ref()?))
}
