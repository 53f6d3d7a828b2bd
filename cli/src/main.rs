//! The command line tool `pointsub`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pointsub_cli::run()
}
