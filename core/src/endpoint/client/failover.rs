//! One call to the closest node: which node is asked when, and what the caller gets.

use alloc::vec::Vec;
use core::time::Duration;

use super::closest::{
    Closest, ClosestError, ClosestOptions, Directory, Hedge, NodeAttempt, NodeOutcome,
};
use super::directive::{CallOptions, ClientEvent};
use super::dispatch::{Dispatcher, Place, Timer};
use super::question::Tried;
use super::stopping::Stopping;
use crate::endpoint::closest::{Attempt, Node, Nodes, Point, Selection};
use crate::error::{Cause, Delivery, Phase, RequestError, SendError, StatusCode};
use crate::id::{ClosestId, PeerId, ProtocolName, RequestId};
use crate::time::Timestamp;
use crate::wire::compress::{Body, Payload};

/// How many attempts a call remembers for its report.
const MAX_LOG: usize = 1024;

/// A call under way. In each round every usable node is asked at most once, the next one when one
/// has failed or took too long. When the last has failed, the call rests before the next round, as
/// the retry policy says.
///
/// ```text
///  asking ──answered, or failed for good──▶ (removed)
///   │  ▲ └─failed, or a hedge is due─▶ asking the next one too
///   │  └─────────pause over───────┐
///   └──no node is left──▶ resting─┘
/// ```
#[derive(Debug)]
pub(super) struct Search {
    protocol: ProtocolName,
    body: Body,
    options: CallOptions,
    exclude: Vec<PeerId>,
    hedge: Option<Hedge>,
    key: Point,
    selection: Selection,
    began: Timestamp,
    /// Nodes that are asked now; none while it rests.
    tries: Vec<Try>,
    log: Vec<NodeAttempt>,
    /// The last failure in this round that may pass.
    passing: Option<RequestError>,
    /// Rounds after the first.
    retries: u32,
    /// On how many streams it was tried.
    attempts: u32,
    delivery: Delivery,
    /// When the next hedge or round is due.
    due: Option<Timestamp>,
}

/// Why a node is asked.
#[derive(Debug, Clone)]
pub(super) enum Why {
    /// A round begins.
    Begin,
    /// Another takes long.
    Hedge,
    /// Another has failed.
    Failover(RequestError),
}

#[derive(Debug)]
struct Try {
    request: RequestId,
    attempt: Attempt,
}

impl Search {
    /// Whether its deadline has passed.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.options.deadline.is_some_and(|due| due <= now)
    }

    fn note(&mut self, attempt: &Attempt, outcome: NodeOutcome, now: Timestamp) {
        if self.log.len() < MAX_LOG {
            self.log.push(NodeAttempt {
                node: *attempt.peer(),
                after: attempt.since().since(self.began),
                took: now.since(attempt.since()),
                outcome,
            });
        }
    }

    fn take_try(&mut self, request: RequestId) -> Option<Attempt> {
        let at = self.tries.iter().position(|t| t.request == request)?;
        Some(self.tries.remove(at).attempt)
    }

    fn begin_round(&mut self, random: u64) {
        self.selection = Selection::at(self.key, random);
        for peer in &self.exclude {
            self.selection.exclude(*peer);
        }
        self.passing = None;
    }
}

impl Dispatcher {
    /// Sends a request to the closest usable server of the protocol. If that fails, to the next
    /// one, and so on; when all have failed, the retry policy says whether and when there is
    /// another round. Exactly one [`ClientEvent::Closest`] follows, unless the call is cancelled.
    ///
    /// `key` decides the distance; normally it is [`Point::of_key`] of the body, which costs a
    /// hash of it and so is computed where that harms nobody.
    ///
    /// # Errors
    /// [`SendError`] if it is not accepted; nothing was sent then.
    pub fn send_closest(
        &mut self,
        protocol: &str,
        key: Point,
        body: Body,
        options: ClosestOptions,
        now: Timestamp,
    ) -> Result<ClosestId, SendError> {
        self.now = self.now.max(now);
        self.check(&body)?;
        let Some((protocol, _)) = self.directory.nodes.get_key_value(protocol) else {
            return Err(SendError::NoNodes);
        };
        let ClosestOptions { call, exclude, hedge } = options;
        let random = self.rng.next_u64();
        let mut search = Search {
            protocol: protocol.clone(),
            body,
            options: call,
            exclude,
            hedge: hedge.filter(|_| call.idempotent),
            key,
            selection: Selection::at(key, random),
            began: self.now,
            tries: Vec::new(),
            log: Vec::new(),
            passing: None,
            retries: 0,
            attempts: 0,
            delivery: Delivery::NotProcessed,
            due: None,
        };
        search.begin_round(random);
        let id = self.calls.insert(search);
        let begun = if self.directory.strategy.is_pure() {
            let node = self.next_node(id);
            self.ask_node(id, node)
        } else {
            Ok(self.choose(id, Why::Begin))
        };
        match begun {
            Ok(true) => Ok(id),
            Ok(false) => {
                self.calls.remove(id);
                Err(SendError::NoNodes)
            }
            Err(refused) => {
                self.calls.remove(id);
                Err(refused)
            }
        }
    }

