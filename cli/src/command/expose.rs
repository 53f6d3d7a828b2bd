//! `pointsub expose`: lends a TCP service of this machine to peers.

use clap::Args;
use pointsub_tokio::{LimitPolicy, Listener, ProtocolName, ServerConfig};
use tokio::net::TcpStream;

use super::forward::{PROTOCOL, join};
use super::serve::{Ready, finish};
use crate::context::{Context, interrupted};
use crate::error::Failure;
use crate::local;
use crate::node::ServerArgs;
use crate::output::Output;

/// How many TCP connections are carried at a time.
const CONNECTIONS: usize = 4096;

/// Arguments of `expose`.
#[derive(Debug, Args)]
pub(crate) struct ExposeArgs {
    /// The service, such as 3000 or 192.0.2.7:22. Whoever has the ticket can use it, unless --allow says
    /// who may
    #[arg(value_name = "[HOST:]PORT")]
    service: String,

    /// The protocol under which it is exposed
    #[arg(long, value_name = "NAME", default_value_t = PROTOCOL)]
    protocol: ProtocolName,

    /// Print the ticket as a QR code too
    #[arg(long)]
    qr: bool,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn run(args: &ExposeArgs, context: &Context) -> Result<(), Failure> {
    let service = local::address(&args.service)?;
    let config = ServerConfig::default()
        .with_limit_policy(LimitPolicy::Fixed)
        .with_max_concurrent_requests(CONNECTIONS)
        .with_max_raw_streams(CONNECTIONS);
    let serving = args.server.start(context, |node| node.server_config(config)).await?;
    let listener = serving.node.server().listen(&args.protocol);
    let listener = listener.map_err(|error| Failure::usage(format_args!("{error}")))?;
    let port = service.rsplit(':').next().unwrap_or_default();
    let protocol = match args.protocol == PROTOCOL {
        true => String::new(),
        false => format!(" --protocol {}", args.protocol),
    };
    let example = format!("pointsub forward {} {port}{protocol}", serving.ticket);
    let ready = Ready::new(example).with_qr(args.qr);
    ready.announce(&serving, context.output).await?;
    tokio::select! {
        () = lend(listener, &service, context.output) => {}
        () = interrupted() => {}
    }
    finish(&serving, None, context.output).await
}

async fn lend(mut listener: Listener, service: &str, output: Output) {
    while let Some(stream) = listener.accept().await {
        let service = service.to_owned();
        tokio::spawn(async move {
            let caller = stream.peer_id();
            match TcpStream::connect(&service).await {
                Ok(tcp) => {
                    output.detail(format_args!("{caller} has a connection to {service}"));
                    join(tcp, stream, output).await;
                }
                // The stream is dropped, which tells the caller.
                Err(error) => output.note(format_args!("{caller} cannot have {service}: {error}")),
            }
        });
    }
}
