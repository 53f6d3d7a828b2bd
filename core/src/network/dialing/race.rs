//! The dial of one peer: its addresses race each other.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::failure::{DialError, Failure};
use crate::network::order::Change;
use crate::time::Timestamp;

/// How long one address is tried alone before the next one is tried as well (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// The least, for an address of which it is known that a dial takes half of that.
const LEAST_HEAD_START: Duration = Duration::from_millis(100);
/// The same, before an address is tried that costs others something: one at a relay.
const HEAD_START_BEFORE_LAST: Duration = Duration::from_millis(500);
/// How many addresses of a peer are tried at a time. One that the application asks for now is
/// tried beyond that.
const AT_A_TIME: usize = 8;

/// When an address has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// At once, whatever else is tried.
    Now,
    /// In the order in which they are added.
    InOrder,
    /// After the others.
    Last,
}

/// One address that is being tried. The machine names it, and never twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(u64);

impl AttemptId {
    /// This one; afterwards it is the next.
    fn take(&mut self) -> Self {
        let taken = *self;
        self.0 += 1;
        taken
    }
}

/// What is known of an address before it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prospect {
    /// It has failed not long ago, and is not tried again before this. Others have their turn meanwhile.
    pub not_before: Timestamp,
    /// How long a dial took that succeeded there.
    pub took: Option<Duration>,
}

/// What a race wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<A> {
    /// Dial this, and tell the race if that fails.
    Start(AttemptId, A),
    /// No address is left. Nothing follows, unless another one is added.
    Lost(Vec<Failure<A>>),
}

/// The addresses of one peer race each other. `A` is what is dialled.
///
/// ```text
///           turn has come              it failed, or `limit` has passed
///  Waiting ───────────────▶ Running ───────────────────────────────────▶ Failed
///     ▲                                                                    │
///     └──────────────────────── added once more ───────────────────────────┘
/// ```
///
/// The race is over when it is dropped, since there is a connection, or when it is lost. Each
/// address has its own limit, which begins when the address has its turn, so that the last one has
/// as much time as the first.
#[derive(Debug)]
pub struct Race<A> {
    limit: Duration,
    waiting: VecDeque<Waiting<A>>,
    running: Vec<Running<A>>,
    failed: Vec<Failure<A>>,
    /// Attempts that took too long, and of which nobody was told.
    late: Vec<AttemptId>,
    /// When the last attempt began.
    last_start: Timestamp,
    /// How long that one is alone.
    head_start: Duration,
    /// One has failed since: the next has its turn.
    hurry: bool,
    /// No attempt may begin now.
    held: bool,
    polled: Timestamp,
}

#[derive(Debug)]
struct Waiting<A> {
    address: A,
    turn: Turn,
    prospect: Prospect,
}

#[derive(Debug)]
struct Running<A> {
    id: AttemptId,
    address: A,
    until: Timestamp,
    turn: Turn,
    /// It was asked for once more.
    again: bool,
}

