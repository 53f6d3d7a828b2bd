//! `pointsub registry`: lists servers for those who look for them.

use clap::Args;
use pointsub_tokio::service::registry::{RegistryService, RegistryUse};
use pointsub_tokio::{Node, PeerId};

use super::{reachable_server, until_interrupted};
use crate::command::serve::{Ready, finish};
use crate::context::Context;
use crate::error::Failure;
use crate::node::ServerArgs;

/// Arguments of `registry`.
#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    /// List this server and no other; may be given several times. Everybody may look for servers
    #[arg(long, value_name = "PEER")]
    list: Vec<PeerId>,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn run(args: &RegistryArgs, context: &Context) -> Result<(), Failure> {
    let server = reachable_server(&args.server, context);
    let serving = server.start(context, |node| node).await?;
    serve(&serving.node, args.list.clone())?;
    let example = format!("pointsub serve /echo/1 --echo --registry {}", serving.ticket);
    Ready::new(example).announce(&serving, context.output).await?;
    until_interrupted(&serving.node, context.output).await;
    finish(&serving, None, context.output).await
}

/// Serves a registry that lists these servers, or any if none is named.
pub(super) fn serve(node: &Node, list: Vec<PeerId>) -> Result<(), Failure> {
    let registry = RegistryService::new(node.server()).with_rule(move |peer, how| {
        how != RegistryUse::Announce || list.is_empty() || list.contains(peer)
    });
    registry.serve().map_err(Failure::local)
}
