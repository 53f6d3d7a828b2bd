//! What rules of the user's are asked: outside of the dispatcher, so that they may look at the client.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::state::failover::Why;
use super::state::retry::RetryPolicy;
use crate::endpoint::closest::{Node, Selection, Strategy};
use crate::error::RequestError;
use crate::id::{ClosestId, PeerId, RequestId};
use crate::time::Timestamp;

/// What a [`RetryPolicy`] or a [`Strategy`] is to decide that is not pure: it may look at the client,
/// and the dispatcher of that may be behind a lock.
///
/// Call [`decide`](Self::decide) without any lock, and hand the decision to
/// [`Dispatcher::decided`](crate::endpoint::Dispatcher::decided). What the question is about rests until then.
#[derive(Debug, Clone)]
pub struct Question {
    number: u64,
    asked: Asked,
}

#[derive(Debug, Clone)]
pub(super) enum Asked {
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
pub(super) enum Decided {
    Pause { about: Tried, error: RequestError, pause: Option<Duration> },
    Node { call: ClosestId, why: Why, node: Option<PeerId> },
}

impl Question {
    pub(super) fn new(number: u64, asked: Asked) -> Self {
        Self { number, asked }
    }

    /// Asks the rule.
    #[must_use = "what the question is about rests until it is decided"]
    pub fn decide(self) -> Decision {
        Decision(match self.asked {
            Asked::Pause { about, policy, error, retries, random } => {
                let pause = policy.pause(&error, retries, random);
                Decided::Pause { about, error, pause }
            }
            Asked::Node { call, why, strategy, selection, nodes, now } => {
                let in_flight = nodes.iter().map(Node::in_flight).sum();
                let node = selection.best(nodes.iter(), &*strategy, now, in_flight);
                Decided::Node { call, why, node }
            }
        })
    }
}

impl Decision {
    pub(super) fn into_decided(self) -> Decided {
        self.0
    }
}

/// Each question is put once.
impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Question {}
