//! `pointsub serve`: answers requests under a protocol, without a program being written for it.

mod exec;
mod files;
mod http;
mod log;
mod ready;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use pointsub_tokio::service::info::InfoService;
use pointsub_tokio::{HandlerError, ProtocolName, Reply, Request, Status, StatusCode};
use serde_json::json;

use self::exec::Exec;
use self::files::Files;
use self::http::Http;
use self::log::{Journal, Log};
pub(crate) use self::ready::Ready;
use crate::context::{Context, interrupted};
use crate::error::Failure;
use crate::node::{AnnounceArgs, GRACE, Network, ServerArgs, Serving};
use crate::output::Output;

/// The longest answer where nothing else is said: what a client of this library takes by default.
const MAX_OUTPUT: usize = 32 * 1024 * 1024;

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The name of the protocol, such as /echo/1
    protocol: ProtocolName,

    #[command(flatten)]
    with: With,

    /// With --exec: how many commands run at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,

    /// With --exec and --http: how long an answer may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::config::duration)]
    time_limit: Duration,

    /// The longest answer in bytes
    #[arg(long, value_name = "BYTES", default_value_t = MAX_OUTPUT)]
    max_output: usize,

    /// With --exec: send the end of what a failed command wrote to its standard error output
    #[arg(long)]
    send_stderr: bool,

    /// Do not answer `pointsub info`
    #[arg(long)]
    no_info: bool,

    /// Print the ticket as a QR code too
    #[arg(long)]
    qr: bool,

    #[command(flatten)]
    announce: AnnounceArgs,

    #[command(flatten)]
    server: ServerArgs,
}

/// What answers.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct With {
    /// Answer with the request itself
    #[arg(long)]
    echo: bool,

    /// Answer with what a shell command writes to its standard output. It reads the request from its
    /// standard input, and POINTSUB_PEER, POINTSUB_PROTOCOL and POINTSUB_METHOD from its environment
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,

    /// Answer with the file in this folder that the request names. Names that begin with a dot and links
    /// that lead out of the folder are not served
    #[arg(long = "static", value_name = "FOLDER")]
    files: Option<std::path::PathBuf>,

    /// Answer as an HTTP server on this machine does. The request is the body of a POST to /, or of what
    /// its method says, such as "GET /users"
    #[arg(long, value_name = "[HOST:]PORT")]
    http: Option<String>,
}

/// What answers, ready to do so.
#[derive(Debug)]
enum Answers {
    Echo,
    Exec(Exec),
    Files(Files),
    Http(Http),
}

impl Answers {
    fn new(args: &ServeArgs) -> Result<Self, Failure> {
        let (time, output) = (args.time_limit, args.max_output);
        if let Some(command) = &args.with.exec {
            return Ok(Self::Exec(Exec::new(command, args.jobs, time, output, args.send_stderr)));
        }
        if let Some(folder) = &args.with.files {
            return Files::new(folder, output).map(Self::Files);
        }
        if let Some(server) = &args.with.http {
            return Http::new(server, time, output).map(Self::Http);
        }
        Ok(Self::Echo)
    }

    async fn answer(&self, request: Request) -> Result<Reply, HandlerError> {
        match self {
            Self::Echo => Ok(Reply::new(request.body)),
            Self::Exec(exec) => exec.answer(request).await.map(Reply::new),
            Self::Files(files) => files.answer(request).await.map(Reply::new),
            Self::Http(http) => http.answer(request).await,
        }
    }

    /// What the example of a call sends.
    const fn example(&self) -> &'static str {
        match self {
            Self::Echo => "hi",
            Self::Exec(_) => "-",
            Self::Files(_) => "/",
            Self::Http(_) => "--method 'GET /'",
        }
    }
}

/// The answer is longer than it may be.
fn too_long(limit: usize) -> HandlerError {
    let text = format!("the answer is longer than {limit} bytes");
    Status::new(StatusCode::ResponseTooLarge, text).into()
}

/// The answer took longer than it may.
fn too_slow(limit: Duration) -> HandlerError {
    let text = format!("no answer within {limit:?}");
    Status::new(StatusCode::DeadlineExceeded, text).into()
}

pub(crate) async fn run(args: &ServeArgs, context: &Context) -> Result<(), Failure> {
    let answers = Arc::new(Answers::new(args)?);
    let places = args.announce.places(&context.config)?;
    let (discover, network) = (places.discover()?, places.network.as_ref());
    let start = args.server.start(context, |node| Network::join(network, node.discover(discover)));
    let serving = start.await?;
    places.are_others(serving.node.peer_id())?;
    let (server, output) = (serving.node.server(), context.output);
    let journal = Journal::new(output);
    let handler = {
        let (answers, journal) = (answers.clone(), journal.clone());
        move |request: Request| {
            let (answers, journal) = (answers.clone(), journal.clone());
            async move {
                let log = Log::begin(&request, journal);
                log.end(answers.answer(request).await)
            }
        }
    };
    let registered = server.register(&args.protocol, handler);
    registered.map_err(|error| Failure::usage(format_args!("{}: {error}", args.protocol)))?;
    if !args.no_info {
        let info = InfoService::new(&server, |_| true);
        info.set_label("tool", concat!("pointsub ", env!("CARGO_PKG_VERSION")));
        info.serve().map_err(Failure::local)?;
    }
    let words = format!("{} {}", args.protocol, answers.example());
    let example = format!("pointsub call {} {words}", serving.ticket);
    let ready = Ready::new(example).with_qr(args.qr).announced(places, &words);
    ready.announce(&serving, output).await?;
    ready.check_registries(&serving.node, output);
    interrupted().await;
    finish(&serving, Some(&journal), output).await
}

/// Ends in good order: what is at work gets some time, which a second Ctrl-C cuts short.
pub(crate) async fn finish(
    serving: &Serving,
    journal: Option<&Journal>,
    output: Output,
) -> Result<(), Failure> {
    output.note("ending; Ctrl-C again does so at once");
    let ended = tokio::select! {
        ended = serving.node.shutdown(GRACE) => ended,
        () = interrupted() => return Err(Failure::interrupted()),
    };
    if let Some(journal) = journal {
        journal.flush().await;
    }
    if output.json {
        output.value(&json!({ "event": "ended", "clean": ended.is_clean() }))?;
    } else if !ended.is_clean() {
        output.note(format_args!("not everything came to its end: {ended:?}"));
    }
    Ok(())
}
