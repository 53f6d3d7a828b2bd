//! `pointsub discover`: which servers of a protocol there are on the local network, at registries, in lists of
//! the DNS and in a private network.
//!
//! A server is shown when it has said itself, on a connection, that it serves the protocol. One to which there
//! is no connection any more is dialled again before it is said to be lost: servers close connections that
//! nobody uses.

mod server;
mod watched;

use std::time::{Duration, Instant};

use clap::Args;
use pointsub_tokio::{Cause, Client, Node, ProtocolName, RequestError, Sources};
use tokio::time::sleep;

use self::server::{Server, servers};
use self::watched::Watched;
use crate::context::{Context, interrupted};
use crate::error::Failure;
use crate::node::{ClientArgs, FindArgs, client_with, end};
use crate::output::{Output, duration};

/// How long to look where nothing else is said.
const FOR: Duration = Duration::from_secs(3);
/// How often it is asked what is known by now.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is said that servers are still wanted: long before that is forgotten.
const RENEW: Duration = Duration::from_secs(60);

/// Arguments of `discover`.
#[derive(Debug, Args)]
pub(crate) struct DiscoverArgs {
    /// The name of the protocol, such as /echo/1
    protocol: ProtocolName,

    /// Go on until Ctrl-C, and tell of servers as they come and go
    #[arg(long)]
    watch: bool,

    /// How long to look, such as 10s. Default: 3s, and with --watch until Ctrl-C
    #[arg(long = "for", value_name = "TIME", value_parser = crate::config::duration)]
    time: Option<Duration>,

    #[command(flatten)]
    find: FindArgs,

    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn run(args: &DiscoverArgs, context: &Context) -> Result<(), Failure> {
    let output = context.output;
    let places = args.find.places(&context.config)?;
    let asked = places.sources();
    let node = client_with(&args.client, context, |node| places.apply(node)).await?;
    let client = node.client();
    let limit = args.time.or((!args.watch).then_some(FOR));
    let mut watched = Watched::default();
    let waiting = (!args.watch).then(|| output.waiting(format!("looking in: {asked}")));
    let began = Instant::now();
    let done = tokio::select! {
        failure = want(&client, &args.protocol) => Err(failure.into()),
        done = watch(args, &node, output, &mut watched) => done,
        () = over(limit) => Ok(()),
        () = interrupted() => match args.watch {
            true => Ok(()),
            false => Err(Failure::interrupted()),
        },
    };
    if let Some(waiting) = waiting {
        waiting.finish_and_clear();
    }
    let done = match done {
        Ok(()) if !args.watch => list(&servers(&node, &args.protocol).await, output),
        Ok(()) => Ok(watched.found_any),
        Err(failure) => Err(failure),
    };
    let silent = client.server_nodes_info(&args.protocol).len();
    let _ended = end(&node).await;
    match done? {
        true => Ok(()),
        false => Err(nobody(&args.protocol, began.elapsed(), silent, asked)),
    }
}

/// Has the node look for servers, until the command ends.
async fn want(client: &Client, protocol: &ProtocolName) -> RequestError {
    loop {
        match client.wait_for_server(protocol).await {
            Ok(()) => sleep(RENEW).await,
            // There may be one later.
            Err(error) if is_nobody(&error) => {}
            Err(error) => return error,
        }
    }
}

const fn is_nobody(error: &RequestError) -> bool {
    matches!(error.cause, Cause::NoServerFound { .. })
}

async fn over(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

fn nobody(protocol: &ProtocolName, after: Duration, silent: usize, asked: Sources) -> Failure {
    let mut text = format!("no server of {protocol} was found within {}", duration(after));
    if silent > 0 {
        text +=
            &format!("; {silent} are said to be there, and were not reached or do not serve it");
    }
    Failure::nobody(text, asked)
}

/// Prints the servers. Whether there are any.
fn list(servers: &[Server], output: Output) -> Result<bool, Failure> {
    for server in servers {
        match output.json {
            true => server.event("found", output)?,
            false => output.line(server.columns(output))?,
        }
    }
    Ok(!servers.is_empty())
}

/// Tells of servers as they come and go. Without `--watch`, nothing is told before the end.
async fn watch(
    args: &DiscoverArgs,
    node: &Node,
    output: Output,
    watched: &mut Watched,
) -> Result<(), Failure> {
    if !args.watch {
        return std::future::pending().await;
    }
    loop {
        watched.update(servers(node, &args.protocol).await, node).await;
        watched.tell(output)?;
        sleep(LOOK).await;
    }
}
