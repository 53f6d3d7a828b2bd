//! Relays that nobody has named: peers that say that they relay, for a node that cannot be reached.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::PeerId;
use crate::network::Address;
use crate::time::Timestamp;

/// How many peers that relay are remembered.
const CANDIDATES: usize = 32;
/// How long a node that is not known to be reachable waits before it looks for relays: it takes others
/// a while to find out that it can be reached.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a relay that has failed is left alone. Doubled each time, and half of it is random.
const FIRST_PAUSE: Duration = Duration::from_secs(4);
/// The longest of these times.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Chooses relays for a node that others cannot reach otherwise.
///
/// ```text
///  offered ──▶ Idle ── chosen ──▶ Used ── the node can be reached ──▶ Idle
///                ▲                  │ lost
///                └── pause ◀────────┘
/// ```
///
/// `L` is the listener that a relay is asked by. No clock is read and no chance taken here.
#[derive(Debug)]
pub struct RelayFinder<L> {
    wanted: usize,
    candidates: BTreeMap<PeerId, Candidate<L>>,
    /// Since when the node is not known to be reachable; `None` if it is.
    unreachable: Option<Timestamp>,
}

#[derive(Debug)]
struct Candidate<L> {
    address: Address,
    state: State<L>,
    failures: u32,
}

#[derive(Debug)]
enum State<L> {
    Idle(Timestamp),
    Used(L),
}

impl<L: Copy + PartialEq> RelayFinder<L> {
    /// Looks for so many relays, from this time on.
    #[must_use]
    pub fn new(wanted: usize, now: Timestamp) -> Self {
        Self { wanted, candidates: BTreeMap::new(), unreachable: Some(now) }
    }

    /// A peer says that it relays; it is asked for that at this address. Of too many such peers, the
    /// one that has failed most often is forgotten, if this one is not known yet.
    pub fn offered(&mut self, peer: PeerId, address: Address, now: Timestamp) {
        if self.wanted == 0 || self.candidates.contains_key(&peer) {
            return;
        }
        if self.candidates.len() >= CANDIDATES {
            let idle = self.candidates.iter().filter(|(_, one)| !one.is_used());
            let worst = idle.max_by_key(|(_, one)| one.failures).map(|(peer, one)| (*peer, one));
            match worst {
                Some((worst, one)) if one.failures > 0 => drop(self.candidates.remove(&worst)),
                _ => return,
            }
        }
        let candidate = Candidate { address, state: State::Idle(now), failures: 0 };
        self.candidates.insert(peer, candidate);
    }

    /// A peer says that it does not relay any more. One that is used is used for as long as it does.
    pub fn withdrawn(&mut self, peer: &PeerId) {
        if self.candidates.get(peer).is_some_and(|one| !one.is_used()) {
            self.candidates.remove(peer);
        }
    }

    /// Whether others reach the node directly. Returns the listeners that are not needed any more.
    pub fn reachable(&mut self, reachable: bool, now: Timestamp) -> Vec<L> {
        if !reachable {
            self.unreachable = self.unreachable.or(Some(now));
            return Vec::new();
        }
        self.unreachable = None;
        let used = |one: &mut Candidate<L>| match one.state {
            State::Used(listener) => {
                one.state = State::Idle(now);
                Some(listener)
            }
            State::Idle(_) => None,
        };
        self.candidates.values_mut().filter_map(used).collect()
    }

    /// A relay that is to be asked now; [`asked`](Self::asked) has to follow.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Option<(PeerId, Address)> {
        if !self.lacks() || self.looks_from().is_none_or(|from| from > now) {
            return None;
        }
        let ready = |one: &Candidate<L>| matches!(one.state, State::Idle(until) if until <= now);
        let ready = self.candidates.iter().filter(|(_, one)| ready(one));
        let best = ready.min_by_key(|(_, one)| one.failures);
        best.map(|(peer, one)| (*peer, one.address.clone()))
    }

    /// A relay was asked, or could not be: `listener` is `None` then.
    pub fn asked(&mut self, peer: &PeerId, listener: Option<L>, now: Timestamp, random: u64) {
        let Some(candidate) = self.candidates.get_mut(peer) else { return };
        match listener {
            Some(listener) => candidate.state = State::Used(listener),
            None => candidate.pause(now, random),
        }
    }

    /// A relay keeps a place for the node.
    pub fn up(&mut self, listener: L) {
        let mut all = self.candidates.values_mut();
        if let Some(candidate) = all.find(|one| one.is(listener)) {
            candidate.failures = 0;
        }
    }

    /// A relay does not keep a place, or not any more. Returns whose listener it was.
    pub fn down(&mut self, listener: L, now: Timestamp, random: u64) -> Option<PeerId> {
        let (peer, candidate) = self.candidates.iter_mut().find(|(_, one)| one.is(listener))?;
        candidate.pause(now, random);
        Some(*peer)
    }

    /// The relay that is asked by this listener.
    #[must_use]
    pub fn relay(&self, listener: L) -> Option<PeerId> {
        self.candidates.iter().find(|(_, one)| one.is(listener)).map(|(peer, _)| *peer)
    }

    /// When a relay is [due](Self::due).
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let from = self.looks_from().filter(|_| self.lacks())?;
        let idle = |one: &Candidate<L>| match one.state {
            State::Idle(until) => Some(until),
            State::Used(_) => None,
        };
        self.candidates.values().filter_map(idle).min().map(|until| until.max(from))
    }

    fn lacks(&self) -> bool {
        self.candidates.values().filter(|one| one.is_used()).count() < self.wanted
    }

    fn looks_from(&self) -> Option<Timestamp> {
        self.unreachable.map(|since| since + PATIENCE)
    }
}

impl<L: Copy + PartialEq> Candidate<L> {
    fn is_used(&self) -> bool {
        matches!(self.state, State::Used(_))
    }

    fn is(&self, listener: L) -> bool {
        matches!(self.state, State::Used(known) if known == listener)
    }

    fn pause(&mut self, now: Timestamp, random: u64) {
        let doubled = FIRST_PAUSE * 2_u32.pow(self.failures.min(16));
        let half = doubled.min(LONGEST_PAUSE) / 2;
        let jitter = half.mul_f64(random as f64 / u64::MAX as f64);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Idle(now + half + jitter);
    }
}
