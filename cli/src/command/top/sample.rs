//! What is between two looks at a node: rates.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::node::activity::{PeerActivity, ProtocolActivity, Snapshot};
use crate::output::unix_time;

/// How a node is, and how fast it works.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// Requests that were handed to a handler, in a second.
    pub(super) started: f64,
    /// Those that were answered with a failure.
    pub(super) failed: f64,
    /// Requests and streams that no handler saw.
    pub(super) refused: f64,
    pub(super) protocols: Vec<ProtocolRow>,
    /// The rest is as the node has told it.
    pub(super) now: Snapshot,
}

/// A protocol, with its rates in a second.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ProtocolRow {
    pub(super) name: String,
    pub(super) in_flight: u64,
    pub(super) ended: f64,
    pub(super) failed: f64,
    pub(super) refused: f64,
    /// How long a handler was at work, on average, in seconds. `None` if none has ended.
    pub(super) worked: Option<f64>,
    pub(super) received: f64,
    pub(super) sent: f64,
}

/// By what rows are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum Sort {
    /// Requests at work, then requests
    #[default]
    Busy,
    /// Requests: of protocols a second, of peers so far
    Requests,
    /// Longest first: of protocols the time of a handler, of peers the round trip
    Time,
    /// Name or Peer ID
    Name,
}

impl Sort {
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Busy => Self::Requests,
            Self::Requests => Self::Time,
            Self::Time => Self::Name,
            Self::Name => Self::Busy,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Requests => "requests",
            Self::Time => "time",
            Self::Name => "name",
        }
    }
}

impl Sample {
    /// What was between two looks. Without an earlier one, or if the node was started anew since, there are no
    /// rates.
    pub(super) fn between(before: Option<&Snapshot>, now: Snapshot) -> Self {
        let is_same = |before: &&Snapshot| {
            before.uptime_ms < now.uptime_ms && before.load.started <= now.load.started
        };
        let Some(before) = before.filter(is_same) else {
            let protocols = now.protocols.iter().map(|now| ProtocolRow::new(now, None)).collect();
            return Self { protocols, now, ..Self::default() };
        };
        let seconds = (now.uptime_ms - before.uptime_ms) as f64 / 1000.0;
        let known: BTreeMap<_, _> =
            before.protocols.iter().map(|protocol| (&*protocol.name, protocol)).collect();
        let nothing = ProtocolActivity::default();
        let row = |now: &ProtocolActivity| {
            let before = known.get(&*now.name).copied().unwrap_or(&nothing);
            ProtocolRow::new(now, Some((before, seconds)))
        };
        Self {
            started: rate(before.load.started, now.load.started, seconds),
            failed: rate(before.load.failed, now.load.failed, seconds),
            refused: rate(before.load.refused, now.load.refused, seconds),
            protocols: now.protocols.iter().map(row).collect(),
            now,
        }
    }

    /// Sorts protocols and peers.
    pub(super) fn sort(&mut self, sort: Sort) {
        let descending = |a: f64, b: f64| b.total_cmp(&a);
        self.protocols.sort_by(|a, b| {
            let by_name = a.name.cmp(&b.name);
            match sort {
                Sort::Busy => b.in_flight.cmp(&a.in_flight).then(descending(a.ended, b.ended)),
                Sort::Requests => descending(a.ended, b.ended),
                Sort::Time => descending(a.worked.unwrap_or(-1.0), b.worked.unwrap_or(-1.0)),
                Sort::Name => by_name,
            }
            .then(by_name)
        });
        self.now.peers.sort_by(|a, b| {
            let by_name = a.peer.cmp(&b.peer);
            match sort {
                Sort::Busy => (b.in_flight, b.requests).cmp(&(a.in_flight, a.requests)),
                Sort::Requests => b.requests.cmp(&a.requests),
                Sort::Time => b.rtt_us.cmp(&a.rtt_us),
                Sort::Name => by_name,
            }
            .then(by_name)
        });
    }

    pub(super) fn to_json(&self, peer: &str) -> Value {
        let Snapshot { load, refusals, .. } = &self.now;
        json!({
            "event": "sample",
            "time": unix_time(),
            "peer": peer,
            "uptime_ms": self.now.uptime_ms,
            "requests_per_second": self.started,
            "failed_per_second": self.failed,
            "refused_per_second": self.refused,
            "in_flight": load.in_flight,
            "limit": load.limit,
            "calls": load.calls,
            "streams": load.streams,
            "connected": self.now.connected,
            "memory": load.memory,
            "memory_limit": self.now.memory_limit,
            "started": load.started,
            "ok": load.ok,
            "failed": load.failed,
            "refused": load.refused,
            "refusals": refusals,
            "protocols": self.protocols.iter().map(ProtocolRow::to_json).collect::<Vec<_>>(),
            "peers": self.now.peers.iter().map(peer_to_json).collect::<Vec<_>>(),
        })
    }
}

