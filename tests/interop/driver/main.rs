//! Checks this library on tokio against peers in other languages: `bash tests/interop/run`.
//!
//! The arguments are names of peers, each with the command that starts it.

mod checks;
mod clients;
mod native;
mod native_clients;
mod native_servers;
mod native_services;
mod peer;
mod restarts;
mod run;
mod servers;

use std::process::ExitCode;

use pointsub_tokio::{Node, Tokio as Rt};

#[tokio::main]
async fn main() -> ExitCode {
    run::all("tokio").await
}
