//! Servers that go away and come back.

use std::time::Duration;

use super::{Options, Table, all_broken, median, runs, secs};
use crate::fleet::{Choice, Fault, Setup};

/// When the outage begins and ends.
const FROM: u64 = 20;
const TO: u64 = 30;

/// Ten seconds of crash, silence, or work that takes a thousand times as long, at 80 % for all servers and at
/// 40 % for half of them.
pub(super) fn outage(options: &Options) -> Table {
    let head = [
        "strategy",
        "fault",
        "servers",
        "callers",
        "seconds until 95 %",
        "arrivals in the worst second / before",
        "streams asked for / call",
    ];
    let mut table = Table::new(&head);
    for choice in &options.choices {
        for name in ["crash", "silence", "stall"] {
            for (whom, count) in [("half", 5), ("all", 10)] {
                for deadline in [Some(secs(1)), None] {
                    let (begin, end) = match name {
                        "crash" => (Fault::Crash(0, count), Fault::Start(0, count)),
                        "silence" => (Fault::Silent(0, count), Fault::Heard(0, count)),
                        // What was begun meanwhile takes ten seconds.
                        _ => (Fault::Slow(0, count, 1000.0), Fault::Slow(0, count, 1.0)),
                    };
                    let load = if count == 10 { 0.8 } else { 0.4 };
                    let setup = Setup {
                        choice: *choice,
                        deadline,
                        faults: vec![(secs(FROM), begin), (secs(TO), end)],
                        from: secs(FROM),
                        until: secs(TO + 15),
                        ..Setup::default()
                    };
                    let setup = setup.at_load(load);
                    let reports = runs(options, &setup);
                    let rate = load * setup.capacity();
                    let back = median(&reports, |report| {
                        report
                            .recovery(TO as usize, 0.95 * rate)
                            .map_or(f64::INFINITY, |s| s as f64)
                    });
                    let worst = median(&reports, |report| {
                        report.worst_second(TO as usize, TO as usize + 15) as f64 / rate
                    });
                    let opens = median(&reports, |report| {
                        report.measured.opens as f64 / report.measured.calls as f64
                    });
                    table.row([
                        choice.name().to_string(),
                        name.to_string(),
                        whom.to_string(),
                        if deadline.is_some() { "1 s" } else { "no deadline" }.to_string(),
                        format!("{back}"),
                        format!("{worst:.2}"),
                        format!("{opens:.2}"),
                    ]);
                    all_broken(&reports, &mut table);
                    // After a stall, workers are busy for as long again with what they had begun.
                    if *choice == Choice::Default && options.strict && name != "stall" {
                        let what = || {
                            format!(
                                "{name} of {whom}: back after {back} s, worst second {worst:.2}"
                            )
                        };
                        table.expect(back <= 3.0 && worst <= 2.0, what);
                    }
                }
            }
        }
    }
    table
}

/// One server after the other is drained or killed, at 60 %.
pub(super) fn restart(options: &Options) -> Table {
    let head =
        ["strategy", "how", "calls", "failed", "failed for other reasons than time and room"];
    let mut table = Table::new(&head);
    for choice in &options.choices {
        for (name, kill, idempotent) in [
            ("drained", false, true),
            ("drained", false, false),
            ("killed", true, true),
            ("killed", true, false),
        ] {
            let fault = |n| if kill { Fault::Kill(n, n + 1) } else { Fault::Drain(n, n + 1) };
            let faults =
                (0..10).map(|n| (Duration::from_millis(10_000 + 1500 * n as u64), fault(n)));
            let setup = Setup {
                choice: *choice,
                idempotent,
                faults: faults.collect(),
                from: secs(9),
                until: secs(28),
                ..Setup::default()
            };
            let reports = runs(options, &setup.at_load(0.6));
            let failed = median(&reports, |report| report.measured.failed as f64);
            let errors = median(&reports, |report| report.measured.errors as f64);
            table.row([
                choice.name().to_string(),
                format!("{name}, {}", if idempotent { "idempotent" } else { "not idempotent" }),
                format!("{:.0}", median(&reports, |report| report.measured.calls as f64)),
                format!("{failed:.0}"),
                format!("{errors:.0}"),
            ]);
            all_broken(&reports, &mut table);
            if *choice == Choice::Default && options.strict && (!kill || idempotent) {
                table.expect(failed == 0.0, || {
                    format!("{failed} calls fail when servers are {name}")
                });
            }
        }
    }
    table
}
