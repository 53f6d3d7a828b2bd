//! The servers of one protocol, and what is known of each.

use alloc::collections::{BTreeMap, BTreeSet};
use hashbrown::HashMap;
use thiserror::Error;

use super::health::{self, Ejection};
use super::near::Near;
use super::node::Node;
use super::quantiles::Quantiles;
use crate::hash::FixedState;
use crate::id::PeerId;
use crate::network::candidates::Source;
use crate::time::Timestamp;

/// The most servers of one protocol among which a client chooses.
pub const MAX_NODES: usize = 10_000;

/// The nodes of one protocol, in the order in which they were added.
///
/// # Failures
///
/// A node that fails is ejected: nobody asks it for 1 s after the first failure, for twice as long
/// after each further one in a row, 10 s at most. Then it is half-open: one attempt at a time may
/// be made. A success restores it. A failure begins the next backoff. Attempts that were under way
/// when a node failed belong to the same incident: if they fail too, they do not count again.
///
/// Three attempts in a row that got no answer until their callers' time was over are a failure, and so
/// are five answers in a row with errors of the application's, if other nodes answer with fewer.
///
/// At most half of the nodes (rounded down) are ejected at a time, so at least one is always usable.
/// When one more fails, those stay ejected that failed most often in a row: the node takes the place
/// of the one with the fewest failures, if that has fewer, and stays in use otherwise.
#[derive(Debug)]
pub struct Nodes {
    local: Option<PeerId>,
    /// By number; numbers only increase and are never used again.
    nodes: BTreeMap<u64, Node>,
    numbers: HashMap<PeerId, u64, FixedState>,
    /// The next number of a node or attempt.
    next: u64,
    /// How many nodes are ejected.
    ejected: usize,
    /// Those that are, by the end of their backoff.
    pub(super) backing_off: BTreeSet<(Timestamp, u64)>,
    pub(super) near: Near,
    /// The part of answers that are errors of the application's, over all nodes.
    errors: health::ErrorRate,
    /// Attempts under way at all nodes.
    in_flight: u32,
    /// When a node was asked last.
    pub(crate) last_asked: Option<Timestamp>,
    /// How long calls wait for the node that they asked, of calls that want to know.
    pub(crate) waits: Quantiles,
}

/// One attempt at a node, from [`Nodes::begin`] to exactly one of [`Nodes::succeeded`],
/// [`Nodes::failed`] and [`Nodes::given_up`].
///
/// It cannot be copied, since whoever loses or doubles it falsifies the count in flight, and may
/// keep a node half-open for ever.
#[derive(Debug)]
#[must_use = "report its end, or the node counts as busy for ever"]
pub struct Attempt {
    peer: PeerId,
    node: u64,
    number: u64,
    since: Timestamp,
    source: Source,
}

impl Attempt {
    /// At whom.
    #[must_use]
    pub const fn peer(&self) -> &PeerId {
        &self.peer
    }

    /// How the node was found.
    #[must_use]
    pub const fn source(&self) -> Source {
        self.source
    }

    /// When it began.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        self.since
    }
}

/// Why a node was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddNodeError {
    /// It is this peer itself.
    #[error("a peer cannot be its own server")]
    Own,
    /// There are [`MAX_NODES`] already.
    #[error("a protocol has at most {MAX_NODES} nodes")]
    Full,
}

impl Nodes {
    /// No nodes. `local` is the own peer, which cannot be one.
    #[must_use]
    pub fn new(local: Option<PeerId>) -> Self {
        Self::numbered_from(0, local)
    }

    /// No nodes, and numbers that no attempt at others has.
    pub(crate) fn numbered_from(next: u64, local: Option<PeerId>) -> Self {
        Self {
            local,
            nodes: BTreeMap::new(),
            numbers: HashMap::default(),
            next,
            ejected: 0,
            backing_off: BTreeSet::new(),
            near: Near::default(),
            errors: health::ErrorRate::default(),
            in_flight: 0,
            last_asked: None,
            waits: Quantiles::default(),
        }
    }

    /// The first number that no node and no attempt has.
    pub(crate) const fn unused_from(&self) -> u64 {
        self.next
    }

    /// Adds a node that the application names. Returns `false` if it is there already; it counts as named
    /// from then on.
    ///
    /// # Errors
    /// [`AddNodeError`] if it is the own peer, or one more than [`MAX_NODES`].
    pub fn add(&mut self, peer: PeerId, now: Timestamp) -> Result<bool, AddNodeError> {
        if let Some(known) = self.numbers.get(&peer).and_then(|number| self.nodes.get_mut(number)) {
            known.source = Source::Manual;
        }
        self.add_found(peer, Source::Manual, now)
    }

