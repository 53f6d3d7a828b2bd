//! Runtimes side by side: nodes of different ones talk to each other, and one program text runs
//! on each.

mod mixed;
mod program;

/// What is tested on tokio is tested on async-std.
#[test]
fn both_runtimes_have_the_same_end_to_end_tests() {
    let modules = |text: &'static str| -> Vec<&str> {
        text.lines().filter(|line| line.starts_with("mod ")).collect()
    };
    let tokio = modules(include_str!("../e2e/main.rs"));
    assert_eq!(tokio, modules(include_str!("../e2e_async_std/main.rs")));
}
