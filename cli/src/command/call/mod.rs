//! `pointsub call`: sends a request, or calls a method of a typed service.

mod callee;
mod typed;
mod words;

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use data_encoding::BASE64;
use pointsub_tokio::middleware::{OutgoingRequest, Service};
use pointsub_tokio::{Bytes, Metadata, Multiaddr, Node, ProtocolName, Response, Sources};
use serde_json::{Map, Value, json};

use self::callee::{Callee, Whom};
use self::words::Words;
use crate::context::{Context, unless_interrupted};
use crate::error::{Exit, Failure};
use crate::node::{ClientArgs, FindArgs, client, client_with, connect, end};
use crate::output::{duration, millis, size, source_name};

/// Arguments of `call`.
#[derive(Debug, Args)]
#[command(override_usage = "pointsub call [OPTIONS] [TARGET] <PROTOCOL> [BODY]
       pointsub call [OPTIONS] [TARGET] <PROTOCOL> <METHOD> <JSON>")]
pub(crate) struct CallArgs {
    /// The peer: a ticket, an address that ends in /p2p/PEER, a Peer ID with --address, or a name from
    /// the configuration. Without it, the closest server answers that is found on the local network, at
    /// registries (--registry), in lists (--dns) and in a private network (--kad). A first argument that begins with / is the protocol,
    /// unless it begins with /ip4/, /ip6/, /dns/, /dns4/, /dns6/ or /dnsaddr/, or ends in /p2p/PEER
    #[arg(value_name = "TARGET")]
    target: Option<String>,

    /// The name of the protocol, such as /echo/1
    #[arg(value_name = "PROTOCOL")]
    protocol: Option<String>,

    /// What is sent: a text, - for the standard input, @FILE for a file (@@ for a text that begins with
    /// @). With two of them, the first is the method of a typed service and the second its arguments as
    /// JSON
    #[arg(value_name = "BODY", num_args = 0..=2)]
    body: Vec<String>,

    /// Where the peer is, if the target is a Peer ID; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    address: Vec<Multiaddr>,

    /// The method within the protocol, for services that are not typed
    #[arg(short, long, value_name = "METHOD")]
    method: Option<String>,

    /// Metadata beside the body; may be given several times
    #[arg(short = 'H', long = "header", value_name = "KEY=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,

    /// Send each line of the standard input as a message of JSON, to a method that receives messages
    #[arg(short, long)]
    lines: bool,

    /// Write the answer to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Send it once at most: do not try again where it may have been processed
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    find: FindArgs,

