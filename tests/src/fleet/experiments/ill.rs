//! One ill server among twenty.

use super::{Options, Table, all_broken, median, runs, secs};
use crate::fleet::{Choice, Fault, Setup};

/// When the illness begins and ends.
const FROM: u64 = 20;
const TO: u64 = 40;

/// The share of calls that an ill server gets, and what it gets after its recovery.
pub(super) fn ill(options: &Options) -> Table {
    let head = [
        "strategy",
        "the ill one of 20",
        "share before, %",
        "5 s to 20 s after, %",
        "10 to 15 s after its recovery, % of before",
        "calls that succeed, %",
    ];
    let mut table = Table::new(&head);
    let cases: [(&str, Vec<(u64, Fault)>); 5] = [
        ("10 × slower", vec![(FROM, Fault::Slow(0, 1, 10.0)), (TO, Fault::Slow(0, 1, 1.0))]),
        (
            "fails at once",
            vec![(FROM, Fault::Erring(0, 1, true)), (TO, Fault::Erring(0, 1, false))],
        ),
        ("falls silent", vec![(FROM, Fault::Silent(0, 1)), (TO, Fault::Heard(0, 1))]),
        ("silent from the start", vec![(0, Fault::Silent(0, 1)), (TO, Fault::Heard(0, 1))]),
        ("crashed from the start", vec![(0, Fault::Crash(0, 1)), (TO, Fault::Start(0, 1))]),
    ];
    for choice in &options.choices {
        for (name, faults) in &cases {
            let setup = Setup {
                choice: *choice,
                servers: 20,
                faults: faults.iter().map(|(at, fault)| (secs(*at), *fault)).collect(),
                from: secs(FROM),
                until: secs(TO + 16),
                ..Setup::default()
            };
            let reports = runs(options, &setup.at_load(0.5));
            let share = |from: u64, until: u64| {
                median(&reports, |report| 100.0 * report.share(0, from as usize, until as usize))
            };
            let begins = faults[0].0;
            let before = if begins > 0 { share(begins - 10, begins) } else { 5.0 };
            let during = share(begins + 5, begins + 20);
            let after = 100.0 * share(TO + 10, TO + 15) / before;
            table.row([
                choice.name().to_string(),
                (*name).to_string(),
                format!("{before:.1}"),
                format!("{during:.2}"),
                format!("{after:.0}"),
                format!("{:.2}", median(&reports, |report| 100.0 * report.success())),
            ]);
            all_broken(&reports, &mut table);
            if *choice == Choice::Default && options.strict {
                let what = || format!("{name}: share {during:.2} %, then {after:.0} % of before");
                table.expect(during <= 1.0 && after >= 80.0, what);
            }
        }
    }
    table
}
