//! `pointsub serve`: answers requests under a protocol, without a program being written for it.

mod exec;
mod files;
mod http;
mod log;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use pointsub_tokio::service::info::InfoService;
use pointsub_tokio::{Discover, HandlerError, ProtocolName, Reply, Request, Status, StatusCode};
use serde_json::json;

use self::exec::Exec;
use self::files::Files;
use self::http::Http;
use self::log::{Journal, Log};
use crate::context::{Context, interrupted};
use crate::error::Failure;
use crate::node::{GRACE, ServerArgs, Serving};
use crate::output::{Mark, Output};
use crate::qr;

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

    /// Do not announce this server on the local network, where `pointsub call PROTOCOL` and
    /// `pointsub discover` find it otherwise
    #[arg(long)]
    no_lan: bool,

    /// Print the ticket as a QR code too
    #[arg(long)]
    qr: bool,

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
    let lan = !args.no_lan && context.config.profile.lan != Some(false);
    let serving = args.server.start(context, |builder| match lan {
        true => builder.discover(Discover::lan()),
        false => builder,
    });
    let serving = serving.await?;
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
    let on_lan = lan.then(|| format!("pointsub call {words}"));
    announce(&serving, output, &example, on_lan.as_deref(), args.qr).await?;
    interrupted().await;
    finish(&serving, Some(&journal), output).await
}

/// Says who this is, where, and what to type elsewhere; `on_lan` is what is enough on the local network, if
/// the server is announced there.
pub(crate) async fn announce(
    serving: &Serving,
    output: Output,
    example: &str,
    on_lan: Option<&str>,
    qr: bool,
) -> Result<(), Failure> {
    let Serving { node, ticket, key } = serving;
    let addresses = node.addresses().await;
    if output.json {
        return output.value(&json!({
            "event": "ready",
            "peer": node.peer_id().to_string(),
            "ticket": ticket.to_string(),
            "addresses": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "key": key.as_ref().map(|key| key.display().to_string()),
            "lan": on_lan.is_some(),
        }));
    }
    let kept = key.as_ref().map_or("not kept".to_owned(), |key| key.display().to_string());
    let kept = output.mark(Mark::Faint, format_args!("(key: {kept})"));
    output.field("Peer ID", format_args!("{} {kept}", node.peer_id()))?;
    for (at, address) in ticket.addresses().iter().enumerate() {
        output.field(if at == 0 { "Address" } else { "" }, address)?;
    }
    output.field("Ticket", ticket)?;
    if let Some(on_lan) = on_lan {
        let on_lan = output.mark(Mark::Good, on_lan);
        output.field("Nearby", format_args!("{on_lan}   (on this network)"))?;
    }
    output.field("Call", output.mark(Mark::Good, example))?;
    if qr {
        output.line(qr::code(ticket)?)?;
    }
    Ok(())
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
