//! What runs in the processes that are measured.

use std::io::{BufRead, Write};

use super::message::{Answer, Load, USAGE};
use crate::contender::{Caller, Failure, Runner};
use crate::load;
use crate::meter::Usage;

/// Starts so many servers, prints the address of each, and what this process has used whenever it
/// is asked.
pub(crate) fn serve<S>(
    runner: &impl Runner,
    nodes: usize,
    serve: impl Fn() -> S,
) -> Result<(), Failure>
where
    S: Future<Output = Result<String, Failure>>,
{
    for _ in 0..nodes {
        say(&runner.block_on(serve())?)?;
    }
    answer_lines(|line| match line {
        USAGE => Ok(Answer { usage: Usage::now(), streams: 0, tallies: Vec::new() }),
        line => Err(format!("a server cannot {line:?}").into()),
    })
}

/// Connects so many clients, says so, and sends what it is told to.
pub(crate) fn send<C, S>(
    runner: &impl Runner,
    nodes: usize,
    connect: impl Fn() -> S,
) -> Result<(), Failure>
where
    C: Caller,
    S: Future<Output = Result<Vec<C>, Failure>>,
{
    let mut callers = Vec::new();
    for _ in 0..nodes {
        callers.extend(runner.block_on(connect())?);
    }
    say("connected")?;
    answer_lines(|line| {
        let before = Usage::now();
        let mut tallies = Vec::new();
        let mut usage = before;
        if line != USAGE {
            let Load { time, groups } = Load::decode(line)?;
            tallies = runner.block_on(load::run(runner, &callers, &groups, time))?;
            usage = Usage::now().since(before);
        }
        let streams = callers.iter().map(Caller::streams).sum();
        Ok(Answer { usage, streams, tallies })
    })
}

fn answer_lines(mut answer: impl FnMut(&str) -> Result<Answer, Failure>) -> Result<(), Failure> {
    for line in std::io::stdin().lock().lines() {
        say(&Answer::encode(&answer(&line?)))?;
    }
    // Connections and tasks are not to be ended in good order.
    std::process::exit(0)
}

fn say(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
