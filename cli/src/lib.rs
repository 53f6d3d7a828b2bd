//! The command line tool `pointsub`: what its README says.
//!
//! It is a program. The modules that are public have formats that are written down and tested on their own.

mod args;
mod command;
mod config;
mod context;
pub mod decode;
mod error;
mod local;
mod node;
mod output;
mod qr;
mod target;
pub mod ticket;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use args::{Cli, Command};
use command::relay::registry;
use command::{
    bench, call, decode as decode_command, discover, doctor, expose, forward, generate, id, info,
    key, ping, relay, serve, ticket as ticket_command, top,
};
use config::Config;
use context::Context;
use error::Failure;
use output::Output;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.json, cli.verbose);
    match start(cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn start(cli: Cli, output: Output) -> Result<(), Failure> {
    log()?;
    // The doctor looks at a broken configuration too.
    let config = match (Config::read(cli.profile.as_deref()), &cli.command) {
        (Err(_), Command::Doctor(_)) => Config::default(),
        (config, _) => config?,
    };
    let context = Context { output, config, timeout: cli.timeout };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::local(format_args!("no threads: {error}")))?;
    let done = runtime.block_on(command(cli.command, cli.profile, &context));
    // A thread that reads a terminal cannot be ended, and is not waited for.
    runtime.shutdown_background();
    done
}

async fn command(
    command: Command,
    profile: Option<String>,
    context: &Context,
) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve::run(&args, context).await,
        Command::Call(args) => call::run(&args, context).await,
        Command::Discover(args) => discover::run(&args, context).await,
        Command::Ping(args) => ping::run(&args, context).await,
        Command::Info(args) => info::run(&args, context).await,
        Command::Id(args) => id::run(&args, context).await,
        Command::Bench(args) => bench::run(&args, context).await,
        Command::Expose(args) => expose::run(&args, context).await,
        Command::Forward(args) => forward::run(&args, context).await,
        Command::Relay(args) => relay::run(&args, context).await,
        Command::Registry(args) => registry::run(&args, context).await,
        Command::Top(args) => top::run(&args, context).await,
        Command::Key(args) => key::run(&args, context).await,
        Command::Ticket(args) => ticket_command::run(&args, context),
        Command::Decode(args) => decode_command::run(&args, context),
        Command::Doctor(args) => doctor::run(&args, profile.as_deref(), context).await,
        Command::Completions(args) => generate::completions(&args, context),
        Command::Man(args) => generate::man(&args, context),
    }
}

/// What the library logs goes to the standard error output, as far as `POINTSUB_LOG` says.
fn log() -> Result<(), Failure> {
    let Ok(wanted) = std::env::var("POINTSUB_LOG") else { return Ok(()) };
    let targets: Targets = wanted.parse().map_err(|error| {
        Failure::usage(format_args!("POINTSUB_LOG={wanted:?}: {error}"))
            .next("such as warn, debug, or pointsub=debug,libp2p=warn")
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(targets).with(lines).init();
    Ok(())
}