fn rate(before: u64, now: u64, seconds: f64) -> f64 {
    let rate = now.saturating_sub(before) as f64 / seconds;
    // Two digits behind the point.
    (rate * 100.0).round() / 100.0
}

impl ProtocolRow {
    fn new(now: &ProtocolActivity, before: Option<(&ProtocolActivity, f64)>) -> Self {
        let still = Self { name: now.name.clone(), in_flight: now.in_flight, ..Self::default() };
        let Some((before, seconds)) = before else { return still };
        let ended = now.ended.saturating_sub(before.ended);
        let worked = now.worked_us.saturating_sub(before.worked_us) as f64 / 1e6;
        Self {
            ended: rate(before.ended, now.ended, seconds),
            failed: rate(before.failed, now.failed, seconds),
            refused: rate(before.refused, now.refused, seconds),
            worked: (ended > 0).then(|| worked / ended as f64),
            received: rate(before.received, now.received, seconds),
            sent: rate(before.sent, now.sent, seconds),
            ..still
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "protocol": self.name,
            "in_flight": self.in_flight,
            "requests_per_second": self.ended,
            "failed_per_second": self.failed,
            "refused_per_second": self.refused,
            "handler_ms": self.worked.map(|worked| worked * 1000.0),
            "received_per_second": self.received,
            "sent_per_second": self.sent,
        })
    }
}

fn peer_to_json(peer: &PeerActivity) -> Value {
    json!({
        "peer": peer.peer,
        "path": peer.path,
        "address": peer.address,
        "connections": peer.connections,
        "connected_ms": peer.connected_ms,
        "rtt_ms": peer.rtt_us.map(|rtt| rtt as f64 / 1000.0),
        "streams": peer.streams,
        "requests": peer.requests,
        "in_flight": peer.in_flight,
        "memory": peer.memory,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(uptime_ms: u64, started: u64, ended: u64) -> Snapshot {
        let mut now = Snapshot { uptime_ms, ..Snapshot::default() };
        now.load.started = started;
        let (name, worked_us) = ("/echo/1".to_owned(), ended * 2000);
        now.protocols =
            vec![ProtocolActivity { name, ended, worked_us, ..ProtocolActivity::default() }];
        now
    }

    #[test]
    fn rates_are_by_the_clock_of_the_node() {
        let sample = Sample::between(Some(&snapshot(1000, 5, 5)), snapshot(3000, 25, 15));
        assert_eq!((sample.started, sample.protocols[0].ended), (10.0, 5.0));
        assert_eq!(sample.protocols[0].worked, Some(0.002));
        let value = sample.to_json("peer");
        assert_eq!(value["protocols"][0]["handler_ms"], 2.0);
    }

    /// A node that was started anew has done less than before, and no time backwards.
    #[test]
    fn a_node_that_was_started_anew_has_no_rates() {
        for (before, now) in [((9000, 90), (1000, 95)), ((1000, 90), (2000, 3)), ((1, 1), (1, 1))] {
            let sample = Sample::between(
                Some(&snapshot(before.0, before.1, before.1)),
                snapshot(now.0, now.1, now.1),
            );
            assert_eq!((sample.started, sample.protocols[0].ended), (0.0, 0.0));
        }
        assert_eq!(Sample::between(None, snapshot(1000, 5, 5)).started, 0.0);
    }

    #[test]
    fn rows_are_sorted_in_each_way() {
        let peer = |name: &str, in_flight, requests, rtt_us| PeerActivity {
            peer: name.to_owned(),
            in_flight,
            requests,
            rtt_us,
            ..PeerActivity::default()
        };
        let peers = vec![peer("b", 1, 5, None), peer("a", 0, 9, Some(7)), peer("c", 1, 6, Some(9))];
        let mut sample = Sample::between(None, Snapshot { peers, ..Snapshot::default() });
        let mut order = |sort| {
            sample.sort(sort);
            sample.now.peers.iter().map(|peer| &*peer.peer).collect::<String>()
        };
        let mut sort = Sort::default();
        for wanted in ["cba", "acb", "cab", "abc"] {
            assert_eq!(order(sort), wanted, "{}", sort.name());
            sort = sort.next();
        }
        assert_eq!(sort, Sort::default());
    }
}
