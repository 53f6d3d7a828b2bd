//! An answer is the one that a handler made for that request, at the peer that is named.

use pointsub_core::{Cause, NodeOutcome, NodeTry, RequestError};

use super::{Check, ensure};
use crate::sim::{Event, Sent, World, answer_to};

/// See the module.
#[derive(Debug)]
pub(super) struct Answers;

impl Check for Answers {
    fn name(&self) -> &'static str {
        "answers"
    }

    fn observe(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        match event {
            Event::Answered { sent, peer, body } => {
                ensure!(sent.to.is_none_or(|to| to == *peer), "answered by another peer");
                if world.peers[*peer].kind.is_honest() {
                    ensure!(**body == answer_to(*peer, &sent.body), "another request's answer");
                    ensure!(world.seen.contains_key(&sent.number), "answered without a handler");
                }
            }
            Event::Failed { sent, error } => {
                // Of a call it is not said by whom.
                if let Some(to) = sent.to {
                    honest(world, to, error)?;
                } else if world.all_honest() {
                    honest(world, 0, error)?;
                }
            }
            Event::Attempts { sent, attempts, outcome } => {
                let answered = |attempt: &&NodeTry| attempt.outcome == NodeOutcome::Answered;
                let by: Vec<_> = attempts.iter().filter(answered).map(|a| a.node).collect();
                match outcome {
                    Ok(closest) => ensure!(by == [closest.node], "not one node answers a call"),
                    Err(_) => ensure!(by.is_empty(), "a call fails that was answered"),
                }
                asked(sent, attempts)?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn asked(sent: &Sent, attempts: &[NodeTry]) -> Result<(), String> {
    ensure!(!attempts.is_empty(), "an outcome without an attempt");
    for attempt in attempts {
        ensure!(!sent.exclude.contains(&attempt.node), "an excluded node was asked");
    }
    Ok(())
}

/// Two of ours never break each other's format.
fn honest(world: &World, peer: usize, error: &RequestError) -> Result<(), String> {
    if world.peers[peer].kind.is_honest() {
        let broken = matches!(error.cause, Cause::Violation(_) | Cause::Body(_));
        ensure!(!broken, "an honest peer broke the format: {error}");
    }
    Ok(())
}
