//! The dial of one peer: its addresses race each other.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::failure::{DialError, Failure};
use crate::time::Timestamp;

/// How long one address is tried alone before the next one is tried as well (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);
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
    waiting: VecDeque<(A, Turn)>,
    running: Vec<Running<A>>,
    failed: Vec<Failure<A>>,
    /// When the last attempt began.
    last_start: Timestamp,
    /// One has failed since: the next has its turn.
    hurry: bool,
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
            last_start: Timestamp::ZERO,
            hurry: true,
        }
    }

    /// An address joins. One that is tried already is not tried twice at a time; one that has failed
    /// is tried again.
    pub fn add(&mut self, address: A, turn: Turn) {
        if let Some(running) = self.running.iter_mut().find(|running| running.address == address) {
            // Who asks for it now has as much time as who did before.
            running.again |= turn == Turn::Now;
            return;
        }
        self.failed.retain(|failed| failed.address != address);
        if let Some(known) = self.waiting.iter().position(|(waiting, _)| *waiting == address) {
            if self.waiting[known].1 <= turn {
                return;
            }
            self.waiting.remove(known);
        }
        let place = self.waiting.iter().position(|(_, other)| *other > turn);
        self.waiting.insert(place.unwrap_or(self.waiting.len()), (address, turn));
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
        self.expire(now);
        if self.due().is_some_and(|due| due <= now) {
            let (address, turn) = self.waiting.pop_front()?;
            let id = next.take();
            let until = now + self.limit;
            let running = Running { id, address: address.clone(), until, turn, again: false };
            self.running.push(running);
            self.last_start = now;
            self.hurry = false;
            return Some(Step::Start(id, address));
        }
        let lost = self.waiting.is_empty() && self.running.is_empty();
        lost.then(|| Step::Lost(core::mem::take(&mut self.failed)))
    }

    /// When to [`poll`](Self::poll) if nothing happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.running.iter().map(|running| running.until).chain(self.due()).min()
    }

    fn expire(&mut self, now: Timestamp) {
        let why = DialError::TimedOut(self.limit);
        for late in self.running.extract_if(.., |running| running.until <= now) {
            self.hurry = true;
            if late.again {
                self.waiting.push_front((late.address, Turn::Now));
            } else {
                self.failed.push(Failure { address: late.address, why: why.clone() });
            }
        }
    }

    /// When the next address has its turn; `None` if that is not a question of time.
    fn due(&self) -> Option<Timestamp> {
        let (_, turn) = self.waiting.front()?;
        if *turn == Turn::Now || self.running.is_empty() {
            return Some(Timestamp::ZERO);
        }
        if self.running.len() >= AT_A_TIME {
            return None;
        }
        let better_runs = self.running.iter().any(|running| running.turn < *turn);
        Some(match turn {
            Turn::Last if better_runs => self.last_start + HEAD_START_BEFORE_LAST,
            _ if self.hurry => Timestamp::ZERO,
            _ => self.last_start + HEAD_START,
        })
    }
}
