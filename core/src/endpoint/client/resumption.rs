//! Whether a call that was lost is opened again, and when: `WIRE.md` section 2.9.

use core::time::Duration;

use bytes::Bytes;

use super::state::retry::{Backoff, RetryPolicy, fit_pause};
use crate::error::RequestError;
use crate::rng::Rng;
use crate::time::{Timestamp, earliest};

/// How hard a lost call is tried to be opened again.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResumePolicy {
    /// The most tries in a row: without a further cursor between them. Default 10.
    pub max_tries: u32,
    /// The longest time from the loss until a message with a cursor comes again. Default 5 min.
    pub patience: Duration,
    /// The longest pause before the second try. It doubles with each, as for
    /// [requests](Backoff). There is none before the first, unless the call was opened less than this
    /// ago. Default 1 s.
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

    /// Sets the longest pause before the second try.
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
/// [may move](Self::may_move), another is opened beside it, and no message of the old one is taken until
/// it is known whether that was accepted.
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
    /// Tries since a cursor was last taken, and when the first of them became necessary.
    tries: u32,
    since: Option<Timestamp>,
    rng: Rng,
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
            tries: 0,
            since: None,
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
        !self.uncovered && !self.stays
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
        let fresh = self.opened.is_some_and(|at| now.since(at) < self.policy.interval);
        let pause = match self.tries {
            0 if !fresh => Duration::ZERO,
            tries => self.pause(tries.saturating_sub(1), error)?,
        };
        let until = earliest(self.deadline, self.since.map(|since| since + self.policy.patience));
        let pause = fit_pause(pause, error, until, self.rng.next_u64(), now)?;
        self.since.get_or_insert(now);
        self.tries += 1;
        Some(now + pause)
    }

    /// Whether the try that is due is paid for by the retry budget: the first is not.
    #[must_use]
    pub const fn is_retry(&self) -> bool {
        self.tries > 1
    }

    /// The try that is due cannot be paid for: when it may be tried again. `None` to give up.
    pub fn postpone(&mut self, error: &RequestError, now: Timestamp) -> Option<Timestamp> {
        self.tries -= 1;
        self.lost(error, now)
    }

    fn pause(&mut self, retries: u32, error: &RequestError) -> Option<Duration> {
        let backoff = Backoff::new(u32::MAX, self.policy.interval);
        backoff.pause(error, retries, self.rng.next_u64())
    }
}
