//! The processes of a fleet, what befalls them, and what their callers saw.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use pointsub_tests::fleet::{Fault, Report, Second, Setup};

/// A child whose lines are read and written.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(args: &[&str]) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, input, output }
    }

    fn serve(name: &str, number: usize, port: &str) -> (Self, String) {
        let mut process = Self::start(&["serve", name, &number.to_string(), port]);
        let address = process.line();
        (process, address)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim().to_string()
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it lives");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Lets a fleet of processes live.
pub(crate) fn run(name: &str, setup: &Setup) -> Report {
    let servers = (0..setup.servers).map(|number| Process::serve(name, number, "0"));
    let (mut servers, addresses): (Vec<_>, Vec<_>) = servers.unzip();
    let clients = (0..setup.clients).map(|number| {
        let mut client = Process::start(&["call", name, &number.to_string()]);
        addresses.iter().for_each(|address| client.tell(address));
        client
    });
    let mut clients: Vec<Process> = clients.collect();
    for client in &mut clients {
        assert_eq!(client.line(), "ready");
    }
    let begun = Instant::now();
    clients.iter_mut().for_each(|client| client.tell("begin"));
    let readers: Vec<_> = clients.into_iter().map(|c| std::thread::spawn(|| read(c))).collect();
    for (at, fault) in &setup.faults {
        std::thread::sleep((begun + *at).saturating_duration_since(Instant::now()));
        match *fault {
            Fault::Crash(from, to) => drop(servers.splice(from..to, [])),
            Fault::Start(from, to) => servers.extend((from..to).map(|number| {
                let port = addresses[number].rsplit('/').next().expect("a port");
                Process::serve(name, number, port).0
            })),
            other => panic!("no process does this: {other:?}"),
        }
    }
    let calls = readers.into_iter().flat_map(|reader| reader.join().expect("no panic"));
    report(setup, calls)
}

/// The calls of a client: when each began, and how long it took, if that was of use.
fn read(client: Process) -> Vec<(Duration, Option<Duration>)> {
    let mut client = client;
    let mut calls = Vec::new();
    loop {
        let line = client.line();
        let Some((began, took)) = line.split_once(' ') else { return calls };
        let micros = |text: &str| Duration::from_micros(text.parse().expect("a number"));
        calls.push((micros(began), Some(micros(took)).filter(|took| !took.is_zero())));
    }
}

fn report(setup: &Setup, calls: impl Iterator<Item = (Duration, Option<Duration>)>) -> Report {
    let mut seconds = vec![Second::default(); setup.until.as_secs() as usize];
    for (began, took) in calls {
        if let Some(second) = seconds.get_mut(began.as_secs() as usize) {
            second.calls += 1;
            second.failed += u64::from(took.is_none());
        }
        let Some(took) = took else { continue };
        if let Some(second) = seconds.get_mut((began + took).as_secs() as usize) {
            second.good += 1;
            second.times.note(took.as_nanos() as u64);
        }
    }
    Report { seconds, ..Report::default() }
}
