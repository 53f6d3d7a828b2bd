//! What the dispatcher's decisions lead to outside of its lock.

use std::sync::Arc;
use std::task::Waker;

use futures::channel::oneshot;
use futures::task::AtomicWaker;
use pointsub_core::endpoint::Question;
use pointsub_core::{ClosestAnswer, ClosestFailure, Payload, RequestError, Timestamp};

use crate::api::raw::{CancelHandle, RawStream};
use crate::notify;

/// What a caller waits for.
pub(crate) type Outcome = Result<Answered, RequestError>;

/// An answer, and when it came.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) payload: Payload,
    pub(crate) at: Timestamp,
}

/// What a caller of the closest node waits for.
pub(crate) type ClosestOutcome = Result<ClosestAnswer, ClosestFailure>;
/// What a dialling caller waits for.
pub(crate) type DialOutcome = Result<RawStream, RequestError>;

/// What is to be done once the lock is released.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) wake: Vec<Waker>,
    pub(super) answer: Vec<(oneshot::Sender<Outcome>, Outcome)>,
    pub(super) answer_closest: Vec<(oneshot::Sender<ClosestOutcome>, ClosestOutcome)>,
    pub(super) answer_dials: Vec<(oneshot::Sender<DialOutcome>, DialOutcome)>,
    pub(super) hang_up: Vec<Arc<CancelHandle>>,
    pub(super) wake_swarm: bool,
    pub(super) drained: Vec<oneshot::Sender<()>>,
    /// For rules of the user's, which may use the client.
    pub(super) questions: Vec<Question>,
}

impl Effects {
    /// Does it all, but for the questions, which are returned.
    pub(super) fn run(mut self, swarm: &AtomicWaker) -> Vec<Question> {
        for (waiter, outcome) in self.answer {
            // The caller may have gone; its cancellation is on the way then.
            let _gone = waiter.send(outcome);
        }
        for (waiter, outcome) in self.answer_closest {
            let _gone = waiter.send(outcome);
        }
        for (waiter, outcome) in self.answer_dials {
            let _gone = waiter.send(outcome);
        }
        self.hang_up.into_iter().for_each(|cancel| cancel.hang_up());
        self.wake.into_iter().for_each(Waker::wake);
        if self.wake_swarm {
            swarm.wake();
        }
        notify(&mut self.drained);
        self.questions
    }
}
