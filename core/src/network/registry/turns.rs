//! Of which changes is told next, and when: networks take turns, and each has an allowance.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::time::Duration;

use super::limits::RegistryLimits;
use super::order::EntryId;
use crate::endpoint::GroupId;
use crate::time::Timestamp;

/// How long changes are put together, after some were told of.
const INTERVAL: Duration = Duration::from_millis(100);
/// How many seconds of its allowance a network has at once, and all of them together.
const OF_NETWORK: u64 = 64;
const OF_ALL: u64 = 32;

/// What somebody waits with: news come before what may be told late, and then those that came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    may_be_late: bool,
    number: u64,
    entry: EntryId,
}

impl Turn {
    pub(super) const fn may_be_late(self) -> bool {
        self.may_be_late
    }
}

/// Tokens, as the time at which all of them are there again.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    each: Duration,
    whole: Duration,
}

impl Allowance {
    fn new(rate: usize, seconds: u64) -> Self {
        let each = Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX).max(1);
        Self { each, whole: Duration::from_secs(seconds) }
    }

    /// What may be told late leaves half for what may not.
    fn allows(&self, full: Timestamp, may_be_late: bool, now: Timestamp) -> bool {
        let most = if may_be_late { self.whole / 2 } else { self.whole };
        full.since(now) + self.each <= most
    }

    fn spend(&self, full: Timestamp, now: Timestamp) -> Timestamp {
        full.max(now) + self.each
    }
}

#[derive(Debug)]
pub(super) struct Turns {
    of_all: Allowance,
    of_network: Allowance,
    waiting: BTreeMap<GroupId, BTreeSet<Turn>>,
    /// Networks of which somebody waits, each once.
    order: VecDeque<GroupId>,
    /// When a network has its whole allowance again. Others have it.
    full: BTreeMap<GroupId, Timestamp>,
    all_full: Timestamp,
    next_round: Timestamp,
    numbered: u64,
}

impl Turns {
    pub(super) fn new(limits: &RegistryLimits) -> Self {
        Self {
            of_all: Allowance::new(limits.changes(), OF_ALL),
            of_network: Allowance::new(limits.changes_per_network(), OF_NETWORK),
            waiting: BTreeMap::new(),
            order: VecDeque::new(),
            full: BTreeMap::new(),
            all_full: Timestamp::ZERO,
            next_round: Timestamp::ZERO,
            numbered: 0,
        }
    }

    /// An entry waits for its turn.
    pub(super) fn wait(&mut self, network: GroupId, entry: EntryId, may_be_late: bool) -> Turn {
        self.numbered += 1;
        let turn = Turn { may_be_late, number: self.numbered, entry };
        if !self.waiting.contains_key(&network) {
            self.order.push_back(network);
        }
        self.waiting.entry(network).or_default().insert(turn);
        turn
    }

    /// An entry does not wait any more.
    pub(super) fn leave(&mut self, network: GroupId, turn: Turn) {
        if let Some(waiting) = self.waiting.get_mut(&network) {
            waiting.remove(&turn);
        }
    }

    /// Whether it is time to tell of changes.
    pub(super) fn is_round(&self, now: Timestamp) -> bool {
        self.next_round <= now
    }

    /// A round is over.
    pub(super) fn rest(&mut self, now: Timestamp) {
        self.next_round = now + INTERVAL;
        self.full.retain(|_, full| *full > now);
    }

    pub(super) const fn next_round(&self) -> Timestamp {
        self.next_round
    }

    pub(super) fn somebody_waits(&self) -> bool {
        !self.order.is_empty()
    }

    /// Whose turn it is, if the allowances are not used up.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<EntryId> {
        for _ in 0..self.order.len() {
            let network = self.order.pop_front()?;
            let Some(waiting) = self.waiting.get_mut(&network) else { continue };
            let Some(turn) = waiting.first().copied() else {
                self.waiting.remove(&network);
                continue;
            };
            self.order.push_back(network);
            let full = self.full.get(&network).copied().unwrap_or(Timestamp::ZERO);
            if self.of_all.allows(self.all_full, turn.may_be_late, now)
                && self.of_network.allows(full, turn.may_be_late, now)
            {
                waiting.remove(&turn);
                self.all_full = self.of_all.spend(self.all_full, now);
                self.full.insert(network, self.of_network.spend(full, now));
                return Some(turn.entry);
            }
        }
        None
    }
}
