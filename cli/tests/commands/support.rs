//! Runs the program, in a home of its own.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// Where servers of tests listen.
pub(crate) const HERE: &str = "/ip4/127.0.0.1/tcp/0";

/// A folder with the configuration of one user, which is removed at the end.
pub(crate) struct Home(PathBuf);

impl Home {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("pointsub-cli-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder.canonicalize().expect("it is there"))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        fs::write(&path, contents).expect("it can be written");
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsub"));
        command.args(arguments).env("POINTSUB_CONFIG_DIR", &self.0).stdin(Stdio::null());
        for name in
            ["NO_COLOR", "POINTSUB_KAD_SECRET", "POINTSUB_LOG", "POINTSUB_PROFILE", "COLUMNS"]
        {
            command.env_remove(name);
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        Done(self.command(arguments).output().expect("it was built"))
    }

    /// Runs a command that reads this.
    pub(crate) fn feed(&self, arguments: &[&str], input: &[u8]) -> Done {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it was built");
        child.stdin.take().expect("it is piped").write_all(input).expect("it reads");
        Done(child.wait_with_output().expect("it ends"))
    }

    /// Starts something that goes on, and waits until it says that it is ready.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut running = self.follow(arguments);
        running.ready = running.next();
        assert_eq!(running.ready["event"], "ready", "{}", running.ready);
        running
    }

    /// Starts something that goes on, and tells of what happens.
    pub(crate) fn follow(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.arg("--json").stdout(Stdio::piped());
        let mut child = command.spawn().expect("it was built");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Running { child, lines, ready: Value::Null }
    }

    /// Starts a server on this machine that is not announced: all servers of a machine have one ration of
    /// packets.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Running {
        self.serve_nearby(&[arguments, &["--no-lan"]].concat())
    }

    /// Starts a server that is announced on the local network, here on that of this machine alone.
    pub(crate) fn serve_nearby(&self, arguments: &[&str]) -> Running {
        self.start(&[&["serve"], arguments, &["--listen", HERE]].concat())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// What came of a command.
pub(crate) struct Done(Output);

impl Done {
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0.stdout
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    pub(crate) fn values(&self) -> Vec<Value> {
        let value = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        self.out().lines().map(value).collect()
    }

    /// It has done what it should.
    #[track_caller]
    pub(crate) fn well(self) -> Self {
        self.with_code(0)
    }

    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Self {
        assert_eq!(self.0.status.code(), Some(code), "{}\n{}", self.out(), self.err());
        self
    }

    /// It has failed, and says this.
    #[track_caller]
    pub(crate) fn says(self, code: i32, text: &str) -> Self {
        let done = self.with_code(code);
        assert!(done.err().contains(text), "{}", done.err());
        done
    }
}

/// A command that goes on. It is killed at the end.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) ready: Value,
}

impl Running {
    /// The next line of its output.
    pub(crate) fn next(&mut self) -> Value {
        let line = self.lines.next().expect("it goes on").expect("text");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"))
    }

    pub(crate) fn ticket(&self) -> String {
        self.text("ticket")
    }

    pub(crate) fn peer(&self) -> String {
        self.text("peer")
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.ready[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", self.ready)).to_owned()
    }

    /// Ctrl-C.
    #[cfg(unix)]
    pub(crate) fn interrupt(&self) {
        interrupt(&self.child);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Sends what Ctrl-C sends.
#[cfg(unix)]
pub(crate) fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is running");
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
