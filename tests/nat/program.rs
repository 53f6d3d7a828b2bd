//! This program again, in another namespace.

use std::env::current_exe;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// Longer than anything takes: whoever hangs fails.
const LIMIT: Duration = Duration::from_secs(60);

/// Killed when dropped.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    pub(crate) fn start(namespace: &str, arguments: &[&str]) -> Result<Self, String> {
        let exe = current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(exe).args(arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| error.to_string())?;
        let stdout = child.stdout.take().ok_or("no output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _gone = sender.send(line);
            }
        });
        Ok(Self { child, lines })
    }

    /// The next line that it prints.
    pub(crate) fn line(&self) -> Result<String, String> {
        let line = self.lines.recv_timeout(LIMIT);
        line.map_err(|_| "a program has ended, or hangs; see above".to_owned())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // `ip` has become the program, so it is the one that is killed.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