impl<A: Clone + PartialEq> Race<A> {
    /// A race without addresses, each of which may take `limit`.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            waiting: VecDeque::new(),
            running: Vec::new(),
            failed: Vec::new(),
            late: Vec::new(),
            last_start: Timestamp::ZERO,
            head_start: HEAD_START,
            hurry: true,
            held: false,
            polled: Timestamp::ZERO,
        }
    }

    /// An address joins. One that is tried already is not tried twice at a time; one that has failed
    /// is tried again.
    pub fn add(&mut self, address: A, turn: Turn) {
        self.add_known(address, turn, Prospect::default());
    }

    /// An address joins of which something is known.
    pub fn add_known(&mut self, address: A, turn: Turn, prospect: Prospect) {
        if let Some(running) = self.running.iter_mut().find(|running| running.address == address) {
            // Who asks for it now has as much time as who did before.
            running.again |= turn == Turn::Now;
            return;
        }
        self.failed.retain(|failed| failed.address != address);
        if let Some(known) = self.waiting.iter().position(|waiting| waiting.address == address) {
            if self.waiting[known].turn <= turn {
                return;
            }
            self.waiting.remove(known);
        }
        let place = self.waiting.iter().position(|other| other.turn > turn);
        let place = place.unwrap_or(self.waiting.len());
        self.waiting.insert(place, Waiting { address, turn, prospect });
    }

    /// What was tried before may lead elsewhere now: the next address has its turn, whatever has failed.
    /// Whoever has slept meanwhile could hear no answer, and waits for it anew.
    pub fn refresh(&mut self, change: Change, now: Timestamp) {
        self.hurry = true;
        self.waiting.iter_mut().for_each(|one| one.prospect.not_before = Timestamp::ZERO);
        if change == Change::Woke {
            self.running.iter_mut().for_each(|one| one.until = now + self.limit);
        }
    }

    /// While a race is held, no attempt begins. Those that run go on.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// How many attempts run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether an attempt would begin at this time if the race were not held.
    #[must_use]
    pub fn wants_to_start(&self, now: Timestamp) -> bool {
        self.next_start(now).is_some()
    }

    /// The attempts that took too long since the last call.
    pub fn take_late(&mut self) -> Vec<AttemptId> {
        core::mem::take(&mut self.late)
    }

    /// An attempt failed. `why` is `None` if there was nothing to try. Returns whether it was
    /// running; it may have been late.
    pub fn failed(&mut self, attempt: AttemptId, why: Option<DialError>) -> bool {
        let Some(index) = self.running.iter().position(|running| running.id == attempt) else {
            return false;
        };
        let running = self.running.remove(index);
        self.hurry = true;
        let failure = why.map(|why| Failure { address: running.address, why });
        self.failed.extend(failure);
        true
    }

    /// What is to be done at this time; call until it is `None`, and after each input. Attempts are
    /// named from `next` on.
    pub fn poll(&mut self, now: Timestamp, next: &mut AttemptId) -> Option<Step<A>> {
        self.polled = now;
        self.expire(now);
        if !self.held
            && let Some(index) = self.next_start(now)
        {
            let Waiting { address, turn, prospect } = self.waiting.remove(index)?;
            let id = next.take();
            let until = now + self.limit;
            let running = Running { id, address: address.clone(), until, turn, again: false };
            self.running.push(running);
            self.last_start = now;
            let expected = prospect.took.map_or(HEAD_START, |took| took * 2);
            self.head_start = expected.clamp(LEAST_HEAD_START, HEAD_START);
            self.hurry = false;
            return Some(Step::Start(id, address));
        }
        let lost = self.waiting.is_empty() && self.running.is_empty();
        lost.then(|| Step::Lost(core::mem::take(&mut self.failed)))
    }

    /// When to [`poll`](Self::poll) if nothing happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        // Whoever holds the race knows which turns have come.
        let starts = self.starts().map(|(_, due)| due);
        let starts = starts.filter(|due| !self.held || *due > self.polled);
        self.running.iter().map(|running| running.until).chain(starts).min()
    }

    fn expire(&mut self, now: Timestamp) {
        let why = DialError::TimedOut(self.limit);
        for late in self.running.extract_if(.., |running| running.until <= now) {
            self.hurry = true;
            self.late.push(late.id);
            if late.again {
                let (turn, prospect) = (Turn::Now, Prospect::default());
                self.waiting.push_front(Waiting { address: late.address, turn, prospect });
            } else {
                self.failed.push(Failure { address: late.address, why: why.clone() });
            }
        }
    }

    /// When each address that waits may be tried, as far as that is a question of time.
    fn starts(&self) -> impl Iterator<Item = (usize, Timestamp)> {
        let all = self.waiting.iter().enumerate();
        all.filter_map(|(index, one)| {
            Some((index, self.due(one.turn)?.max(one.prospect.not_before)))
        })
    }

    /// The first in the order of those that may be tried now.
    fn next_start(&self, now: Timestamp) -> Option<usize> {
        self.starts().find(|(_, due)| *due <= now).map(|(index, _)| index)
    }

    /// When an address with such a turn may be tried; `None` if that is not a question of time.
    fn due(&self, turn: Turn) -> Option<Timestamp> {
        if turn == Turn::Now || self.running.is_empty() {
            return Some(Timestamp::ZERO);
        }
        if self.running.len() >= AT_A_TIME {
            return None;
        }
        let better_runs = self.running.iter().any(|running| running.turn < turn);
        Some(match turn {
            Turn::Last if better_runs => self.last_start + HEAD_START_BEFORE_LAST,
            _ if self.hurry => Timestamp::ZERO,
            _ => self.last_start + self.head_start,
        })
    }
}