    /// Adds a node that was found. Returns `false`, and changes nothing, if it is there already.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub fn add_found(
        &mut self,
        peer: PeerId,
        source: Source,
        now: Timestamp,
    ) -> Result<bool, AddNodeError> {
        if self.local == Some(peer) {
            return Err(AddNodeError::Own);
        }
        if self.numbers.contains_key(&peer) {
            return Ok(false);
        }
        if self.nodes.len() == MAX_NODES {
            return Err(AddNodeError::Full);
        }
        let number = self.take_number();
        let node = Node::new(peer, source, now);
        self.near.add(self.local.as_ref(), &node, number);
        self.nodes.insert(number, node);
        self.numbers.insert(peer, number);
        Ok(true)
    }

    /// Removes a node and what is known of it. Returns `false` if there is none such. Attempts
    /// under way may still be reported; that changes nothing, even if the node is added again.
    pub fn remove(&mut self, peer: &PeerId) -> bool {
        let Some(number) = self.numbers.remove(peer) else { return false };
        if let Some(node) = self.nodes.remove(&number) {
            self.near.remove(self.local.as_ref(), &node, number);
            self.in_flight = self.in_flight.saturating_sub(node.in_flight);
            if let Some(ejection) = node.ejection {
                self.backing_off.remove(&(ejection.until, number));
                self.ejected -= 1;
            }
        }
        // Half of fewer nodes may be one less.
        if self.ejected > self.max_ejected()
            && let Some((number, _)) = self.least_failed()
        {
            self.restore(number);
        }
        true
    }

    /// Removes all nodes.
    pub fn clear(&mut self) {
        self.nodes.clear();
        self.numbers.clear();
        self.backing_off.clear();
        self.near = Near::default();
        (self.ejected, self.in_flight) = (0, 0);
    }

    /// The nodes, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// One node.
    #[must_use]
    pub fn get(&self, peer: &PeerId) -> Option<&Node> {
        self.nodes.get(self.numbers.get(peer)?)
    }

    /// One node by number.
    pub(super) fn numbered(&self, number: u64) -> Option<&Node> {
        self.nodes.get(&number)
    }

    /// Attempts under way at all nodes.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Finds out anew which nodes are near, if that was not done for a while. To be called now and
    /// then, at best before a [`Selection`](super::Selection) is asked.
    pub fn refresh(&mut self, now: Timestamp) {
        if self.near.is_stale(now) {
            let mut near = core::mem::take(&mut self.near);
            near.refresh(self, now);
            self.near = near;
        }
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether an attempt may be made at any node now. So it is whenever there are nodes.
    #[must_use]
    pub fn has_available(&self, now: Timestamp) -> bool {
        self.iter().any(|node| node.is_usable(now))
    }

    /// Reports that there is a connection to a peer, or that there is none any more.
    pub fn set_online(&mut self, peer: &PeerId, online: bool) {
        if let Some(node) = self.get_mut(peer) {
            node.online = Some(online);
        }
    }

    /// Reports that there is no connection to any node.
    pub fn set_all_offline(&mut self) {
        for node in self.nodes.values_mut() {
            node.online = Some(false);
        }
    }

    /// Reports the load that a server told: thousandths of its limit; more than 1000 counts as
    /// 1000.
    pub fn set_load(&mut self, peer: &PeerId, thousandths: u16, now: Timestamp) {
        if let Some(node) = self.get_mut(peer) {
            node.load = Some((thousandths.min(1000), now));
        }
    }

    /// Begins an attempt; `None` if there is no such node. If the node is half-open, this is its one
    /// attempt.
    pub fn begin(&mut self, peer: &PeerId, now: Timestamp) -> Option<Attempt> {
        let number = *self.numbers.get(peer)?;
        let attempt = self.take_number();
        let node = self.nodes.get_mut(&number)?;
        node.in_flight = node.in_flight.saturating_add(1);
        node.silent_since.get_or_insert(now);
        self.in_flight = self.in_flight.saturating_add(1);
        if let Some(ejection) = &mut node.ejection {
            ejection.half_open.get_or_insert(attempt);
        }
        let source = node.source;
        self.last_asked = Some(now);
        Some(Attempt { peer: *peer, node: number, number: attempt, since: now, source })
    }

    /// Ends an attempt: the node answered. It is in full use again, and its latency is sampled.
    pub fn succeeded(&mut self, attempt: Attempt, now: Timestamp) {
        let Some(node) = self.end(&attempt) else { return };
        if node.ejection.is_some() {
            node.latency.forget();
        }
        node.latency.answered(now.since(attempt.since), now);
        node.online = Some(true);
        node.failures = 0;
        node.heard(now);
        node.health.answered(now);
        self.near.answered();
        self.errors.note(false);
        self.restore(attempt.node);
    }

    /// Ends an attempt: the node answered with an error of the application's. That says nothing good
    /// of its latency, and if it does so time and again where others do not, it is ejected.
    pub fn erred(&mut self, attempt: Attempt, now: Timestamp) {
        let fleet = self.errors.note(true);
        let number = attempt.node;
        let (began, order) = (attempt.since, attempt.number);
        let Some(node) = self.end(&attempt) else { return };
        node.latency.at_least(now.since(began), now);
        node.online = Some(true);
        node.heard(now);
        if node.health.erred(now) && fleet < health::MOST_ERRORS {
            self.eject(number, order, now);
        } else if !self.nodes.get(&number).is_some_and(|node| node.health.errs()) {
            // It is there, whatever it was ejected for.
            self.restore(number);
        }
    }

    /// Ends an attempt: the node had not answered when the caller's time was over.
    pub fn unanswered(&mut self, attempt: Attempt, now: Timestamp) {
        let (number, order, began) = (attempt.node, attempt.number, attempt.since);
        let Some(node) = self.end(&attempt) else { return };
        node.latency.unanswered(now.since(began), now);
        if node.health.unanswered(began) {
            self.eject(number, order, now);
        }
    }

    /// Ends an attempt: the node had no room for it. That is no fault.
    pub fn busy(&mut self, attempt: Attempt, now: Timestamp) {
        let (peer, number) = (attempt.peer, attempt.node);
        self.heard(&peer, now);
        self.given_up(attempt, now);
        self.set_load(&peer, 1000, now);
        self.near.busy(number);
    }

    /// The node has said something, whatever it was: it is not silent.
    pub fn heard(&mut self, peer: &PeerId, now: Timestamp) {
        if let Some(node) = self.get_mut(peer) {
            node.heard(now);
            node.health.heard(now);
        }
    }

    /// Ends an attempt: the node let it down. It is ejected, as far as the rules allow.
    pub fn failed(&mut self, attempt: Attempt, now: Timestamp) {
        let (number, order) = (attempt.node, attempt.number);
        let Some(node) = self.end(&attempt) else { return };
        node.latency.at_least(now.since(attempt.since), now);
        self.eject(number, order, now);
    }

    /// Ejects a node because of this attempt, as far as the rules allow.
    fn eject(&mut self, number: u64, attempt: u64, now: Timestamp) {
        let news_from = self.next;
        let Some(node) = self.nodes.get_mut(&number) else { return };
        if attempt < node.counts_from {
            return;
        }
        node.counts_from = news_from;
        node.failures = node.failures.saturating_add(1);
        let failures = node.failures;
        let until = now + health::backoff_after(failures);
        let backoff = Ejection { until, half_open: None };
        if let Some(ejection) = &mut node.ejection {
            self.backing_off.remove(&(ejection.until, number));
            self.backing_off.insert((until, number));
            *ejection = backoff;
            return;
        }
        if self.ejected >= self.max_ejected() {
            match self.least_failed() {
                Some((number, fewest)) if fewest < failures => self.restore(number),
                _ => return,
            }
        }
        if let Some(node) = self.nodes.get_mut(&number) {
            node.ejection = Some(backoff);
            self.backing_off.insert((until, number));
            self.ejected += 1;
            self.near.leave(number);
        }
    }

    /// Ends an attempt that says nothing about the node's health: it was cancelled, or never made.
    pub fn given_up(&mut self, attempt: Attempt, now: Timestamp) {
        if let Some(node) = self.end(&attempt) {
            node.latency.at_least(now.since(attempt.since), now);
        }
    }

    fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Node> {
        self.nodes.get_mut(self.numbers.get(peer)?)
    }

    fn take_number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Takes an attempt off its node, if that is still there.
    fn end(&mut self, attempt: &Attempt) -> Option<&mut Node> {
        let node = self.nodes.get_mut(&attempt.node)?;
        node.in_flight = node.in_flight.saturating_sub(1);
        if node.in_flight == 0 {
            node.silent_since = None;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(ejection) = &mut node.ejection {
            ejection.half_open.take_if(|half_open| *half_open == attempt.number);
        }
        Some(node)
    }

    fn max_ejected(&self) -> usize {
        self.nodes.len() / 2
    }

    fn restore(&mut self, number: u64) {
        let Some(node) = self.nodes.get_mut(&number) else { return };
        if let Some(ejection) = node.ejection.take() {
            self.backing_off.remove(&(ejection.until, number));
            self.ejected -= 1;
            self.near.join(number);
        }
    }

    /// Of the ejected nodes, the one with the fewest failures in a row, and how many those are.
    /// Among equals the one whose backoff ends first, then the one with the least peer id.
    fn least_failed(&self) -> Option<(u64, u32)> {
        let ejected = self.nodes.iter().filter_map(|(number, node)| {
            Some((node.failures, node.ejection?.until, node.peer, *number))
        });
        ejected.min().map(|(failures, _, _, number)| (number, failures))
    }
}
