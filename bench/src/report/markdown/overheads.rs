//! What is paid for more than bytes.

use std::fmt::Write;

use super::{median, none, short, table};
use crate::sample::{CPU, P50, RATE};
use crate::scenario::matrix::Matrix;
use crate::scenario::overheads::CONTENDERS;

pub(super) fn section(matrix: &Matrix) -> Option<String> {
    let samples = &matrix.samples;
    let [bytes, ..] = CONTENDERS;
    let cells = samples.cells();
    let rows = cells.iter().flat_map(|cell| CONTENDERS.map(|contender| (contender, *cell)));
    let rows = rows.filter_map(|place| {
        let (contender, cell) = place;
        let rate = samples.spread(place, RATE)?;
        let ratio = samples.ratio(place, (bytes, cell), CPU);
        Some(vec![
            format!("{cell} {contender}"),
            short(rate.median),
            median(samples.spread(place, P50)),
            median(samples.spread(place, CPU)),
            ratio.map_or_else(none, |ratio| ratio.to_string()),
        ])
    });
    let header = ["", "requests/s", "p50 µs", "CPU ms/1000", "CPU ÷ that of bytes"];
    let mut text = format!(
        "## What is paid for more than bytes\n\nThe same echo with a method beside each body, as a \
         method of a typed service with CBOR, and with a recorder for Prometheus at each end.\n\n{}",
        table(&header, rows)
    );
    for (contender, cell, failure) in &matrix.failures {
        write!(text, "\n{contender} failed in {cell}: {failure}\n")
            .expect("a string takes everything");
    }
    (!cells.is_empty() || !matrix.failures.is_empty()).then_some(text)
}
