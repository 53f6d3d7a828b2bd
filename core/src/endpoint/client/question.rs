//! What rules of the user's are asked: outside of the dispatcher, so that they may look at the client.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::dispatch::{Dispatcher, Place};
use super::failover::Why;
use super::retry::RetryPolicy;
use crate::endpoint::closest::{Node, Selection, Strategy};
use crate::error::RequestError;
use crate::id::{ClosestId, PeerId, RequestId};
use crate::time::Timestamp;

/// What a [`RetryPolicy`] or a [`Strategy`] is to decide that is not pure: it may look at the client,
/// and the dispatcher of that may be behind a lock.
///
/// Call [`decide`](Self::decide) without any lock, and hand the decision to
/// [`Dispatcher::decided`]. What the question is about rests until then.
#[derive(Debug, Clone)]
pub struct Question {
    number: u64,
    asked: Asked,
}

#[derive(Debug, Clone)]
enum Asked {
    Pause {
        about: Tried,
        policy: Arc<dyn RetryPolicy>,
        error: RequestError,
        retries: u32,
        random: u64,
    },
    Node {
        call: ClosestId,
        why: Why,
        strategy: Arc<dyn Strategy>,
        selection: Selection,
        nodes: Vec<Node>,
        now: Timestamp,
    },
}

/// What is tried again, or fails.
#[derive(Debug, Clone)]
pub(super) enum Tried {
    Request(RequestId),
    /// A round of a call, and what the call fails with.
    Round(ClosestId, RequestError),
}

/// The answer to a [`Question`].
#[derive(Debug)]
pub struct Decision(Decided);

#[derive(Debug)]
enum Decided {
    Pause { about: Tried, error: RequestError, pause: Option<Duration> },
    Node { call: ClosestId, why: Why, node: Option<PeerId> },
}

impl Question {
    /// Asks the rule.
    #[must_use = "what the question is about rests until it is decided"]
    pub fn decide(self) -> Decision {
        Decision(match self.asked {
            Asked::Pause { about, policy, error, retries, random } => {
                let pause = policy.pause(&error, retries, random);
                Decided::Pause { about, error, pause }
            }
            Asked::Node { call, why, strategy, selection, nodes, now } => {
                let node = selection.best(nodes.iter(), &*strategy, now);
                Decided::Node { call, why, node }
            }
        })
    }
}

/// Each question is put once.
impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Question {}

impl Dispatcher {
    /// Takes in what a rule of the user's has decided. Ignored if what it is about has ended.
    pub fn decided(&mut self, decision: Decision, now: Timestamp) {
        self.now = self.now.max(now);
        match decision.0 {
            Decided::Pause { about: Tried::Request(id), error, pause } => {
                let undecided = Place::Resting { until: None };
                if self.requests.get(id).is_some_and(|request| request.place == undecided) {
                    self.rest_or_fail(id, error, pause.filter(|_| !self.is_stopping()));
                }
            }
            Decided::Pause { about: Tried::Round(call, last), error, pause } => {
                let pause = pause.filter(|_| !self.is_stopping());
                self.rest_or_fail_call(call, last, &error, pause);
            }
            Decided::Node { call, why, node } => self.node_chosen(call, why, node),
        }
        self.finish_drain();
    }

    pub(super) fn ask_policy(&mut self, about: Tried, error: RequestError, retries: u32) {
        let (policy, random) = (self.retry_policy.clone(), self.rng.next_u64());
        self.ask(Asked::Pause { about, policy, error, retries, random });
    }

    pub(super) fn ask_strategy(
        &mut self,
        call: ClosestId,
        why: Why,
        selection: Selection,
        nodes: Vec<Node>,
    ) {
        let (strategy, now) = (self.directory.strategy.clone(), self.now);
        self.ask(Asked::Node { call, why, strategy, selection, nodes, now });
    }

    fn ask(&mut self, asked: Asked) {
        self.seq += 1;
        let question = Question { number: self.seq, asked };
        self.directives.push_back(super::directive::Directive::Ask(question.into()));
    }
}
