//! What a second thread gains.

use super::{none, short, table};
use crate::sample::Spread;
use crate::scenario::threads::process::Workers;
use crate::scenario::threads::{Lock, Scaling, Threads};

/// The part of the report, if anything was measured.
pub(super) fn section(threads: &Threads) -> Option<String> {
    if threads.core.is_empty() && threads.servers.is_empty() {
        return None;
    }
    let tables = [servers(&threads.servers), core(&threads.core), locks(&threads.locks)];
    Some(format!("## Threads\n\n{}", tables.join("\n")))
}

fn servers(rows: &[Workers]) -> String {
    let header = [
        "connections",
        "1 worker: requests/s",
        "cores, server + client",
        "2 workers: requests/s",
        "cores, server + client",
        "ratio",
    ];
    let table = table(
        &header,
        rows.iter().map(|row| {
            let mut cells = vec![row.connections.to_string()];
            for served in &row.of {
                let [server, client] = served.cores.map(cores);
                cells.extend([short(served.rate.median), format!("{server} + {client}")]);
            }
            cells.push(row.ratio.to_string());
            cells
        }),
    );
    format!(
        "A server process with one and with two worker threads, bodies of 512 bytes, 8 callers on \
         each connection. The client has a worker thread for each core. The server is the bottleneck \
         if it uses as many cores as it has worker threads; on two cores it cannot.\n\n{table}"
    )
}

fn cores(spread: Option<Spread>) -> String {
    spread.map_or_else(none, |spread| format!("{:.2}", spread.median))
}

fn core(rows: &[Scaling]) -> String {
    let header = ["", "1 thread: requests/s", "2 threads: requests/s", "ratio"];
    let table = table(
        &header,
        rows.iter().map(|row| {
            let [one, two] = row.rates.map(|rate| short(rate.median));
            vec![row.shared.to_owned(), one, two, row.ratio.to_string()]
        }),
    );
    format!(
        "The machines of both ends of a connection in memory, a connection on each thread, 64 \
         requests under way on each, bodies of 32 bytes.\n\n{table}"
    )
}

fn locks(rows: &[Lock]) -> String {
    let header = ["lock", "ns of a request under it", "at b95d53d", "taken per request"];
    let table = table(
        &header,
        rows.iter().map(|row| {
            vec![
                format!("the {}", row.end.name()),
                row.nanos.to_string(),
                row.end.before().to_owned(),
                format!("{:.2}", row.taken),
            ]
        }),
    );
    format!(
        "The same on one thread, with the time under each lock. What reading the clock takes is \
         subtracted.\n\n{table}"
    )
}
