//! The options of servers, clients and relays.

use std::fmt::Write as _;
use std::fs;

use pointsub_tests::sources::root;

use crate::declared::{Documented, documented, plain};

/// The options that a file declares: name, and what its documentation says.
fn options(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join(file)).expect("a readable source file");
    let setter = |found: Documented| {
        let line = found.line.strip_prefix("pub fn ").unwrap_or(&found.line).to_owned();
        let name = line.strip_prefix("with_")?.split(['(', ',']).next()?.to_owned();
        assert!(found.doc.contains("Default"), "{name} does not say its default");
        Some((name, plain(&found.doc)))
    };
    documented(&text).into_iter().filter_map(setter).collect()
}

/// A table of the options of each side.
pub(crate) fn tables() -> String {
    let mut text = String::new();
    for (title, file) in [
        ("The server's options", "core/src/config/server.rs"),
        ("The client's options", "core/src/config/mod.rs"),
        ("A registry's options", "core/src/network/registry/limits.rs"),
    ] {
        let _ok = write!(text, "\n## {title}\n\n| option | meaning, default, range |\n|---|---|\n");
        for (name, doc) in options(file) {
            let _ok = writeln!(text, "| `{name}` | {doc} |");
        }
    }
    text
}

/// What a relay keeps for others, if its application says nothing else.
pub(crate) fn relay() -> String {
    let config = pointsub_swarm::RelayConfig::default();
    let minutes = |duration: std::time::Duration| duration.as_secs() / 60;
    format!(
        "\n## A relay's limits\n\n\
         The defaults of `RelayConfig`, for `relay_server`. Beyond them a relay refuses, and says why.\n\n\
         | limit | value |\n|---|---|\n\
         | places in all | {} |\n| places of one peer | {} |\n| how long a place is kept without being renewed | {} min |\n\
         | connections through the relay at a time | {} |\n| those of one peer | {} |\n\
         | how long such a connection may last | {} min |\n| what it may carry | {} KiB |\n",
        config.max_reservations,
        config.max_reservations_per_peer,
        minutes(config.reservation_duration),
        config.max_circuits,
        config.max_circuits_per_peer,
        minutes(config.max_circuit_duration),
        config.max_circuit_bytes / 1024,
    )
}
