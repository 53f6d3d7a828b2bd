//! Calls to the closest node that have no outcome yet.

use alloc::vec::Vec;
use core::time::Duration;

use slotmap::SlotMap;

use crate::endpoint::client::answer::{NodeOutcome, NodeTry};
use crate::endpoint::client::options::{CallOptions, ClosestOptions, Hedge};
use crate::endpoint::closest::{Attempt, Point, Selection};
use crate::error::{Cause, Delivery, RequestError};
use crate::id::{ClosestId, PeerId, ProtocolName, RequestId};
use crate::time::Timestamp;
use crate::wire::compress::Body;

/// How many tries the answer to a call to the closest server lists.
const MAX_LOG: usize = 1024;

/// A call under way. In each round a usable node is asked at most once, the next one when one has
/// failed or took too long. When the last has failed that may be asked, the call backs off before the
/// next round, as the retry policy says.
///
/// ```text
///  asking ──answered, or failed for good──▶ (removed)
///   │  ▲ └─failed, or a hedge is due─▶ asking the next one too
///   │  └─────────pause over──────────┐
///   └──no node is left──▶ backing off┘
/// ```
#[derive(Debug)]
pub(crate) struct FailoverCall {
    protocol: ProtocolName,
    body: Body,
    options: CallOptions,
    exclude: Vec<PeerId>,
    hedge: Option<Hedge>,
    key: Point,
    selection: Selection,
    began: Timestamp,
    /// Nodes that are asked now; none while it backs off.
    asked: Vec<Asked>,
    log: Vec<NodeTry>,
    /// The last failure in this round that may pass.
    passing: Option<RequestError>,
    /// Rounds after the first.
    retries: u32,
    failovers: u32,
    /// On how many streams it was tried.
    attempts: u32,
    delivery: Delivery,
    /// When the next hedge or round is due.
    due: Option<Timestamp>,
    paid: Paid,
}

/// Further tries that were paid for and are not made yet.
#[derive(Debug, Copy, Clone, Default)]
pub(crate) struct Paid {
    /// Of whatever kind.
    pub(crate) tries: u32,
    /// Of those, hedges.
    pub(crate) hedges: u32,
}

/// Why a node is asked.
#[derive(Debug, Clone)]
pub(crate) enum Why {
    /// A round begins.
    Begin,
    /// Another takes long.
    Hedge,
    /// Another has failed.
    Failover(RequestError),
}

/// A node that is asked now.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: RequestId,
    pub(crate) attempt: Attempt,
}

impl FailoverCall {
    /// `random` decides what is drawn among nodes in the first round.
    pub(crate) fn new(
        protocol: ProtocolName,
        key: Point,
        body: Body,
        options: ClosestOptions,
        random: u64,
        now: Timestamp,
    ) -> Self {
        let ClosestOptions { call, exclude, hedge } = options;
        let mut new = Self {
            protocol,
            body,
            options: call,
            exclude,
            hedge: hedge.filter(|_| call.idempotent),
            key,
            selection: Selection::at(key, random),
            began: now,
            asked: Vec::new(),
            log: Vec::new(),
            passing: None,
            retries: 0,
            failovers: 0,
            attempts: 0,
            delivery: Delivery::NotProcessed,
            due: None,
            paid: Paid::default(),
        };
        new.begin_round(random);
        new
    }

    fn begin_round(&mut self, random: u64) {
        self.selection = Selection::at(self.key, random);
        for peer in &self.exclude {
            self.selection.exclude(*peer);
        }
        self.passing = None;
    }

    /// A further round follows, which is paid for.
    pub(crate) fn begin_next_round(&mut self, random: u64) {
        self.paid.tries += 1;
        self.retries += 1;
        self.begin_round(random);
    }

    pub(crate) fn protocol(&self) -> &ProtocolName {
        &self.protocol
    }

    pub(crate) fn body(&self) -> &Body {
        &self.body
    }

    pub(crate) fn options(&self) -> CallOptions {
        self.options
    }

    pub(crate) fn selection(&self) -> &Selection {
        &self.selection
    }

    pub(crate) fn selection_mut(&mut self) -> (&ProtocolName, &mut Selection) {
        (&self.protocol, &mut self.selection)
    }

    /// Rounds after the first.
    pub(crate) fn retries(&self) -> u32 {
        self.retries
    }

