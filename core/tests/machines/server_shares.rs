//! The server: fair shares between peers and between protocols.

use crate::support::{PROTOCOL, ServerScript, failure, request};
use pointsub_core::endpoint::LimitPolicy;
use pointsub_core::{InboundId, ServerConfig, StreamId};

const QUIET: &str = "/quiet";

/// A server of a fixed limit, with two protocols.
fn server(limit: usize) -> ServerScript {
    let config = ServerConfig::default()
        .with_limit_policy(LimitPolicy::Fixed)
        .with_max_concurrent_requests(limit)
        .with_max_in_flight(65_536);
    let mut s = ServerScript::new(config);
    s.register(QUIET);
    s
}

/// A stream that asks as long as it is let in.
struct Flow {
    stream: StreamId,
    next_id: u64,
    at_work: Vec<InboundId>,
}

impl Flow {
    fn new(s: &mut ServerScript, peer: u8, protocol: &str) -> Self {
        Self { stream: s.native_from(peer, protocol), next_id: 1, at_work: Vec::new() }
    }

    /// Asks once. Whether it was let in.
    #[track_caller]
    fn ask(&mut self, s: &mut ServerScript) -> bool {
        let id = self.next_id;
        self.next_id += 1;
        s.receives(self.stream, [request(id, "x")]);
        let admitted = s.take_requests();
        self.at_work.extend(&admitted);
        if admitted.is_empty() {
            let busy = failure(id, 3).retry_after(100).unprocessed();
            s.expect_sent(self.stream, [busy]);
        }
        !admitted.is_empty()
    }

    fn end_one(&mut self, s: &mut ServerScript) {
        if let Some(call) = self.at_work.pop() {
            s.respond(call, "");
            s.flush(self.stream);
        }
    }
}

/// Lets flows ask in turn until none is let in any more; how much each has.
fn flood<const N: usize>(s: &mut ServerScript, mut flows: [Flow; N]) -> [usize; N] {
    while flows.iter_mut().filter_map(|flow| flow.ask(s).then_some(())).count() > 0 {}
    flows.map(|flow| flow.at_work.len())
}

/// S13: A protocol that is alone, asked by a peer that is alone, has every place.
#[test]
fn who_is_alone_has_everything() {
    let mut s = server(90);
    s.server.unregister(QUIET);
    let one = Flow::new(&mut s, 1, PROTOCOL);
    assert_eq!(flood(&mut s, [one]), [90]);
}

/// S13: one flooding protocol leaves a ninth of the places to the others.
#[test]
fn a_flooded_protocol_leaves_room_for_a_quiet_one() {
    let mut s = server(90);
    let loud = Flow::new(&mut s, 1, PROTOCOL);
    let mut quiet = Flow::new(&mut s, 1, QUIET);
    assert_eq!(flood(&mut s, [loud]), [80]);
    assert!((0..4).all(|_| quiet.ask(&mut s)), "the quiet one is let in");
    assert!(s.stats().busy > 0);
}

/// S13: so does one flooding peer.
#[test]
fn a_flooding_peer_leaves_room_for_a_quiet_one() {
    let mut s = server(90);
    s.server.unregister(QUIET);
    let (loud, mut quiet) = (Flow::new(&mut s, 1, PROTOCOL), Flow::new(&mut s, 2, PROTOCOL));
    // Streams do not count: a peer has one share, on however many it asks.
    let more = Flow::new(&mut s, 1, PROTOCOL);
    let shares = flood(&mut s, [loud, more]);
    assert_eq!(shares.iter().sum::<usize>(), 80);
    assert!((0..4).all(|_| quiet.ask(&mut s)), "the quiet one is let in");
}

/// S13: several floods come to equal shares, and a newcomer still finds a place.
#[test]
fn floods_share_equally() {
    let mut s = server(1000);
    s.server.unregister(QUIET);
    let flows = [1, 2, 3, 4].map(|peer| Flow::new(&mut s, peer, PROTOCOL));
    let mut newcomer = Flow::new(&mut s, 5, PROTOCOL);
    let shares = flood(&mut s, flows);
    assert_eq!(shares.iter().sum::<usize>(), 969);
    assert!(shares.iter().all(|share| (242..=243).contains(share)), "{shares:?}");
    assert!(newcomer.ask(&mut s));
}

/// S13: also at limits of a few places, a newcomer finds one wherever there is more than one.
#[test]
fn small_limits_are_shared_too() {
    for limit in 1..40 {
        let mut s = server(limit);
        s.server.unregister(QUIET);
        let (loud, mut quiet) = (Flow::new(&mut s, 1, PROTOCOL), Flow::new(&mut s, 2, PROTOCOL));
        let [share] = flood(&mut s, [loud]);
        assert!(share >= limit * 8 / 9, "{share} of {limit}");
        assert_eq!(quiet.ask(&mut s), limit > 1, "{limit}");
    }
}

/// S13: A flow that ends gives its share to those that are left.
#[test]
fn shares_follow_what_is_free() {
    let mut s = server(90);
    s.server.unregister(QUIET);
    let mut one = Flow::new(&mut s, 1, PROTOCOL);
    let mut two = Flow::new(&mut s, 2, PROTOCOL);
    while one.ask(&mut s) | two.ask(&mut s) {}
    let share = one.at_work.len();
    assert!(share.abs_diff(two.at_work.len()) <= 1, "{share} and {}", two.at_work.len());
    while !two.at_work.is_empty() {
        two.end_one(&mut s);
    }
    while one.ask(&mut s) {}
    assert_eq!(one.at_work.len(), 80);
    // When its stream is gone too, the other peer is alone.
    s.breaks(two.stream);
    s.expect_quiet();
    while one.ask(&mut s) {}
    assert_eq!(one.at_work.len(), 90);
}

/// S12: A protocol that is unregistered and registered again begins with nothing at work,
/// and what is still at work for it before gives its places back.
#[test]
fn a_protocol_that_comes_back_has_a_share_of_its_own() {
    let mut s = server(90);
    let mut old = Flow::new(&mut s, 1, PROTOCOL);
    while old.ask(&mut s) {}
    s.server.unregister(PROTOCOL);
    s.register(PROTOCOL);
    let mut new = Flow::new(&mut s, 1, PROTOCOL);
    // Its first place is sure. It could have more, but its peer has all that it may.
    s.native_from(2, QUIET);
    assert!(new.ask(&mut s));
    assert!(!new.ask(&mut s));
    while !old.at_work.is_empty() {
        old.end_one(&mut s);
    }
    while new.ask(&mut s) {}
    assert_eq!(new.at_work.len(), 80);
}