    /// Gives up a call: its caller does not wait any more. No event follows for it, unless its
    /// outcome was decided before. Unknown calls are ignored.
    pub fn cancel_closest(&mut self, call: ClosestId, now: Timestamp) {
        self.now = self.now.max(now);
        self.take_call(call);
        self.finish_drain();
    }

    /// Asks the next node, as soon as it is known which that is.
    fn ask_next(&mut self, id: ClosestId, why: Why) {
        if self.directory.strategy.is_pure() {
            let node = self.next_node(id);
            self.go_on(id, why, node);
        } else if !self.choose(id, why.clone()) {
            self.go_on(id, why, None);
        }
    }

    /// What a pure strategy chooses.
    fn next_node(&mut self, id: ClosestId) -> Option<PeerId> {
        let search = self.calls.get_mut(id)?;
        let Directory { nodes, strategy, .. } = &self.directory;
        search.selection.next(nodes.get(&search.protocol)?, &**strategy, self.now)
    }

    /// Has the strategy choose; `false` if there is nothing to choose from.
    fn choose(&mut self, id: ClosestId, why: Why) -> bool {
        let Some(search) = self.calls.get(id) else { return false };
        let Some(nodes) = self.directory.nodes.get(&search.protocol) else { return false };
        let offered = search.selection.offered(nodes.iter(), self.now);
        let offered: Vec<Node> = offered.cloned().collect();
        let selection = search.selection.clone();
        let any = !offered.is_empty();
        if any {
            self.ask_strategy(id, why, selection, offered);
        }
        any
    }

    /// A strategy has chosen among the nodes as they were when it was asked.
    pub(super) fn node_chosen(&mut self, id: ClosestId, why: Why, node: Option<PeerId>) {
        let Some(search) = self.calls.get(id) else { return };
        if matches!(why, Why::Hedge) && search.tries.is_empty() {
            return;
        }
        if let Some(peer) = node {
            let known = self.directory.nodes.get(&search.protocol);
            let known = known.and_then(|nodes| nodes.get(&peer));
            if search.selection.offered(known.into_iter(), self.now).next().is_none() {
                return self.ask_next(id, why);
            }
            if let Some(search) = self.calls.get_mut(id) {
                search.selection.exclude(peer);
            }
        }
        self.go_on(id, why, node);
    }

    /// Asks this node, and deals with what that leads to.
    fn go_on(&mut self, id: ClosestId, why: Why, node: Option<PeerId>) {
        let asked = self.ask_node(id, node);
        match (why, asked) {
            (Why::Begin, Ok(true)) | (Why::Hedge, Ok(false) | Err(_)) => {}
            (Why::Begin, Ok(false)) => self.fail_call(id, SendError::NoNodes.into()),
            (Why::Begin, Err(refused)) => self.fail_call(id, refused.into()),
            (Why::Hedge, Ok(true)) => self.stats.hedges += 1,
            (Why::Failover(_), Ok(true)) => self.stats.failovers += 1,
            // Another node may still answer.
            _ if self.calls.get(id).is_some_and(|search| !search.tries.is_empty()) => {}
            (Why::Failover(last), Ok(false)) => self.end_round(id, last),
            (Why::Failover(_), Err(refused)) => self.fail_call(id, refused.into()),
        }
    }

