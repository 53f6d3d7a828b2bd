//! How one request, or one call to the closest node, differs from others.

use alloc::vec::Vec;
use core::time::Duration;

use crate::id::PeerId;
use crate::time::Timestamp;

/// How one request differs from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallOptions {
    /// When the caller stops waiting. Until then an answer is waited for, however long
    /// `read_timeout` is. Default: the client's own time limits hold.
    pub deadline: Option<Timestamp>,
    /// Whether executing the request twice does no harm. If not, it is tried again only after
    /// failures that surely left it unprocessed. Default `true`.
    pub idempotent: bool,
    /// How often it is tried again at most, whatever the retry policy says; of a call to the closest
    /// node, how many rounds follow the first. Default: the retry policy alone decides.
    pub max_retries: Option<u32>,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self { deadline: None, idempotent: true, max_retries: None }
    }
}

impl CallOptions {
    /// Sets the deadline.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Timestamp) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets whether executing the request twice does no harm.
    #[must_use]
    pub const fn with_idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// Sets how often it is tried again at most.
    #[must_use]
    pub const fn with_max_retries(mut self, max_retries: u32) -> Self {
        self.max_retries = Some(max_retries);
        self
    }
}

impl From<Option<Timestamp>> for CallOptions {
    fn from(deadline: Option<Timestamp>) -> Self {
        Self { deadline, ..Self::default() }
    }
}

/// How one call to the closest node differs from others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ClosestOptions {
    /// The deadline of the call with all its tries, and whether a second node may be asked when
    /// the first may have executed the request.
    pub call: CallOptions,
    /// Nodes that are not asked.
    pub exclude: Vec<PeerId>,
    /// Whether further nodes are asked while one takes long to answer. Default: no.
    pub hedge: Option<Hedge>,
}

impl ClosestOptions {
    /// Sets deadline and idempotence.
    #[must_use]
    pub const fn with_call(mut self, call: CallOptions) -> Self {
        self.call = call;
        self
    }

    /// Sets the nodes that are not asked.
    #[must_use]
    pub fn with_exclude(mut self, exclude: Vec<PeerId>) -> Self {
        self.exclude = exclude;
        self
    }

    /// Sets whether further nodes are asked while one takes long to answer.
    #[must_use]
    pub const fn with_hedge(mut self, hedge: Hedge) -> Self {
        self.hedge = Some(hedge);
        self
    }
}

/// Asking further nodes while one takes long to answer, after gRPC's hedging (A6). The first
/// answer counts; the other nodes are told that theirs is not wanted.
///
/// Several nodes may execute the request, so that there is no hedging for calls that are not
/// idempotent. Nor is there while the retry budget or the
/// [hedge budget](crate::ClientConfig::with_hedge_budget) is used up, or within a second after a
/// server was busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hedge {
    /// How long to wait for an answer at least before one more node is asked. Zero asks all at once,
    /// unless there is a `quantile`.
    pub delay: Duration,
    /// How many more nodes are asked at most, over the whole call.
    pub max: u32,
    /// One more node is asked only when the answer takes longer than this part of the answers of the
    /// protocol did of late, in thousandths. It counts calls with a quantile, and none is
    /// hedged before a hundred of them were answered.
    pub quantile: Option<u16>,
}

impl Hedge {
    /// One more node after each `delay`, up to two: three in all, as many as the Go library asks.
    #[must_use]
    pub const fn after(delay: Duration) -> Self {
        Self { delay, max: 2, quantile: None }
    }

    /// One more node when the answer takes longer than so many of a thousand did of late. 950 hedges the
    /// slowest twentieth, as "The Tail at Scale" has it (Dean and Barroso, 2013), and needs nobody to
    /// know how long that takes.
    ///
    /// ```
    /// use pointsub_core::Hedge;
    ///
    /// let slowest = Hedge::beyond(950);
    /// assert_eq!((slowest.quantile, slowest.max), (Some(950), 1));
    /// ```
    #[must_use]
    pub const fn beyond(thousandths: u16) -> Self {
        let thousandths = if thousandths < 1000 { thousandths } else { 999 };
        Self { delay: Duration::ZERO, max: 1, quantile: Some(thousandths) }
    }

    /// Sets how many more nodes are asked at most.
    #[must_use]
    pub const fn with_max(mut self, max: u32) -> Self {
        self.max = max;
        self
    }
}
