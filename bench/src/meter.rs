//! What this process has used so far, by its own account.

use std::time::Duration;

/// What a process has used since it began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Processor time of all its threads. `None` where the system does not say.
    pub(crate) cpu: Option<Duration>,
    /// The most memory that it ever had resident, in KiB. `None` where the system does not say.
    pub(crate) peak_kib: Option<u64>,
}

impl Usage {
    /// Of this process, now.
    pub(crate) fn now() -> Self {
        Self { cpu: cpu(), peak_kib: peak_kib() }
    }
}

#[cfg(unix)]
fn cpu() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.try_into().ok()
}

#[cfg(not(unix))]
const fn cpu() -> Option<Duration> {
    None
}

/// Linux only: elsewhere there is no such file.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
