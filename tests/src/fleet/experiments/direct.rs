//! Clients that each ask one server by its Peer ID, and have no other to turn to.

use super::{Options, Table, all_broken, median, millis, runs, secs};
use crate::fleet::{Choice, Setup};

/// Goodput, waits and tries, for ten clients of a server and for one that is alone with it.
pub(super) fn direct(options: &Options) -> Table {
    let head = [
        "clients of a server",
        "callers",
        "load %",
        "goodput %",
        "p50 ms",
        "p99 ms",
        "calls that fail, %",
        "tries / call",
    ];
    let mut table = Table::new(&head);
    for clients in [1, 10] {
        for deadline in [Some(secs(1)), None] {
            for load in [50, 80, 95, 120, 200, 400] {
                let base = Setup { choice: Choice::OneServer, deadline, ..Setup::default() };
                let setup = Setup { clients: clients * base.servers, ..base };
                let setup = setup.at_load(f64::from(load) / 100.0);
                let over = setup.until - setup.from;
                let reports = runs(options, &setup);
                let good =
                    median(&reports, |report| 100.0 * report.goodput(setup.capacity(), over));
                let success = median(&reports, |report| 100.0 * report.success());
                let failed = (100.0 - success).max(0.0);
                let tries = median(&reports, |report| report.measured.tries_per_call());
                let at = |part| median(&reports, |r| millis(r.measured.times.quantile(part)));
                table.row([
                    clients.to_string(),
                    if deadline.is_some() { "1 s" } else { "no deadline" }.to_string(),
                    load.to_string(),
                    format!("{good:.1}"),
                    format!("{:.0}", at(0.5)),
                    format!("{:.0}", at(0.99)),
                    format!("{failed:.2}"),
                    format!("{tries:.2}"),
                ]);
                all_broken(&reports, &mut table);
                if options.strict {
                    let what = || format!("{clients} clients at {load} %: goodput {good:.1}");
                    table.expect(good >= f64::from(load.min(97)) - 2.0, what);
                    table.expect(load > 95 || failed < 0.5, || {
                        format!("{clients} clients at {load} %: {failed:.2} % fail")
                    });
                }
            }
        }
    }
    table
}
