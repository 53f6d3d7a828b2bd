//! The dispatcher as adapters drive it, which run its streams on tasks of their own: a request may
//! be put on a stream that has closed already.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pointsub_core::connection::{Report, Slot, StreamCommand};
use pointsub_core::endpoint::closest::{Candidate, Point, Strategy};
use pointsub_core::endpoint::{Directive, Dispatcher, Offer, Question, RetryPolicy};
use pointsub_core::{
    CallOptions, Cause, ClientConfig, ClientEvent, ClosestOptions, Delivery, Format, PeerId, Phase,
    ProtocolName, RequestError, RequestId, SendError, StreamError, StreamId, Timestamp,
};

use crate::support::{PROTOCOL, ms, peer};

fn dispatcher() -> Dispatcher {
    Dispatcher::new(ClientConfig::default().with_max_retries(0), None, 0)
}

fn send(d: &mut Dispatcher, to: &PeerId, now: Timestamp) -> RequestId {
    let body = Bytes::from_static(b"a").into();
    d.send(to, PROTOCOL, body, CallOptions::default(), now).expect("accepted")
}

#[track_caller]
fn expect_open(d: &mut Dispatcher, expected: Offer) -> StreamId {
    match d.poll_directive() {
        Some(Directive::Open { stream, offer, .. }) => {
            assert_eq!(offer, expected);
            stream
        }
        other => panic!("it was to open a stream, not {other:?}"),
    }
}

#[track_caller]
fn expect_start(d: &mut Dispatcher, on: StreamId) -> RequestId {
    match d.poll_directive() {
        Some(Directive::Command { stream, command: StreamCommand::Start { request, .. } })
            if stream == on =>
        {
            request
        }
        other => panic!("it was to start a request, not {other:?}"),
    }
}

/// A dispatcher with one stream, on which two requests were put.
fn with_two_requests() -> (Dispatcher, StreamId, [RequestId; 2]) {
    let mut d = dispatcher();
    let a = send(&mut d, &peer(1), ms(0));
    let stream = expect_open(&mut d, Offer::Both);
    assert!(d.opened(stream, Format::Native, ms(0)));
    let b = send(&mut d, &peer(1), ms(0));
    assert_eq!([expect_start(&mut d, stream), expect_start(&mut d, stream)], [a, b]);
    (d, stream, [a, b])
}

/// The client closes; returns how often each request was tried.
fn attempts(d: &mut Dispatcher, requests: [RequestId; 2]) -> [u32; 2] {
    d.close(ms(0));
    let mut failed: Vec<(RequestId, u32)> = Vec::new();
    while let Some(directive) = d.poll_directive() {
        if let Directive::Event(ClientEvent::Failed { request, error }) = directive {
            assert_eq!((error.cause, error.delivery), (Cause::Closed, Delivery::NotProcessed));
            failed.push((request, error.attempts));
        }
    }
    requests
        .map(|request| failed.iter().find(|(id, _)| *id == request).expect("it has an outcome").1)
}

/// C4: what was never tried on a stream is moved, and the move is no attempt.
#[test]
fn requests_put_on_a_stream_that_had_closed_were_not_tried() {
    let (mut d, stream, requests) = with_two_requests();
    for request in requests {
        let cause = Cause::Lost("closed".into());
        let error = RequestError::new(cause, Phase::Connect, Delivery::NotProcessed);
        d.report(stream, Report::Failed { request, error, slot: Slot::Gone }, ms(0));
    }
    d.report(stream, Report::Closed, ms(0));
    let fresh = expect_open(&mut d, Offer::Only(Format::Native));
    assert_eq!(d.poll_directive(), None);
    assert_eq!(d.stats().waiting, 2);
    assert_eq!(attempts(&mut d, requests), [0, 0], "{fresh:?} did not open");
}

/// C4: the same if the stream never heard of them.
#[test]
fn requests_that_a_closed_stream_never_heard_of_are_moved_in_their_order() {
    let (mut d, stream, requests) = with_two_requests();
    d.report(stream, Report::Closed, ms(0));
    let fresh = expect_open(&mut d, Offer::Only(Format::Native));
    assert!(d.opened(fresh, Format::Native, ms(0)));
    assert_eq!([expect_start(&mut d, fresh), expect_start(&mut d, fresh)], requests);
    d.report(fresh, Report::Closed, ms(0));
    assert!(matches!(d.poll_directive(), Some(Directive::Open { .. })));
    assert_eq!(attempts(&mut d, requests), [0, 0]);
}

