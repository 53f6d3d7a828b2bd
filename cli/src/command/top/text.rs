//! How a node is, in lines of text.

use std::time::Duration;

use super::state::State;
use crate::error::Failure;
use crate::node::activity::{PeerActivity, Snapshot};
use crate::output::{Mark, Output, duration, size, time_of_day};

/// After how many lines the names of the columns come again.
const PAGE: u64 = 20;

/// A line of figures.
pub(super) fn line(state: &State, line: u64, output: Output) -> Result<(), Failure> {
    if line.is_multiple_of(PAGE) {
        output.line(output.mark(
            Mark::Label,
            format_args!(
                "{:>8}  {:>9}  {:>9}  {:>9}  {:>7}  {:>6}  {:>9}  {:>5}",
                "time", "req/s", "failed/s", "refused/s", "at work", "limit", "memory", "peers"
            ),
        ))?;
    }
    let (shown, load) = (&state.shown, &state.shown.now.load);
    output.line(format_args!(
        "{:>8}  {:>9.1}  {:>9.1}  {:>9.1}  {:>7}  {:>6}  {:>9}  {:>5}",
        time_of_day(),
        shown.started,
        shown.failed,
        shown.refused,
        load.in_flight,
        load.limit,
        size(load.memory),
        shown.now.connected.unwrap_or(load.peers),
    ))
}

/// Everything.
pub(super) fn whole(state: &State, output: Output) -> Result<(), Failure> {
    output.field("Peer ID", &state.peer)?;
    if !state.load_alone {
        output.field("Up", uptime(state.shown.now.uptime_ms))?;
    }
    for (label, text) in summary(state) {
        output.field(label, text)?;
    }
    if !state.shown.protocols.is_empty() {
        output.line("")?;
        output.line(output.mark(Mark::Label, row(&PROTOCOLS, "protocol")))?;
    }
    for protocol in protocols(state) {
        let (name, figures) = protocol.split_last().map_or(("", &[][..]), |(n, f)| (&**n, f));
        output.line(row(figures, name))?;
    }
    if !state.shown.now.peers.is_empty() {
        output.line("")?;
        output.line(output.mark(Mark::Label, row(&PEERS, "peer")))?;
    }
    for peer in &state.shown.now.peers {
        output.line(row(&figures_of(peer), &format!("{}  {}", peer.peer, peer.address)))?;
    }
    Ok(())
}

fn row(figures: &[impl AsRef<str>], last: &str) -> String {
    let figures = figures.iter().map(|figure| format!("{:>9}", figure.as_ref()));
    format!("{}  {last}", figures.collect::<Vec<_>>().join("  "))
}

/// The names of the figures of a protocol.
pub(super) const PROTOCOLS: [&str; 7] =
    ["req/s", "failed/s", "refused/s", "at work", "handler", "in/s", "out/s"];

/// The names of the figures of a peer.
pub(super) const PEERS: [&str; 7] =
    ["path", "rtt", "streams", "requests", "at work", "memory", "connected"];

/// The figures of each protocol, and its name at the end.
pub(super) fn protocols(state: &State) -> impl Iterator<Item = [String; 8]> {
    state.shown.protocols.iter().map(|protocol| {
        [
            format!("{:.1}", protocol.ended),
            format!("{:.1}", protocol.failed),
            format!("{:.1}", protocol.refused),
            protocol.in_flight.to_string(),
            protocol.worked.map_or_else(|| "-".to_owned(), seconds),
            size(protocol.received as u64),
            size(protocol.sent as u64),
            protocol.name.clone(),
        ]
    })
}

/// The figures of a peer.
pub(super) fn figures_of(peer: &PeerActivity) -> [String; 7] {
    [
        peer.path.clone(),
        peer.rtt_us.map_or_else(|| "-".to_owned(), |rtt| duration(Duration::from_micros(rtt))),
        peer.streams.to_string(),
        peer.requests.to_string(),
        peer.in_flight.to_string(),
        size(peer.memory),
        uptime(peer.connected_ms),
    ]
}

fn seconds(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// What is told of the node as a whole: labels and texts.
pub(super) fn summary(state: &State) -> Vec<(&'static str, String)> {
    let (shown, Snapshot { load, .. }) = (&state.shown, &state.shown.now);
    let requests = format!(
        "{:.1}/s started, {:.1}/s failed, {:.1}/s refused",
        shown.started, shown.failed, shown.refused
    );
    let connected = match shown.now.connected {
        Some(connected) => format!("{connected} peers connected"),
        None => format!("{} peers", load.peers),
    };
    let work = format!(
        "{} of {} requests, {} calls, {} streams, {connected}",
        load.in_flight, load.limit, load.calls, load.streams
    );
    let memory = match shown.now.memory_limit {
        Some(limit) => format!("{} of {}", size(load.memory), size(limit)),
        None => size(load.memory),
    };
    let reasons = shown.now.refusals.iter().map(|(reason, count)| format!("{count} {reason}"));
    let reasons = reasons.collect::<Vec<_>>().join(", ");
    let of = if reasons.is_empty() { String::new() } else { format!(" ({reasons})") };
    let so_far = format!(
        "{} started, {} answered, {} failed, {} refused{of}",
        load.started, load.ok, load.failed, load.refused
    );
    vec![("Requests", requests), ("At work", work), ("Memory", memory), ("So far", so_far)]
}

/// For how long something has been there.
pub(super) fn uptime(ms: u64) -> String {
    match ms / 1000 {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ ..3600 => format!("{} min", seconds / 60),
        seconds @ ..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        seconds => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_people() {
        assert_eq!(uptime(59_999), "59 s");
        assert_eq!(uptime(60_000), "1 min");
        assert_eq!(uptime(3_720_000), "1 h 2 min");
        assert_eq!(uptime(90_000_000), "1 d 1 h");
    }
}
