//! `pointsub top`: how a node is and what it does, as it changes.
//!
//! An operator of a server of this program sees all of it (`/pointsub-top/1`), and anybody sees the load of a
//! node that serves `/pointsub-info/1`.

mod feed;
mod sample;
mod state;
mod terminal;
mod text;
mod view;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pointsub_tokio::{Multiaddr, Node};
use tokio::time::{Instant, sleep_until};

use self::feed::Feed;
use self::sample::Sort;
use self::state::State;
use crate::config::Config;
use crate::context::{Context, interrupted};
use crate::error::{Exit, Failure};
use crate::node::operator::{Running, running};
use crate::node::{ClientArgs, client, connect, end};
use crate::target::{Target, TargetArgs};

/// How long an answer may take where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The node is asked no more often.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Arguments of `top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// The node: a ticket, an address that ends in /p2p/PEER, a Peer ID with --address, or a name from
    /// the configuration. Without it, the server that this user has started on this machine
    #[arg(value_name = "TARGET")]
    target: Option<String>,

    /// Where the node is, if the target is a Peer ID; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    address: Vec<Multiaddr>,

    /// Which server, if this user has started several on this machine
    #[arg(long, value_name = "PROCESS", conflicts_with = "target")]
    pid: Option<u32>,

    /// How long to wait between two looks, 100ms at least
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,

    /// Print how the node is once, and end
    #[arg(long)]
    once: bool,

    /// What protocols and peers are sorted by
    #[arg(long, value_name = "COLUMN", default_value = "busy")]
    sort: Sort,

    /// The file with the key of an operator of the node. Default: `operator` in the folder of the
    /// configuration: with it, this user is an operator of all servers that this user starts
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let time = crate::config::duration(text)?;
    (time >= MIN_INTERVAL).then_some(time).ok_or_else(|| "100ms at least".to_owned())
}

pub(crate) async fn run(args: &TopArgs, context: &Context) -> Result<(), Failure> {
    let target = match &args.target {
        Some(target) => {
            TargetArgs::new(target.clone(), args.address.clone()).resolve(&context.config)?
        }
        None => of_this_user(args.pid, &context.config)?,
    };
    let key = args.key.clone().map_or_else(|| context.config.operator_key(), Ok)?;
    let node = client(&ClientArgs { key: Some(key) }, context).await?;
    context.output.detail(format_args!("this is {}", node.peer_id()));
    let done = tokio::select! {
        done = watch(args, context, &node, &target) => done,
        () = interrupted() => Ok(()),
    };
    let _ended = end(&node).await;
    done
}

/// The server that this user has started on this machine.
fn of_this_user(pid: Option<u32>, config: &Config) -> Result<Target, Failure> {
    let mut found = running(config)?;
    found.retain(|running| pid.is_none_or(|pid| running.pid == pid));
    match &found[..] {
        [only] => only.target(),
        [] => {
            let text = "no server that this user has started is running on this machine";
            Err(Failure::new(Exit::NotReached, text)
                .next("`pointsub serve` starts one; a node elsewhere is named by its ticket"))
        }
        several => {
            let of = |running: &Running| format!("--pid {} ({})", running.pid, running.command);
            let choices: Vec<String> = several.iter().map(of).collect();
            Err(Failure::usage("this user has started several servers on this machine")
                .next(format!("choose one: {}", choices.join(", "))))
        }
    }
}

async fn watch(
    args: &TopArgs,
    context: &Context,
    node: &Node,
    target: &Target,
) -> Result<(), Failure> {
    connect(node, target, context).await?;
    let timeout = context.timeout.or(context.config.profile.timeout).unwrap_or(TIMEOUT);
    let mut feed = Feed::new(node, target.peer, timeout);
    let mut state = State::new(target.peer.to_string(), args.sort);
    state.heard(feed.next().await?);
    state.load_alone = feed.is_load_alone();
    let output = context.output;
    if !args.once && !output.json && is_screen() {
        return terminal::run(feed, state, args.interval).await;
    }
    if state.load_alone {
        output.note("the node shows its load alone: this is no operator of it (--operator)");
    }
    let mut next = Instant::now();
    for line in 0_u64.. {
        next += args.interval;
        sleep_until(next).await;
        state.heard(feed.next().await?);
        match (output.json, args.once) {
            (true, _) => output.value(&state.shown.to_json(&state.peer))?,
            (false, true) => text::whole(&state, output)?,
            (false, false) => text::line(&state, line, output)?,
        }
        if args.once {
            break;
        }
    }
    Ok(())
}

/// Whether the output is a terminal on which the cursor moves.
fn is_screen() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !is_dumb
}
