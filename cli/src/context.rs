//! What every command is given, and how it is interrupted.

use std::time::Duration;

use crate::config::Config;
use crate::error::Failure;
use crate::output::Output;

/// How long a call may take where nothing else is said.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// What every command is given.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) output: Output,
    pub(crate) config: Config,
    /// `--timeout`.
    pub(crate) timeout: Option<Duration>,
}

impl Context {
    /// How long a call may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.or(self.config.profile.timeout).unwrap_or(TIMEOUT)
    }
}

/// Waits for Ctrl-C, or to be told to end by the system.
pub(crate) async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut end) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = end.recv() => {}
            }
            return;
        }
    }
    let _unheard = tokio::signal::ctrl_c().await;
}

/// Runs something until it is done or interrupted.
pub(crate) async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        done = work => done,
        () = interrupted() => Err(Failure::interrupted()),
    }
}
