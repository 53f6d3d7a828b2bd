//! Rules of the user's: they are asked outside of the dispatcher.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Dispatcher;
use crate::endpoint::client::directive::Directive;
use crate::endpoint::client::question::{Asked, Decided, Decision, Question, Tried};
use crate::endpoint::client::state::failover::Why;
use crate::endpoint::client::state::requests::RequestState;
use crate::endpoint::client::state::retry::RetryPolicy;
use crate::endpoint::closest::{Node, Selection};
use crate::error::RequestError;
use crate::id::ClosestId;
use crate::time::Timestamp;

impl Dispatcher {
    /// Takes in what a rule of the user's has decided. Ignored if what it is about has ended.
    pub fn decided(&mut self, decision: Decision, now: Timestamp) {
        self.now = self.now.max(now);
        match decision.into_decided() {
            Decided::Pause { about: Tried::Request(id), error, pause } => {
                let undecided = RequestState::BackingOff { until: None };
                if self.requests.get(id).is_some_and(|request| request.state() == undecided) {
                    self.back_off_or_fail(id, error, pause.filter(|_| !self.is_stopping()));
                }
            }
            Decided::Pause { about: Tried::Round(call, last), error, pause } => {
                let pause = pause.filter(|_| !self.is_stopping());
                self.back_off_or_fail_call(call, last, &error, pause);
            }
            Decided::Node { call, why, node } => self.node_chosen(call, why, node),
        }
        self.finish_drain();
    }

    pub(super) fn ask_policy(
        &mut self,
        about: Tried,
        error: RequestError,
        retries: u32,
        (policy, random): (Arc<dyn RetryPolicy>, u64),
    ) {
        self.ask(Asked::Pause { about, policy, error, retries, random });
    }

    pub(super) fn ask_strategy(
        &mut self,
        call: ClosestId,
        why: Why,
        selection: Selection,
        nodes: Vec<Node>,
    ) {
        let Some(asking) = self.calls.get(call) else { return };
        let (strategy, now) = (self.endpoints.strategy(asking.protocol()).clone(), self.now);
        self.ask(Asked::Node { call, why, strategy, selection, nodes, now });
    }

    fn ask(&mut self, asked: Asked) {
        self.questions += 1;
        let question = Question::new(self.questions, asked);
        self.directives.push_back(Directive::Ask(question.into()));
    }
}