/// C4: what a fresh stream loses in the middle was tried, although the format was known.
#[test]
fn what_a_fresh_stream_loses_is_not_moved_because_its_format_was_known() {
    let (mut d, first, requests) = with_two_requests();
    d.report(first, Report::Closed, ms(0));
    let fresh = expect_open(&mut d, Offer::Only(Format::Native));
    assert!(d.opened(fresh, Format::Native, ms(0)));
    let [a, _] = [expect_start(&mut d, fresh), expect_start(&mut d, fresh)];
    assert_eq!(a, requests[0]);
    let error =
        RequestError::new(Cause::Lost("reset".into()), Phase::Write, Delivery::NotProcessed);
    d.report(fresh, Report::Failed { request: a, error, slot: Slot::Gone }, ms(0));
    let Some(Directive::Event(ClientEvent::Failed { request, error })) = d.poll_directive() else {
        panic!("it was to fail")
    };
    assert_eq!((request, error.attempts), (a, 1));
}

/// C7, O1: a stream that takes no further requests is about to be gone, and no longer in the way.
#[test]
fn a_stream_that_is_leaving_is_room_for_a_dial() {
    let config = ClientConfig::default().with_max_streams_per_peer(1).with_max_total_streams(1);
    let mut d = Dispatcher::new(config, None, 0);
    send(&mut d, &peer(1), ms(0));
    let stream = expect_open(&mut d, Offer::Both);
    assert!(d.opened(stream, Format::Native, ms(0)));
    expect_start(&mut d, stream);
    let full = Err(SendError::TooManyStreams { limit: 1 });
    assert_eq!(d.dial(&peer(1), "/raw", None, ms(0)), full);
    assert_eq!(d.dial(&peer(2), "/raw", None, ms(0)), full);
    d.report(stream, Report::Draining, ms(0));
    let dial = d.dial(&peer(1), "/raw", None, ms(0)).expect("there is room");
    assert_eq!(d.dial(&peer(2), "/raw", None, ms(0)), full);
    d.hang_up(dial, ms(0));
    d.dial(&peer(2), "/raw", None, ms(0)).expect("there is room");
}

/// S14: it was put on each stream in the moment when the server said that it takes no more.
#[test]
fn a_request_that_comes_too_late_for_a_draining_server_says_so() {
    for (report, draining) in [(Report::Draining, true), (Report::Retired, false)] {
        let mut d = dispatcher();
        let a = send(&mut d, &peer(1), ms(0));
        let mut offer = Offer::Both;
        for _ in 0..4 {
            let stream = expect_open(&mut d, offer);
            assert!(d.opened(stream, Format::Native, ms(0)));
            assert_eq!(expect_start(&mut d, stream), a);
            d.report(stream, report.clone(), ms(0));
            d.report(stream, Report::Closed, ms(0));
            offer = Offer::Only(Format::Native);
        }
        let Some(Directive::Event(ClientEvent::Failed { error, .. })) = d.poll_directive() else {
            panic!("it was to fail")
        };
        assert_eq!(error.delivery, Delivery::NotProcessed);
        assert_eq!(error.status().is_some(), draining, "{error}");
    }
}

/// However many peers there are, each gets what was sent to it.
#[test]
fn requests_go_to_the_peer_that_they_are_for() {
    let mut d = dispatcher();
    for n in 0..1000 {
        send(&mut d, &numbered(n), ms(0));
        match d.poll_directive() {
            Some(Directive::Open { peer, .. }) => assert_eq!(peer, numbered(n)),
            other => panic!("it was to open a stream to {n}, not {other:?}"),
        }
    }
    assert_eq!((d.stats().peers, d.stats().routes), (1000, 1000));
}

/// A call does not walk through all nodes when none is there: it asks four, and backs off.
#[test]
fn a_call_asks_four_nodes_at_most() {
    let mut d = Dispatcher::new(ClientConfig::default(), None, 0);
    let protocol = ProtocolName::new(PROTOCOL).expect("a usable name");
    for n in 0..50 {
        assert_eq!(d.add_server_node(&protocol, numbered(n), ms(0)), Ok(true));
    }
    let body = Bytes::from_static(b"a").into();
    let call =
        d.send_closest(PROTOCOL, Point::of_key(b"a"), body, ClosestOptions::default(), ms(0));
    assert!(call.is_ok());
    let fails = |d: &mut Dispatcher, now| {
        let stream = expect_open(d, Offer::Both);
        d.open_failed(stream, StreamError::Unreachable("no route".into()), now);
    };
    (0..4).for_each(|_| fails(&mut d, ms(0)));
    assert_eq!(d.poll_directive(), None, "no fifth node at once");
    // Each of three further rounds asks one.
    for _ in 0..3 {
        let due = d.next_deadline().expect("a round is due");
        d.handle_timeout(due);
        fails(&mut d, due);
    }
    let Some(Directive::Event(ClientEvent::Closest { outcome, .. })) = d.poll_directive() else {
        panic!("it was to end");
    };
    assert_eq!(outcome.expect_err("nobody is there").attempts.len(), 7);
}

