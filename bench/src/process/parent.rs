//! Starts the processes that are measured, and tells them what to do.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::message::{Answer, Load, USAGE};
use super::{SEND, SERVE, WORKERS};
use crate::contender::{Contender, Failure};
use crate::load::{Group, Tally};
use crate::meter::Usage;

/// How long a process may take beyond the time of its load.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server and a client that is connected to it.
#[derive(Debug)]
pub(crate) struct Pair {
    client: Client,
    server: Server,
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
    /// Microseconds of processor time of both processes for a request of the first group, which
    /// are milliseconds for 1000 of them. `None` where the system does not say.
    pub(crate) fn cpu_us(&self) -> Option<f64> {
        let cpu = self.client.cpu? + self.server.cpu?;
        Some(cpu.as_secs_f64() * 1e6 / self.tallies[0].requests as f64)
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
        mut another: impl FnMut(String) -> Result<String, Failure>,
    ) -> Result<Self, Failure> {
        let mut server = Server::start(contender, 1)?;
        let address = another(server.addresses.remove(0))?;
        let client = Client::start(contender, 1, &[address])?;
        Ok(Self { client, server })
    }

    /// Lets the client load the server for a time.
    pub(crate) fn load(&mut self, time: Duration, groups: &[Group]) -> Result<Loaded, Failure> {
        self.client.load(&mut self.server, time, groups)
    }
}

/// A process with one server or several.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    addresses: Vec<String>,
}

impl Server {
    /// Starts one with so many servers.
    pub(crate) fn start(contender: Contender, nodes: usize) -> Result<Self, Failure> {
        Self::start_on(workers(), contender, nodes)
    }

    /// Starts one with so many servers, whose tasks run on so many threads.
    pub(crate) fn start_on(
        workers: usize,
        contender: Contender,
        nodes: usize,
    ) -> Result<Self, Failure> {
        let process = Process::start(workers, &[SERVE, contender.name(), &nodes.to_string()])?;
        let addresses = (0..nodes).map(|_| process.line(PATIENCE)).collect::<Result<_, _>>()?;
        Ok(Self { process, addresses })
    }

    /// Where they are, one for each.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// What the process has used since it began.
    pub(crate) fn usage(&mut self) -> Result<Usage, Failure> {
        Ok(self.process.ask(USAGE, PATIENCE)?.usage)
    }
}

/// A process with one client or several.
#[derive(Debug)]
pub(crate) struct Client(Process);

impl Client {
    /// Starts one with so many clients, and connects each of them to all those servers.
    pub(crate) fn start(
        contender: Contender,
        nodes: usize,
        servers: &[String],
    ) -> Result<Self, Failure> {
        Self::start_on(workers(), contender, nodes, servers)
    }

    /// The same, whose tasks run on so many threads.
    pub(crate) fn start_on(
        workers: usize,
        contender: Contender,
        nodes: usize,
        servers: &[String],
    ) -> Result<Self, Failure> {
        let nodes = nodes.to_string();
        let mut arguments = vec![SEND, contender.name(), &nodes];
        arguments.extend(servers.iter().map(String::as_str));
        let process = Process::start(workers, &arguments)?;
        process.line(PATIENCE)?;
        Ok(Self(process))
    }

    /// Loads the servers of a process for a time.
    pub(crate) fn load(
        &mut self,
        server: &mut Server,
        time: Duration,
        groups: &[Group],
    ) -> Result<Loaded, Failure> {
        let load = Load { time, groups: groups.to_vec() };
        let before = server.usage()?;
        let Answer { usage: client, tallies, .. } = self.0.ask(&load.encode(), time + PATIENCE)?;
        Ok(Loaded { tallies, client, server: server.usage()?.since(before) })
    }

    /// What the process has used since it began.
    pub(crate) fn usage(&mut self) -> Result<Usage, Failure> {
        Ok(self.0.ask(USAGE, PATIENCE)?.usage)
    }

    /// How many streams it has open.
    pub(crate) fn streams(&mut self) -> Result<usize, Failure> {
        Ok(self.0.ask(USAGE, PATIENCE)?.streams)
    }
}

/// How many threads run the tasks of a process, unless the scenario says otherwise.
fn workers() -> usize {
    *WORKERS.get().expect("it is set at the start")
}

/// A process that is ended when this is dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    fn start(workers: usize, arguments: &[&str]) -> Result<Self, Failure> {
        let workers = workers.to_string();
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .env("TOKIO_WORKER_THREADS", &workers)
            .env("ASYNC_STD_THREAD_COUNT", &workers)
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
