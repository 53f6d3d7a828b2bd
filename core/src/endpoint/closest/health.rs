//! What is known of a node's failures.

use core::time::Duration;

use crate::time::Timestamp;

/// How long a node backs off after its first failure: 1 s. Each further failure in a row doubles it.
pub const BACKOFF_BASE: Duration = Duration::from_secs(1);

/// The longest backoff: 10 s. A node that is well again is to be found soon, and half-open nodes get
/// few attempts, so that asking them costs little. The Go implementation has 15 min.
pub const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// After so many attempts in a row without any answer a node counts as failed.
const SILENCES: u32 = 3;

/// After so many answers in a row that are errors of the application's a node counts as failed,
/// as Envoy's outlier detection counts consecutive errors (5 there),
const ERRORS: u32 = 5;

/// unless this part of all answers are such, in 65 536ths: then it is not the node's fault.
pub(super) const MOST_ERRORS: u32 = 65_536 / 2;

/// A node that is not in normal use.
///
/// ```text
///  in use ──fails──▶ backs off until ──time──▶ half-open ──attempt──▶ tried
///    ▲ ▲                 │  ▲                     ▲                   │ │ │
///    │ └──makes room─────┘  │                     └─────given up──────┘ │ │
///    │                      └────────────────fails──────────────────────┘ │
///    └─────────────────────────────succeeds───────────────────────────────┘
/// ```
#[derive(Copy, Clone, Debug)]
pub(super) struct Ejection {
    pub(super) until: Timestamp,
    /// The attempt of a half-open node.
    pub(super) half_open: Option<u64>,
}

/// What a node does that is no failure once, but is one time and again.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// Attempts in a row without an answer.
    silences: u32,
    /// Errors of the application's in a row.
    errors: u32,
    /// When it last said anything.
    heard: Option<Timestamp>,
}

impl Health {
    pub(super) fn answered(&mut self, now: Timestamp) {
        self.heard(now);
        self.errors = 0;
    }

    pub(super) fn heard(&mut self, now: Timestamp) {
        self.silences = 0;
        self.heard = Some(now);
    }

    /// The caller's time was over. Whether the node counts as failed. One that has answered others
    /// since is slow, and not silent.
    pub(super) fn unanswered(&mut self, since: Timestamp) -> bool {
        if self.heard.is_some_and(|heard| heard >= since) {
            return false;
        }
        self.silences = self.silences.saturating_add(1);
        self.silences >= SILENCES
    }

    /// It answered with an error. Whether the node counts as failed.
    pub(super) fn erred(&mut self, now: Timestamp) -> bool {
        self.heard(now);
        self.errors = self.errors.saturating_add(1);
        self.errs()
    }

    /// Whether it answers with errors alone.
    pub(super) const fn errs(&self) -> bool {
        self.errors >= ERRORS
    }
}

/// The part of answers that are errors: each moves it by a 64th.
#[derive(Clone, Debug, Default)]
pub(super) struct ErrorRate(u32);

impl ErrorRate {
    /// Notes an answer. Returns the part in 65 536ths.
    pub(super) fn note(&mut self, error: bool) -> u32 {
        self.0 -= self.0 / 64;
        if error {
            self.0 += 1024;
        }
        self.0
    }
}

/// The backoff after this many failures in a row.
pub(super) fn backoff_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(BACKOFF_MAX.as_secs().ilog2() + 1);
    (BACKOFF_BASE * (1 << doublings)).min(BACKOFF_MAX)
}
