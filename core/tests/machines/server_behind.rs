//! The server: requests that have arrived together get their places together.

use bytes::Bytes;
use pointsub_core::connection::{CallId, ServerStream, ServerStreamEvent};
use pointsub_core::endpoint::{Admission, LimitPolicy, Quota, RateLimit, RateScope, StreamKey};
use pointsub_core::{Format, ProtocolName, ServerConfig, StreamEvent, Timestamp};

use crate::support::wire::Wire;
use crate::support::{PROTOCOL, body, peer, request};

const NOW: Timestamp = Timestamp::ZERO;

/// A stream whose reports are counted.
struct Counted {
    admission: Admission,
    machine: ServerStream,
    key: StreamKey,
    /// Reports that asked something.
    asked: usize,
}

impl Counted {
    fn new(config: &ServerConfig) -> Self {
        let mut admission = Admission::new(config);
        admission.register(&protocol()).expect("the first");
        let mut machine = ServerStream::new(Format::Native, config, NOW);
        let (key, verdict) = admission.open(peer(1), &protocol(), Format::Native, true, NOW);
        machine.handle_verdict(verdict, NOW);
        Self { admission, machine, key, asked: 0 }
    }

    fn receives(&mut self, frames: impl IntoIterator<Item = Wire>) {
        let bytes: Bytes = frames.into_iter().flat_map(|frame| frame.bytes()).collect();
        self.machine.handle(StreamEvent::Received(bytes), NOW);
    }

    /// Whether there was something to report.
    fn reports(&mut self) -> bool {
        let Some(report) = self.machine.take_report() else { return false };
        self.asked += usize::from(report.asks());
        let verdict = self.admission.handle(self.key, report, NOW);
        self.machine.handle_verdict(verdict, NOW);
        true
    }

    /// The next request that is let in.
    fn begins(&mut self) -> Option<CallId> {
        loop {
            match self.machine.poll_event(NOW) {
                Some(ServerStreamEvent::Request { call, .. }) => return Some(call),
                Some(other) => panic!("{other:?}"),
                None if self.machine.is_asking() => assert!(self.reports(), "it asks"),
                None => return None,
            }
        }
    }

    /// All requests that are let in, at work until the end.
    fn begin_all(&mut self) -> Vec<CallId> {
        let begun = std::iter::from_fn(|| self.begins()).collect();
        while self.reports() {}
        begun
    }

    fn in_flight(&self) -> u64 {
        self.admission.stats().in_flight
    }
}

fn protocol() -> ProtocolName {
    ProtocolName::new(PROTOCOL).expect("a usable name")
}

fn requests(ids: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = Wire> {
    ids.map(|id| request(id, "?"))
}

fn config() -> ServerConfig {
    ServerConfig::default().with_max_in_flight(1000)
}

#[test]
fn a_batch_asks_once_for_as_many_as_are_at_work() {
    let mut stream = Counted::new(&config());
    stream.receives(requests(1..=64));
    assert_eq!(stream.begin_all().len(), 64);
    // For 1, 2, 4, 8, 16 and 32 of them, and the last.
    assert_eq!((stream.asked, stream.in_flight()), (7, 64));
    stream.receives(requests(65..=129));
    assert_eq!(stream.begin_all().len(), 65);
    assert_eq!((stream.asked, stream.in_flight()), (8, 129));
}

#[test]
fn what_is_answered_at_once_counts_as_one() {
    let mut stream = Counted::new(&config());
    stream.receives(requests(1..=64));
    while let Some(call) = stream.begins() {
        assert_eq!(stream.in_flight(), 1);
        stream.machine.respond(call, Ok(body(1).into()), NOW);
        assert!(stream.reports(), "a handler has ended");
        while stream.machine.poll_op().is_some() {
            stream.machine.handle(StreamEvent::Written, NOW);
        }
    }
    assert_eq!((stream.admission.stats().ok, stream.in_flight()), (64, 0));
}

#[test]
fn no_more_are_let_in_than_the_limit_has_places_for() {
    let config = config().with_max_concurrent_requests(20).with_limit_policy(LimitPolicy::Fixed);
    let mut stream = Counted::new(&config);
    stream.receives(requests(1..=64));
    let begun = stream.begin_all().len() as u64;
    let stats = stream.admission.stats();
    assert_eq!((stats.in_flight, stats.busy), (begun, 64 - begun), "{stats:?}");
    assert!(begun <= 20, "{begun} at work");
}

#[test]
fn places_that_are_not_used_are_given_back() {
    let mut stream = Counted::new(&config());
    // The 4th to the 8th look like requests, and are answered by the stream itself.
    let strange = |id| request(id, "?").field(0x7f, &[0]);
    stream.receives(requests(1..=3).chain((4..=8).map(strange)));
    assert_eq!(stream.begin_all().len(), 3);
    let stats = stream.admission.stats();
    assert_eq!((stats.in_flight, stats.stopping, stats.refused), (3, 0, 5), "{stats:?}");
    assert_eq!((stats.started, stats.abandoned), (3, 0), "{stats:?}");
}

#[test]
fn places_that_come_too_late_are_given_back() {
    let mut stream = Counted::new(&config());
    stream.receives(requests(1..=8));
    for _ in 0..3 {
        assert!(stream.begins().is_some());
    }
    // The fourth asks for itself and the three behind it.
    assert_eq!(stream.machine.poll_event(NOW), None);
    let report = stream.machine.take_report().expect("it asks");
    let _lost = stream.admission.handle(stream.key, report, NOW);
    assert!(stream.in_flight() > 4);
    let last = stream.machine.close(NOW);
    stream.admission.close(stream.key, last, NOW);
    let stats = stream.admission.stats();
    assert_eq!((stats.in_flight, stats.stopping, stats.memory), (0, 0, 0), "{stats:?}");
}

#[test]
fn each_asks_for_itself_while_a_rate_is_limited() {
    let mut stream = Counted::new(&config());
    let limit = RateLimit::new().requests(Quota::per_second(10));
    stream.admission.set_rate_limit(RateScope::Protocol(protocol()), limit);
    stream.receives(requests(1..=64));
    assert_eq!(stream.begin_all().len(), 10);
    assert_eq!(stream.admission.stats().rate_limited, 54);
}