    #[command(flatten)]
    client: ClientArgs,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("metadata is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(crate) async fn run(args: &CallArgs, context: &Context) -> Result<(), Failure> {
    let words: Vec<&str> = args.words().collect();
    let Words { target, protocol, body } = Words::of(&words, &args.address)?;
    let target = target.map(|target| target.resolve(&context.config)).transpose()?;
    let call = match &body[..] {
        [] if args.lines => return Err(Failure::usage("--lines needs a method and its arguments")),
        [] => Call::Raw(Bytes::new()),
        [body] if !args.lines => Call::Raw(read(body)?.into()),
        [method, rest @ ..] => {
            let arguments = read(rest.first().copied().unwrap_or("{}"))?;
            let arguments = serde_json::from_slice(&arguments).map_err(|error| {
                Failure::usage(format_args!("the arguments are no JSON: {error}"))
                    .next("such as '{\"text\":\"hi\"}'; a body that is no JSON goes with --method")
            })?;
            Call::Typed((*method).to_owned(), arguments)
        }
    };
    let (node, asked) = start(args, target.is_some(), context).await?;
    let done = unless_interrupted(async {
        if let Some(target) = &target {
            connect(&node, target, context).await?;
        }
        let whom = target.map_or(Whom::Closest(asked), |target| Whom::Peer(target.peer));
        let callee = Callee::new(node.client(), whom);
        match call {
            Call::Raw(body) => raw(args, context, callee, &protocol, body).await,
            Call::Typed(method, arguments) => {
                let typed = typed::Typed { args, context, callee, protocol };
                typed.call(&method, arguments).await
            }
        }
    });
    let done = done.await;
    let _ended = end(&node).await;
    done
}

/// The node, and where it looks for servers.
async fn start(
    args: &CallArgs,
    is_named: bool,
    context: &Context,
) -> Result<(Node, Sources), Failure> {
    if !is_named {
        let places = args.find.places(&context.config)?;
        let asked = places.sources();
        let node = client_with(&args.client, context, |node| places.apply(node)).await?;
        return Ok((node, asked));
    }
    if args.find.names_places() {
        return Err(Failure::usage(
            "--registry, --dns and --kad look for servers, and the peer is named",
        )
        .next("leave out either the target or the places"));
    }
    Ok((client(&args.client, context).await?, Sources::NONE))
}

impl CallArgs {
    /// The arguments without names.
    fn words(&self) -> impl Iterator<Item = &str> {
        self.target.iter().chain(&self.protocol).chain(&self.body).map(String::as_str)
    }
}

enum Call {
    Raw(Bytes),
    Typed(String, Value),
}

/// A request whose body is any bytes.
async fn raw(
    args: &CallArgs,
    context: &Context,
    mut callee: Callee,
    protocol: &ProtocolName,
    body: Bytes,
) -> Result<(), Failure> {
    let (output, sent) = (context.output, body.len());
    let call = OutgoingRequest::new(protocol, body);
    let mut call = call.timeout(context.timeout()).idempotent(!args.once);
    if let Some(method) = &args.method {
        call = call.method(method);
    }
    for (key, value) in &args.headers {
        call = call.metadata(key, value);
    }
    let waiting = output.waiting("waiting for the answer");
    let answer = callee.call(call).await;
    waiting.finish_and_clear();
    let (answer, retries) = (answer?, callee.client().stats().retries);
    callee.tell(output);
    output.detail(format_args!(
        "{} answered: {} → {} in {}, at try {}",
        answer.peer(),
        size(sent as u64),
        size(answer.len() as u64),
        duration(answer.elapsed()),
        1 + retries,
    ));
    for (key, value) in answer.metadata().iter() {
        output.detail(format_args!("{key}: {}", String::from_utf8_lossy(value)));
    }
    print(args, context, protocol, &answer, retries)
}

fn print(
    args: &CallArgs,
    context: &Context,
    protocol: &ProtocolName,
    answer: &Response,
    retries: u64,
) -> Result<(), Failure> {
    let output = context.output;
    if let Some(path) = &args.output {
        std::fs::write(path, answer.body()).map_err(|error| Failure::file(path, &error))?;
    }
    if output.json {
        let mut value = json!({
            "peer": answer.peer().to_string(),
            "source": answer.source().map(source_name),
            "protocol": protocol.as_str(),
            "bytes": answer.len(),
            "ms": millis(answer.elapsed()),
            "retries": retries,
            "metadata": metadata(answer.metadata()),
        });
        match (&args.output, answer.text()) {
            (Some(path), _) => value["file"] = json!(path.display().to_string()),
            (None, Ok(text)) => value["text"] = json!(text),
            (None, Err(_)) => value["base64"] = json!(BASE64.encode(answer.body())),
        }
        return output.value(&value);
    }
    if args.output.is_some() {
        return Ok(());
    }
    let is_terminal = std::io::stdout().is_terminal();
    if is_terminal && answer.text().is_err() {
        let what = format!("the answer, {}, is no text", size(answer.len() as u64));
        return Err(Failure::local(what).next("write it to a file with -o FILE, or to a pipe"));
    }
    output.bytes(answer.body())?;
    // The prompt belongs on a line of its own.
    if is_terminal && !answer.is_empty() && !answer.ends_with(b"\n") {
        output.bytes(b"\n")?;
    }
    Ok(())
}

fn metadata(metadata: &Metadata) -> Value {
    let text = |value: &[u8]| json!(String::from_utf8_lossy(value));
    metadata.iter().map(|(key, value)| (key.to_owned(), text(value))).collect::<Map<_, _>>().into()
}

/// What an argument stands for.
fn read(argument: &str) -> Result<Vec<u8>, Failure> {
    match (argument, argument.strip_prefix('@')) {
        ("-", _) => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map_err(|error| {
                Failure::new(Exit::Local, format_args!("cannot read the standard input: {error}"))
            })?;
            Ok(bytes)
        }
        (_, Some(text)) if text.starts_with('@') => Ok(text.as_bytes().to_vec()),
        (_, Some(path)) => {
            let path = Path::new(path);
            std::fs::read(path).map_err(|error| Failure::file(path, &error))
        }
        _ => Ok(argument.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_a_text_or_names_a_file() {
        let of = |argument| read(argument).map_err(|failure| failure.exit);
        assert_eq!(of("hi"), Ok(b"hi".to_vec()));
        assert_eq!(of(""), Ok(Vec::new()));
        assert_eq!(of("@@hi"), Ok(b"@hi".to_vec()));
        assert_eq!(of("@/no/such/file"), Err(Exit::Local));
        assert_eq!(header("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        header("a").expect_err("no value");
    }
}
