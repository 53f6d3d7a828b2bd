//! Starts the processes that are measured, and tells them what to do.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::message::{Answer, Load, USAGE};
use super::{SEND, SERVE};
use crate::contender::{Contender, Failure};
use crate::load::{Group, Tally};
use crate::meter::Usage;

/// How long a process may take beyond the time of its load.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server and a client that is connected to it.
#[derive(Debug)]
pub(crate) struct Pair {
    client: Process,
    server: Process,
}

/// What came of a load.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    /// One for each group.
    pub(crate) tallies: Vec<Tally>,
    /// What the client used for the load.
    pub(crate) client: Usage,
    /// What the server used for the load.
    pub(crate) server: Usage,
}

impl Loaded {
    /// Processor time of both processes.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        Some(self.client.cpu? + self.server.cpu?)
    }
}

impl Pair {
    /// Starts both.
    pub(crate) fn start(contender: Contender) -> Result<Self, Failure> {
        Self::start_through(contender, Ok)
    }

    /// Starts both; the client goes to another address than the server's.
    pub(crate) fn start_through(
        contender: Contender,
        another: impl FnOnce(String) -> Result<String, Failure>,
    ) -> Result<Self, Failure> {
        let server = Process::start(&[SERVE, contender.name()])?;
        let address = another(server.line(PATIENCE)?)?;
        let client = Process::start(&[SEND, contender.name(), &address])?;
        client.line(PATIENCE)?;
        Ok(Self { client, server })
    }

    /// Lets the client load the server for a time.
    pub(crate) fn load(&mut self, time: Duration, groups: &[Group]) -> Result<Loaded, Failure> {
        let load = Load { time, groups: groups.to_vec() };
        let before = self.server.ask(USAGE, PATIENCE)?.usage;
        let Answer { usage: client, tallies } = self.client.ask(&load.encode(), time + PATIENCE)?;
        let mut server = self.server.ask(USAGE, PATIENCE)?.usage;
        server.cpu = server.cpu.zip(before.cpu).map(|(after, before)| after - before);
        Ok(Loaded { tallies, client, server })
    }
}

/// A process that is ended when this is dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    fn start(arguments: &[&str]) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().expect("it is piped");
        let output = child.stdout.take().expect("it is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, input, lines })
    }

    fn line(&self, patience: Duration) -> Result<String, Failure> {
        Ok(self.lines.recv_timeout(patience).map_err(|_| "it has ended, or hangs")?)
    }

    fn ask(&mut self, line: &str, patience: Duration) -> Result<Answer, Failure> {
        writeln!(self.input, "{line}")?;
        self.input.flush()?;
        Answer::decode(&self.line(patience)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
