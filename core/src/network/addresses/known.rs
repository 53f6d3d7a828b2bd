//! What is known of one address of a peer.

use core::time::Duration;

use super::address::Address;
use crate::network::order::Source;
use crate::time::Timestamp;

/// An address at which a peer was reached is forgotten after so many failures in a row, if it was
/// reached there last before so much time, and if somebody else than the application has named it.
const FAILURES: u32 = 5;
const FAILING: Duration = Duration::from_secs(24 * 3600);

/// What is known of an address of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAddress {
    /// The address.
    pub address: Address,
    /// Who says that it is the peer's.
    pub source: Source,
    /// How often the peer was reached there.
    pub successes: u32,
    /// How often it was not, since it was reached last.
    pub failures: u32,
    /// How long a dial took that led to the peer, smoothed.
    pub took: Option<Duration>,
    /// When the peer was reached there last.
    pub reached: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) address: Address,
    pub(super) source: Source,
    pub(super) successes: u32,
    pub(super) took: Option<Duration>,
    failures: u32,
    reached: Option<Timestamp>,
    failed: Option<Timestamp>,
}

impl Known {
    pub(super) fn new(address: Address, source: Source) -> Self {
        let (successes, failures) = (0, 0);
        Self { address, source, successes, failures, took: None, reached: None, failed: None }
    }

    pub(super) fn restored(known: KnownAddress) -> Self {
        let KnownAddress { address, source, successes, failures, took, reached } = known;
        // How long ago the failures were is not known any more, so that nothing waits for them.
        let failed = (failures > 0).then_some(Timestamp::ZERO);
        Self { address, source, successes, failures, took, reached, failed }
    }

    pub(super) fn to_public(&self) -> KnownAddress {
        KnownAddress {
            address: self.address.clone(),
            source: self.source,
            successes: self.successes,
            failures: self.failures,
            took: self.took,
            reached: self.reached,
        }
    }

    pub(super) fn succeeded(&mut self, now: Timestamp) {
        self.successes = self.successes.saturating_add(1);
        self.reached = Some(now);
        self.forgive();
    }

    pub(super) fn measured(&mut self, took: Duration) {
        self.took = Some(self.took.map_or(took, |before| (before * 3 + took) / 4));
    }

    pub(super) fn failed(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.failed = Some(now);
    }

    /// What has failed may succeed now.
    pub(super) fn forgive(&mut self) {
        (self.failures, self.failed) = (0, None);
    }

    /// Somebody names it once more. The peer itself knows best.
    pub(super) fn heard_from(&mut self, source: Source) {
        if source == Source::Peer {
            self.source = source;
        }
    }

    /// When it failed last since a time, and how often in a row.
    pub(super) fn failed_since(&self, since: Timestamp) -> Option<(Timestamp, u32)> {
        self.failed.filter(|failed| *failed > since).map(|failed| (failed, self.failures))
    }

    /// Whether there is no reason to try it again.
    pub(super) fn is_hopeless(&self, wrong: bool, now: Timestamp) -> bool {
        match self.reached {
            None => wrong,
            Some(reached) => self.failures >= FAILURES && now.since(reached) > FAILING,
        }
    }

    /// Less is better. Of those that were never tried, `carrier` decides.
    pub(super) fn rank(&self, carrier: u8) -> (u8, u32, u64) {
        match (self.failed, self.reached) {
            (Some(failed), _) => (2, self.failures, failed.as_nanos()),
            (None, Some(reached)) => (0, self.slowness(), u64::MAX - reached.as_nanos()),
            (None, None) => (1, carrier.into(), 0),
        }
    }

    /// How long a dial takes, roughly: what differs by less than a factor of two is the same.
    fn slowness(&self) -> u32 {
        let tens = self.took.map_or(0, |took| took.as_millis() / 10);
        u128::BITS - tens.leading_zeros()
    }
}
