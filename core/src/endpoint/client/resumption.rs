//! Whether a call that was lost is opened again, and when: `WIRE.md` section 2.9.

use core::time::Duration;

use bytes::Bytes;

use super::state::retry::{Backoff, RetryPolicy, fit_pause};
use crate::error::RequestError;
use crate::rng::Rng;
use crate::time::{Timestamp, earliest};

/// How hard a lost call is tried to be opened again.
///
/// A call has five tries of its own, of which one comes back in ten seconds. Those beyond that are paid for
/// by the [retry budget](crate::ClientConfig::with_retry_budget) of its client, or wait.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResumePolicy {
    /// The most tries in a row: without a further cursor between them. Default 10.
    pub max_tries: u32,
    /// The longest time from the loss until a message with a cursor comes again. Default 5 min.
    pub patience: Duration,
    /// The longest pause before the first try, which may come at any time within it. It doubles with each,
    /// and half of it is the least from there on, as for [requests](Backoff). A call that moves while it is
    /// open waits as before the first. Default 1 s.
    pub interval: Duration,
}

impl Default for ResumePolicy {
    fn default() -> Self {
        Self {
            max_tries: 10,
            patience: Duration::from_secs(5 * 60),
            interval: Duration::from_secs(1),
        }
    }
}

impl ResumePolicy {
    /// Sets the most tries in a row.
    #[must_use]
    pub const fn with_max_tries(mut self, max_tries: u32) -> Self {
        self.max_tries = max_tries;
        self
    }

    /// Sets the longest time from the loss until a message with a cursor comes again.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets the longest pause before the first try.
    #[must_use]
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }
}

/// A call whose messages have cursors, over all the times that it is opened.
///
/// Its driver says which messages the application has [taken](Self::took), not which have come: those
/// that wait are taken first, or come again. When the call is [lost](Self::lost), it is opened again with
/// the [cursor](Self::cursor), at the time that is said. While the server drains and the call
/// [may move](Self::may_move), another is opened beside it [after a while](Self::moves_at), and no message
/// of the old one is taken until it is known whether that was accepted.
///
/// When the server has said that no more messages come, the driver [says so](Self::finished) and hands out
/// no further ones. What the call led to is unknown until its result is there: a call that is lost before
/// that is opened again for its result.
///
/// A server that ends or drains has many calls, of clients that do not know of each other. Therefore no
/// try is made at once: the first one falls anywhere within the interval, so that they reach the other
/// servers one by one. Each call has tries of its own to spend, which come back slowly; what it does
/// beyond that is [paid for](Self::is_charged) by all calls of its client together.
#[derive(Debug)]
pub struct Resumption {
    policy: ResumePolicy,
    /// It is opened at one server or another.
    elsewhere: bool,
    deadline: Option<Timestamp>,
    cursor: Option<Bytes>,
    /// When it was accepted last.
    opened: Option<Timestamp>,
    /// Messages were taken that no cursor covers.
    uncovered: bool,
    /// This opening stays where it is.
    stays: bool,
    /// The application was told that no more messages come.
    finished: bool,
    /// Tries since a cursor was last taken, and when the first of them became necessary.
    tries: u32,
    since: Option<Timestamp>,
    own: OwnTries,
    /// The try that is due is not one of its own.
    charged: bool,
    rng: Rng,
}

/// Tries that a call pays for itself. Its client's retry budget is for what comes beside its requests, and
/// a client may have many calls and hardly any requests: it could not pay for all of them after an outage.
#[derive(Debug, Default)]
struct OwnTries {
    /// When all of them are there again.
    full: Timestamp,
}

impl OwnTries {
    /// How many there are at most. With the pauses between them, they outlast the restart of a server.
    const MOST: u32 = 5;
    /// How long one takes to come back. Longer pauses than that need nothing else.
    const EACH: Duration = Duration::from_secs(10);

    /// When there is one.
    fn next(&self, now: Timestamp) -> Timestamp {
        now + self.full.since(now).saturating_sub(Self::EACH * (Self::MOST - 1))
    }

    fn take(&mut self, at: Timestamp) -> bool {
        let can = self.next(at) == at;
        if can {
            self.full = self.full.max(at) + Self::EACH;
        }
        can
    }
}

impl Resumption {
    /// A call that begins behind a cursor, or at its beginning. `seed` draws the pauses.
    #[must_use]
    pub fn new(
        policy: ResumePolicy,
        cursor: Option<Bytes>,
        deadline: Option<Timestamp>,
        seed: u64,
    ) -> Self {
        Self {
            policy,
            elsewhere: false,
            deadline,
            cursor,
            opened: None,
            uncovered: false,
            stays: false,
            finished: false,
            tries: 0,
            since: None,
            own: OwnTries::default(),
            charged: false,
            rng: Rng::new(seed),
        }
    }

