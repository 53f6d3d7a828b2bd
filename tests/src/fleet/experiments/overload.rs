//! More requests than the fleet can answer.

use std::time::Duration;

use pointsub_core::endpoint::LimitPolicy;

use super::{Options, Table, all_broken, median, millis, plot, runs, secs};
use crate::fleet::{Choice, Report, Setup};

/// A second of the load before overload, so that limits have seen peace.
const PEACE: u64 = 30;

fn over(setup: &Setup) -> Duration {
    setup.until - setup.from
}

/// Goodput in % of capacity.
fn goodput(setup: &Setup, reports: &[Report]) -> f64 {
    median(reports, |report| 100.0 * report.goodput(setup.capacity(), over(setup)))
}

fn p99(reports: &[Report]) -> f64 {
    median(reports, |report| millis(report.measured.times.quantile(0.99)))
}

/// Goodput and p99 by load and strategy.
pub(super) fn load(options: &Options) -> Table {
    let head =
        ["load %", "strategy", "goodput %", "p50 ms", "p99 ms", "hottest / mean", "tries / call"];
    let mut table = Table::new(&head);
    let mut calm = f64::INFINITY;
    for load in [50, 80, 95, 120, 200, 400] {
        for choice in &options.choices {
            let setup = Setup { choice: *choice, ..Setup::default() };
            let setup = setup.at_load(f64::from(load) / 100.0);
            let reports = runs(options, &setup);
            let tries = median(&reports, |report| report.measured.tries_per_call());
            let good = goodput(&setup, &reports);
            let hottest = median(&reports, |report| report.measured.hottest());
            table.row([
                load.to_string(),
                choice.name().to_string(),
                format!("{good:.1}"),
                format!("{:.0}", median(&reports, |r| millis(r.measured.times.quantile(0.5)))),
                format!("{:.0}", p99(&reports)),
                format!("{hottest:.2}"),
                format!("{tries:.2}"),
            ]);
            all_broken(&reports, &mut table);
            if *choice == Choice::Default && options.strict {
                let wanted = f64::from(load.min(97)) - 2.0;
                table.expect(good >= wanted, || format!("goodput {good:.1} at {load} %"));
                table.expect(tries <= 1.2, || format!("{tries:.2} tries a call at {load} %"));
                let slow = p99(&reports);
                calm = calm.min(slow);
                table.expect(slow <= 4.0 * calm, || format!("p99 {slow:.0} ms at {load} %"));
            }
        }
    }
    table
}

/// Goodput in overload by rule of the limit.
pub(super) fn limit(options: &Options) -> Table {
    let head = [
        "limit",
        "strategy",
        "callers",
        "load %",
        "from peace: goodput %",
        "p99 ms",
        "from the start: goodput %",
        "p99 ms",
    ];
    let mut table = Table::new(&head);
    let mut rules = vec![("default", None)];
    if !options.strict {
        rules.extend([
            ("LOAD_FACTOR", Some(LimitPolicy::LOAD_FACTOR)),
            ("GRADIENT", Some(LimitPolicy::GRADIENT)),
            ("AIMD", Some(LimitPolicy::AIMD)),
        ]);
    }
    for (name, rule) in rules {
        for choice in &options.choices {
            for deadline in [Some(secs(1)), None] {
                for load in [120, 200, 400] {
                    let mut cells = vec![
                        name.to_string(),
                        choice.name().to_string(),
                        if deadline.is_some() { "1 s" } else { "no deadline" }.to_string(),
                        load.to_string(),
                    ];
                    for peace in [PEACE, 0] {
                        let setup = Setup {
                            choice: *choice,
                            deadline,
                            load: vec![(secs(0), 0.5), (secs(peace), f64::from(load) / 100.0)],
                            from: secs(peace + 5),
                            until: secs(peace + 20),
                            ..Setup::default()
                        };
                        let setup = rule.map_or(setup.clone(), |rule| setup.with_limit(rule));
                        let reports = runs(options, &setup);
                        let good = goodput(&setup, &reports);
                        let p99 = p99(&reports);
                        cells.extend([format!("{good:.1}"), format!("{p99:.0}")]);
                        all_broken(&reports, &mut table);
                        if *choice == Choice::Default && options.strict {
                            let what = || {
                                format!(
                                    "{load} % after {peace} s: goodput {good:.1}, p99 {p99:.0} ms"
                                )
                            };
                            table.expect(good >= 95.0 && p99 <= 300.0, what);
                        }
                    }
                    table.row(cells);
                }
            }
        }
    }
    table
}

