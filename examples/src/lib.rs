//! The examples are the files beside `Cargo.toml`: run them with `cargo run --example NAME`.
//!
//! The code of the book in `docs` is compiled and run with the tests of this crate.

/// Each chapter, so that its code is a test.
macro_rules! chapters {
    ($($name:ident: $file:literal,)*) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!(concat!("../../docs/src/", $file))]
            pub mod $name {}
        )*

        #[cfg(test)]
        const CHAPTERS: &[&str] = &[$($file,)*];
    };
}

chapters! {
    introduction: "introduction.md",
    first_service: "first-service.md",
    requests: "requests.md",
    calls: "calls.md",
    closest: "closest.md",
    security: "security.md",
    nat: "nat.md",
    production: "production.md",
    tuning: "tuning.md",
    tests: "tests.md",
    effort: "effort.md",
    migration: "migration.md",
    cookbook: "cookbook.md",
}

#[cfg(test)]
#[test]
fn the_code_of_every_chapter_is_tested() {
    let summary = include_str!("../../docs/src/SUMMARY.md");
    let listed: Vec<&str> =
        summary.lines().filter_map(|line| line.split_once("](")?.1.strip_suffix(')')).collect();
    assert_eq!(listed, CHAPTERS);
}

#[cfg(test)]
#[test]
fn both_readmes_have_the_same_code() {
    /// The lines of the programs, without their comments.
    fn code(text: &str) -> Vec<&str> {
        let programs = text.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next());
        let lines =
            programs.flat_map(str::lines).filter(|line| !line.trim_start().starts_with("//"));
        lines.map(|line| line.split(" // ").next().unwrap_or_default()).collect()
    }
    let english = code(include_str!("../../README.md"));
    assert!(english.len() > 100);
    assert_eq!(english, code(include_str!("../../README.zh.md")));
}
