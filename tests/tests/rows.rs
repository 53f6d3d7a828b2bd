//! `ROWS.md`: which test proves which promise. Generated from the doc comments of the tests, so
//! that it cannot say anything that is not there: a test that begins its documentation with the
//! number of a promise (`/// S6: …`, `/// W1, W9: …`) proves it, and a promise without a test
//! fails this one. `UPDATE_ROWS=1 cargo test -p pointsub-tests --test rows` writes the file anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use pointsub_tests::sources::{self, root};

/// The promises: those of the Go original's README, as far as they are about requests and answers.
const ROWS: &[(&str, &str)] = &[
    (
        "W1",
        "Plain frames are a 4-byte big-endian length and the payload, as Go writes them, in any split",
    ),
    ("W2", "Empty requests and responses are messages like any others"),
    (
        "W3",
        "The size limit holds exactly, both ways: N bytes pass, N + 1 are refused before they are sent",
    ),
    ("W4", "A length is checked before anything is allocated for it; too large is a typed error"),
    ("W5", "A handler's error reaches the client as such; a plain peer sees the stream close"),
    ("W6", "Plain streams carry one request or many in turn, native ones many at a time"),
    ("W7", "Compression is negotiated, really compresses, and is bounded when it inflates"),
    ("W8", "A node is client and server at once, in both directions at the same time"),
    ("W9", "No message is ever delivered torn; a stream that timed out is not used again"),
    (
        "S1",
        "`read_timeout` 30 s: first byte, mid-message and idle limits are apart, each at its own time",
    ),
    ("S2", "`write_timeout` 30 s: who does not read is cut off, and memory stays bounded"),
    ("S3", "`max_concurrent_requests` 1000: a configured maximum is never exceeded"),
    ("S4", "`max_block_size` 32 MiB of the server, checked to be 1 byte to 1 GiB"),
    ("S5", "`buffer_pool_size` 4 KiB: buffers are bounded by bytes in flight, not by streams"),
    (
        "S6",
        "The dynamic limit: 1000, 100 to 10 000 exactly, 10 % down above load 0.8, up below 0.4, on a time base, never without samples; AIMD and gradient beside it",
    ),
    ("S7", "Load is active requests by the limit, and told as a metric"),
    (
        "S8",
        "Above the limit the caller is told `busy` with retry-after; the count is that of requests at work after any schedule",
    ),
    ("S9", "A temporary error on a stream never brings down the server"),
    ("S10", "`cleanup_interval` 5 min: idle streams are closed at their time"),
    ("S11", "`compression` of the server, on by default"),
    ("S12", "Several protocols; a second registration is a typed error"),
    ("S13", "A flooded protocol or peer does not starve the others"),
    (
        "S14",
        "Stop: nothing is accepted, what is at work ends by the deadline, nothing leaks; it can start again",
    ),
    ("S15", "A protocol can be unregistered"),
    ("S16", "A handler that fails or panics harms nobody else, and owns its bytes"),
    ("S17", "`streams`: peer, protocol, last active, idle time, requests, created"),
    ("S18", "Counters of the server add up at every instant"),
    (
        "S19",
        "Byte budgets of server, peer and stream: beyond them requests are refused, never a panic",
    ),
    ("S20", "Every option does something"),
    ("S21", "Whatever becomes of a request, its place is given back"),
    ("C1", "`read_timeout` 30 s; the caller's deadline always wins"),
    ("C2", "`write_timeout` 30 s of the client"),
    ("C3", "`connect_timeout` 5 s covers dialling, opening and negotiating together"),
    (
        "C4",
        "`max_retries` 3: what surely was not processed is tried again, the rest only if idempotent; attempts are counted, causes kept",
    ),
    ("C5", "`retry_interval` 1 s: exponential with jitter, within a budget, retry-after honoured"),
    ("C6", "`compression` of the client, on by default"),
    ("C7", "`max_idle_streams` in all and a cap per peer; the last used stream is used first"),
    ("C8", "`idle_stream_timeout` 5 min, exact, and checked before a stream is used again"),
    ("C9", "Streams are pooled by peer and protocol and used again; the hit ratio is a metric"),
    ("C10", "Streams in all are capped, and nobody starves at the cap"),
    ("C11", "A healthy peer is never waited for"),
    ("C12", "The core has no threads, and dropping it frees everything"),
    ("C13", "A request to oneself is a typed error"),
    ("C14", "A request above the limit is refused at once"),
    ("C15", "Cancelling returns at once and tells the server"),
    ("C16", "After close, calls fail typed and nothing stays open"),
    ("C17", "Counters and streams of the client are told"),
    ("C18", "One client uses many protocols"),
    ("N1", "Server nodes by protocol: add, remove, list, clear, ask whether there are any"),
    ("N2", "Distance is the XOR over all 256 bits, in Go's order whatever the order of adding"),
    (
        "N3",
        "Latency, load and connection are what was seen; choosing does no I/O and offline is not fatal",
    ),
    (
        "N4",
        "The score of 40 % distance, 30 % latency, 20 % load, 10 % online, in whole numbers; other strategies",
    ),
    ("N5", "Fail-over in order; hedging when asked for, losers cancelled"),
    ("N6", "Faulty nodes rest, return through a probe, and one node is always usable; exclusions"),
    ("N7", "The retry policy can be replaced"),
    ("N8", "A request is hashed once and a node once; nothing is sorted that is not needed"),
    ("N9", "The result names node, attempts and times"),
    (
        "O1",
        "Raw duplex streams: dial and listen, half-close, reset, deadlines, within the same limits",
    ),
    ("O2", "Relays, from libp2p: peers that only know a relay reach each other"),
    ("O3", "A Peer ID is all that a request needs"),
    ("O4", "Each protocol of a node has a name of its own"),
];