    /// Asks a node, if there is one.
    fn ask_node(&mut self, id: ClosestId, node: Option<PeerId>) -> Result<bool, SendError> {
        let now = self.now;
        let (Some(search), Some(peer)) = (self.calls.get_mut(id), node) else { return Ok(false) };
        let Some(nodes) = self.directory.nodes.get_mut(&search.protocol) else { return Ok(false) };
        let Some(attempt) = nodes.begin(&peer, now) else { return Ok(false) };
        let (protocol, body) = (search.protocol.clone(), search.body.clone());
        let options = search.options;
        match self.accept(&peer, protocol.as_str(), body, options, Some(id)) {
            Ok(request) => {
                if let Some(search) = self.calls.get_mut(id) {
                    search.tries.push(Try { request, attempt });
                }
                self.watch_for_hedge(id);
                Ok(true)
            }
            Err(refused) => {
                if let Some(nodes) = self.directory.nodes.get_mut(&protocol) {
                    nodes.given_up(attempt, now);
                }
                Err(refused)
            }
        }
    }

    fn watch_for_hedge(&mut self, id: ClosestId) {
        let hedge = self.calls.get(id).and_then(|search| search.hedge);
        if let Some(hedge) = hedge.filter(|hedge| hedge.max > 0) {
            self.set_call_due(id, Some(self.now + hedge.delay));
        }
    }

    fn set_call_due(&mut self, id: ClosestId, due: Option<Timestamp>) {
        let Some(search) = self.calls.get_mut(id) else { return };
        if let Some(before) = core::mem::replace(&mut search.due, due) {
            self.timers.remove(&(before, Timer::Call(id)));
        }
        if let Some(due) = due {
            self.timers.insert((due, Timer::Call(id)));
        }
    }

    /// A node takes long to answer, or the pause before the next round is over.
    pub(super) fn call_due(&mut self, id: ClosestId) {
        let Some(search) = self.calls.get_mut(id) else { return };
        search.due = None;
        if search.tries.is_empty() {
            return self.ask_next(id, Why::Begin);
        }
        if let Some(hedge) = &mut search.hedge
            && self.stopping == Stopping::No
            && self.budget.allows()
        {
            hedge.max = hedge.max.saturating_sub(1);
            self.ask_next(id, Why::Hedge);
        }
    }

    /// The answer of a node to a call has come.
    pub(super) fn node_answered(&mut self, id: ClosestId, request: RequestId, payload: Payload) {
        let now = self.now;
        let Some(search) = self.calls.get_mut(id) else { return };
        let Some(attempt) = search.take_try(request) else { return };
        let node = *attempt.peer();
        search.note(&attempt, NodeOutcome::Answered, now);
        if let Some(nodes) = self.directory.nodes.get_mut(&search.protocol) {
            nodes.succeeded(attempt, now);
        }
        if let Some(search) = self.take_call(id) {
            let outcome = Ok(Closest { node, payload, attempts: search.log });
            self.tell(ClientEvent::Closest { call: id, outcome });
        }
    }

    /// A node has let a call down.
    pub(super) fn node_failed(&mut self, id: ClosestId, request: RequestId, error: RequestError) {
        let now = self.now;
        let Some(search) = self.calls.get_mut(id) else { return };
        let Some(attempt) = search.take_try(request) else { return };
        search.note(&attempt, NodeOutcome::Failed(error.clone()), now);
        search.attempts += error.attempts;
        search.delivery = search.delivery.max(error.delivery);
        if let Some(nodes) = self.directory.nodes.get_mut(&search.protocol) {
            judge(nodes, attempt, &error, now);
        }
        let idempotent = search.options.idempotent;
        if error.may_retry(idempotent) {
            self.budget.failed();
            search.passing = Some(error.clone());
        }
        if !error.may_try_elsewhere(idempotent) || self.is_stopping() {
            return self.fail_call(id, error);
        }
        self.ask_next(id, Why::Failover(error));
    }

