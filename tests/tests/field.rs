//! `FIELD.md`: which test keeps away which fault that users of other libraries met, and `ATTACKS.md`:
//! which test keeps away which kind of attack. The pages are written by hand; this checks that they are
//! complete, and that every test which they name exists.

use std::fs;

use pointsub_tests::sources::root;

/// How many reported scenarios there are, numbered from 1.
const REPORTED: usize = 44;

/// The cells of every row of the page's tables.
fn rows(page: &str) -> Vec<[&str; 3]> {
    let lines = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| # "));
    let cells = lines.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        cells.try_into().unwrap_or_else(|cells| panic!("three cells in a row, not {cells:?}"))
    });
    cells.collect()
}

/// The tests that a cell names, as file and function: `` `tests/tests/e2e/cancel.rs` a_test ``.
fn tests(cell: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = cell.split('`').collect();
    let named = parts.windows(2).filter(|pair| pair[0].ends_with(".rs"));
    let end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    named.map(|pair| (pair[0], pair[1].trim().split(end).next().unwrap_or_default())).collect()
}

/// Whether a file has a test of this name, which may be a unit test, or one of a runtime.
fn has_test(text: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    let before = text.split_once(&head).and_then(|(before, _)| before.rsplit_once('\n'));
    // Only attributes stand between.
    let attributes = before.map(|(before, _)| before.lines().rev().map(str::trim));
    attributes.is_some_and(|lines| {
        let mut lines = lines.take_while(|line| line.starts_with("#["));
        lines.any(|line| line == "#[test]" || line.starts_with("#[tokio::test"))
    })
}

/// Every test that `ATTACKS.md` names exists, and there is one in each row.
#[test]
fn every_kind_of_attack_has_a_test() {
    let page = fs::read_to_string(root().join("tests/ATTACKS.md")).expect("the page");
    for [kind, _, cell] in rows(&page).into_iter().filter(|[kind, ..]| *kind != "kind") {
        let named = tests(cell);
        assert!(!named.is_empty(), "{kind}: no test");
        for (file, test) in named {
            let text = fs::read_to_string(root().join(file)).unwrap_or_default();
            assert!(has_test(&text, test), "{kind}: there is no test {test} in {file}");
        }
    }
}

#[test]
fn every_scenario_has_a_row_and_every_test_exists() {
    let page = fs::read_to_string(root().join("tests/FIELD.md")).expect("the page");
    let rows = rows(&page);
    let numbers = rows.iter().filter_map(|[number, ..]| number.parse::<usize>().ok());
    assert!(numbers.eq(1..=REPORTED), "rows 1 to {REPORTED}, in order");
    for [number, _, cell] in rows {
        let named = tests(cell);
        let says_why = cell.starts_with("none: ");
        assert!(says_why || !named.is_empty(), "{number}: neither a test nor a reason");
        for (file, test) in named {
            let text = fs::read_to_string(root().join(file)).unwrap_or_default();
            assert!(has_test(&text, test), "{number}: there is no test {test} in {file}");
        }
    }
}
