//! Checks this library against peers in other languages: `bash tests/interop/run`.
//!
//! The arguments are names of peers, each with the command that starts it.

mod checks;
mod clients;
mod peer;
mod restarts;
mod servers;

use std::env;
use std::process::ExitCode;

use checks::Checks;
use peer::Program;

#[tokio::main]
async fn main() -> ExitCode {
    let mut checks = Checks::default();
    let arguments: Vec<String> = env::args().skip(1).collect();
    for peer in arguments.chunks(2) {
        let [name, command] = peer else { panic!("a name without a command") };
        let program = Program(command.clone());
        servers::check(&mut checks, name, &program).await;
        clients::check(&mut checks, name, &program).await;
        restarts::check(&mut checks, name, &program).await;
    }
    println!("{} passed, {} failed", checks.passed, checks.failed);
    if checks.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
