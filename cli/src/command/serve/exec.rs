//! A shell command that answers.

use std::process::Stdio;
use std::time::Duration;

use pointsub_tokio::{HandlerError, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{too_long, too_slow};

/// How much of what a failed command wrote to its standard error output is kept: what travels.
const MAX_TOLD: usize = 900;

/// A command, and what it may use.
#[derive(Debug)]
pub(super) struct Exec {
    command: String,
    jobs: Semaphore,
    time: Duration,
    max_output: usize,
    send_stderr: bool,
}

impl Exec {
    pub(super) fn new(
        command: &str,
        jobs: u16,
        time: Duration,
        max_output: usize,
        send_stderr: bool,
    ) -> Self {
        let jobs = Semaphore::new(usize::from(jobs));
        Self { command: command.to_owned(), jobs, time, max_output, send_stderr }
    }

    /// Runs the command. Dropping this ends it, with all that it has started.
    pub(super) async fn answer(&self, request: Request) -> Result<Vec<u8>, HandlerError> {
        let _job = self.jobs.acquire().await.map_err(HandlerError::internal)?;
        match timeout(self.time, self.run(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(too_slow(self.time)),
        }
    }

    async fn run(&self, request: Request) -> Result<Vec<u8>, HandlerError> {
        let mut child = self.command(&request).spawn()?;
        // Dropped before the child is: its number is not somebody else's yet.
        let mut group = Group::of(&child);
        let input = child.stdin.take();
        let write = async {
            if let Some(mut input) = input {
                // A command need not read its input.
                let _unread = input.write_all(&request.body).await;
            }
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let ((), answer, told) = tokio::join!(write, read(stdout, self.max_output), tail(stderr));
        let Some(answer) = answer? else { return Err(too_long(self.max_output)) };
        let status = child.wait().await?;
        group.ended();
        if status.success() {
            return Ok(answer);
        }
        let text = String::from_utf8_lossy(&told);
        let (text, status) = (text.trim(), code(status));
        match self.send_stderr && !text.is_empty() {
            true => Err(HandlerError::new(status, text)),
            false => Err(HandlerError::new(status, format!("the command ended with {status}"))),
        }
    }

    fn command(&self, request: &Request) -> Command {
        let mut command = Command::new(if cfg!(windows) { "cmd" } else { "sh" });
        command.arg(if cfg!(windows) { "/C" } else { "-c" }).arg(&self.command);
        command.env("POINTSUB_PEER", request.peer.to_string());
        command.env("POINTSUB_PROTOCOL", request.protocol.as_str());
        command
            .env("POINTSUB_METHOD", request.method.as_ref().map_or("", |method| method.as_str()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        command
    }
}

/// The exit status; 128 and the number of a signal, as shells say it.
fn code(status: std::process::ExitStatus) -> u32 {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        if let Some(signal) = status.signal() {
            return 128 + signal.unsigned_abs();
        }
    }
    status.code().map_or(1, i32::unsigned_abs)
}

/// Everything up to the end; `None` if that is more than the limit.
async fn read(
    from: Option<impl AsyncRead + Unpin>,
    limit: usize,
) -> std::io::Result<Option<Vec<u8>>> {
    let mut all = Vec::new();
    if let Some(from) = from {
        from.take(limit as u64 + 1).read_to_end(&mut all).await?;
    }
    Ok(Some(all).filter(|all| all.len() <= limit))
}

/// The end of what comes.
async fn tail(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    let Some(mut from) = from else { return kept };
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        let surplus = kept.len().saturating_sub(MAX_TOLD);
        kept.drain(..surplus);
    }
    kept
}

/// The processes that a command has started. They are killed unless it has ended by itself.
struct Group {
    #[cfg(unix)]
    leader: Option<rustix::process::Pid>,
}

impl Group {
    #[cfg(unix)]
    fn of(child: &Child) -> Self {
        let number = child.id().and_then(|id| i32::try_from(id).ok());
        Self { leader: number.and_then(rustix::process::Pid::from_raw) }
    }

    #[cfg(not(unix))]
    fn of(_: &Child) -> Self {
        Self {}
    }

    fn ended(&mut self) {
        #[cfg(unix)]
        {
            self.leader = None;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(leader) = self.leader {
            // All of them may have ended already.
            let _gone = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}
