//! Tables.

mod overheads;
mod scale;
mod streams;
mod threads;

use std::fmt::Write;

use crate::contender::Contender;
use crate::report::targets::targets;
use crate::report::{BASELINE, Findings, machine};
use crate::sample::{CPU, P50, P99, RATE, Samples, Spread};
use crate::scenario::compression::Compression;
use crate::scenario::core::Core;
use crate::scenario::links::Link;
use crate::scenario::mixed::Mixed;
use crate::size::Cell;

/// All that was found.
pub(crate) fn report(findings: &Findings, arguments: &[&str]) -> String {
    let mut text = format!(
        "# Measured\n\n\
         `{}`\n\n\
         {}. It took {} s. Two processes, loopback, one connection; threads that run the tasks of \
         each: {}; rounds in which contenders take turns. A figure is the median of rounds, with \
         the least and the greatest in brackets; ratios are formed round by round. Who and what is \
         compared, and how: README.md beside this.\n",
        command(arguments),
        machine::description(),
        findings.took.as_secs(),
        findings.workers,
    );
    let sections = [
        reached(findings),
        matrix(findings),
        overheads::section(&findings.overheads),
        mixed(&findings.mixed),
        findings.compression.as_ref().map(compression),
        links(&findings.links),
        streams::section(&findings.streams),
        core(&findings.core),
        threads::section(&findings.threads),
        scale::section(&findings.scale),
    ];
    for failure in &findings.failures {
        write!(text, "\nNot measured: {failure}\n").expect("a string takes everything");
    }
    for section in sections.into_iter().flatten() {
        text.push('\n');
        text.push_str(&section);
    }
    text
}

/// What was asked for, without what says where it goes.
fn command(arguments: &[&str]) -> String {
    let mut arguments = arguments.iter();
    let mut kept = vec!["cargo run --release -p pointsub-bench --"];
    while let Some(argument) = arguments.next() {
        match *argument {
            "--json" => drop(arguments.next()),
            "--write" => {}
            argument => kept.push(argument),
        }
    }
    kept.join(" ").trim_end_matches(" --").to_owned()
}

/// A table from its header and its rows; the first column is text, the others are numbers.
fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    let mut rules = vec!["---:".to_owned(); header.len()];
    rules[0] = "---".to_owned();
    let rows: String = rows.into_iter().map(|row| line(&row)).collect();
    [line(&header), line(&rules), rows].concat()
}

fn reached(findings: &Findings) -> Option<String> {
    let targets = targets(findings);
    let rows = targets.iter().map(|target| {
        let met = if target.met { "met" } else { "**missed**" };
        vec![target.what.clone(), target.found.clone(), met.to_owned()]
    });
    let text = format!("## Targets\n\n{}", table(&["target", "found", ""], rows));
    (!targets.is_empty()).then_some(text)
}

fn matrix(findings: &Findings) -> Option<String> {
    let samples = &findings.matrix.samples;
    if samples.0.is_empty() {
        return None;
    }
    let mut text = "## Echo: body size × callers\n".to_owned();
    for cell in samples.cells() {
        let failures = findings.matrix.failures.iter().filter(|(_, place, _)| *place == cell);
        let header = [
            "",
            "requests/s",
            "MB/s",
            "p50 µs",
            "p99 µs",
            "CPU ms/1000",
            "peak MiB, client + server",
            "× request-response",
        ];
        let rows = Contender::ALL.iter().filter_map(|contender| row(samples, *contender, cell));
        write!(text, "\n### {cell}\n\n{}", table(&header, rows))
            .expect("a string takes everything");
        for (contender, _, failure) in failures {
            write!(text, "\n{contender} failed: {failure}\n").expect("a string takes everything");
        }
    }
    Some(text)
}

fn row(samples: &Samples, contender: Contender, cell: Cell) -> Option<Vec<String>> {
    let place = (contender, cell);
    let rate = samples.spread(place, RATE)?;
    let bytes = Spread::of(samples.at(place).map(|sample| sample.mb_per_s()))?;
    let memory = samples.at(place).filter_map(|sample| sample.rss_mib).last();
    let ratio = samples.ratio(place, (BASELINE, cell), RATE);
    Some(vec![
        contender.to_string(),
        format!("{} ({} to {})", short(rate.median), short(rate.low), short(rate.high)),
        short(bytes.median),
        median(samples.spread(place, P50)),
        median(samples.spread(place, P99)),
        median(samples.spread(place, CPU)),
        memory.map_or_else(none, |[client, server]| format!("{client:.0} + {server:.0}")),
        ratio.map_or_else(none, |ratio| ratio.to_string()),
    ])
}

