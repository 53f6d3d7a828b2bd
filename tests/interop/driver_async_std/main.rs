//! The checks of `tests/interop/driver` on async-std. What starts and talks to the peers stays on tokio.

#[path = "../driver/checks.rs"]
mod checks;
#[path = "../driver/clients.rs"]
mod clients;
#[path = "../driver/native.rs"]
mod native;
#[path = "../driver/native_clients.rs"]
mod native_clients;
#[path = "../driver/native_servers.rs"]
mod native_servers;
#[path = "../driver/native_services.rs"]
mod native_services;
#[path = "../driver/peer.rs"]
mod peer;
#[path = "../driver/restarts.rs"]
mod restarts;
#[path = "../driver/run.rs"]
mod run;
#[path = "../driver/servers.rs"]
mod servers;

use std::process::ExitCode;

use pointsub_async_std::{AsyncStd as Rt, Node};

#[tokio::main]
async fn main() -> ExitCode {
    run::all("async-std").await
}
