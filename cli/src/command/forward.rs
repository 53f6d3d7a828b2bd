//! `pointsub forward`: a TCP service that a peer exposes, on a port of this machine.

use std::io::ErrorKind;
use std::time::Duration;

use clap::Args;
use pointsub_tokio::{Client, ClientConfig, PeerId, ProtocolName, RawStream};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::context::{Context, interrupted};
use crate::error::Failure;
use crate::local;
use crate::node::{ClientArgs, client_with, connect, end};
use crate::output::Output;
use crate::target::TargetArgs;

/// The protocol of `expose` and `forward`: a raw stream for each TCP connection, with its bytes.
pub(crate) const PROTOCOL: ProtocolName = ProtocolName::from_static("/forward/1.0.0");
/// How many TCP connections are carried at a time: as many streams as a muxer allows, and some less.
const CONNECTIONS: usize = 240;

/// Arguments of `forward`.
#[derive(Debug, Args)]
pub(crate) struct ForwardArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Where it appears here; 0 is any free port
    #[arg(value_name = "[HOST:]PORT")]
    local: String,

    /// The protocol under which the peer exposes it
    #[arg(long, value_name = "NAME", default_value_t = PROTOCOL)]
    protocol: ProtocolName,

    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn run(args: &ForwardArgs, context: &Context) -> Result<(), Failure> {
    let target = args.target.resolve(&context.config)?;
    let local = local::address(&args.local)?;
    let listener = TcpListener::bind(&local).await.map_err(|error| {
        let failure = Failure::local(format_args!("cannot listen on {local}: {error}"));
        match error.kind() {
            ErrorKind::AddrInUse => failure.next("choose another port, or 0 for any free one"),
            ErrorKind::PermissionDenied => failure.next("ports below 1024 are for root alone"),
            _ => failure,
        }
    })?;
    let config = ClientConfig::default().with_max_streams_per_peer(CONNECTIONS);
    let node = client_with(&args.client, context, |node| node.client_config(config)).await?;
    let done = tokio::select! {
        done = async {
            connect(&node, &target, context).await?;
            announce(&listener, context.output)?;
            forward(&listener, &node.client(), target.peer, args, context.output).await
        } => done,
        () = interrupted() => Ok(()),
    };
    let _ended = end(&node).await;
    done
}

fn announce(listener: &TcpListener, output: Output) -> Result<(), Failure> {
    let at = listener.local_addr().map_err(Failure::local)?;
    match output.json {
        true => output.value(&json!({ "event": "ready", "local": at.to_string() })),
        false => output.field("Listening", format_args!("on {at}")),
    }
}

async fn forward(
    listener: &TcpListener,
    client: &Client,
    peer: PeerId,
    args: &ForwardArgs,
    output: Output,
) -> Result<(), Failure> {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                let dial = client.dial(peer, &args.protocol);
                tokio::spawn(async move {
                    match dial.await {
                        Ok(stream) => join(tcp, stream, output).await,
                        Err(error) => {
                            refuse(&tcp, &format!("cannot reach {peer}: {error}"), output);
                        }
                    }
                });
            }
            Err(error) => {
                output.note(format_args!("cannot accept: {error}"));
                // It has given up already, or file descriptors have run out, which takes a while.
                if error.kind() != ErrorKind::ConnectionAborted {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Passes bytes on in both directions, each until its end. If one side breaks, so does the other: a reset
/// must not look like the end of a file.
pub(crate) async fn join(mut tcp: TcpStream, mut stream: RawStream, output: Output) {
    // Otherwise the end of a message waits until the beginning is acknowledged, some 40 ms.
    let joined = match tcp.set_nodelay(true) {
        Ok(()) => copy_bidirectional(&mut tcp, &mut stream).await,
        Err(error) => Err(error),
    };
    match joined {
        Ok((out, back)) => output.detail(format_args!("a connection ended: {out} B, {back} B")),
        // The stream is dropped without having been closed, which resets it.
        Err(error) => refuse(&tcp, &format!("a connection broke: {error}"), output),
    }
}

/// Says why a TCP connection ends before its time, and has it reset when it is dropped.
fn refuse(tcp: &TcpStream, why: &str, output: Output) {
    output.note(why);
    // If that fails, it has ended already.
    let _ended = tcp.set_zero_linger();
}
