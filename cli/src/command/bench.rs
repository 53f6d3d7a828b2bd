//! `pointsub bench`: how many requests a peer answers, and how fast.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use pointsub_tokio::{Bytes, Client, ClientConfig, PeerId, ProtocolName, RequestError};
use serde_json::json;

use crate::context::{Context, interrupted};
use crate::error::{Exit, Failure};
use crate::node::{ClientArgs, client_with, connect, end};
use crate::output::{duration, millis, size};
use crate::target::TargetArgs;

/// Requests where neither a number nor a time is given.
const REQUESTS: u64 = 10_000;
/// Latencies are kept to three digits, up to this many microseconds.
const LONGEST: u64 = 600_000_000;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// The name of the protocol, such as /echo/1
    protocol: ProtocolName,

    /// How many requests are under way at a time
    #[arg(short, long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4096))]
    concurrency: u32,

    /// The size of each request in bytes
    #[arg(short, long, value_name = "BYTES", default_value_t = 512)]
    size: u32,

    /// How many requests. Default: 10000, unless a time is given
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,

    /// For how long
    #[arg(long, value_name = "TIME", value_parser = crate::config::duration)]
    time: Option<Duration>,

    #[command(flatten)]
    client: ClientArgs,
}

/// What is shared by those who send.
struct Plan {
    client: Client,
    peer: PeerId,
    protocol: ProtocolName,
    body: Bytes,
    timeout: Duration,
    /// How many may begin.
    left: AtomicU64,
    until: Option<Instant>,
    bar: ProgressBar,
}

/// What was measured.
struct Measured {
    latencies: Histogram<u64>,
    answered: u64,
    failed: u64,
    received: u64,
    first_error: Option<RequestError>,
}

pub(crate) async fn run(args: &BenchArgs, context: &Context) -> Result<(), Failure> {
    let target = args.target.resolve(&context.config)?;
    let pending = args.concurrency as usize;
    let config = ClientConfig::default();
    let config = config.clone().with_max_pending(config.max_pending().max(pending));
    let node = client_with(&args.client, context, |node| node.client_config(config)).await?;
    if let Err(failure) = connect(&node, &target, context).await {
        let _ended = end(&node).await;
        return Err(failure);
    }
    let requests = match (args.requests, args.time) {
        (Some(requests), _) => requests,
        (None, Some(_)) => u64::MAX,
        (None, None) => REQUESTS,
    };
    let bar = match requests {
        u64::MAX => context.output.waiting("measuring"),
        requests => context.output.bar(requests),
    };
    let began = Instant::now();
    let plan = Arc::new(Plan {
        client: node.client(),
        peer: target.peer,
        protocol: args.protocol.clone(),
        body: (0..args.size).map(|at| (at % 251) as u8).collect(),
        timeout: context.timeout(),
        left: AtomicU64::new(requests),
        until: args.time.map(|time| began + time),
        bar: bar.clone(),
    });
    let measured = measure(&plan, args.concurrency).await;
    let took = began.elapsed();
    bar.finish_and_clear();
    let _ended = end(&node).await;
    measured?.print(args, took, context)
}

async fn measure(plan: &Arc<Plan>, concurrency: u32) -> Result<Measured, Failure> {
    let mut senders: FuturesUnordered<_> =
        (0..concurrency).map(|_| tokio::spawn(send(plan.clone()))).collect();
    let mut all = Measured::new()?;
    loop {
        tokio::select! {
            sender = senders.next() => match sender {
                Some(Ok(measured)) => all.add(measured?),
                Some(Err(error)) => return Err(Failure::local(error)),
                None => return Ok(all),
            },
            // What was measured until then is printed.
            () = interrupted() => plan.left.store(0, Ordering::Relaxed),
        }
    }
}

/// One of those who send: a request at a time.
async fn send(plan: Arc<Plan>) -> Result<Measured, Failure> {
    let mut measured = Measured::new()?;
    let take = |left: u64| left.checked_sub(1);
    loop {
        let is_over = plan.until.is_some_and(|until| Instant::now() >= until);
        if is_over || plan.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Ok(measured);
        }
        let call = plan.client.send(plan.peer, &plan.protocol, plan.body.clone());
        let began = Instant::now();
        match call.timeout(plan.timeout).max_retries(0).await {
            Ok(answer) => {
                let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(LONGEST);
                measured.latencies.saturating_record(took.max(1));
                measured.answered += 1;
                measured.received += answer.len() as u64;
            }
            Err(error) => {
                let is_for_good = matches!(error.cause, pointsub_tokio::Cause::Unsupported);
                measured.failed += 1;
                measured.first_error.get_or_insert(error);
                if is_for_good {
                    plan.left.store(0, Ordering::Relaxed);
                }
            }
        }
        plan.bar.inc(1);
    }
}

impl Measured {
    fn new() -> Result<Self, Failure> {
        let latencies = Histogram::new_with_bounds(1, LONGEST, 3).map_err(Failure::local)?;
        Ok(Self { latencies, answered: 0, failed: 0, received: 0, first_error: None })
    }

    fn add(&mut self, other: Self) {
        // Both have the same bounds.
        let _fits = self.latencies.add(&other.latencies);
        self.answered += other.answered;
        self.failed += other.failed;
        self.received += other.received;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    fn at(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.latencies.value_at_quantile(quantile))
    }

    fn print(self, args: &BenchArgs, took: Duration, context: &Context) -> Result<(), Failure> {
        let output = context.output;
        let rate = self.answered as f64 / took.as_secs_f64();
        let sent = self.answered * u64::from(args.size);
        let through = |bytes: u64| size((bytes as f64 / took.as_secs_f64()) as u64);
        let percentiles =
            [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
        if output.json {
            let mut value = json!({
                "protocol": args.protocol.as_str(), "concurrency": args.concurrency,
                "size": args.size, "seconds": took.as_secs_f64(), "answered": self.answered,
                "failed": self.failed, "requests_per_second": rate, "latency_ms": {},
                "first_error": self.first_error.as_ref().map(ToString::to_string),
            });
            for (name, quantile) in percentiles {
                value["latency_ms"][name] = json!(millis(self.at(quantile)));
            }
            output.value(&value)?;
        } else {
            output.line(format_args!("{} × {} B at a time", args.concurrency, args.size))?;
            output.field("Answered", format_args!("{} in {}", self.answered, duration(took)))?;
            output.field("Rate", format_args!("{rate:.0} requests/s"))?;
            output.field(
                "Bytes",
                format_args!("{}/s out, {}/s in", through(sent), through(self.received)),
            )?;
            for (name, quantile) in percentiles {
                output.field(name, duration(self.at(quantile)))?;
            }
            if self.failed > 0 {
                output.field("Failed", self.failed)?;
            }
        }
        match self.first_error {
            Some(error) if self.answered == 0 => Err(error.into()),
            Some(error) => Err(Failure::new(
                Exit::Refused,
                format_args!(
                    "{} of {} requests failed, the first: {error}",
                    self.failed,
                    self.failed + self.answered,
                ),
            )),
            None => Ok(()),
        }
    }
}
