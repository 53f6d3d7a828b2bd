//! `pointsub info`: what a node tells of itself, where it serves `/pointsub-info/1`.

use clap::Args;
use pointsub_tokio::service::info::{
    DescribedMethod, Health, InfoClient, NodeDescription, ServerLoad,
};
use serde_json::json;

use crate::context::{Context, unless_interrupted};
use crate::error::Failure;
use crate::node::{ClientArgs, client, connect, end};
use crate::output::{Mark, Output, size};
use crate::target::{Target, TargetArgs};

/// Arguments of `info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Go on, and print the health of this protocol whenever it changes
    #[arg(long, value_name = "PROTOCOL")]
    watch: Option<String>,

    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn run(args: &InfoArgs, context: &Context) -> Result<(), Failure> {
    let target = args.target.resolve(&context.config)?;
    let node = client(&args.client, context).await?;
    let info = InfoClient::peer(node.client(), target.peer);
    let done = unless_interrupted(async {
        connect(&node, &target, context).await?;
        match &args.watch {
            Some(protocol) => watch(&info, protocol, context).await,
            None => once(&info, &target, context).await,
        }
    });
    let done = done.await;
    let _ended = end(&node).await;
    done
}

async fn once(info: &InfoClient, target: &Target, context: &Context) -> Result<(), Failure> {
    let timeout = context.timeout();
    let described = info.describe().timeout(timeout).await?;
    let load = info.load().timeout(timeout).await?;
    let health = info.health(None).timeout(timeout).await?;
    if context.output.json {
        return context.output.value(&json!({
            "peer": target.peer.to_string(),
            "health": health,
            "description": described,
            "load": load,
        }));
    }
    let output = context.output;
    output.field("Peer ID", target.peer)?;
    output.field("Software", &described.software)?;
    output.field("Health", health_text(health, output))?;
    for (key, value) in &described.labels {
        output.field("Label", format_args!("{key} = {value}"))?;
    }
    describe(&described, output)?;
    print_load(load, output)
}

fn describe(described: &NodeDescription, output: Output) -> Result<(), Failure> {
    for protocol in &described.protocols {
        output.field("Serves", protocol)?;
        let service = described.services.iter().find(|service| service.protocol == *protocol);
        for method in service.iter().flat_map(|service| &service.methods) {
            output.field("", format_args!("  {}", signature(method)))?;
        }
    }
    Ok(())
}

/// A method as one would call it.
fn signature(method: &DescribedMethod) -> String {
    let arguments = method.arguments.iter().map(|(name, kind)| format!("{name}: {kind}"));
    let arguments = arguments.collect::<Vec<_>>().join(", ");
    let receives = method.receives.as_ref().map_or(String::new(), |of| format!(" ← {of}…"));
    let sends = method.sends.as_ref().map_or(String::new(), |of| format!(" → {of}…"));
    format!("{}({arguments}){receives}{sends} = {}", method.name, method.returns)
}

fn print_load(load: ServerLoad, output: Output) -> Result<(), Failure> {
    output.field(
        "Load",
        format_args!(
            "{} of {} requests at work, {} calls, {} streams of {} peers, {}",
            load.in_flight,
            load.limit,
            load.calls,
            load.streams,
            load.peers,
            size(load.memory),
        ),
    )?;
    output.field(
        "So far",
        format_args!(
            "{} started, {} answered, {} failed, {} refused",
            load.started, load.ok, load.failed, load.refused,
        ),
    )
}

async fn watch(info: &InfoClient, protocol: &str, context: &Context) -> Result<(), Failure> {
    let mut changes = info.watch(Some(protocol.to_owned())).await?;
    while let Some(health) = changes.recv().await? {
        match context.output.json {
            true => context.output.value(&json!({ "protocol": protocol, "health": health }))?,
            false => context.output.field(protocol, health_text(health, context.output))?,
        }
    }
    Ok(())
}

fn health_text(health: Health, output: Output) -> String {
    match health {
        Health::Serving => output.mark(Mark::Good, "serving"),
        Health::NotServing => output.mark(Mark::Bad, "not serving"),
        _ => output.mark(Mark::Bad, "unknown: the protocol is not registered"),
    }
}