/// How many peers a client remembers (`LIMITS.md`).
const REMEMBERED: u32 = 8192;

fn numbered(n: u32) -> PeerId {
    let bytes: Vec<u8> = [0, 36, 8].into_iter().chain(n.to_be_bytes()).collect();
    PeerId::from_bytes(&bytes).expect("a peer id")
}

/// Learns that a peer speaks the native format, and leaves nothing open.
fn learn(d: &mut Dispatcher, n: u32) {
    let request = send(d, &numbered(n), ms(0));
    let stream = expect_open(d, Offer::Both);
    assert!(d.opened(stream, Format::Native, ms(0)));
    expect_start(d, stream);
    let error = RequestError::new(Cause::RemoteClosed, Phase::Wait, Delivery::Unknown);
    d.report(stream, Report::Failed { request, error, slot: Slot::Gone }, ms(0));
    d.report(stream, Report::Closed, ms(0));
    assert!(matches!(d.poll_directive(), Some(Directive::Event(_))));
    assert_eq!(d.poll_directive(), None);
}

/// R2: the formats of the peers that were learned last are known, and of no others.
#[test]
fn formats_are_remembered_up_to_the_stated_number_of_peers() {
    let mut d = dispatcher();
    (0..REMEMBERED).for_each(|n| learn(&mut d, n));
    assert_eq!(d.format_of(&numbered(0), PROTOCOL), Some(Format::Native));
    learn(&mut d, REMEMBERED);
    assert_eq!(d.format_of(&numbered(0), PROTOCOL), None);
    assert_eq!(d.format_of(&numbered(1), PROTOCOL), Some(Format::Native));
    // One that changed is asked again, and keeps its place.
    let request = send(&mut d, &numbered(2), ms(0));
    let stream = expect_open(&mut d, Offer::Only(Format::Native));
    d.open_failed(stream, StreamError::Unsupported, ms(0));
    assert_eq!(d.format_of(&numbered(2), PROTOCOL), None);
    d.cancel(request, ms(0));
    while d.poll_directive().is_some() {}
    learn(&mut d, REMEMBERED + 1);
    assert_eq!(d.format_of(&numbered(1), PROTOCOL), None);
    assert_eq!(d.format_of(&numbered(3), PROTOCOL), Some(Format::Native));
}

/// C16: a call that rests between two rounds is under way.
#[test]
fn a_dispatcher_with_a_call_that_rests_is_not_drained() {
    let mut d = Dispatcher::new(ClientConfig::default().with_max_retries(1), None, 0);
    let protocol = ProtocolName::new(PROTOCOL).expect("a protocol name");
    d.add_server_node(&protocol, peer(1), ms(0)).expect("room");
    let (key, body) = (Point::of_key(b"a"), Bytes::from_static(b"a").into());
    d.send_closest(PROTOCOL, key, body, ClosestOptions::default(), ms(0)).expect("accepted");
    for _ in 0..2 {
        let stream = expect_open(&mut d, Offer::Both);
        d.open_failed(stream, StreamError::Lost("gone".into()), ms(0));
        d.drain(ms(0));
        if let Some(due) = d.next_deadline() {
            assert!(!d.is_drained());
            d.handle_timeout(due);
        }
    }
    assert!(d.is_drained());
}

/// A rule that is not pure.
#[derive(Debug)]
struct Own(Duration);

impl RetryPolicy for Own {
    fn pause(&self, _: &RequestError, retries: u32, _: u64) -> Option<Duration> {
        (retries == 0).then_some(self.0)
    }
}

impl Strategy for Own {
    fn cost(&self, candidate: &Candidate<'_>) -> u64 {
        u64::from(candidate.node.peer() != &peer(2))
    }
}

#[track_caller]
fn expect_question(d: &mut Dispatcher) -> Question {
    match d.poll_directive() {
        Some(Directive::Ask(question)) => *question,
        other => panic!("it was to ask, not {other:?}"),
    }
}

/// A dispatcher with a policy of the user's, which is asked about a request.
fn asked_for_a_pause() -> (Dispatcher, RequestId, Question) {
    let mut d = dispatcher();
    d.set_retry_policy(Arc::new(Own(Duration::from_millis(7))));
    let a = send(&mut d, &peer(1), ms(0));
    let stream = expect_open(&mut d, Offer::Both);
    d.open_failed(stream, StreamError::Lost("gone".into()), ms(0));
    let question = expect_question(&mut d);
    assert_eq!((d.poll_directive(), d.next_deadline()), (None, None));
    (d, a, question)
}

