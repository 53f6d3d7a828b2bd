//! What runs in the processes that are measured.

use std::io::{BufRead, Write};

use super::message::{Answer, Load, USAGE};
use crate::contender::{Caller, Failure, Runner};
use crate::load;
use crate::meter::Usage;

/// Prints the address of a server, and what this process has used whenever it is asked.
pub(crate) fn serve(
    runner: &impl Runner,
    server: impl Future<Output = Result<String, Failure>>,
) -> Result<(), Failure> {
    say(&runner.block_on(server)?)?;
    answer_lines(|line| match line {
        USAGE => Ok(Answer { usage: Usage::now(), tallies: Vec::new() }),
        line => Err(format!("a server cannot {line:?}").into()),
    })
}

/// Connects, says so, and sends what it is told to.
pub(crate) fn send<C: Caller>(
    runner: &impl Runner,
    connecting: impl Future<Output = Result<C, Failure>>,
) -> Result<(), Failure> {
    let caller = runner.block_on(connecting)?;
    say("connected")?;
    answer_lines(|line| {
        let Load { time, groups } = Load::decode(line)?;
        let before = Usage::now();
        let tallies = runner.block_on(load::run(runner, &caller, &groups, time))?;
        let mut usage = Usage::now();
        usage.cpu = usage.cpu.zip(before.cpu).map(|(after, before)| after - before);
        Ok(Answer { usage, tallies })
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
