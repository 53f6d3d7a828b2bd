//! Messages that the server pushes.

use std::fmt::Write;

use super::{median, none, short, table};
use crate::sample::Spread;
use crate::scenario::streams::{Many, One, Streams};

/// Both tables, if there is anything in them.
pub(super) fn section(streams: &Streams) -> Option<String> {
    if streams.one.is_empty() && streams.many.is_empty() {
        return None;
    }
    let mut text = "## Streams of messages\n".to_owned();
    if !streams.one.is_empty() {
        let header = ["one stream", "messages/s", "MB/s", "CPU µs a message"];
        let rows = streams.one.iter().filter_map(one);
        write!(
            text,
            "\nThe server pushes as fast as messages are taken.\n\n{}",
            table(&header, rows)
        )
        .expect("a string takes everything");
    }
    if !streams.many.is_empty() {
        let header = [
            "subscriptions",
            "who",
            "half after, ms",
            "the last after, ms",
            "CPU µs a message",
            "KiB a subscription, client + server",
        ];
        let rows = streams.many.iter().map(many);
        write!(
            text,
            "\nMessages of 512 bytes; opening the subscriptions is a part of the processor time. The \
             last of a round is the one that was late most.\n\n{}",
            table(&header, rows)
        )
        .expect("a string takes everything");
    }
    Some(text)
}

fn one(row: &One) -> Option<Vec<String>> {
    let rate = Spread::of(row.per_s.iter().copied())?;
    Some(vec![
        format!("{} of {}", row.contender, row.cell.size),
        format!("{} ({} to {})", short(rate.median), short(rate.low), short(rate.high)),
        short(rate.median * row.cell.size.0 as f64 / 1e6),
        median(row.cpu_us),
    ])
}

fn many(row: &Many) -> Vec<String> {
    vec![
        row.audience.name().to_owned(),
        row.contender.to_string(),
        row.p50_ms.to_string(),
        row.last_ms.to_string(),
        median(row.cpu_us),
        row.memory_kib.map_or_else(none, |[client, server]| format!("{client:.1} + {server:.1}")),
    ]
}
