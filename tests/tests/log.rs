//! What is logged: every event has a target, and the page that lists them has it with its level.

use std::collections::BTreeSet;
use std::fs;

use pointsub_tests::sources::{self, root};

/// Where libraries log.
const FOLDERS: [&str; 5] =
    ["swarm/src", "service/src", "metrics/src", "runtime-tokio/src", "runtime-async-std/src"];
const PAGE: &str = "swarm/src/telemetry/telemetry.md";

/// Targets with their levels, as the code has them.
fn in_code() -> BTreeSet<(String, String)> {
    let mut files = Vec::new();
    FOLDERS.iter().for_each(|folder| sources::below(&root().join(folder), &mut files));
    let mut found = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        for event in text.split("tracing::").skip(1) {
            let Some((level, rest)) = event.split_once("!(") else { continue };
            if !["trace", "debug", "info", "warn", "error"].contains(&level) {
                continue;
            }
            let target = rest.trim_start().strip_prefix("target: \"");
            let target = target.and_then(|rest| rest.split_once('"'));
            let (target, _) =
                target.unwrap_or_else(|| panic!("an event without a target in {file:?}"));
            found.insert((target.to_owned(), level.to_uppercase()));
        }
    }
    found
}

/// Targets with their levels, as the page lists them.
fn in_page() -> BTreeSet<(String, String)> {
    let page = fs::read_to_string(root().join(PAGE)).expect("the page");
    let (_, log) = page.split_once("# Log").expect("it has a part about the log");
    let mut last = String::new();
    let mut found = BTreeSet::new();
    for row in log.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (target, level) = (cells[1].trim_matches('`'), cells[2]);
        if !target.is_empty() {
            last = target.to_owned();
        }
        if last.starts_with("pointsub::") {
            found.insert((last.clone(), level.to_owned()));
        }
    }
    found
}

#[test]
fn the_page_lists_what_is_logged() {
    assert_eq!(in_code(), in_page());
}