    /// Whether its deadline has passed.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.options.deadline.is_some_and(|due| due <= now)
    }

    /// Whether a node is asked now.
    pub(crate) fn is_asking(&self) -> bool {
        !self.asked.is_empty()
    }

    pub(crate) fn ask(&mut self, request: RequestId, attempt: Attempt) {
        self.asked.push(Asked { request, attempt });
    }

    /// The node that has had this request is done.
    pub(crate) fn take_asked(&mut self, request: RequestId) -> Option<Attempt> {
        let at = self.asked.iter().position(|asked| asked.request == request)?;
        Some(self.asked.remove(at).attempt)
    }

    pub(crate) fn take_all_asked(&mut self) -> Vec<Asked> {
        core::mem::take(&mut self.asked)
    }

    /// Remembers an attempt, without what a status has for programs: that is as large as an answer.
    pub(crate) fn log(&mut self, attempt: &Attempt, mut outcome: NodeOutcome, now: Timestamp) {
        if let NodeOutcome::Failed(RequestError { cause: Cause::Remote(status), .. }) = &mut outcome
        {
            status.detail = bytes::Bytes::new();
        }
        if self.log.len() < MAX_LOG {
            self.log.push(NodeTry {
                node: *attempt.peer(),
                source: attempt.source(),
                after: attempt.since().since(self.began),
                took: now.since(attempt.since()),
                outcome,
            });
        }
    }

    /// A node was tried on so many streams.
    pub(crate) fn count(&mut self, attempts: u32, delivery: Delivery) {
        self.attempts += attempts;
        self.delivery = self.delivery.max(delivery);
    }

    /// A node has failed in a way that may pass.
    pub(crate) fn note_passing(&mut self, error: RequestError) {
        self.passing = Some(error);
    }

    pub(crate) fn take_passing(&mut self) -> Option<RequestError> {
        self.passing.take()
    }

    /// How further nodes may be asked beside those that are asked now, if they may.
    pub(crate) fn hedge(&self) -> Option<Hedge> {
        self.hedge.filter(|hedge| hedge.max > 0)
    }

    /// How long the node has been asked that was asked first of those that are asked now, if the call
    /// wants to know how long calls wait.
    pub(crate) fn waited(&self, answered: Option<&Attempt>, now: Timestamp) -> Option<Duration> {
        self.hedge?.quantile?;
        let asked = self.asked.iter().map(|asked| &asked.attempt);
        asked.chain(answered).map(|attempt| now.since(attempt.since())).max()
    }

    /// Whether a further node may be asked beside one that takes long.
    pub(crate) fn may_hedge(&self) -> bool {
        self.hedge.is_some_and(|hedge| hedge.max > 0)
    }

    /// One of those is paid for.
    pub(crate) fn count_hedge(&mut self) {
        self.paid.tries += 1;
        self.paid.hedges += 1;
        if let Some(hedge) = &mut self.hedge {
            hedge.max = hedge.max.saturating_sub(1);
        }
    }

    /// Nodes that were asked because others had failed.
    pub(crate) fn failovers(&self) -> u32 {
        self.failovers
    }

    /// One of those is paid for.
    pub(crate) fn count_failover(&mut self) {
        self.paid.tries += 1;
        self.failovers += 1;
    }

    /// What was paid for a node that is asked now, or not at all.
    pub(crate) fn take_paid(&mut self, why: &Why) -> Paid {
        let tries = self.paid.tries.min(1);
        let hedges = if matches!(why, Why::Hedge) { self.paid.hedges.min(1) } else { 0 };
        self.paid.tries -= tries;
        self.paid.hedges -= hedges;
        Paid { tries, hedges }
    }

    /// What was paid for and is not made any more.
    pub(crate) fn take_all_paid(&mut self) -> Paid {
        core::mem::take(&mut self.paid)
    }

    /// How its end is reported: on how many streams it was tried, whether a node may have processed
    /// it, and every node that was asked.
    pub(crate) fn into_report(self) -> (u32, Delivery, Vec<NodeTry>) {
        (self.attempts, self.delivery, self.log)
    }
}

/// All calls to the closest node that have no outcome yet.
#[derive(Debug, Default)]
pub(crate) struct FailoverCalls {
    calls: SlotMap<ClosestId, FailoverCall>,
}

impl FailoverCalls {
    pub(crate) fn insert(&mut self, call: FailoverCall) -> ClosestId {
        self.calls.insert(call)
    }

    pub(crate) fn get(&self, id: ClosestId) -> Option<&FailoverCall> {
        self.calls.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: ClosestId) -> Option<&mut FailoverCall> {
        self.calls.get_mut(id)
    }

    pub(crate) fn remove(&mut self, id: ClosestId) -> Option<FailoverCall> {
        self.calls.remove(id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(crate) fn ids(&self) -> Vec<ClosestId> {
        self.calls.keys().collect()
    }

    /// Sets when a call is looked at next. Returns when that was to be before.
    pub(crate) fn set_due(&mut self, id: ClosestId, due: Option<Timestamp>) -> Option<Timestamp> {
        core::mem::replace(&mut self.calls.get_mut(id)?.due, due)
    }

    /// A call that is due, which it is no more.
    pub(crate) fn take_due(&mut self, id: ClosestId) -> Option<&FailoverCall> {
        let call = self.calls.get_mut(id)?;
        call.due = None;
        Some(call)
    }
}
