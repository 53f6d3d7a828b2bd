//! Many clients and servers, near and far.

use std::time::{Duration, Instant};

use pointsub_core::Hedge;

use super::{Options, Table, all_broken, median, millis, runs, secs};
use crate::fleet::{Choice, Distance, Fault, Report, Setup};

fn quantile(reports: &[Report], share: f64) -> f64 {
    median(reports, |report| millis(report.measured.times.quantile(share)))
}

/// Servers that are near, and others that are far.
pub(super) fn near(options: &Options) -> Table {
    let head = ["strategy", "where", "load %", "goodput %", "p50 ms", "p99 ms", "hottest / mean"];
    let mut table = Table::new(&head);
    for (name, distance, servers) in
        [("2 of 10 near", Distance::Near(2), 10), ("5 regions of 4", Distance::Regions(5), 20)]
    {
        for choice in &options.choices {
            for load in [20, 50, 80] {
                let setup = Setup { choice: *choice, distance, servers, ..Setup::default() };
                let setup = setup.at_load(f64::from(load) / 100.0);
                let reports = runs(options, &setup);
                let over = setup.until - setup.from;
                table.row([
                    choice.name().to_string(),
                    name.to_string(),
                    load.to_string(),
                    format!(
                        "{:.1}",
                        median(&reports, |r| 100.0 * r.goodput(setup.capacity(), over))
                    ),
                    format!("{:.0}", quantile(&reports, 0.5)),
                    format!("{:.0}", quantile(&reports, 0.99)),
                    format!("{:.2}", median(&reports, |r| r.measured.hottest())),
                ]);
                all_broken(&reports, &mut table);
            }
        }
    }
    table
}

/// A second server is asked after 50 ms.
pub(super) fn hedge(options: &Options) -> Table {
    let head = ["hedge", "load %", "goodput %", "p50 ms", "p99 ms", "further requests, %"];
    let mut table = Table::new(&head);
    for load in [50, 80, 95] {
        for hedge in [None, Some(Hedge::after(Duration::from_millis(50)))] {
            let setup = Setup { hedge, ..Setup::default() }.at_load(f64::from(load) / 100.0);
            let reports = runs(options, &setup);
            let over = setup.until - setup.from;
            let extra = median(&reports, |report| {
                100.0 * report.measured.hedges as f64 / report.measured.calls as f64
            });
            table.row([
                if hedge.is_some() { "after 50 ms" } else { "none" }.to_string(),
                load.to_string(),
                format!("{:.1}", median(&reports, |r| 100.0 * r.goodput(setup.capacity(), over))),
                format!("{:.0}", quantile(&reports, 0.5)),
                format!("{:.0}", quantile(&reports, 0.99)),
                format!("{extra:.1}"),
            ]);
            all_broken(&reports, &mut table);
            if options.strict {
                table.expect(extra <= 5.5, || format!("{extra:.1} % further requests at {load} %"));
            }
        }
    }
    table
}

/// More servers than idle streams are kept.
pub(super) fn pool(options: &Options) -> Table {
    let head = ["strategy", "servers", "streams opened / call"];
    let mut table = Table::new(&head);
    for choice in &options.choices {
        for servers in [50, 200] {
            let setup = Setup { choice: *choice, servers, until: secs(10), ..Setup::default() };
            let reports = runs(options, &setup.at_load(0.5));
            let opens = median(&reports, |report| {
                report.measured.opens as f64 / report.measured.calls as f64
            });
            table.row([choice.name().to_string(), servers.to_string(), format!("{opens:.3}")]);
            all_broken(&reports, &mut table);
            if *choice == Choice::Default && options.strict {
                table.expect(opens <= 0.05, || format!("{opens:.3} streams a call with {servers}"));
            }
        }
    }
    table
}

/// Some clients ask a hundred times as often as the others, without a deadline.
pub(super) fn hostile(options: &Options) -> Table {
    let head = ["hostile clients of 100", "honest calls that succeed, %", "p99 ms"];
    let mut table = Table::new(&head);
    for hostile in [0, 1, 5] {
        let setup = Setup { hostile, ..Setup::default() }.at_load(0.5);
        let reports = runs(options, &setup);
        let success = median(&reports, |report| {
            let ended = report.measured.good + report.measured.failed;
            100.0 * report.measured.good as f64 / ended.max(1) as f64
        });
        table.row([
            hostile.to_string(),
            format!("{success:.2}"),
            format!("{:.0}", quantile(&reports, 0.99)),
        ]);
        all_broken(&reports, &mut table);
        if options.strict {
            table.expect(success >= 99.0, || format!("{success:.2} % with {hostile} hostile"));
        }
    }
    table
}

