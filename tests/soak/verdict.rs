//! What came of it: the start, the middle and the end, and whether anything grew.
//!
//! The first lines do not count: caches fill. Then come three windows of lines. Descriptors, threads and
//! tasks have grown if the least of the last window is more than the most of the first. Memory has grown
//! if that holds too, and the line of least squares through the second half rises by more than
//! [`MEMORY`] an hour.

use crate::fleet::Seen;
use crate::watch::{METRICS, Row};

/// How much a process may grow in an hour, in KiB. The heap of a process that makes and drops connections
/// gets holes, and the peers that it remembers are not as many as they may be after two hours.
const MEMORY: f64 = 2048.0;
/// Which of the metrics are memory, and which others must not grow.
const MEMORIES: usize = 2;
const COUNTED: usize = 5;
/// Of so many requests between the nodes that stay one may fail.
const TOLERATED: u64 = 1000;

/// Prints what came of it. Returns whether all is well.
pub(crate) fn tell(seen: &Seen) -> bool {
    let mut faults = seen.faults.clone();
    for (number, rows) in seen.rows.iter().enumerate() {
        println!("\nnode {number}, least to most of each window:\n");
        faults.extend(grown(number, rows, seen.line.as_secs_f64()));
    }
    println!("\nrequests:");
    let (mut all, mut failed) = (0, 0);
    for (kind, count) in &seen.counts {
        println!("{count:>9}  {kind}");
        if let Some(what) = kind.strip_prefix("stable ") {
            all += count;
            failed += if what.ends_with(" ok") { 0 } else { *count };
        }
        if kind.ends_with("WRONG") || kind.ends_with("KEPT-OUT") {
            faults.push(format!("{count} times {kind}"));
        }
    }
    if failed * TOLERATED > all {
        faults.push(format!("{failed} of {all} requests between the nodes that stay failed"));
    }
    println!();
    faults.iter().for_each(|fault| println!("FAILED: {fault}"));
    if faults.is_empty() {
        println!("nothing grows");
    }
    faults.is_empty()
}

/// Prints the windows of a node, and returns what has grown.
fn grown(number: usize, rows: &[Row], line: f64) -> Vec<String> {
    let window = (rows.len() / 8).max(1);
    if rows.len() < 8 {
        return vec![format!("node {number} has said {} lines, which are too few", rows.len())];
    }
    let middle = (rows.len() - window) / 2;
    let windows = [window, middle, rows.len() - window].map(|from| &rows[from..from + window]);
    println!("| | start | middle | end | an hour, second half |\n|---|---|---|---|---|");
    let mut faults = Vec::new();
    for (metric, name) in METRICS.iter().enumerate() {
        let of = |rows: &[Row]| {
            let values = || rows.iter().map(|row| row.0[metric]);
            (values().min().unwrap_or(0), values().max().unwrap_or(0))
        };
        let [start, middle, end] = windows.map(of);
        let slope = slope(rows[rows.len() / 2..].iter().map(|row| row.0[metric])) * 3600.0 / line;
        let texts = [start, middle, end].map(|(least, most)| format!("{least} to {most}"));
        println!("| {name} | {} | {slope:+.1} |", texts.join(" | "));
        let beyond = end.0 > start.1;
        let grows = match metric {
            0..MEMORIES => beyond && slope > MEMORY,
            _ => beyond && metric < COUNTED,
        };
        if grows {
            faults.push(format!("node {number}: {name} grows, {} to {}", start.1, end.0));
        }
    }
    faults
}

/// By how much the line of least squares rises from one value to the next.
fn slope(values: impl Iterator<Item = u64> + Clone) -> f64 {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<u64>() as f64 / count;
    let centre = (count - 1.0) / 2.0;
    let (mut rises, mut runs) = (0.0, 0.0);
    for (nth, value) in values.enumerate() {
        let run = nth as f64 - centre;
        rises += run * (value as f64 - mean);
        runs += run * run;
    }
    if runs > 0.0 { rises / runs } else { 0.0 }
}