    /// No node is left: the call rests until the next round, or fails.
    fn end_round(&mut self, id: ClosestId, last: RequestError) {
        let Some(search) = self.calls.get_mut(id) else { return };
        let retries = search.retries;
        let Some(passing) = search.passing.take().filter(|_| self.budget.allows()) else {
            return self.fail_call(id, last);
        };
        if self.retry_policy.is_pure() {
            let random = self.rng.next_u64();
            let pause = self.retry_policy.pause(&passing, retries, random);
            self.rest_or_fail_call(id, last, &passing, pause);
        } else {
            self.ask_policy(Tried::Round(id, last), passing, retries);
        }
    }

    /// The retry policy has said how long to wait before the next round, or that there is none.
    pub(super) fn rest_or_fail_call(
        &mut self,
        id: ClosestId,
        last: RequestError,
        passing: &RequestError,
        pause: Option<Duration>,
    ) {
        let Some(search) = self.calls.get(id) else { return };
        let deadline = search.options.deadline;
        let pause = pause.and_then(|pause| self.fit_pause(pause, passing, deadline));
        let Some(pause) = pause else { return self.fail_call(id, last) };
        let random = self.rng.next_u64();
        if let Some(search) = self.calls.get_mut(id) {
            search.retries += 1;
            search.begin_round(random);
        }
        self.stats.retries += 1;
        self.set_call_due(id, Some(self.now + pause));
    }

    pub(super) fn fail_call(&mut self, id: ClosestId, mut error: RequestError) {
        let Some(search) = self.take_call(id) else { return };
        error.attempts = search.attempts;
        error.delivery = search.delivery;
        let outcome = Err(ClosestError { error, attempts: search.log });
        self.tell(ClientEvent::Closest { call: id, outcome });
    }

    /// Ends a call: those who are still asked are told that they need not answer.
    fn take_call(&mut self, id: ClosestId) -> Option<Search> {
        self.set_call_due(id, None);
        let mut search = self.calls.remove(id)?;
        for Try { request, attempt } in core::mem::take(&mut search.tries) {
            if let Some(request) = self.requests.get(request) {
                search.attempts += request.attempts;
                let sent = matches!(request.place, Place::On(_));
                let delivery = if sent { Delivery::Unknown } else { request.delivery };
                search.delivery = search.delivery.max(delivery);
            }
            self.withdraw(request);
            search.note(&attempt, NodeOutcome::Cancelled, self.now);
            if let Some(nodes) = self.directory.nodes.get_mut(&search.protocol) {
                nodes.given_up(attempt, self.now);
            }
        }
        Some(search)
    }

    /// The client closes: no call has a future.
    pub(super) fn close_calls(&mut self) {
        let calls: Vec<ClosestId> = self.calls.keys().collect();
        for id in calls {
            let resting = self.calls.get(id).is_some_and(|search| search.tries.is_empty());
            let phase = if resting { Phase::Connect } else { Phase::Wait };
            self.fail_call(id, RequestError::new(Cause::Closed, phase, Delivery::NotProcessed));
        }
    }
}

/// What a failure says about the node's health.
fn judge(nodes: &mut Nodes, attempt: Attempt, error: &RequestError, now: Timestamp) {
    match &error.cause {
        // Our own doing.
        Cause::Refused(_) | Cause::Deadline | Cause::Cancelled | Cause::Closed => {
            nodes.given_up(attempt, now);
        }
        Cause::Remote(status) => match status.code {
            StatusCode::NotFound | StatusCode::Internal | StatusCode::Draining => {
                nodes.failed(attempt, now);
            }
            // Busy is no fault: the load decides how often such a node is asked.
            StatusCode::Busy => {
                let peer = *attempt.peer();
                nodes.given_up(attempt, now);
                nodes.set_load(&peer, 1000, now);
            }
            StatusCode::DeadlineExceeded | StatusCode::Cancelled => nodes.given_up(attempt, now),
            _ => nodes.succeeded(attempt, now),
        },
        // It is well, and accepts less.
        Cause::CutShort { .. } => nodes.given_up(attempt, now),
        Cause::TimedOut(_)
        | Cause::Unreachable(_)
        | Cause::NoAddress
        | Cause::Unsupported
        | Cause::Lost(_)
        | Cause::RelayLost(_)
        | Cause::RemoteClosed
        | Cause::Violation(_)
        | Cause::Body(_) => nodes.failed(attempt, now),
    }
}