/// A thousand clients and fifty servers: peace, four seconds at 200 % with callers that ask again,
/// peace, while one server answers with errors and another one is silent.
pub(super) fn ci(options: &Options) -> Table {
    let head =
        ["1000 × 50", "calls", "goodput", "tries / call", "share of the erring and the silent, %"];
    let mut table = Table::new(&head);
    let setup = Setup {
        clients: 1000,
        servers: 50,
        load: vec![(secs(0), 0.8), (secs(6), 2.0), (secs(10), 0.8)],
        asks_again: 3,
        faults: vec![(secs(1), Fault::Erring(0, 1, true)), (secs(1), Fault::Silent(1, 2))],
        from: secs(6),
        until: secs(16),
        ..Setup::default()
    };
    let capacity = setup.capacity();
    let reports = runs(&Options { seeds: 1, ..options.clone() }, &setup);
    let report = &reports[0];
    let tries = report.measured.tries_per_call();
    let between = |from: usize, until: usize| {
        let seconds = report.seconds.iter().take(until).skip(from);
        seconds.map(|second| second.good).sum::<u64>() as f64 / (capacity * (until - from) as f64)
    };
    let (over, after) = (between(7, 10), between(13, 16));
    let ill = 100.0 * (report.share(0, 8, 16) + report.share(1, 8, 16));
    table.row([
        "at 200 %, then at 80 %".to_string(),
        report.measured.calls.to_string(),
        format!("{over:.2}, {after:.2}"),
        format!("{tries:.2}"),
        format!("{ill:.2}"),
    ]);
    all_broken(&reports, &mut table);
    if options.strict {
        // Two servers of fifty are ill.
        table.expect(over >= 0.9, || format!("goodput {over:.2} of capacity at 200 %"));
        table.expect(after >= 0.76, || format!("goodput {after:.2} three seconds after that"));
        table.expect(tries <= 1.2, || format!("{tries:.2} tries a call"));
        table.expect(ill <= 2.0, || format!("{ill:.2} % of requests go to two ill servers"));
    }
    table
}

/// What the simulator itself costs.
pub(super) fn speed(options: &Options) -> Table {
    sized(options, (1000, 50), &[0.8], secs(10))
}

/// The largest fleet, from calm to overload: several minutes, and 3 GB of memory.
pub(super) fn large(options: &Options) -> Table {
    sized(options, (10_000, 500), &[0.5, 0.8, 0.95, 2.0], secs(8))
}

/// So many clients and servers at these loads. The clock is read here.
fn sized(
    options: &Options,
    (clients, servers): (usize, usize),
    loads: &[f64],
    until: Duration,
) -> Table {
    let head = [
        "clients × servers",
        "load %",
        "goodput %",
        "p50 ms",
        "p99 ms",
        "hottest / mean",
        "tries / call",
        "events",
        "million events / s",
    ];
    let mut table = Table::new(&head);
    let from = secs(4);
    for (choice, load) in options.choices.iter().flat_map(|c| loads.iter().map(move |l| (c, l))) {
        let setup = Setup { choice: *choice, clients, servers, from, until, ..Setup::default() };
        let setup = (options.change)(setup.at_load(*load));
        let begun = Instant::now();
        let report = crate::fleet::run(&setup);
        let took = begun.elapsed().as_secs_f64();
        let measured = &report.measured;
        table.row([
            format!("{clients} × {servers}, {}", choice.name()),
            format!("{:.0}", load * 100.0),
            format!("{:.1}", 100.0 * report.goodput(setup.capacity(), until - from)),
            format!("{:.0}", millis(measured.times.quantile(0.5))),
            format!("{:.0}", millis(measured.times.quantile(0.99))),
            format!("{:.2}", measured.hottest()),
            format!("{:.2}", measured.tries_per_call()),
            report.events.to_string(),
            format!("{:.2}", report.events as f64 / took / 1e6),
        ]);
        all_broken(&[report], &mut table);
    }
    table
}