/// N7, C4: the driver asks, and until it has an answer the request rests.
#[test]
fn a_policy_of_the_users_is_asked_by_the_driver() {
    let (mut d, a, question) = asked_for_a_pause();
    d.decided(question.decide(), ms(3));
    assert_eq!(d.next_deadline(), Some(ms(10)));
    d.handle_timeout(ms(10));
    let stream = expect_open(&mut d, Offer::Both);
    d.open_failed(stream, StreamError::Lost("gone".into()), ms(10));
    let question = expect_question(&mut d);
    d.decided(question.decide(), ms(10));
    match d.poll_directive() {
        Some(Directive::Event(ClientEvent::Failed { request, .. })) => assert_eq!(request, a),
        other => panic!("it was to fail, not {other:?}"),
    }
    assert_eq!((d.stats().routes, d.stats().peers, d.stats().retries), (0, 0, 1));
}

#[test]
fn what_was_cancelled_or_closed_meanwhile_is_not_tried_again() {
    let (mut d, a, question) = asked_for_a_pause();
    d.cancel(a, ms(1));
    d.decided(question.decide(), ms(1));
    assert_eq!((d.poll_directive(), d.next_deadline()), (None, None));
    assert_eq!((d.stats().cancelled, d.stats().routes), (1, 0));

    let (mut d, a, question) = asked_for_a_pause();
    d.close(ms(1));
    assert!(matches!(
        d.poll_directive(),
        Some(Directive::Event(ClientEvent::Failed { request, .. })) if request == a
    ));
    assert!(d.is_drained());
    d.decided(question.decide(), ms(1));
    assert_eq!(d.poll_directive(), Some(Directive::Event(ClientEvent::Drained)));

    // What drains is told at once, and no sooner.
    let (mut d, a, question) = asked_for_a_pause();
    d.drain(ms(1));
    assert!(!d.is_drained());
    d.decided(question.decide(), ms(1));
    assert!(matches!(
        d.poll_directive(),
        Some(Directive::Event(ClientEvent::Failed { request, .. })) if request == a
    ));
    assert!(d.is_drained());
}

/// N7: the same for a strategy. What it chose may be gone by then.
#[test]
fn a_strategy_of_the_users_is_asked_by_the_driver() {
    let mut d = dispatcher();
    d.set_strategy(Arc::new(Own(Duration::ZERO)));
    let protocol = ProtocolName::new(PROTOCOL).expect("a protocol name");
    for n in 1..4 {
        d.add_server_node(&protocol, peer(n), ms(0)).expect("room");
    }
    let ask = |d: &mut Dispatcher, exclude: Vec<PeerId>| {
        let (key, body) = (Point::of_key(b"a"), Bytes::from_static(b"a").into());
        d.send_closest(PROTOCOL, key, body, ClosestOptions::default().with_exclude(exclude), ms(0))
    };
    let nobody = ask(&mut d, (1..4).map(peer).collect());
    assert_eq!((nobody, d.poll_directive()), (Err(SendError::NoNodes), None));

    let call = ask(&mut d, Vec::new()).expect("accepted");
    let question = expect_question(&mut d);
    d.remove_server_node(PROTOCOL, &peer(2));
    d.decided(question.decide(), ms(0));
    let again = expect_question(&mut d);
    d.decided(again.decide(), ms(0));
    assert!(matches!(d.poll_directive(), Some(Directive::Open { peer: to, .. }) if to != peer(2)));
    d.cancel_closest(call, ms(0));
    while d.poll_directive().is_some() {}

    ask(&mut d, Vec::new()).expect("accepted");
    let question = expect_question(&mut d);
    d.clear_server_nodes(PROTOCOL);
    d.decided(question.decide(), ms(0));
    match d.poll_directive() {
        Some(Directive::Event(ClientEvent::Closest { outcome: Err(error), .. })) => {
            assert_eq!(error.error.cause, Cause::Refused(SendError::NoNodes));
        }
        other => panic!("it was to fail, not {other:?}"),
    }
}

/// A driver tells that a stream is open before the stream reports anything. If not, that is ignored.
#[test]
fn a_stream_that_is_not_open_reports_nothing() {
    let mut d = dispatcher();
    send(&mut d, &peer(1), ms(0));
    let stream = expect_open(&mut d, Offer::Both);
    for report in [Report::Limit(5), Report::Draining, Report::Closed, Report::Vacated] {
        d.report(stream, report, ms(0));
    }
    assert_eq!(d.stats().streams, 1);
    assert!(d.opened(stream, Format::Native, ms(0)), "it is still waited for");
    expect_start(&mut d, stream);
}
