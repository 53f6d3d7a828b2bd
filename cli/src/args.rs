//! The command line.

use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::command::relay::registry;
use crate::command::{
    bench, call, decode, discover, doctor, expose, forward, generate, id, info, key, ping, relay,
    serve, ticket, top,
};

/// The options of every command, and the command.
#[derive(Debug, Parser)]
#[command(name = "pointsub", version, max_term_width = 100)]
#[command(about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER)]
pub(crate) struct Cli {
    /// Print JSON, one value a line
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,

    /// Tell more, on the standard error output
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    pub(crate) verbose: bool,

    /// Use this profile of the configuration
    #[arg(long, global = true, value_name = "NAME", help_heading = EVERYWHERE)]
    #[arg(env = "POINTSUB_PROFILE", hide_env_values = true)]
    pub(crate) profile: Option<String>,

    /// How long a request may take, such as 500ms, 30s or 2m. Default: 30s
    #[arg(long, global = true, value_name = "TIME", help_heading = EVERYWHERE)]
    #[arg(value_parser = crate::config::duration)]
    pub(crate) timeout: Option<Duration>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const ABOUT: &str = "Request and response by Peer ID";

const LONG_ABOUT: &str = "\
Request and response by Peer ID.

Serve something at one end, and call it at the other, wherever that is:

    pointsub serve /echo/1 --echo
    pointsub call TICKET /echo/1 hi

On one local network no ticket is needed:

    pointsub call /echo/1 hi";

/// Over the options that every command has.
const EVERYWHERE: &str = "Options of every command";

const AFTER: &str = "\
Exit codes: 0 done, 1 the peer answered with an error, 2 wrong usage, 3 not reached, 4 timed out,
5 busy: try later, 6 a fault of this machine (file, key, port), 7 bytes that cannot be understood,
130 interrupted.

The configuration is config.toml in $POINTSUB_CONFIG_DIR, or in pointsub in $XDG_CONFIG_HOME or
~/.config. POINTSUB_LOG=debug prints what the library logs.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer requests under a protocol: with an echo, a command, files, or an HTTP server
    Serve(Box<serve::ServeArgs>),
    /// Send a request, or call a method of a typed service: of a peer, or of the closest server that is
    /// found
    Call(Box<call::CallArgs>),
    /// Show which servers of a protocol are found: on the local network, at registries, in the DNS
    Discover(discover::DiscoverArgs),
    /// Show how long the way to a peer and back takes, and whether it is direct
    Ping(ping::PingArgs),
    /// Show what a node tells of itself: health, load, services
    Info(info::InfoArgs),
    /// Watch a node: requests, connections, limits, memory
    Top(top::TopArgs),
    /// Show who is at an address: Peer ID, program, protocols
    Id(id::IdArgs),
    /// Measure how many requests a peer answers, and how fast
    Bench(bench::BenchArgs),
    /// Lend a TCP service of this machine to peers
    Expose(Box<expose::ExposeArgs>),
    /// Have a peer's TCP service on a port of this machine
    Forward(forward::ForwardArgs),
    /// Relay connections between peers that cannot reach each other
    Relay(Box<relay::RelayArgs>),
    /// List servers for those who look for them, on any network
    Registry(Box<registry::RegistryArgs>),
    /// Make a key, or show its Peer ID
    Key(key::KeyArgs),
    /// Show what is in a ticket, or make one
    Ticket(ticket::TicketArgs),
    /// Show the frames in a hex dump or in bytes
    Decode(decode::DecodeArgs),
    /// Find out why something does not work here
    Doctor(Box<doctor::DoctorArgs>),
    /// Print the completions for a shell
    Completions(generate::CompletionsArgs),
    /// Write the manual pages to a folder
    Man(generate::ManArgs),
}