/// Ten seconds of overload, callers that ask again, and what is left of it.
pub(super) fn metastable(options: &Options) -> Table {
    let head = ["strategy", "load %", "seconds until 95 %", "goodput of the last 10 s, % of calls"];
    let mut table = Table::new(&head);
    for choice in &options.choices {
        for load in [2.0, 4.0] {
            let setup = Setup {
                choice: *choice,
                load: vec![(secs(0), 0.5), (secs(PEACE), load), (secs(PEACE + 10), 0.8)],
                asks_again: 3,
                from: secs(PEACE + 30),
                until: secs(PEACE + 40),
                ..Setup::default()
            };
            let reports = runs(options, &setup);
            let name = format!("metastable, {}, {:.0} %", choice.name(), 100.0 * load);
            plot(options, &name, &reports, &mut table);
            let wanted = 0.8 * 0.95 * setup.capacity();
            let back = median(&reports, |report| {
                report.recovery(PEACE as usize + 10, wanted).map_or(f64::INFINITY, |s| s as f64)
            });
            let success = median(&reports, |report| 100.0 * report.success());
            table.row([
                choice.name().to_string(),
                format!("{:.0}", load * 100.0),
                format!("{back}"),
                format!("{success:.1}"),
            ]);
            all_broken(&reports, &mut table);
            if *choice == Choice::Default && options.strict {
                table.expect(back <= 3.0, || format!("back to 95 % after {back} s"));
            }
        }
    }
    table
}

/// Handlers that take 100 µs, 10 ms and 10 s, with few workers and with many, at 200 %.
pub(super) fn handlers(options: &Options) -> Table {
    let head = ["service", "workers", "load %", "callers", "goodput %", "p99 ms", "p99 at 50 %"];
    let mut table = Table::new(&head);
    let cases = [
        (Duration::from_micros(100), 1, 2),
        (Duration::from_micros(100), 4, 2),
        (Duration::from_millis(10), 1, 10),
        (Duration::from_millis(10), 64, 4),
        (Duration::from_millis(100), 200, 4),
        (secs(10), 4, 10),
        (secs(10), 200, 4),
    ];
    for (service, workers, servers) in cases {
        let scale = service.as_secs_f64().clamp(0.03, 10.0);
        let at = |units: f64| Duration::from_secs((units * scale).ceil() as u64);
        let base = |deadline| Setup {
            service,
            workers,
            servers,
            deadline,
            worth: (service * 100).max(secs(1)),
            from: at(60.0).clamp(secs(6), secs(300)),
            until: at(60.0).clamp(secs(6), secs(300)) + at(60.0).clamp(secs(6), secs(600)),
            choice: Choice::Default,
            client: pointsub_core::ClientConfig::default().with_read_timeout(secs(1200)),
            ..Setup::default()
        };
        let calm = p99(&runs(options, &base(None).at_load(0.5)));
        for deadline in [true, false] {
            let deadline = deadline.then(|| (service * 100).max(secs(1)));
            let setup = base(deadline).at_load(2.0);
            let reports = runs(options, &setup);
            let (good, slow) = (goodput(&setup, &reports), p99(&reports));
            table.row([
                format!("{service:?}"),
                workers.to_string(),
                "200".to_string(),
                if deadline.is_some() { "deadline" } else { "no deadline" }.to_string(),
                format!("{good:.1}"),
                format!("{slow:.0}"),
                format!("{calm:.0}"),
            ]);
            all_broken(&reports, &mut table);
            if options.strict {
                let what = || format!("{service:?} × {workers}: goodput {good:.1}, p99 {slow:.0}");
                table.expect(good >= 95.0 && slow <= 4.0 * calm, what);
            }
        }
    }
    table
}
