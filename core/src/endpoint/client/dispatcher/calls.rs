//! Calls to the closest node: which node is asked when, and what the caller gets.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::Dispatcher;
use crate::endpoint::client::answer::{ClosestAnswer, ClosestFailure, NodeOutcome};
use crate::endpoint::client::directive::ClientEvent;
use crate::endpoint::client::options::ClosestOptions;
use crate::endpoint::client::question::Tried;
use crate::endpoint::client::state::failover::{Asked, FailoverCall, Why};
use crate::endpoint::client::state::retry::{Retry, fit_pause};
use crate::endpoint::client::state::timers::TimerKind;
use crate::endpoint::closest::{AddNodeError, Node, Point, Strategy};
use crate::error::{Cause, Delivery, Phase, RequestError, SendError};
use crate::id::{ClosestId, PeerId, ProtocolName, RequestId};
use crate::network::candidates::Source;
use crate::time::Timestamp;
use crate::wire::compress::{Body, Payload};

/// How long servers of a protocol count as used that nobody has asked since.
const USED: Duration = Duration::from_secs(600);

/// The nodes that there are.
impl Dispatcher {
    /// Adds a server to those that [`send_closest`](Self::send_closest) chooses from. Returns
    /// `false`, and changes nothing, if it is there already.
    ///
    /// # Errors
    /// [`AddNodeError`] if it is the own peer, or one more than
    /// [`MAX_NODES`](crate::endpoint::closest::MAX_NODES) of a protocol.
    pub fn add_server_node(
        &mut self,
        protocol: &ProtocolName,
        peer: PeerId,
        now: Timestamp,
    ) -> Result<bool, AddNodeError> {
        self.now = self.now.max(now);
        self.endpoints.add(protocol, peer, self.now)
    }

    /// Adds a server that was found. Returns whether it is one now that was none: not if the application
    /// has named it, or has named others and this is merely [connected](Source::Connected).
    pub fn add_found_node(
        &mut self,
        protocol: &ProtocolName,
        peer: PeerId,
        source: Source,
        now: Timestamp,
    ) -> bool {
        self.now = self.now.max(now);
        self.endpoints.add_found(protocol, peer, source, self.now)
    }

    /// Removes a server that was found, unless the application has named it since. Returns whether it was
    /// one. Requests that it has are not affected.
    pub fn remove_found_node(&mut self, protocol: &str, peer: &PeerId) -> bool {
        self.endpoints.remove_found(protocol, peer)
    }

    /// Whether a server of the protocol was asked within the last ten minutes.
    #[must_use]
    pub fn was_used(&self, protocol: &str, now: Timestamp) -> bool {
        self.endpoints.last_asked(protocol).is_some_and(|asked| now.since(asked) < USED)
    }

    /// Whether the application has ever named a server of the protocol.
    #[must_use]
    pub fn has_named_nodes(&self, protocol: &str) -> bool {
        self.endpoints.is_named(protocol)
    }

    /// Removes a server and what is known of it. Returns `false` if it is not there. Requests that
    /// it has are not affected.
    pub fn remove_server_node(&mut self, protocol: &str, peer: &PeerId) -> bool {
        self.endpoints.remove(protocol, peer)
    }

