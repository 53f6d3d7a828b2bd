//! `pointsub doctor`: finds out why something does not work, and says the smallest thing that helps.

mod clock;
mod machine;
mod peers;

use std::path::PathBuf;

use clap::Args;
use pointsub_tokio::Multiaddr;
use serde_json::json;

use crate::config::Config;
use crate::context::{Context, unless_interrupted};
use crate::error::{Exit, Failure};
use crate::output::{Mark, Output};
use crate::target::TargetArgs;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// See how far one gets on the way to this peer: a ticket, an address, a Peer ID with --address, or a
    /// name from the configuration
    #[arg(value_name = "TARGET")]
    target: Option<String>,

    /// Where the peer is; may be given several times
    #[arg(long, value_name = "ADDRESS", requires = "target")]
    address: Vec<Multiaddr>,

    /// Look at this key file. Default: that of servers
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// See whether a server could listen here; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<Multiaddr>,

    /// See whether this relay relays; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    relay: Vec<Multiaddr>,

    /// Compare the clock with that of a web server
    #[arg(long, value_name = "HOST[:PORT]")]
    clock: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Good,
    /// It was not looked at, or is not known.
    Unknown,
    /// Something here is wrong.
    Bad,
    /// Something elsewhere is wrong, or on the way there.
    Away,
}

/// Something that was looked at.
#[derive(Debug)]
pub(super) struct Check {
    name: &'static str,
    pub(super) state: State,
    pub(super) found: String,
    pub(super) next: Option<String>,
}

impl Check {
    pub(super) fn new(name: &'static str, state: State, found: impl ToString) -> Self {
        Self { name, state, found: found.to_string(), next: None }
    }

    pub(super) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// What a failure says.
    pub(super) fn failed(name: &'static str, state: State, failure: &Failure) -> Self {
        let (found, next) = failure.lines();
        let check = Self::new(name, state, found);
        match next {
            Some(next) => check.next(next),
            None => check,
        }
    }

    fn print(&self, output: Output) -> Result<(), Failure> {
        let (mark, text) = match self.state {
            State::Good => (Mark::Good, "good"),
            State::Unknown => (Mark::Faint, "-"),
            State::Bad | State::Away => (Mark::Bad, "BAD"),
        };
        if output.json {
            let state = if text == "-" { "unknown" } else { text };
            return output.value(&json!({
                "check": self.name,
                "state": state.to_ascii_lowercase(),
                "found": self.found,
                "next": self.next,
            }));
        }
        let label = output.mark(Mark::Label, format_args!("{:<8}", self.name));
        output.line(format_args!(
            "{} {label} {}",
            output.mark(mark, format_args!("{text:<4}")),
            self.found
        ))?;
        match &self.next {
            Some(next) => output.line(format_args!("              → {next}")),
            None => Ok(()),
        }
    }
}

pub(crate) async fn run(
    args: &DoctorArgs,
    profile: Option<&str>,
    context: &Context,
) -> Result<(), Failure> {
    unless_interrupted(examine(args, profile, context)).await
}

async fn examine(
    args: &DoctorArgs,
    profile: Option<&str>,
    context: &Context,
) -> Result<(), Failure> {
    let connect = context.timeout.unwrap_or(peers::CONNECT);
    let mut worst = State::Good;
    let mut tell = |check: Check| {
        worst = match (worst, check.state) {
            (State::Bad, _) | (_, State::Bad) => State::Bad,
            (State::Away, _) | (_, State::Away) => State::Away,
            _ => State::Good,
        };
        check.print(context.output)
    };
    tell(configuration(profile))?;
    tell(machine::key(args.key.as_ref(), &context.config).await)?;
    let profile = &context.config.profile;
    let listen = if args.listen.is_empty() { &profile.listen } else { &args.listen };
    for address in listen {
        tell(machine::port(address).await)?;
    }
    tell(machine::udp().await)?;
    tell(clock::check(args.clock.as_deref()).await)?;
    let relays = if args.relay.is_empty() { &profile.relay } else { &args.relay };
    for relay in relays {
        tell(peers::relay(relay, connect).await)?;
    }
    if let Some(target) = &args.target {
        let target = TargetArgs::new(target.clone(), args.address.clone());
        let target = target.resolve(&context.config)?;
        for check in peers::target(&target, connect).await {
            tell(check)?;
        }
    }
    match worst {
        State::Bad => Err(Failure::local("something on this machine is wrong")),
        State::Away => Err(Failure::new(Exit::NotReached, "something elsewhere is wrong")),
        _ => Ok(()),
    }
}

fn configuration(profile: Option<&str>) -> Check {
    match Config::read(profile) {
        Ok(config) => {
            let folder = config.folder.map(|folder| folder.display().to_string());
            Check::new("config", State::Good, folder.unwrap_or_else(|| "no folder".to_owned()))
        }
        Err(failure) => Check::failed("config", State::Bad, &failure),
    }
}
