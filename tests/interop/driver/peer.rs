//! A peer in another language: a process that does what lines on its standard input say.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use pointsub_swarm::{Dialect, Dialects, Multiaddr, PeerId};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::checks::{Body, name};

/// How long a peer may take to start.
const START: Duration = Duration::from_secs(30);

/// The command line that starts a peer.
pub(crate) struct Program(pub(crate) String);

/// What a peer answers: what it was asked for, or what went wrong.
pub(crate) type Answer = Result<String, String>;

/// What [`Peer::read`] gives when the other end has closed the stream.
pub(crate) const END: &str = "end";

pub(crate) struct Peer {
    /// What the peer expects of a node that it dials with Noise.
    pub(crate) dialects: Dialects,
    pub(crate) id: PeerId,
    pub(crate) address: Multiaddr,
    child: Child,
    commands: mpsc::UnboundedSender<(String, oneshot::Sender<Answer>)>,
    events: mpsc::UnboundedReceiver<String>,
}

/// A stream that a peer has opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream(usize);

impl Program {
    pub(crate) async fn start(&self) -> Peer {
        let mut words = self.0.split_whitespace();
        let mut child = Command::new(words.next().expect("a command line"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.0));
        let input = child.stdin.take().expect("it is piped");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let ready = timeout(START, lines.next_line()).await.expect("the peer starts in time");
        let ready = ready.expect("the peer writes text").expect("the peer starts");
        let address = ready.strip_prefix("ready ").expect("the first line tells the address");
        let id = address.rsplit('/').next().expect("a part").parse().expect("a peer id at the end");
        let address = address.parse().expect("an address");
        let (commands, inbox) = mpsc::unbounded_channel();
        let (outbox, events) = mpsc::unbounded_channel();
        tokio::spawn(talk(input, lines, inbox, outbox));
        let dep2p = self.0.contains("--dialect dep2p");
        let noise = if dep2p { Dialect::Dep2p } else { Dialect::Libp2p };
        Peer { dialects: Dialects::Both { noise }, id, address, child, commands, events }
    }
}

/// Hands commands to the process and its answers to whoever waits, until one side ends.
async fn talk(
    mut input: ChildStdin,
    mut lines: Lines<BufReader<ChildStdout>>,
    mut commands: mpsc::UnboundedReceiver<(String, oneshot::Sender<Answer>)>,
    events: mpsc::UnboundedSender<String>,
) {
    let mut waiting: HashMap<String, oneshot::Sender<Answer>> = HashMap::new();
    let mut count = 0_u64;
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some((command, done)) = command else { return };
                count += 1;
                waiting.insert(count.to_string(), done);
                if input.write_all(format!("{count} {command}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
            line = lines.next_line() => {
                let Ok(Some(line)) = line else { return };
                let (number, said) = line.split_once(' ').unwrap_or((&line, ""));
                if number == "event" {
                    let _nobody_waits = events.send(said.to_owned());
                } else if let Some(done) = waiting.remove(number) {
                    let (outcome, words) = said.split_once(' ').unwrap_or((said, ""));
                    let words = words.to_owned();
                    let _gone = done.send(if outcome == "ok" { Ok(words) } else { Err(words) });
                }
            }
        }
    }
}

impl Peer {
    pub(crate) async fn command(&self, command: String) -> Answer {
        let (done, answer) = oneshot::channel();
        let sent = self.commands.send((command, done));
        sent.map_err(|_| "the peer has ended".to_owned())?;
        answer.await.unwrap_or_else(|_| Err("the peer has ended".to_owned()))
    }

    /// The same, of what cannot fail.
    pub(crate) async fn surely(&self, command: String) -> String {
        let answer = self.command(command.clone()).await;
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    pub(crate) async fn connect(&self, address: Multiaddr) {
        self.surely(format!("connect {address}")).await;
    }

    pub(crate) async fn try_open(&self, to: PeerId, habit: &str) -> Result<Stream, String> {
        let stream = self.command(format!("open {to} {}", name(habit))).await?;
        Ok(Stream(stream.parse().expect("a number")))
    }

    pub(crate) async fn open(&self, to: PeerId, habit: &str) -> Stream {
        self.try_open(to, habit).await.expect("a stream")
    }

    /// How many streams the peer has accepted from another one.
    pub(crate) async fn accepted(&self, habit: &str, from: PeerId) -> u64 {
        let streams = self.surely(format!("accepted {} {from}", name(habit))).await;
        streams.parse().expect("a number")
    }

    /// Sends a request.
    pub(crate) async fn send(&self, Stream(stream): Stream, body: &Body) -> Answer {
        self.command(format!("send {stream} {} {}", body.size, body.seed)).await
    }

    /// Sends the bytes `from..to` of a request's frame.
    pub(crate) async fn part(&self, Stream(stream): Stream, body: &Body, from: usize, to: usize) {
        let Body { size, seed } = body;
        self.surely(format!("part {stream} {size} {seed} {from} {to}")).await;
    }

    /// Waits for an answer: its [receipt](Body::receipt), or [`END`].
    pub(crate) async fn read(&self, Stream(stream): Stream) -> Answer {
        self.command(format!("read {stream}")).await
    }

    pub(crate) async fn ask(&self, stream: Stream, body: &Body) -> Answer {
        self.send(stream, body).await?;
        self.read(stream).await
    }

    /// Sends a body and gets the same one back.
    pub(crate) async fn check_echo(&self, stream: Stream, body: &Body) {
        assert_eq!(self.ask(stream, body).await, Ok(body.receipt()));
    }

    /// Closes the half of a stream that the peer writes.
    pub(crate) async fn shut(&self, Stream(stream): Stream) {
        self.surely(format!("shut {stream}")).await;
    }

    pub(crate) async fn reset(&self, Stream(stream): Stream) {
        self.surely(format!("reset {stream}")).await;
    }

    /// Waits until the peer says that something has happened.
    pub(crate) async fn event(&mut self, event: &str) {
        while self.events.recv().await.expect("the peer runs") != event {}
    }

    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("the peer runs");
    }
}
