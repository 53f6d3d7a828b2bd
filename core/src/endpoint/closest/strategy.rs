//! What a node costs for a request.

use core::fmt::Debug;
use core::time::Duration;

use super::distance::Distance;
use super::node::Node;
use crate::rng::Rng;
use crate::time::Timestamp;

/// A rule for choosing among the usable nodes.
///
/// It sees one node at a time and says what that would cost; the cheapest is chosen, among equals
/// the one at the least [distance](Distance) from the key, and among those the one with the least
/// peer id. So the order is total, and the same whatever the order in which nodes were added. No lock
/// is held meanwhile, so it may look at the client.
///
/// ```
/// use pointsub_core::endpoint::closest::{Candidate, Strategy};
///
/// /// Where the least is under way.
/// #[derive(Debug)]
/// struct LeastBusy;
///
/// impl Strategy for LeastBusy {
///     fn cost(&self, candidate: &Candidate<'_>) -> u64 {
///         u64::from(candidate.node.in_flight())
///     }
/// }
/// ```
pub trait Strategy: Debug + Send + Sync {
    /// What it costs to send the request to this node, in any unit; less is better.
    ///
    /// Must depend on the candidate alone, and must not change from call to call.
    fn cost(&self, candidate: &Candidate<'_>) -> u64;

    /// Among which candidates the cheapest is chosen. Default: all.
    fn choices(&self) -> Choices {
        Choices::All
    }

    /// Whether [`cost`](Self::cost) and [`choices`](Self::choices) do nothing but compute: they
    /// neither wait nor call anything that may lock, the client least of all. They are then called
    /// with the client's lock held, which saves a copy of what is known of each node. Default: no.
    fn is_pure(&self) -> bool {
        false
    }
}

/// Among which candidates the cheapest is chosen.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choices {
    /// All of them.
    All,
    /// Two, drawn at random. The loser is compared with a third if the winner fails, and so on.
    ///
    /// Spreads the load where the cheapest of all would draw every request at once. Equal costs
    /// go to the one drawn first, not to the nearer one, so that equals share equally.
    Two,
    /// Two, drawn at random among the near ones of a subset, or among the far ones if those are
    /// loaded. The subset is the first 64 in an order of the client's own
    /// ([rendezvous hashing](https://github.com/grpc/proposal/blob/master/A68-random-subsetting.md)).
    /// Near are those that take at most twice as long as the nearest and 20 ms, and the three nearest in
    /// any case. A node is loaded for a second after it has told a load of 0.9 or was busy; and the more
    /// often near ones are busy, the more requests go to far ones from the beginning.
    ///
    /// A node that has said nothing for half a second and twice its usual latency, although something is under
    /// way there, is drawn only if there is no other: what it was asked shows when it is back.
    ///
    /// One request in 64 goes to a node whose backoff is over, and one in 256 to a far one. A choice takes
    /// the same time however many nodes there are. Where the nodes are copied for a strategy that is not
    /// [pure](Strategy::is_pure), it is the same as [`Two`](Self::Two).
    Near,
}

/// A node as a [`Strategy`] sees it.
#[derive(Copy, Clone, Debug)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// The node and what is known of it.
    pub node: &'a Node,
    /// Its distance from the request's key.
    pub distance: Distance,
    /// The time, which latency and load depend on.
    pub now: Timestamp,
    /// Attempts under way at all nodes of the protocol.
    pub in_flight: u32,
}

/// The order by distance alone, which is the Go implementation's.
#[derive(Copy, Clone, Debug, Default)]
pub struct XorOrder;

impl Strategy for XorOrder {
    /// Nothing: equal costs are ordered by distance.
    fn cost(&self, _: &Candidate<'_>) -> u64 {
        0
    }

    fn is_pure(&self) -> bool {
        true
    }
}

/// The score of the Go implementation's `FindNearestNode`: 40 % distance, 30 % latency, 20 %
/// load, 10 % online. The highest score wins.
///
/// Each part is a whole number from 0 to 10 000, and 5000 where nothing is known. What Go assumes
/// of every node, 100 ms and half loaded, comes to the same 5000.
///
/// No part depends on other nodes. So a node that comes, goes or slows down never changes the
/// order of the rest.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Weighted {
    /// The weight of [`distance_part`](Self::distance_part). Default 40.
    pub distance: u8,
    /// The weight of [`latency_part`](Self::latency_part). Default 30.
    pub latency: u8,
    /// The weight of [`load_part`](Self::load_part). Default 20.
    pub load: u8,
    /// The weight of [`online_part`](Self::online_part). Default 10.
    pub online: u8,
    /// The latency that is worth half of the best. Default 100 ms; zero counts as 1 ns.
    pub half_latency: Duration,
}

/// The best value of a part.
const BEST: u16 = 10_000;

/// The value of a part of which nothing is known.
const NEUTRAL: u16 = 5_000;

impl Default for Weighted {
    fn default() -> Self {
        let half_latency = Duration::from_millis(100);
        Self { distance: 40, latency: 30, load: 20, online: 10, half_latency }
    }
}

impl Weighted {
    /// The sum of the parts times their weights: 0 to 1 000 000 with the default weights.
    #[must_use]
    pub fn score(&self, candidate: &Candidate<'_>) -> u64 {
        let Candidate { node, distance, now, .. } = candidate;
        let part = |weight, part| u64::from(weight) * u64::from(part);
        part(self.distance, Self::distance_part(distance))
            + part(self.latency, self.latency_part(node.latency(*now)))
            + part(self.load, Self::load_part(node.load(*now)))
            + part(self.online, Self::online_part(node.online()))
    }

