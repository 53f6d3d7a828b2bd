//! All checks against all peers, in turn.

use std::env;
use std::process::ExitCode;

use crate::checks::Checks;
use crate::peer::Program;
use crate::{clients, native_clients, native_servers, restarts, servers};

pub(crate) async fn all(runtime: &str) -> ExitCode {
    let mut checks = Checks::default();
    let arguments: Vec<String> = env::args().skip(1).collect();
    for peer in arguments.chunks(2) {
        let [name, command] = peer else { panic!("a name without a command") };
        let program = Program(command.clone());
        if command.contains("--format native") {
            native_servers::check(&mut checks, name, &program).await;
            native_clients::check(&mut checks, name, &program).await;
            continue;
        }
        servers::check(&mut checks, name, &program).await;
        clients::check(&mut checks, name, &program).await;
        restarts::check(&mut checks, name, &program).await;
    }
    println!("on {runtime}: {} passed, {} failed", checks.passed, checks.failed);
    if checks.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
