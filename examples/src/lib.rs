//! The examples are the files beside `Cargo.toml`: run them with `cargo run --example NAME`.
