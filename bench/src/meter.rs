//! What this process has used so far, by its own account.

use std::time::Duration;

/// What a process has used since it began, and what it has now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Processor time of all its threads. `None` where the system does not say.
    pub(crate) cpu: Option<Duration>,
    /// The most memory that it ever had resident, in KiB. `None` where the system does not say.
    pub(crate) peak_kib: Option<u64>,
    /// The memory that it has resident now, in KiB. `None` where the system does not say.
    pub(crate) resident_kib: Option<u64>,
}

impl Usage {
    /// Of this process, now.
    pub(crate) fn now() -> Self {
        Self { cpu: cpu(), peak_kib: status("VmHWM:"), resident_kib: status("VmRSS:") }
    }

    /// With the processor time since then; memory is as it is now.
    pub(crate) fn since(self, before: Self) -> Self {
        let cpu = self.cpu.zip(before.cpu).map(|(now, before)| now - before);
        Self { cpu, ..self }
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
fn status(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
