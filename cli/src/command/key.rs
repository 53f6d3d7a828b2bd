//! `pointsub key`: the key that a node's Peer ID is made of.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use pointsub_tokio::{Node, PeerId};
use serde_json::json;

use crate::context::Context;
use crate::error::Failure;

/// Arguments of `key`.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key in a file that only its user may read. A key that is there already stays
    New(FileArgs),
    /// Print the Peer ID of a key
    Show(FileArgs),
}

#[derive(Debug, Args)]
struct FileArgs {
    /// The file. Default: that of servers, `key` in the folder of the configuration
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(crate) async fn run(args: &KeyArgs, context: &Context) -> Result<(), Failure> {
    let (file, is_new) = match &args.command {
        KeyCommand::New(args) => (args, true),
        KeyCommand::Show(args) => (args, false),
    };
    let given = file.file.as_ref().or(context.config.profile.key.as_ref());
    let path = given.map_or_else(|| context.config.key_file(), |path| Ok(path.clone()))?;
    match (path.exists(), is_new) {
        (true, true) => {
            return Err(Failure::local(format_args!("{} is there already", path.display()))
                .next("`pointsub key show` prints its Peer ID; a new one needs another file"));
        }
        (false, false) => {
            return Err(Failure::local(format_args!("{} is not there", path.display()))
                .next("`pointsub key new` makes a key"));
        }
        _ => {}
    }
    let peer = peer_of(path.clone()).await?;
    match context.output.json {
        true => context.output.value(&json!({
            "peer": peer.to_string(), "file": path.display().to_string(),
        })),
        false if is_new => {
            context.output.field("Key", path.display())?;
            context.output.field("Peer ID", peer)
        }
        false => context.output.line(peer),
    }
}

/// The Peer ID of the key in a file, which is made if it is not there: that of a node without a network.
pub(crate) async fn peer_of(path: PathBuf) -> Result<PeerId, Failure> {
    Ok(Node::builder().in_memory().key_file(path).build().await?.peer_id())
}
