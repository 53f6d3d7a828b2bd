//! Three servers of the example are restarted one after the other while a client writes and reads.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Lines};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

fn replicas(arguments: &[&str]) -> Command {
    let mut path: PathBuf = std::env::current_exe().expect("this test has a path");
    // Out of `deps`.
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples").join("replicas"));
    command.args(arguments);
    command
}

/// A process, with what it prints.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut command = replicas(arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it was built");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("it says something").expect("text")
    }

    /// As a supervisor or Ctrl-C would.
    fn interrupt(&mut self) -> String {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill").args(["-INT", &id]).status().expect("there is kill").success()
        );
        let last = self.line();
        assert!(self.child.wait().expect("it ends").success());
        last
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn output_of(arguments: &[&str]) -> String {
    let output = replicas(arguments).output().expect("it was built");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The arguments of a server, or of a client.
fn with<'a>(first: &[&'a str], servers: &'a [String]) -> Vec<&'a str> {
    first.iter().copied().chain(servers.iter().map(String::as_str)).collect()
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("pointsub-replicas-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn of(&self, server: usize) -> String {
        Path::new(&self.0).join(server.to_string()).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_rolling_restart_under_load_fails_no_call_and_loses_no_value() {
    let folder = Folder::new();
    let folders: Vec<String> = (0..3).map(|server| folder.of(server)).collect();
    // Held until all are chosen, so that they differ.
    let ports: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let addresses: Vec<String> = ports
        .iter()
        .zip(&folders)
        .map(|(port, folder)| {
            let port = port.local_addr().expect("it is bound").port();
            format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", output_of(&["key", folder]))
        })
        .collect();
    drop(ports);
    let start = |server: usize| {
        let mut running = Running::start(&with(&["serve", &folders[server]], &addresses));
        let line = running.line();
        assert!(line.starts_with("serving as 12D3Koo"), "{line}");
        running
    };
    let mut servers: Vec<Running> = (0..3).map(start).collect();
    assert_eq!(output_of(&with(&["put", "colour", "green"], &addresses)), "");

    let mut load = Running::start(&with(&["load"], &addresses));
    assert_eq!(load.line(), "the first call is answered");
    for (server, running) in servers.iter_mut().enumerate() {
        let last = running.interrupt();
        assert_eq!(last, "ended, clean");
        *running = start(server);
    }
    drop(load.child.stdin.take());
    let last = load.line();
    let (calls, failed) = last.split_once(" calls, ").expect("it counts");
    assert!(calls.parse::<u64>().expect("a number") > 100, "{last}");
    assert_eq!(failed, "0 failed", "{last}");

    // Every server was restarted, and keeps nothing on its disk but its key.
    assert_eq!(output_of(&with(&["get", "colour"], &addresses)), "green");
}
