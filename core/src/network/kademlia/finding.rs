//! Who is found in one query.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::order::Provider;
use super::secret::ServiceKey;
use crate::id::{PeerId, ProtocolName};
use crate::rng::Rng;

/// How many of those whom one node names are candidates at once. The others come when the query has ended:
/// one node that lies does not take the places of what others say.
const AT_ONCE: usize = 4;
/// How many of those whom one node names are looked at.
const OF_ANSWER: usize = 32;
/// How many answers to a query are looked at.
const ANSWERS: usize = 64;
/// How many candidates come of a query.
const FOUND: usize = 32;
/// How many addresses of one of them are looked at.
const ADDRESSES: usize = 8;

/// A query for the servers of a service.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) service: ProtocolName,
    pub(super) key: ServiceKey,
    found: BTreeSet<PeerId>,
    /// Of each answer, those that have to wait.
    later: Vec<Vec<Provider>>,
}

impl Finding {
    pub(super) fn new(service: ProtocolName, key: ServiceKey) -> Self {
        Self { service, key, found: BTreeSet::new(), later: Vec::new() }
    }

    /// A node has answered. Returns who is a candidate at once.
    pub(super) fn answered(
        &mut self,
        mut providers: Vec<Provider>,
        local: PeerId,
        rng: &mut Rng,
    ) -> Vec<Provider> {
        if self.later.len() >= ANSWERS {
            return Vec::new();
        }
        providers.truncate(OF_ANSWER);
        providers.retain(|one| one.peer != local && !self.found.contains(&one.peer));
        providers.iter_mut().for_each(|one| one.addresses.truncate(ADDRESSES));
        providers.sort_by_cached_key(|_| rng.next_u64());
        let room = AT_ONCE.min(FOUND.saturating_sub(self.found.len())).min(providers.len());
        let later = providers.split_off(room);
        self.later.push(later);
        self.keep_new(providers)
    }

    /// It has ended. Returns who else is a candidate: of each answer one, then another one.
    pub(super) fn ended(mut self) -> Vec<Provider> {
        let mut chosen = Vec::new();
        while self.found.len() < FOUND && self.later.iter().any(|answer| !answer.is_empty()) {
            for n in 0..self.later.len() {
                let next = self.later[n].pop().filter(|_| self.found.len() < FOUND);
                chosen.extend(self.keep_new(next.into_iter().collect()));
            }
        }
        chosen
    }

    fn keep_new(&mut self, mut providers: Vec<Provider>) -> Vec<Provider> {
        providers.retain(|one| self.found.insert(one.peer));
        providers
    }
}