    /// The servers of a protocol and what is known of each, in the order in which they were added.
    pub fn server_nodes(&self, protocol: &str) -> impl Iterator<Item = &Node> + use<'_> {
        self.endpoints.nodes(protocol)
    }

    /// The servers of all protocols.
    pub fn all_server_nodes(&self) -> impl Iterator<Item = &Node> + use<'_> {
        self.endpoints.all()
    }

    /// Removes all servers of a protocol.
    pub fn clear_server_nodes(&mut self, protocol: &str) {
        self.endpoints.clear(protocol);
    }

    /// Whether a request can go to a server of the protocol.
    #[must_use]
    pub fn has_available_nodes(&self, protocol: &str, now: Timestamp) -> bool {
        self.endpoints.has_available(protocol, self.now.max(now))
    }

    /// Replaces the strategy that chooses among the nodes, and returns the one before. Default:
    /// [`NearFirst`](crate::endpoint::closest::NearFirst). One that is not
    /// [pure](Strategy::is_pure) is asked by [`Directive::Ask`](crate::endpoint::Directive::Ask).
    pub fn set_strategy(&mut self, strategy: Arc<dyn Strategy>) -> Arc<dyn Strategy> {
        self.endpoints.set_strategy(strategy)
    }

    /// Sets a strategy for the nodes of one protocol, in place of the one for all others, and returns
    /// the one before.
    pub fn set_protocol_strategy(
        &mut self,
        protocol: ProtocolName,
        strategy: Arc<dyn Strategy>,
    ) -> Option<Arc<dyn Strategy>> {
        self.endpoints.set_protocol_strategy(protocol, strategy)
    }

    /// Says whether there is a connection to a peer. Once a connection was ever reported, peers
    /// that were not count as offline.
    pub fn set_online(&mut self, peer: PeerId, online: bool) {
        self.endpoints.set_online(peer, online);
    }
}

