//! Samples as JSON.

use std::fmt::Write;

use crate::sample::{Sample, Samples};

/// An array with an object for each sample. What the system does not tell is left out.
pub(crate) fn array(samples: &Samples) -> String {
    let objects: Vec<String> = samples.0.iter().map(object).collect();
    format!("[\n{}\n]\n", objects.join(",\n"))
}

fn object(sample: &Sample) -> String {
    // Names of contenders need no escapes.
    let mut json = format!(
        "  {{\"contender\": \"{}\", \"size\": {}, \"concurrency\": {}, \"round\": {}, \
         \"req_per_s\": {:.2}, \"p50_us\": {:.1}, \"p99_us\": {:.1}",
        sample.contender,
        sample.cell.size.0,
        sample.cell.callers,
        sample.round,
        sample.req_per_s,
        sample.p50_us,
        sample.p99_us
    );
    if let Some(cpu) = sample.cpu_ms_per_1000 {
        write!(json, ", \"cpu_ms_per_1000\": {cpu:.3}").expect("a string takes everything");
    }
    if let Some([client, server]) = sample.rss_mib {
        write!(json, ", \"rss_mib\": [{client:.1}, {server:.1}]")
            .expect("a string takes everything");
    }
    json + "}"
}