const FOLDERS: [&str; 4] = ["core/tests", "examples/tests", "tests/tests", "tests/src"];

/// The row numbers at the beginning of a doc comment: `/// S6: …`, `/// W1, W9.`
fn rows_of(line: &str) -> Vec<String> {
    let Some(text) = line.trim_start().strip_prefix("/// ") else { return Vec::new() };
    let end = text.find([':', '.']).unwrap_or(0);
    let numbers: Vec<String> = text[..end].split(", ").map(str::to_owned).collect();
    let is_row = |word: &String| {
        let number = word.strip_prefix(['W', 'S', 'C', 'N', 'O']);
        number.is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
    };
    if numbers.iter().all(is_row) { numbers } else { Vec::new() }
}

/// Every test in a file that names rows, with those rows.
fn tests_in(path: &Path) -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(path).expect("a readable source file");
    let (mut rows, mut is_test, mut found) = (Vec::new(), false, Vec::new());
    for line in text.lines() {
        let line = line.trim_start();
        rows.extend(rows_of(line));
        is_test |= line.starts_with("#[test]");
        let name = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next());
        if let Some(name) = name {
            let rows = std::mem::take(&mut rows);
            assert!(is_test || rows.is_empty(), "{name} in {path:?} names rows and is no test");
            if !rows.is_empty() {
                found.push((name.to_owned(), rows));
            }
        }
        // Only attributes and comments stand between the comment and its function.
        if !line.starts_with("//") && !line.starts_with("#[") {
            assert!(rows.is_empty(), "rows {rows:?} in {path:?} are above no test: {line}");
            is_test = false;
        }
    }
    found
}

fn table() -> String {
    let root = root();
    let mut files = Vec::new();
    FOLDERS.iter().for_each(|folder| sources::below(&root.join(folder), &mut files));
    files.sort();
    let mut by_row: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        let short = file.strip_prefix(&root).expect("below the root").display().to_string();
        for (test, rows) in tests_in(&file) {
            for row in rows {
                by_row.entry(row).or_default().push(format!("`{short}` {test}"));
            }
        }
    }
    let mut text = String::from(
        "# What is promised, and which test proves it\n\n\
         Generated from the tests and checked by one of them (`tests/tests/rows.rs`). Letters: W \
         wire, S server, C client, N closest node, O other.\n\n\
         | row | promise | proven by |\n|---|---|---|\n",
    );
    for (row, promise) in ROWS {
        let tests = by_row.remove(*row).unwrap_or_default();
        assert!(!tests.is_empty(), "no test proves {row}: {promise}");
        let _never_fails = writeln!(text, "| {row} | {promise} | {} |", tests.join("<br>"));
    }
    assert!(by_row.is_empty(), "tests prove rows that are not listed: {by_row:?}");
    text
}

#[test]
fn every_promise_is_proven_and_listed() {
    let path = root().join("tests/ROWS.md");
    let table = table();
    if std::env::var_os("UPDATE_ROWS").is_some() {
        fs::write(&path, &table).expect("a writable file");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == table, "tests/ROWS.md is old: run this test with UPDATE_ROWS=1");
}
