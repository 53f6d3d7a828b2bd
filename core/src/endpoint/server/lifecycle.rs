//! How a server stops, and whether it serves again.

use crate::time::Timestamp;

/// What a stop of a server could not bring to its end within the time it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stopped {
    /// Requests whose handlers were cut off. Their callers are told that they may have been processed.
    pub cut_off: u64,
    /// Streams whose peers did not confirm within `write_timeout`, or the grace, that they have got
    /// their last answers. Peers that speak the plain format are not counted: they confirm nothing.
    pub unconfirmed: u64,
}

/// Where a server is between serving and its end. It takes the time and what is counted elsewhere, and
/// says when streams are reset, how a stop went, and whether the server serves again.
///
/// ```text
///  serving ──stop──▶ stopping ──no stream is left──▶ serving again, or ended
///                       └──the grace is over──▶ streams are reset, still stopping
/// ```
///
/// ```
/// use pointsub_core::Timestamp;
/// use pointsub_core::endpoint::{Lifecycle, Stopped};
///
/// let (mut server, grace_ends) = (Lifecycle::default(), Timestamp::from_nanos(5));
/// server.stop(grace_ends, false, 0);
/// assert!(!server.handle_timeout(Timestamp::from_nanos(4)));
/// assert!(server.handle_timeout(grace_ends), "what is left is reset");
/// // Two handlers were cut off by that.
/// assert_eq!(server.finish(2).map(|stopped| stopped.cut_off), Some(2));
/// assert!(!server.is_stopping());
/// ```
#[derive(Debug, Default)]
pub struct Lifecycle {
    state: State,
    /// When what is still at work is reset.
    due: Option<Timestamp>,
    /// After this stop, the server does not serve again.
    ends: bool,
    /// Of the stop that is under way, or was last.
    report: Stopped,
    /// Handlers that had been cut off before it began.
    cut_off_before: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Serving,
    Stopping,
    Ended,
}

impl Lifecycle {
    /// Begins to stop: what is at work may end until `due`. During a stop, the earlier of both times
    /// holds. `ends` says that the server does not serve again, and `cut_off` is how many handlers were
    /// cut off so far.
    pub fn stop(&mut self, due: Timestamp, ends: bool, cut_off: u64) {
        if self.state == State::Serving {
            (self.report, self.cut_off_before) = (Stopped::default(), cut_off);
        }
        if self.state != State::Ended {
            self.state = State::Stopping;
            self.due = Some(self.due.map_or(due, |known| known.min(due)));
        }
        self.ends |= ends;
    }

    /// Whether the server is stopping.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.state == State::Stopping
    }

    /// Whether the server will not serve again, once a stop that is under way is over.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.ends
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.due
    }

    /// Lets time pass. Returns whether the grace is over, once: then every stream is to be reset.
    pub fn handle_timeout(&mut self, now: Timestamp) -> bool {
        let over = self.due.is_some_and(|due| due <= now);
        if over {
            self.due = None;
        }
        over
    }

    /// A stream has ended during the stop, and its peer has not confirmed that it has got everything.
    pub fn note_unconfirmed(&mut self) {
        self.report.unconfirmed += 1;
    }

    /// No stream is left. Returns how the stop went, if there was one; then the server serves again,
    /// unless it has ended. `cut_off` is how many handlers were cut off so far.
    pub fn finish(&mut self, cut_off: u64) -> Option<Stopped> {
        if self.state == State::Serving {
            return None;
        }
        if self.state == State::Stopping {
            self.report.cut_off = cut_off.saturating_sub(self.cut_off_before);
            self.state = if self.ends { State::Ended } else { State::Serving };
            self.due = None;
        }
        Some(self.report)
    }
}