    /// 10 000 × (1 − distance / 2^256), rounded up: 10 000 at no distance, 1 at the greatest.
    /// The first 64 bits are looked at.
    #[must_use]
    pub fn distance_part(distance: &Distance) -> u16 {
        let far = (u128::from(distance.leading_bits()) * u128::from(BEST)) >> 64;
        BEST - far as u16
    }

    /// 10 000 × half / (half + latency), rounded down: 10 000 at no latency, 5000 at
    /// [`half_latency`](Self::half_latency), 0 from about 10 000 times that.
    #[must_use]
    pub fn latency_part(&self, latency: Option<Duration>) -> u16 {
        let Some(latency) = latency else { return NEUTRAL };
        let half = self.half_latency.as_nanos().max(1);
        // Durations are below 2^94 ns, so neither product nor sum overflows.
        (half * u128::from(BEST) / (half + latency.as_nanos())) as u16
    }

    /// 10 × (1000 − load) for a load in thousandths: 10 000 when idle, 0 at the limit.
    #[must_use]
    pub fn load_part(load: Option<u16>) -> u16 {
        load.map_or(NEUTRAL, |load| BEST - load.min(1000) * 10)
    }

    /// 10 000 with a connection, 0 without.
    #[must_use]
    pub fn online_part(online: Option<bool>) -> u16 {
        online.map_or(NEUTRAL, |online| if online { BEST } else { 0 })
    }
}

impl Strategy for Weighted {
    fn cost(&self, candidate: &Candidate<'_>) -> u64 {
        let weights = [self.distance, self.latency, self.load, self.online];
        let highest = weights.iter().map(|weight| u64::from(*weight)).sum::<u64>();
        highest * u64::from(BEST) - self.score(candidate)
    }

    fn is_pure(&self) -> bool {
        true
    }
}

/// The power of two choices with peak latencies: of two nodes drawn at random, the one where less
/// is waiting.
///
/// The cost is that of Finagle's `PeakEwma`: peak latency × (attempts in flight + 1). The key plays
/// no part.
#[derive(Copy, Clone, Debug, Default)]
pub struct PeakEwma;

impl Strategy for PeakEwma {
    fn cost(&self, candidate: &Candidate<'_>) -> u64 {
        let peak = candidate.node.peak_latency(candidate.now).as_nanos() as u64;
        // At least 1 ns: what is under way must count for nodes long unused, too.
        peak.max(1).saturating_mul(u64::from(candidate.node.in_flight()) + 1)
    }

    fn choices(&self) -> Choices {
        Choices::Two
    }

    fn is_pure(&self) -> bool {
        true
    }
}

/// The default: near first, as far as near is not loaded.
///
/// Of two nodes drawn among the [near](Choices::Near) ones, the one with the lower
///
/// ```text
/// latency × (attempts in flight + 1) × (1 + load) × 2^failures
/// ```
///
/// The latency is the [expected](Node::expected_latency) one, and at least for how long the node has been
/// silent. A node of which none is known is tried at once, by one request at a time. The load is what the server told, and counts half as much with each second. This is
/// Finagle's least-loaded P2C with latencies, with the servers' own word on their load, which Prequal and C3
/// found to matter where many clients share servers.
#[derive(Copy, Clone, Debug, Default)]
pub struct NearFirst;

impl Strategy for NearFirst {
    fn cost(&self, candidate: &Candidate<'_>) -> u64 {
        let Candidate { node, now, .. } = candidate;
        let in_flight = u64::from(node.in_flight());
        let latency = match node.expected_latency(*now) {
            Some(latency) => u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).max(1),
            None if in_flight == 0 => 0,
            None => node.peak_latency(*now).max(node.silence(*now)).as_nanos() as u64,
        };
        let load = node
            .load_told()
            .map_or(0, |(load, told)| u64::from(load) >> now.since(told).as_secs().min(63));
        let waiting = latency.saturating_mul(in_flight + 1) / 1000;
        waiting.saturating_mul(1000 + load) << node.failures().min(8)
    }

    fn choices(&self) -> Choices {
        Choices::Near
    }

    fn is_pure(&self) -> bool {
        true
    }
}

/// The same node for the same key, as far as it has room: rendezvous hashing with bounded loads.
///
/// Each node has a hash with each key, and the one with the least is chosen, so that keys spread
/// evenly, and no more keys move than have to when a node comes or goes (Thaler and Ravishankar, 1998).
/// A node with more than `bound` times the mean number of attempts in flight, rounded up, comes after
/// those with fewer (Mirrokni and others, "Consistent Hashing with Bounded Loads", 2018).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Rendezvous {
    /// How many times the mean a node may have in flight, in thousandths. Default 1250.
    pub bound: u32,
    /// How many nodes there are; the mean is taken over so many.
    pub nodes: u32,
}

impl Rendezvous {
    /// With the usual bound, for so many nodes.
    #[must_use]
    pub const fn among(nodes: u32) -> Self {
        Self { bound: 1250, nodes }
    }
}

impl Strategy for Rendezvous {
    fn cost(&self, candidate: &Candidate<'_>) -> u64 {
        let hash = Rng::new(candidate.distance.leading_bits()).next_u64() >> 1;
        let all = (u64::from(candidate.in_flight) + 1).saturating_mul(u64::from(self.bound));
        let most = all.div_ceil(1000 * u64::from(self.nodes.max(1)));
        let full = u64::from(candidate.node.in_flight()) >= most;
        hash | u64::from(full) << 63
    }

    fn is_pure(&self) -> bool {
        true
    }
}