/// Calls.
impl Dispatcher {
    /// Sends a request to the closest usable server of the protocol. If that fails, to the next
    /// one, and so on, as far as [`max_failovers`](crate::ClientConfig::with_max_failovers) and the
    /// [retry budget](crate::ClientConfig::with_retry_budget) allow; then the retry policy says whether
    /// and when there is another round. Exactly one [`ClientEvent::Closest`] follows, unless the call is cancelled.
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
        let Some(protocol) = self.endpoints.name(protocol).cloned() else {
            return Err(SendError::NoNodes);
        };
        let random = self.retries.random();
        let is_pure = self.endpoints.strategy(&protocol).is_pure();
        let call = FailoverCall::new(protocol, key, body, options, random, self.now);
        let id = self.calls.insert(call);
        let begun = if is_pure {
            let node = self.next_node(id);
            self.ask_node(id, node)
        } else {
            Ok(self.choose(id, Why::Begin))
        };
        if begun == Ok(true) {
            self.retries.note_first(self.now);
            return Ok(id);
        }
        self.calls.remove(id);
        Err(begun.err().unwrap_or(SendError::NoNodes))
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
        let Some(call) = self.calls.get(id) else { return };
        if self.endpoints.strategy(call.protocol()).is_pure() {
            let node = self.next_node(id);
            self.go_on(id, why, node);
        } else if !self.choose(id, why.clone()) {
            self.go_on(id, why, None);
        }
    }

    /// What a pure strategy chooses.
    fn next_node(&mut self, id: ClosestId) -> Option<PeerId> {
        let (protocol, selection) = self.calls.get_mut(id)?.selection_mut();
        self.endpoints.next(protocol, selection, self.now)
    }

    /// Has the strategy choose; `false` if there is nothing to choose from.
    fn choose(&mut self, id: ClosestId, why: Why) -> bool {
        let Some(call) = self.calls.get(id) else { return false };
        let offered = self.endpoints.offered(call.protocol(), call.selection(), self.now);
        let selection = call.selection().clone();
        let any = !offered.is_empty();
        if any {
            self.ask_strategy(id, why, selection, offered);
        }
        any
    }

    /// A strategy has chosen among the nodes as they were when it was asked.
    pub(super) fn node_chosen(&mut self, id: ClosestId, why: Why, node: Option<PeerId>) {
        let Some(call) = self.calls.get_mut(id) else { return };
        if matches!(why, Why::Hedge) && !call.is_asking() {
            let paid = call.take_paid(&why);
            return self.retries.give_back(paid);
        }
        if let Some(peer) = node {
            let (protocol, selection) = call.selection_mut();
            if !self.endpoints.is_offered(protocol, &peer, selection, self.now) {
                return self.ask_next(id, why);
            }
            selection.exclude(peer);
        }
        self.go_on(id, why, node);
    }

    /// Asks this node, and deals with what that leads to.
    fn go_on(&mut self, id: ClosestId, why: Why, node: Option<PeerId>) {
        let asked = self.ask_node(id, node);
        let paid = self.calls.get_mut(id).map(|call| call.take_paid(&why)).unwrap_or_default();
        let further = u64::from(paid.tries);
        if asked != Ok(true) {
            self.retries.give_back(paid);
        }
        match (why, asked) {
            // The first of a further round, which is paid for.
            (Why::Begin, Ok(true)) => self.stats.retries += further,
            (Why::Hedge, Ok(false) | Err(_)) => {}
            (Why::Begin, Ok(false)) => self.fail_call(id, SendError::NoNodes.into()),
            (Why::Begin, Err(refused)) => self.fail_call(id, refused.into()),
            (Why::Hedge, Ok(true)) => self.stats.hedges += 1,
            (Why::Failover(_), Ok(true)) => self.stats.failovers += 1,
            // Another node may still answer.
            _ if self.calls.get(id).is_some_and(FailoverCall::is_asking) => {}
            (Why::Failover(last), Ok(false)) => self.end_round(id, last),
            (Why::Failover(_), Err(refused)) => self.fail_call(id, refused.into()),
        }
    }

    /// Asks a node, if there is one.
    fn ask_node(&mut self, id: ClosestId, node: Option<PeerId>) -> Result<bool, SendError> {
        let now = self.now;
        let (Some(call), Some(peer)) = (self.calls.get(id), node) else { return Ok(false) };
        let (protocol, body) = (call.protocol().clone(), call.body().clone());
        let options = call.options();
        let Some(attempt) = self.endpoints.begin(&protocol, &peer, now) else { return Ok(false) };
        match self.accept(&peer, protocol.as_str(), body, options, Some(id)) {
            Ok(request) => {
                if let Some(call) = self.calls.get_mut(id) {
                    call.ask(request, attempt);
                }
                if let Some(hedge) = self.calls.get(id).and_then(FailoverCall::hedge) {
                    let quantile = hedge.quantile.map(|of| self.endpoints.wait(&protocol, of));
                    // Nothing is known yet: no hedge.
                    let delay = quantile.unwrap_or(Some(Duration::ZERO));
                    self.set_call_due(id, delay.map(|delay| now + delay.max(hedge.delay)));
                }
                Ok(true)
            }
            Err(refused) => {
                self.endpoints.given_up(&protocol, attempt, now);
                Err(refused)
            }
        }
    }

    fn set_call_due(&mut self, id: ClosestId, due: Option<Timestamp>) {
        if let Some(before) = self.calls.set_due(id, due) {
            self.timers.cancel(before, TimerKind::Call(id));
        }
        if let Some(due) = due {
            self.timers.set(due, TimerKind::Call(id));
        }
    }

    /// A node takes long to answer, or the pause before the next round is over.
    pub(super) fn call_due(&mut self, id: ClosestId) {
        let Some(call) = self.calls.take_due(id) else { return };
        if !call.is_asking() {
            return self.ask_next(id, Why::Begin);
        }
        if call.may_hedge() && !self.is_stopping() && self.retries.take_hedge(self.now) {
            if let Some(call) = self.calls.get_mut(id) {
                call.count_hedge();
            }
            self.ask_next(id, Why::Hedge);
        }
    }

    /// The answer of a node to a call has come.
    pub(super) fn node_answered(&mut self, id: ClosestId, request: RequestId, payload: Payload) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(id) else { return };
        let Some(attempt) = call.take_asked(request) else { return };
        let node = *attempt.peer();
        call.log(&attempt, NodeOutcome::Answered, now);
        if let Some(waited) = call.waited(Some(&attempt), now) {
            self.endpoints.note_wait(call.protocol(), waited);
        }
        self.endpoints.succeeded(call.protocol(), attempt, now);
        if let Some(call) = self.take_call(id) {
            let (_, _, attempts) = call.into_report();
            let outcome = Ok(ClosestAnswer { node, payload, attempts });
            self.tell(ClientEvent::Closest { call: id, outcome });
        }
    }

    /// A node has let a call down.
    pub(super) fn node_failed(&mut self, id: ClosestId, request: RequestId, error: RequestError) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(id) else { return };
        let Some(attempt) = call.take_asked(request) else { return };
        let node = *attempt.peer();
        call.log(&attempt, NodeOutcome::Failed(error.clone()), now);
        call.count(error.attempts, error.delivery);
        if matches!(error.cause, Cause::Deadline)
            && let Some(waited) = call.waited(Some(&attempt), now)
        {
            self.endpoints.note_wait(call.protocol(), waited);
        }
        self.endpoints.failed(call.protocol(), attempt, &error, now);
        let idempotent = call.options().idempotent;
        if error.may_retry(idempotent) {
            self.retries.note_failure(&node, &error, now);
            call.note_passing(error.clone());
        }
        let (asking, failovers) = (call.is_asking(), call.failovers());
        if !error.may_try_elsewhere(idempotent) || self.is_stopping() {
            return self.fail_call(id, error);
        }
        let spent = failovers >= self.config().max_failovers;
        if spent || !self.retries.take(now) {
            // Another node may still answer.
            if !asking {
                self.end_round(id, error);
            }
            return;
        }
        if let Some(call) = self.calls.get_mut(id) {
            call.count_failover();
        }
        self.ask_next(id, Why::Failover(error));
    }

    /// No node is left: the call backs off until the next round, or fails.
    fn end_round(&mut self, id: ClosestId, last: RequestError) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let retries = call.retries();
        let left = call.options().max_retries.is_none_or(|most| retries < most);
        let Some(passing) = call.take_passing().filter(|_| left) else {
            return self.fail_call(id, last);
        };
        match self.retries.decide(Some(call.protocol()), &passing, None, retries, self.now) {
            Retry::Never => self.fail_call(id, last),
            Retry::After(pause) => self.back_off_or_fail_call(id, last, &passing, Some(pause)),
            Retry::Ask(policy, random) => {
                self.ask_policy(Tried::Round(id, last), passing, retries, (policy, random));
            }
        }
    }

    /// The retry policy has said how long to wait before the next round, or that there is none.
    pub(super) fn back_off_or_fail_call(
        &mut self,
        id: ClosestId,
        last: RequestError,
        passing: &RequestError,
        pause: Option<Duration>,
    ) {
        let Some(call) = self.calls.get(id) else { return };
        let deadline = call.options().deadline;
        let (random, now) = (self.retries.random(), self.now);
        let pause = pause.and_then(|pause| fit_pause(pause, passing, deadline, random, now));
        let Some(pause) = pause.filter(|_| self.retries.take(now)) else {
            return self.fail_call(id, last);
        };
        let random = self.retries.random();
        if let Some(call) = self.calls.get_mut(id) {
            call.begin_next_round(random);
        }
        self.set_call_due(id, Some(self.now + pause));
    }

    pub(super) fn fail_call(&mut self, id: ClosestId, mut error: RequestError) {
        let Some(call) = self.take_call(id) else { return };
        let attempts;
        (error.attempts, error.delivery, attempts) = call.into_report();
        let outcome = Err(ClosestFailure { error, attempts });
        self.tell(ClientEvent::Closest { call: id, outcome });
    }

    /// Ends a call: those who are still asked are told that they need not answer.
    fn take_call(&mut self, id: ClosestId) -> Option<FailoverCall> {
        self.set_call_due(id, None);
        let mut call = self.calls.remove(id)?;
        self.retries.give_back(call.take_all_paid());
        for Asked { request, attempt } in call.take_all_asked() {
            if let Some(request) = self.requests.get(request) {
                let sent = request.stream().is_some();
                let delivery = if sent { Delivery::Unknown } else { request.delivery() };
                call.count(request.attempts(), delivery);
            }
            self.withdraw(request);
            call.log(&attempt, NodeOutcome::Cancelled, self.now);
            self.endpoints.given_up(call.protocol(), attempt, self.now);
        }
        Some(call)
    }

    /// The client closes: no call has a future.
    pub(super) fn close_calls(&mut self) {
        let calls: Vec<ClosestId> = self.calls.ids();
        for id in calls {
            let asking = self.calls.get(id).is_some_and(FailoverCall::is_asking);
            let phase = if asking { Phase::Wait } else { Phase::Connect };
            self.fail_call(id, RequestError::new(Cause::Closed, phase, Delivery::NotProcessed));
        }
    }
}
