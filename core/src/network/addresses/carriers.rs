//! Which carriers of connections get through, and how quickly.

use alloc::vec::Vec;
use core::time::Duration;

use super::address::Carrier;
use crate::id::PeerId;

/// So many dials in a row without any success, of so many peers, show that a carrier does not get
/// through here. It is tried later from then on, and never given up.
const FAILURES: u32 = 20;
const PEERS: usize = 3;
/// So many successes are needed before the time that a carrier takes means something.
const SAMPLES: u32 = 4;

/// What was seen of each carrier, over all peers.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    tcp: Seen,
    quic: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    successes: u32,
    /// Failures since the last success.
    failures: u32,
    /// Some of the peers that were not reached since.
    peers: Vec<PeerId>,
    /// How long a dial takes, smoothed.
    took: Duration,
}

impl Carriers {
    pub(super) fn succeeded(&mut self, carrier: Carrier, took: Duration) {
        let Some(seen) = self.seen(carrier) else { return };
        seen.failures = 0;
        seen.peers.clear();
        seen.took = if seen.successes == 0 { took } else { (seen.took * 7 + took) / 8 };
        seen.successes = seen.successes.saturating_add(1);
    }

    pub(super) fn failed(&mut self, carrier: Carrier, peer: &PeerId) {
        let Some(seen) = self.seen(carrier) else { return };
        seen.failures = seen.failures.saturating_add(1);
        if seen.peers.len() < PEERS && !seen.peers.contains(peer) {
            seen.peers.push(*peer);
        }
    }

    /// Everything may be different now.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Which of two addresses that were never tried comes first: less is better. Of two carriers that
    /// take about the same time, none is.
    pub(super) fn rank(&self, carrier: Carrier) -> u8 {
        let (this, other) = match carrier {
            Carrier::Tcp => (&self.tcp, &self.quic),
            Carrier::Quic => (&self.quic, &self.tcp),
            Carrier::Other => return 0,
        };
        if this.is_blocked() {
            return 2;
        }
        let measured = this.successes >= SAMPLES && other.successes >= SAMPLES;
        u8::from(measured && this.took > other.took + other.took / 4)
    }

    fn seen(&mut self, carrier: Carrier) -> Option<&mut Seen> {
        match carrier {
            Carrier::Tcp => Some(&mut self.tcp),
            Carrier::Quic => Some(&mut self.quic),
            Carrier::Other => None,
        }
    }
}

impl Seen {
    fn is_blocked(&self) -> bool {
        self.failures >= FAILURES && self.peers.len() >= PEERS
    }
}
