//! Tables of how costs grow.

use super::{short, table, whole};
use crate::report::CURVES;
use crate::sample::Spread;
use crate::scenario::scale::Scale;
use crate::scenario::scale::crowd::Crowd;
use crate::scenario::scale::curve::{Curve, Load, Step};
use crate::scenario::scale::memory::Held;

/// All of it, if there is any.
pub(super) fn section(scale: &Scale) -> Option<String> {
    let parts =
        [held(&scale.held), scale.crowd.as_ref().map(crowd), peers(&scale.peers), curves(scale)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("## Scale\n\n{}", parts.join("\n")))
}

fn held(rows: &[Held]) -> Option<String> {
    let header =
        ["KiB", "server, ours", "bare libp2p's", "above", "client, ours", "bare libp2p's", "above"];
    let table = table(
        &header,
        rows.iter().map(|held| {
            let ends = [&held.server, &held.client].map(|end| [end.ours, end.theirs, end.above]);
            let figures = ends.into_iter().flatten().map(kib);
            std::iter::once(held.what.to_owned()).chain(figures).collect()
        }),
    );
    let text = format!(
        "### Memory\n\nWhat is resident in the processes when many connections and streams have \
         been added to a few, for each: this library's beside that of `libp2p-stream` over the \
         stock stack. A node has libp2p's identify, ping, relay, DCUtR and AutoNAT on each \
         connection; the behaviour alone has not.\n\n{table}"
    );
    (!rows.is_empty()).then_some(text)
}

fn crowd(crowd: &Crowd) -> String {
    let Crowd { clients: [processes, nodes], streams, kib: [before, with], beside } = crowd;
    format!(
        "### {} streams\n\nOpen at one server, all idle, from {processes} processes with {nodes} \
         nodes each. The server has {:.1} MiB resident, {:.1} MiB without them: {:.1} KiB for each \
         stream. Another client with 64 callers and 512 bytes, in turns at that server and at one \
         without them:\n\n{}",
        whole(*streams as u64),
        with / 1024.0,
        before / 1024.0,
        (with - before) / *streams as f64,
        load(beside)
    )
}

fn peers(loads: &[Load]) -> Option<String> {
    let tables: Vec<String> = loads.iter().map(load).collect();
    let text = format!(
        "### Peers\n\n64 callers with 512 bytes, each of which asks one peer after the other; the \
         peers are nodes of one process.\n\n{}",
        tables.join("\n")
    );
    (!loads.is_empty()).then_some(text)
}

fn load(load: &Load) -> String {
    let first = load.rate.steps.first().map_or(0, |step| step.work);
    let relative = format!("÷ that at {first}");
    let header = [load.rate.what, "requests/s", &relative, "CPU ms/1000", &relative];
    let steps = load.rate.steps.iter().zip(&load.cpu.steps);
    table(
        &header,
        steps.map(|(rate, cpu)| {
            vec![
                whole(rate.work as u64),
                short(rate.figure.median),
                rate.relative.to_string(),
                short(cpu.figure.median),
                cpu.relative.to_string(),
            ]
        }),
    )
}

fn curves(scale: &Scale) -> Option<String> {
    let text = format!(
        "### Ten times as much\n\nWhat a request or a choice costs, in µs of processor time of all \
         that take part, at each step; in brackets how many times that of the step before, round \
         by round.\n\n{}\n![Cost of ten times as much work]({CURVES})\n\nRequests/s meanwhile:\n\n{}",
        steps(&scale.curves),
        steps(&scale.rates)
    );
    (!scale.curves.is_empty()).then_some(text)
}

/// A row for each curve, and as many columns as the longest has steps.
fn steps(curves: &[Curve]) -> String {
    let longest = curves.iter().map(|curve| curve.steps.len()).max().unwrap_or_default();
    let multiples: Vec<String> =
        (0..longest as u32).map(|step| format!("× {}", whole(10_u64.pow(step)))).collect();
    let mut header = vec!["work", "first step is"];
    header.extend(multiples.iter().map(String::as_str));
    table(
        &header,
        curves.iter().map(|curve| {
            let first = curve.steps.first().map_or(0, |step| step.work);
            let mut row = vec![curve.what.to_owned(), whole(first as u64)];
            row.extend(curve.steps.iter().enumerate().map(|(at, step)| cost(at, step)));
            row.resize(header.len(), String::new());
            row
        }),
    )
}

fn cost(at: usize, step: &Step) -> String {
    let figure = short(step.figure.median);
    match at {
        0 => figure,
        _ => format!("{figure} (× {:.2})", step.factor.median),
    }
}

fn kib(Spread { median, low, high }: Spread) -> String {
    format!("{median:.1} ({low:.1} to {high:.1})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_says_how_many_times_the_one_before_it_costs() {
        let curve = |what, works: &[usize], figures: &[f64]| {
            Curve::new(what, works, &[figures.to_vec()]).expect("there is a round")
        };
        let curves = [curve("peers", &[1, 10], &[4.0, 5.0]), curve("nodes", &[10], &[0.5])];
        let expected = "| work | first step is | × 1 | × 10 |\n\
                        | --- | ---: | ---: | ---: |\n\
                        | peers | 1 | 4.00 | 5.00 (× 1.25) |\n\
                        | nodes | 10 | 0.50 |  |\n";
        assert_eq!(steps(&curves), expected);
    }
}
