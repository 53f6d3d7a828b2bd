//! What is printed, for people or as JSON, and with colours where somebody sees them.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::builder::styling::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pointsub_tokio::Source;
use serde_json::Value;

use crate::error::Failure;

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// JSON on the standard output.
    pub(crate) json: bool,
    /// More is told, on the standard error output.
    pub(crate) verbose: bool,
    colour: Colours,
}

/// Where colours are seen.
#[derive(Debug, Clone, Copy)]
struct Colours {
    out: bool,
    err: bool,
}

/// What a text means.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mark {
    Label,
    Good,
    Bad,
    Faint,
}

impl Mark {
    const fn style(self) -> Style {
        match self {
            Self::Label => Style::new().bold(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Faint => Style::new().dimmed(),
        }
    }
}

impl Output {
    pub(crate) fn new(json: bool, verbose: bool) -> Self {
        // https://no-color.org: set and not empty. A terminal that says `dumb` knows none.
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = Colours {
            out: !unwanted && io::stdout().is_terminal(),
            err: !unwanted && io::stderr().is_terminal(),
        };
        Self { json, verbose, colour }
    }

    /// A text for the standard output.
    pub(crate) fn mark(self, mark: Mark, text: impl Display) -> String {
        painted(self.colour.out, mark, text)
    }

    /// Prints a line.
    pub(crate) fn line(self, text: impl Display) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
    }

    /// Prints a label with what it is about.
    pub(crate) fn field(self, label: &str, text: impl Display) -> Result<(), Failure> {
        self.line(format_args!("{} {text}", self.mark(Mark::Label, format_args!("{label:<9}"))))
    }

    /// Prints a line of JSON.
    pub(crate) fn value(self, value: &Value) -> Result<(), Failure> {
        self.line(value)
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
    }

    /// Tells something beside the output.
    pub(crate) fn note(self, text: impl Display) {
        // Who has closed the standard error output does not want to know.
        let _closed = writeln!(io::stderr(), "{}", painted(self.colour.err, Mark::Faint, text));
    }

    /// The same, where `--verbose` is given.
    pub(crate) fn detail(self, text: impl Display) {
        if self.verbose {
            self.note(text);
        }
    }

    /// Tells of a failure.
    pub(crate) fn failure(self, failure: &Failure) {
        let (message, next) = failure.lines();
        if self.json {
            let _closed = writeln!(io::stdout(), "{}", failure.to_json());
            return;
        }
        if message.is_empty() {
            return;
        }
        let label = painted(self.colour.err, Mark::Bad, "error:");
        let _closed = writeln!(io::stderr(), "{label} {message}");
        if let Some(next) = next {
            let label = painted(self.colour.err, Mark::Label, "next:");
            let _closed = writeln!(io::stderr(), " {label} {next}");
        }
    }

    /// A bar for work of this many steps, if somebody sees it.
    pub(crate) fn bar(self, steps: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {per_sec}  {eta} left");
        let bar = ProgressBar::with_draw_target(Some(steps), self.target());
        style.map_or(bar.clone(), |style| bar.with_style(style))
    }

    /// A line that says what is waited for, if somebody sees it.
    pub(crate) fn waiting(self, text: impl Into<std::borrow::Cow<'static, str>>) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(None, self.target());
        let style = ProgressStyle::with_template("{spinner} {msg}");
        let bar = style.map_or(bar.clone(), |style| bar.with_style(style)).with_message(text);
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    fn target(self) -> ProgressDrawTarget {
        match self.json || !io::stderr().is_terminal() {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        }
    }
}

fn painted(colour: bool, mark: Mark, text: impl Display) -> String {
    match (colour, mark.style()) {
        (true, style) => format!("{style}{text}{style:#}"),
        (false, _) => text.to_string(),
    }
}

/// What JSON calls a way of finding servers.
pub(crate) const fn source_name(source: Source) -> &'static str {
    match source {
        Source::Manual => "named",
        Source::Connected => "connected",
        Source::Lan => "lan",
        Source::Dns => "dns",
        Source::Registry => "registry",
        Source::Dht => "dht",
        _ => "custom",
    }
}

/// The time of day, in UTC.
pub(crate) fn time_of_day() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}", since / 3600, since / 60 % 60, since % 60)
}

/// Seconds since 1970, for JSON.
pub(crate) fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A duration in milliseconds, for JSON.
pub(crate) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// A duration for people.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        ..0.001 => format!("{:.0} µs", seconds * 1e6),
        ..0.01 => format!("{:.2} ms", seconds * 1e3),
        ..0.1 => format!("{:.1} ms", seconds * 1e3),
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(duration(Duration::from_micros(412)), "412 µs");
        assert_eq!(duration(Duration::from_micros(4120)), "4.12 ms");
        assert_eq!(duration(Duration::from_millis(41)), "41.0 ms");
        assert_eq!(duration(Duration::from_millis(412)), "412 ms");
        assert_eq!(duration(Duration::from_millis(4120)), "4.12 s");
        assert_eq!(size(5), "5 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(3 << 40), "3.0 TiB");
        assert_eq!(millis(Duration::from_nanos(1_234_567)), 1.235);
    }
}