fn mixed(rows: &[Mixed]) -> Option<String> {
    let header = [
        "",
        "p99 alone, ms",
        "p99 beside, ms",
        "ratio",
        "small/s beside",
        "large/s",
        "requests/s of 1024 ÷ of 64",
    ];
    let table = table(
        &header,
        rows.iter().map(|mixed| {
            vec![
                mixed.contender.to_string(),
                mixed.alone.to_string(),
                mixed.beside.to_string(),
                mixed.ratio.to_string(),
                short(mixed.small_per_s.median),
                short(mixed.large_per_s.median),
                mixed.crowd.to_string(),
            ]
        }),
    );
    let text = format!(
        "## Mixed load\n\n64 callers with 512 bytes, alone and beside 4 callers with 8 MiB, to one \
         peer; then 1024 callers instead.\n\n{table}"
    );
    (!rows.is_empty()).then_some(text)
}

fn compression(found: &Compression) -> String {
    let header = [
        "bodies",
        "bytes on the wire, off",
        "on",
        "CPU ms/1000, off",
        "on",
        "CPU on ÷ off",
        "requests/s on ÷ off",
    ];
    let prices = table(
        &header,
        found.prices.iter().map(|price| {
            vec![
                format!("{} {}", price.size, price.kind.name()),
                format!("{:.0}", price.wire[0]),
                format!("{:.0}", price.wire[1]),
                median(price.cpu_ms_per_1000[0]),
                median(price.cpu_ms_per_1000[1]),
                price.cpu.map_or_else(none, |ratio| ratio.to_string()),
                price.rate.to_string(),
            ]
        }),
    );
    let beside = &found.beside;
    let others = [
        ("nothing", beside.alone),
        ("32 MiB of text, not compressed", beside.off),
        ("32 MiB of text, compressed", beside.on),
    ];
    let others = table(
        &["beside", "p99 of 512x8, ms"],
        others.map(|(name, p99)| vec![name.to_owned(), p99.to_string()]),
    );
    format!(
        "## Compression\n\nEcho with 8 callers. Bytes are those of a request and its answer, counted \
         between the processes, encryption and framing included.\n\n{prices}\n{others}"
    )
}

fn links(links: &[Link]) -> Option<String> {
    let header = [
        "link, Mbit/s",
        "bodies",
        "first request, ms, off",
        "on",
        "requests/s, off",
        "on",
        "on ÷ off",
        "of the link used, on",
    ];
    let rows = links.iter().map(|link| {
        vec![
            link.rate.to_string(),
            format!("{} {}", link.cell, link.kind.name()),
            short(link.first_ms[0]),
            short(link.first_ms[1]),
            short(link.per_s[0].median),
            short(link.per_s[1].median),
            link.gain.to_string(),
            link.used.to_string(),
        ]
    });
    let text = format!(
        "## Compression over slow links\n\nA proxy between the processes carries so much each way. \
         The first request is the slower one of the first two on a new connection.\n\n{}",
        table(&header, rows)
    );
    (!links.is_empty()).then_some(text)
}

fn core(rows: &[Core]) -> Option<String> {
    let header = ["in flight", "1 peer: ns", "requests/s", "1000 peers: ns", "requests/s", "ratio"];
    let table = table(
        &header,
        rows.iter().map(|core| {
            let [one, many] = core.nanos.map(|nanos| nanos.median);
            vec![
                core.in_flight.to_string(),
                short(one),
                short(1e9 / one),
                short(many),
                short(1e9 / many),
                core.ratio.to_string(),
            ]
        }),
    );
    let text = format!(
        "## The core alone\n\nClient and server in memory on one thread, bodies of 32 bytes: what a \
         request and its answer cost at both ends together.\n\n{table}"
    );
    (!rows.is_empty()).then_some(text)
}

fn median(spread: Option<Spread>) -> String {
    spread.map_or_else(none, |spread| short(spread.median))
}

fn none() -> String {
    "–".to_owned()
}

/// A number with three digits at least, and no more behind the point than that takes.
fn short(number: f64) -> String {
    match number.abs() {
        0.0..10.0 => format!("{number:.2}"),
        10.0..100.0 => format!("{number:.1}"),
        _ => whole(number.round() as u64),
    }
}

/// A whole number in groups of three digits.
fn whole(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("digits"))
        .collect();
    groups.join(" ")
}
