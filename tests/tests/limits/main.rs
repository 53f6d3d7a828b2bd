//! `LIMITS.md`: every limit, its default, what happens beyond it. Generated from the sources, so
//! that it cannot say anything that is not there: options from `core/src/config`, and every constant
//! of the core, the libp2p half and the tokio adapter, which is a limit or is listed here as none.
//! `UPDATE_LIMITS=1 cargo test --workspace --test limits` writes the file anew.

mod areas;
mod declared;
mod fixed;
mod no_limits;
mod options;
mod worst;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use pointsub_tests::sources::root;

use areas::{AREAS, area};
use declared::{plain, readable};
use fixed::FIXED;
use no_limits::NO_LIMITS;

const HEAD: &str = "| limit | value | beyond it | where |\n|---|---|---|---|\n";

fn page() -> String {
    let mut text = String::from(
        "# Limits\n\n\
         Generated from the sources and checked by a test (`tests/tests/limits`): every option \
         with its default and range, and every fixed limit. What happens beyond a limit never \
         harms other peers.\n\n\
         ## Memory at worst\n\n",
    );
    text.push_str(&worst::worst_case());
    text.push_str(&options::tables());
    text.push_str(&options::relay());
    text.push_str("\n## Fixed limits\n");
    text.push_str(&fixed_limits());
    text
}

/// A table of the fixed limits of each area.
fn fixed_limits() -> String {
    let mut text = String::new();
    let mut tables: BTreeMap<usize, String> = BTreeMap::new();
    let mut constants = declared::constants("core/src");
    constants.append(&mut declared::constants("swarm/src"));
    constants.append(&mut declared::constants("runtime-tokio/src"));
    constants.append(&mut declared::constants("service/src"));
    constants.append(&mut declared::constants("metrics/src/table.rs"));
    for (file, name, beyond) in FIXED {
        let key = ((*file).to_owned(), (*name).to_owned());
        let Some((value, doc)) = constants.remove(&key) else {
            panic!("{name} in {file} is gone: mend the list");
        };
        assert!(!doc.is_empty(), "{name} in {file} is not documented");
        let (doc, value) = (plain(&doc), readable(&value));
        let table = tables.entry(area(file)).or_default();
        let _ok = writeln!(table, "| {doc} | {value} | {beyond} | `{file}` |");
    }
    for (area, rows) in tables {
        let _ok = write!(text, "\n### {}\n\n{HEAD}{rows}", AREAS[area].0);
    }
    constants.retain(|(_, name), _| !NO_LIMITS.contains(&name.as_str()));
    let unknown: Vec<_> = constants.keys().collect();
    assert!(unknown.is_empty(), "limits or none? Add them to one of the lists: {unknown:?}");
    text
}

#[test]
fn every_limit_is_listed() {
    let (path, page) = (root().join("LIMITS.md"), page());
    if std::env::var_os("UPDATE_LIMITS").is_some() {
        fs::write(&path, &page).expect("a writable file");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "LIMITS.md is old: run this test with UPDATE_LIMITS=1");
}
