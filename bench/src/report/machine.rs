//! What was measured on.

use std::process::Command;

/// A sentence about this machine.
pub(crate) fn description() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "cores".to_owned());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim().to_owned();
    let system = std::env::consts::OS;
    format!("{cores} × {model}; {system} {kernel}; {}", rustc())
}

/// The first value of a name in a file of lines with colons.
fn line_of(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The compiler that is found here, which is the one that cargo has just used.
fn rustc() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let version = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let version = version.and_then(|version| Some(version.split(" (").next()?.trim().to_owned()));
    version.unwrap_or_else(|| "rustc unknown".to_owned())
}
