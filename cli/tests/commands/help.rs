//! The help of each command is kept in a file, so that it is read when it changes.

use std::fs;
use std::path::Path;

use crate::support::Home;

/// Compares with `tests/help`; `UPDATE_HELP=1` writes it anew.
#[test]
fn the_help_is_as_it_was_proof_read() {
    let home = Home::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    let update = std::env::var_os("UPDATE_HELP").is_some();
    let mut changed = Vec::new();
    let commands = [
        "",
        "serve",
        "call",
        "discover",
        "ping",
        "info",
        "top",
        "id",
        "bench",
        "expose",
        "forward",
        "relay",
        "registry",
        "key",
        "ticket",
        "decode",
        "doctor",
        "completions",
        "man",
    ];
    for command in commands {
        let arguments: Vec<&str> =
            ["help", command].into_iter().filter(|a| !a.is_empty()).collect();
        let help = home.run(&arguments).well().out();
        let name = if command.is_empty() { "pointsub" } else { command };
        let path = folder.join(format!("{name}.txt"));
        if update {
            fs::write(&path, help).expect("it can be written");
        } else if fs::read_to_string(&path).ok().as_deref() != Some(&help) {
            changed.push(name);
        }
    }
    assert!(changed.is_empty(), "changed: {changed:?}. Read it, and if it is right: UPDATE_HELP=1");
}
