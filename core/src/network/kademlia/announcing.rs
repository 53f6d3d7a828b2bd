//! When this node is listed, and under which keys.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::order::QueryId;
use super::secret::ServiceKey;
use crate::rng::Rng;
use crate::time::Timestamp;

/// How many announcements are under way at a time.
const AT_A_TIME: usize = 4;
/// How long after the first announcement the next one comes. Then it is three times as long, each time: the
/// table of a network that has just begun changes soon.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause between two announcements.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// What this node is listed under.
#[derive(Debug, Default)]
pub(super) struct Announcements(BTreeMap<ServiceKey, Announcement>);

#[derive(Debug)]
struct Announcement {
    due: Timestamp,
    pause: Duration,
    query: Option<QueryId>,
    /// Once more, when the query has ended.
    again: bool,
}

impl Announcements {
    /// From now on, these are the keys. Returns those that are no more, with the queries for them.
    pub(super) fn set(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
        now: Timestamp,
    ) -> Vec<(ServiceKey, Option<QueryId>)> {
        let is_gone = |(key, one): (&ServiceKey, &Announcement)| {
            (!keys.contains(key)).then_some((*key, one.query))
        };
        let gone: Vec<_> = self.0.iter().filter_map(is_gone).collect();
        self.0.retain(|key, _| keys.contains(key));
        for key in keys {
            let new = Announcement { due: now, pause: FIRST_PAUSE, query: None, again: false };
            self.0.entry(*key).or_insert(new);
        }
        gone
    }

    /// All are to be made anew, and soon once more.
    pub(super) fn make_anew(&mut self, now: Timestamp) {
        for one in self.0.values_mut() {
            (one.due, one.pause, one.again) = (now, FIRST_PAUSE, one.query.is_some());
        }
    }

    /// What is to be announced now.
    pub(super) fn next(&mut self, query: QueryId, now: Timestamp) -> Option<ServiceKey> {
        if self.running() >= AT_A_TIME {
            return None;
        }
        let due = |one: &Announcement| one.query.is_none() && one.due <= now;
        let (key, one) =
            self.0.iter_mut().filter(|(_, one)| due(one)).min_by_key(|(_, one)| one.due)?;
        one.query = Some(query);
        Some(*key)
    }

    /// A query has ended. Whether it was one of these.
    pub(super) fn ended(&mut self, query: QueryId, now: Timestamp, rng: &mut Rng) -> bool {
        let Some(one) = self.0.values_mut().find(|one| one.query == Some(query)) else {
            return false;
        };
        one.query = None;
        if core::mem::take(&mut one.again) {
            one.due = now;
        } else {
            one.due = now + rng.between(one.pause / 10 * 9, one.pause);
            one.pause = (one.pause * 3).min(LONGEST_PAUSE);
        }
        true
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        if self.running() >= AT_A_TIME {
            return None;
        }
        self.0.values().filter(|one| one.query.is_none()).map(|one| one.due).min()
    }

    fn running(&self) -> usize {
        self.0.values().filter(|one| one.query.is_some()).count()
    }
}
