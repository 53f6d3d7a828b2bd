//! What becomes of the texts of handlers' errors: sent to callers, or logged.

use std::time::Duration;

use parking_lot::Mutex;
use pointsub_core::Timestamp;

use crate::clock::Clock;

/// How many errors of handlers are logged in a second, each with a reference that its caller gets.
/// Further ones are counted, so that a caller whose every request fails does not fill the log.
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Where the errors of a server's handlers are logged.
#[derive(Debug)]
pub(crate) struct ErrorLog {
    /// Callers get the texts.
    pub(super) sends_texts: bool,
    clock: Clock,
    lines: Mutex<Lines>,
}

/// How many lines there were.
#[derive(Debug, Default)]
struct Lines {
    since: Timestamp,
    logged: u32,
    /// Since something was logged.
    left_out: u64,
}

impl ErrorLog {
    pub(crate) fn new(sends_texts: bool, clock: Clock) -> Self {
        Self { sends_texts, clock, lines: Mutex::default() }
    }

    /// Whether one more error may be logged, and then how many have been left out before it.
    pub(super) fn admit(&self) -> Option<u64> {
        self.lines.lock().admit(self.clock.now())
    }
}

impl Lines {
    fn admit(&mut self, now: Timestamp) -> Option<u64> {
        if now >= self.since + WINDOW {
            (self.since, self.logged) = (now, 0);
        }
        if self.logged == LINES {
            self.left_out += 1;
            return None;
        }
        self.logged += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_errors_are_logged_in_a_second_and_the_others_are_counted() {
        let (mut lines, late) = (Lines::default(), Timestamp::ZERO + WINDOW);
        for _ in 0..LINES {
            assert_eq!(lines.admit(Timestamp::ZERO), Some(0));
        }
        assert_eq!([lines.admit(Timestamp::ZERO), lines.admit(Timestamp::ZERO)], [None; 2]);
        assert_eq!((lines.admit(late), lines.admit(late)), (Some(2), Some(0)));
    }
}