    /// The same call, which may be opened at any server of its protocol.
    #[must_use]
    pub const fn elsewhere(mut self) -> Self {
        self.elsewhere = true;
        self
    }

    /// Behind which message the call is opened next.
    #[must_use]
    pub const fn cursor(&self) -> Option<&Bytes> {
        self.cursor.as_ref()
    }

    /// The application has taken a message, with its cursor.
    pub fn took(&mut self, cursor: Option<&Bytes>) {
        match cursor {
            Some(cursor) => {
                (self.cursor, self.uncovered) = (Some(cursor.clone()), false);
                (self.tries, self.since) = (0, None);
            }
            None => self.uncovered = true,
        }
    }

    /// The call goes on for a while where it is: whether it is opened elsewhere meanwhile. Only behind a
    /// message with a cursor, or those without would come twice for no need, and once for each opening.
    #[must_use]
    pub const fn may_move(&self) -> bool {
        !self.uncovered && !self.stays && !self.finished
    }

    /// The call [may move](Self::may_move), and it is known that it has to: when that is done. It goes on
    /// meanwhile, so that the pause costs nothing. `None` if it has moved too often of late: it stays until
    /// it is lost.
    pub fn moves_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        let at = now + self.first_pause(now);
        if self.own.take(at) {
            return Some(at);
        }
        self.stay();
        None
    }

    /// The server has said that no more messages come, and the application was told. Only the result is
    /// missing. The call does not move for that, or its work would be done twice for no need.
    pub fn finished(&mut self) {
        self.finished = true;
    }

    /// Whether the application was told that no more messages come.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// It was not accepted elsewhere: it stays until it is lost.
    pub fn stay(&mut self) {
        self.stays = true;
    }

    /// It was accepted, for the first time or once more.
    pub fn opened(&mut self, now: Timestamp) {
        self.opened = Some(now);
        self.stays = false;
    }

    /// The call was lost, or not accepted: when it is opened again. `None` to give up.
    pub fn lost(&mut self, error: &RequestError, now: Timestamp) -> Option<Timestamp> {
        // Without any cursor, all that was taken would come again.
        let begins_anew = self.uncovered && self.cursor.is_none();
        let passing = match self.elsewhere {
            true => error.may_try_elsewhere(true),
            false => error.may_retry(true),
        };
        if begins_anew || !passing || self.tries >= self.policy.max_tries {
            return None;
        }
        let pause = match self.tries {
            0 => self.first_pause(now),
            tries => self.pause(tries, error)?,
        };
        let random = self.rng.next_u64();
        let due = now + fit_pause(pause, error, self.until(), random, now)?;
        self.since.get_or_insert(now);
        self.tries += 1;
        self.charged = !self.own.take(due);
        Some(due)
    }

    /// Whether the try that is due is to be paid for by the retry budget of the client: the call has spent
    /// its own.
    #[must_use]
    pub const fn is_charged(&self) -> bool {
        self.charged
    }

    /// The try that is due cannot be paid for: when it is made instead, which is when the call has one of
    /// its own again, or somewhat later, so that calls that have spent theirs together do not come back
    /// together. `None` to give up.
    pub fn postpone(&mut self, now: Timestamp) -> Option<Timestamp> {
        let due = self.own.next(now) + self.rng.between(Duration::ZERO, OwnTries::EACH);
        let in_time = self.until().is_none_or(|until| due < until);
        self.charged = !(in_time && self.own.take(due));
        in_time.then_some(due)
    }

    /// When it is given up.
    fn until(&self) -> Option<Timestamp> {
        earliest(self.deadline, self.since.map(|since| since + self.policy.patience))
    }

    /// Anywhere within the interval; in its second half if the call was opened within the last one, since
    /// what ends it at once would do so again. Not for longer than half of the time that is left.
    fn first_pause(&mut self, now: Timestamp) -> Duration {
        let left = self.deadline.map_or(Duration::MAX, |deadline| deadline.since(now));
        let interval = self.policy.interval.min(left / 2);
        let fresh = self.opened.is_some_and(|at| now.since(at) < interval);
        let least = if fresh { interval / 2 } else { Duration::ZERO };
        self.rng.between(least, interval)
    }

    fn pause(&mut self, retries: u32, error: &RequestError) -> Option<Duration> {
        let backoff = Backoff::new(u32::MAX, self.policy.interval);
        backoff.pause(error, retries, self.rng.next_u64())
    }
}
