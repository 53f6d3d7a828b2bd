//! Requests that have no outcome yet.

use alloc::vec::Vec;
use core::time::Duration;

use slotmap::SlotMap;

use super::keys::RouteKey;
use crate::error::Delivery;
use crate::id::{ClosestId, RequestId, StreamId};
use crate::time::Timestamp;
use crate::wire::compress::Body;

/// A request that was surely not processed is moved to another stream this many times at most.
const MAX_MOVES: u32 = 3;

/// What a caller wants.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) route: RouteKey,
    pub(crate) body: Body,
    pub(crate) accepted: Timestamp,
    pub(crate) deadline: Option<Timestamp>,
    /// Its body is large, and travels on a stream that carries nothing else meanwhile.
    pub(crate) bulk: bool,
    /// The call to the closest node that it is a try of.
    pub(crate) call: Option<ClosestId>,
    pub(crate) idempotent: bool,
    /// How often it is tried again at most.
    pub(crate) max_retries: Option<u32>,
    /// It waits for a busy peer, instead of hearing of it at once.
    pub(crate) patient: bool,
}

/// A request that has no outcome yet.
#[derive(Debug)]
pub(crate) struct Request {
    wanted: Wanted,
    state: RequestState,
    waits_until: Option<Timestamp>,
    seq: u64,
    /// On how many streams it was tried.
    attempts: u32,
    /// How often it was put back because a stream had let it down.
    moves: u32,
    /// How often it was tried again.
    retries: u32,
    /// Whether a handler may have seen an earlier try.
    delivery: Delivery,
    /// The signs of life that its stream had given when it was put there.
    signs: u64,
}

/// ```text
///  Waiting ──placed──▶ OnStream ──answered or failed──▶ (removed)
///     ▲  ▲─────moved─────┘ └──tried again──▶ BackingOff
///     └──────────────────────────────────────────┘
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestState {
    /// In its route's queue.
    Waiting,
    OnStream(StreamId),
    /// Until it is tried again; `None` until the retry policy has said when, or that it fails.
    BackingOff {
        until: Option<Timestamp>,
    },
}

impl Request {
    pub(crate) fn route(&self) -> RouteKey {
        self.wanted.route
    }

    pub(crate) fn body(&self) -> &Body {
        &self.wanted.body
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.wanted.deadline
    }

    pub(crate) fn is_patient(&self) -> bool {
        self.wanted.patient
    }

    pub(crate) fn accepted(&self) -> Timestamp {
        self.wanted.accepted
    }

    /// Until when it waits for a busy peer: for half of its time, so that as much is left for the answer,
    /// and for so long at most.
    pub(crate) fn is_patient_until(&self, most: Duration) -> Timestamp {
        let Wanted { accepted, deadline, .. } = self.wanted;
        let half = deadline.map_or(most, |due| due.since(accepted) / 2);
        accepted + half.min(most)
    }

    /// Until when it waits for a stream.
    pub(crate) fn waits_until(&self) -> Option<Timestamp> {
        self.waits_until
    }

    pub(crate) fn is_bulk(&self) -> bool {
        self.wanted.bulk
    }

    pub(crate) fn call(&self) -> Option<ClosestId> {
        self.wanted.call
    }

    pub(crate) fn is_idempotent(&self) -> bool {
        self.wanted.idempotent
    }

    /// Whether it may be tried again once more, as far as its caller says.
    pub(crate) fn has_retries_left(&self) -> bool {
        self.wanted.max_retries.is_none_or(|most| self.retries < most)
    }

    pub(crate) fn state(&self) -> RequestState {
        self.state
    }

    /// Its number in the order in which requests were accepted.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) fn moves(&self) -> u32 {
        self.moves
    }

    pub(crate) fn retries(&self) -> u32 {
        self.retries
    }

    pub(crate) fn delivery(&self) -> Delivery {
        self.delivery
    }

    pub(crate) fn signs(&self) -> u64 {
        self.signs
    }

    /// The stream that has it.
    pub(crate) fn stream(&self) -> Option<StreamId> {
        match self.state {
            RequestState::OnStream(stream) => Some(stream),
            RequestState::Waiting | RequestState::BackingOff { .. } => None,
        }
    }

    /// It waits, until then if that is said.
    pub(crate) fn wait(&mut self, until: Option<Timestamp>) {
        self.state = RequestState::Waiting;
        self.waits_until = until;
    }

    pub(crate) fn put_on(&mut self, stream: StreamId, signs: u64) {
        self.state = RequestState::OnStream(stream);
        self.signs = signs;
        self.attempts += 1;
    }

    /// The stream had closed before the request was put on it.
    pub(crate) fn was_not_tried(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
    }

    /// It is to be put back. Whether that was not yet done too often.
    pub(crate) fn count_move(&mut self) -> bool {
        self.moves += 1;
        self.moves <= MAX_MOVES
    }

    pub(crate) fn back_off(&mut self, until: Option<Timestamp>) {
        self.state = RequestState::BackingOff { until };
    }

    /// It is tried again after a failure of this kind.
    pub(crate) fn count_retry(&mut self, delivery: Delivery) {
        self.retries += 1;
        self.moves = 0;
        self.delivery = self.delivery.max(delivery);
    }
}

/// All requests that have no outcome yet.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    requests: SlotMap<RequestId, Request>,
    accepted: u64,
}

impl Requests {
    #[inline]
    pub(crate) fn insert(&mut self, wanted: Wanted) -> RequestId {
        self.accepted += 1;
        self.requests.insert(Request {
            wanted,
            state: RequestState::Waiting,
            waits_until: None,
            seq: self.accepted,
            attempts: 0,
            moves: 0,
            retries: 0,
            delivery: Delivery::NotProcessed,
            signs: 0,
        })
    }

    #[inline]
    pub(crate) fn get(&self, id: RequestId) -> Option<&Request> {
        self.requests.get(id)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: RequestId) -> Option<&mut Request> {
        self.requests.get_mut(id)
    }

    #[inline]
    pub(crate) fn remove(&mut self, id: RequestId) -> Option<Request> {
        self.requests.remove(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(crate) fn ids(&self) -> Vec<RequestId> {
        self.requests.keys().collect()
    }

    /// Those that a stream has, the newest first.
    pub(crate) fn newest_first_on(&self, stream: StreamId) -> Vec<RequestId> {
        let on_it = self.requests.iter().filter(|(_, request)| request.stream() == Some(stream));
        let mut on_it: Vec<(u64, RequestId)> = on_it.map(|(id, r)| (r.seq, id)).collect();
        on_it.sort_unstable_by(|a, b| b.cmp(a));
        on_it.into_iter().map(|(_, id)| id).collect()
    }

    /// For each request that a stream has, that stream and the bytes of the body.
    pub(crate) fn bytes_on_streams(&self) -> impl Iterator<Item = (StreamId, usize)> {
        self.requests.values().filter_map(|r| Some((r.stream()?, r.wanted.body.raw().len())))
    }
}
