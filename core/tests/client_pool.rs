//! The client: when it opens streams, which one it uses, when it closes them.

mod support;

use std::time::Duration;

use pointsub_core::client::Offer;
use pointsub_core::{Cause, ClientConfig, Delivery, Format, Phase, StreamError, StreamId};
use support::{
    CONNECT, ClientScript, IDLE, KIB, PROTOCOL, READ, body, drain, failure, id, plain, request,
    response, settings,
};

const PLAIN: Offer = Offer::Only(Format::Plain);
const NATIVE: Offer = Offer::Only(Format::Native);

fn config() -> ClientConfig {
    ClientConfig::default()
}

fn unreachable() -> StreamError {
    StreamError::Unreachable("no route".into())
}

/// Opens a native stream and settles on 1024 requests in flight.
#[track_caller]
fn open_native(c: &mut ClientScript) -> StreamId {
    let s = c.expect_open(NATIVE);
    c.opened(s, Format::Native);
    s
}

// How many.

#[test]
fn plain_streams_open_up_to_max_streams_per_peer() {
    let (mut c, first) = ClientScript::plain(config().with_max_streams_per_peer(3));
    let requests = ["a", "b", "c", "d", "e"].map(|body| c.send(body));
    c.expect_sent(first, [plain("a")]);
    let (second, third) = (c.expect_open(PLAIN), c.expect_open(PLAIN));
    c.opened(second, Format::Plain);
    c.opened(third, Format::Plain);
    c.expect_sent(second, [plain("b")]);
    c.expect_sent(third, [plain("c")]);
    c.expect_quiet();
    c.receives(second, [plain("B")]);
    c.expect_response(requests[1], "B");
    c.expect_sent(second, [plain("d")]);
    assert_eq!((c.stats().streams, c.stats().waiting), (3, 1));
}

#[test]
fn the_cap_holds_over_all_protocols_of_a_peer() {
    let (mut c, s) = ClientScript::plain(config().with_max_streams_per_peer(1));
    c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.send_to(1, "/other", "b");
    c.expect_quiet();
    // Another peer has a cap of its own.
    c.send_to(2, "/other", "b");
    c.expect_open_to(2, "/other", Offer::Both);
}

#[test]
fn an_idle_stream_of_another_protocol_makes_room() {
    let (mut c, s) = ClientScript::plain(config().with_max_streams_per_peer(1));
    c.send_to(1, "/other", "b");
    c.expect_finish(s);
    let other = c.expect_open_to(1, "/other", PLAIN);
    c.opened(other, Format::Plain);
    c.expect_sent(other, [plain("b")]);
}

#[test]
fn the_stream_that_is_idle_for_the_longest_time_makes_room() {
    let (mut c, old) = ClientScript::plain(config().with_max_streams_per_peer(2));
    let (a, b) = (c.send("a"), c.send("b"));
    let new = c.expect_open(PLAIN);
    c.opened(new, Format::Plain);
    c.expect_sent(old, [plain("a")]);
    c.expect_sent(new, [plain("b")]);
    c.at(10);
    c.receives(new, [plain("B")]);
    c.expect_response(b, "B");
    c.at(20);
    c.receives(old, [plain("A")]);
    c.expect_response(a, "A");
    c.send_to(1, "/other", "c");
    c.expect_finish(new);
    c.expect_open_to(1, "/other", PLAIN);
}

#[test]
fn a_stream_of_another_protocol_that_falls_idle_makes_room() {
    let (mut c, s) = ClientScript::plain(config().with_max_streams_per_peer(1));
    let a = c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.send_to(1, "/other", "b");
    c.expect_quiet();
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    c.expect_finish(s);
    c.expect_open_to(1, "/other", PLAIN);
}

#[test]
fn a_stream_of_another_protocol_that_ends_makes_room() {
    let (mut c, s) = ClientScript::plain(config().with_max_streams_per_peer(1));
    let a = c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.send_to(1, "/other", "b");
    c.breaks(s);
    c.expect_failed(a, Cause::Lost("broken".into()), Phase::Wait, Delivery::Unknown);
    c.expect_open_to(1, "/other", PLAIN);
}

#[test]
fn the_oldest_stream_that_is_free_is_used() {
    let (mut c, old) = ClientScript::plain(config());
    let (a, b) = (c.send("a"), c.send("b"));
    let new = c.expect_open(PLAIN);
    c.opened(new, Format::Plain);
    c.expect_sent(old, [plain("a")]);
    c.expect_sent(new, [plain("b")]);
    c.receives(new, [plain("B")]);
    c.expect_response(b, "B");
    c.receives(old, [plain("A")]);
    c.expect_response(a, "A");
    c.send("c");
    c.expect_sent(old, [plain("c")]);
}

// Large bodies.

#[test]
fn bodies_above_64_kib_travel_on_streams_of_their_own() {
    let (mut c, s) = ClientScript::native(config());
    let large = body(64 * KIB + 1);
    c.send("small");
    c.send(large.clone());
    c.expect_sent(s, [request(id(2, 0), "small")]);
    let bulk = open_native(&mut c);
    c.expect_sent(bulk, [c.settings(), request(id(1, 0), large)]);
    c.send("small too");
    c.expect_sent(s, [request(id(3, 1), "small too")]);
}

#[test]
fn bodies_of_64_kib_travel_with_others() {
    let (mut c, s) = ClientScript::native(config());
    c.send("small");
    c.send(body(64 * KIB));
    c.expect_sent(s, [request(id(2, 0), "small"), request(id(3, 1), body(64 * KIB))]);
}

#[test]
fn a_small_request_does_not_wait_behind_a_large_one() {
    let (mut c, s) = ClientScript::native(config());
    let large = body(100 * KIB);
    c.send(large.clone());
    c.expect_sent(s, [request(id(2, 0), large)]);
    c.send("small");
    let other = open_native(&mut c);
    c.expect_sent(other, [c.settings(), request(id(1, 0), "small")]);
}

#[test]
fn a_stream_that_carried_a_large_body_takes_small_ones_again() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send(body(100 * KIB));
    c.expect_sent(s, [request(id(2, 0), body(100 * KIB))]);
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.send("small");
    c.expect_sent(s, [request(id(3, 0), "small")]);
}

#[test]
fn at_most_max_bulk_streams_carry_large_bodies() {
    let (mut c, s) = ClientScript::native(config().with_max_bulk_streams(2));
    let large = body(100 * KIB);
    let a = c.send(large.clone());
    c.send(large.clone());
    c.send(large.clone());
    c.expect_sent(s, [request(id(2, 0), large.clone())]);
    let second = open_native(&mut c);
    c.expect_sent(second, [c.settings(), request(id(1, 0), large.clone())]);
    c.expect_quiet();
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.expect_sent(s, [request(id(3, 0), large)]);
}

#[test]
fn small_requests_pass_large_ones_that_wait() {
    let (mut c, s) = ClientScript::native(config().with_max_bulk_streams(1));
    let large = body(100 * KIB);
    c.send("small");
    c.expect_sent(s, [request(id(2, 0), "small")]);
    c.send(large.clone());
    c.send(large.clone());
    let bulk = open_native(&mut c);
    c.expect_sent(bulk, [c.settings(), request(id(1, 0), large)]);
    c.send("small too");
    c.expect_sent(s, [request(id(3, 1), "small too")]);
    assert_eq!(c.stats().waiting, 1);
}

#[test]
fn max_bulk_streams_does_not_limit_plain_streams() {
    let (mut c, s) = ClientScript::plain(config().with_max_bulk_streams(1));
    let large = body(100 * KIB);
    c.send(large.clone());
    c.send(large.clone());
    c.expect_sent(s, [plain(large.clone())]);
    let second = c.expect_open(PLAIN);
    c.opened(second, Format::Plain);
    c.expect_sent(second, [plain(large)]);
}

// Idle streams.

#[test]
fn an_idle_stream_is_closed_exactly_at_idle_conn_timeout() {
    let (mut c, s) = ClientScript::native(config());
    c.at(10_000);
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.at(12_000);
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.expires_at(12_000 + IDLE);
    c.expect_finish(s);
    c.expect_rest();
}

#[test]
fn a_stream_with_a_request_is_not_idle() {
    let config = config().with_read_timeout(Duration::from_millis(3 * IDLE));
    let (mut c, s) = ClientScript::plain(config);
    c.at(IDLE - 1000);
    let a = c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.at(IDLE + 5);
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    c.expires_at(IDLE + 5 + IDLE);
    c.expect_finish(s);
    c.expect_rest();
}

#[test]
fn a_stream_that_was_never_used_expires_too() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.cancel(a);
    c.at(40);
    c.opened(s, Format::Native);
    c.expect_sent(s, [c.settings()]);
    c.expires_at(40 + IDLE);
    c.expect_finish(s);
    c.expect_rest();
}

#[test]
fn beyond_max_idle_conns_the_oldest_idle_stream_is_closed() {
    let (mut c, old) = ClientScript::plain(config().with_max_idle_conns(1));
    let b = c.send_to(2, PROTOCOL, "b");
    let new = c.expect_open_to(2, PROTOCOL, Offer::Both);
    c.at(5);
    c.opened(new, Format::Plain);
    c.expect_sent(new, [plain("b")]);
    c.expect_quiet();
    c.receives(new, [plain("B")]);
    c.expect_response(b, "B");
    c.expect_finish(old);
    assert_eq!((c.stats().streams, c.stats().idle_streams), (1, 1));
}

#[test]
fn with_max_idle_conns_zero_every_stream_is_closed_after_its_request() {
    let mut c = ClientScript::new(config().with_max_idle_conns(0));
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Plain);
    c.expect_sent(s, [plain("a")]);
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    c.expect_finish(s);
    c.expect_rest();
}

#[test]
fn an_idle_stream_that_the_peer_closes_is_closed_without_a_word() {
    for native in [false, true] {
        let started = if native { ClientScript::native } else { ClientScript::plain };
        let (mut c, s) = started(config());
        c.finishes(s);
        c.expect_finish(s);
        c.expect_rest();
        c.send("a");
        c.expect_open(Offer::Only(if native { Format::Native } else { Format::Plain }));
    }
}

// Streams that die.

#[test]
fn a_request_that_had_not_left_a_reused_stream_is_moved_and_answered() {
    let (mut c, s) = ClientScript::native(config());
    let stuck = c.send("stuck");
    c.expect_write(s, [request(id(2, 0), "stuck")]);
    let moved = c.send("moved");
    c.expect_quiet();
    c.breaks(s);
    c.expect_failed(stuck, Cause::Lost("broken".into()), Phase::Write, Delivery::Unknown);
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "moved")]);
    c.receives(fresh, [response(id(1, 0), "A")]);
    c.expect_response(moved, "A");
}

#[test]
fn moved_requests_keep_their_order() {
    let (mut c, s) = ClientScript::native(config());
    let stuck = c.send("stuck");
    c.expect_write(s, [request(id(2, 0), "stuck")]);
    c.send("a");
    c.send("b");
    c.send("c");
    c.expect_quiet();
    c.breaks(s);
    c.expect_error(stuck);
    let fresh = open_native(&mut c);
    let [a, b, d] = [("a", 0), ("b", 1), ("c", 2)].map(|(body, n)| request(id(n + 1, n), body));
    c.expect_write(fresh, [c.settings(), a, b, d]);
}

#[test]
fn a_request_on_a_fresh_stream_that_dies_fails() {
    let mut c = ClientScript::new(config());
    let (a, b) = (c.send("a"), c.send(body(40 * KIB)));
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Native);
    let head = [c.settings().bytes(), request(id(1, 0), "a").bytes()].concat();
    let second = request(id(2, 1), body(40 * KIB)).bytes();
    c.expect_write_bytes(s, &[&head[..], &second[..16 * KIB - head.len()]].concat());
    c.breaks(s);
    c.expect_failed(a, Cause::Lost("broken".into()), Phase::Write, Delivery::Unknown);
    let error = c.expect_error(b);
    assert_eq!((error.phase, error.delivery), (Phase::Write, Delivery::NotProcessed));
    assert_eq!(error.attempts, 1);
    c.expect_rest();
}

#[test]
fn a_request_put_on_a_stream_that_breaks_in_the_same_batch_is_moved() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.breaks(s);
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "a")]);
    c.receives(fresh, [response(id(1, 0), "A")]);
    c.expect_response(a, "A");
}

#[test]
fn a_request_that_gets_room_from_an_answer_before_a_violation_is_moved() {
    let config = config().with_max_in_flight(1).with_max_streams_per_peer(1);
    let (mut c, s) = ClientScript::native(config);
    let (a, b) = (c.send("a"), c.send("b"));
    c.expect_sent(s, [request(id(2, 0), "a")]);
    // The answer frees the place for the second request, which is not on the stream yet when
    // the next frame ends it.
    c.receives(s, [response(id(2, 0), "A"), response(id(9, 9), "never asked")]);
    c.expect_response(a, "A");
    c.expect_reset(s);
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "b")]);
    c.receives(fresh, [response(id(1, 0), "B")]);
    c.expect_response(b, "B");
}

#[test]
fn a_request_that_gets_room_from_an_answer_before_the_end_is_moved() {
    let (mut c, s) = ClientScript::plain(config().with_max_streams_per_peer(1));
    let (a, b) = (c.send("a"), c.send("b"));
    c.expect_sent(s, [plain("a")]);
    c.receives(s, [plain("A")]);
    c.finishes(s);
    c.expect_response(a, "A");
    c.expect_finish(s);
    let fresh = c.expect_open(PLAIN);
    c.opened(fresh, Format::Plain);
    c.expect_sent(fresh, [plain("b")]);
    c.receives(fresh, [plain("B")]);
    c.expect_response(b, "B");
}

#[test]
fn a_request_that_gets_room_from_an_answer_before_a_drain_is_moved() {
    let config = config().with_max_in_flight(1).with_max_streams_per_peer(1);
    let (mut c, s) = ClientScript::native(config);
    let (a, b) = (c.send("a"), c.send("b"));
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.receives(s, [response(id(2, 0), "A"), drain(id(2, 0))]);
    c.expect_response(a, "A");
    c.expect_finish(s);
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "b")]);
    c.receives(fresh, [response(id(1, 0), "B")]);
    c.expect_response(b, "B");
}

#[test]
fn a_request_is_moved_three_times_at_most() {
    let (mut c, mut s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    for _ in 0..3 {
        c.receives(s, [drain(0)]);
        c.expect_finish(s);
        s = open_native(&mut c);
        c.expect_sent(s, [c.settings(), request(id(1, 0), "a")]);
    }
    c.receives(s, [drain(0)]);
    c.expect_finish(s);
    let error = c.expect_error(a);
    assert_eq!((error.phase, error.delivery), (Phase::Answer, Delivery::NotProcessed));
    assert_eq!(error.attempts, 4);
    c.expect_rest();
}

// DRAIN.

#[test]
fn requests_beyond_a_drain_are_moved_and_those_before_are_answered() {
    let (mut c, s) = ClientScript::native(config());
    let [a, b, moved] = ["a", "b", "moved"].map(|body| c.send(body));
    let sent = [request(id(2, 0), "a"), request(id(3, 1), "b"), request(id(4, 2), "moved")];
    c.expect_sent(s, sent);
    c.receives(s, [drain(id(3, 1))]);
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "moved")]);
    c.receives(s, [response(id(3, 1), "B")]);
    c.expect_response(b, "B");
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.expect_finish(s);
    c.receives(fresh, [response(id(1, 0), "M")]);
    c.expect_response(moved, "M");
}

#[test]
fn nothing_is_sent_on_a_stream_after_its_drain() {
    let (mut c, s) = ClientScript::native(config());
    c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.receives(s, [drain(id(2, 0))]);
    c.send("b");
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "b")]);
}

#[test]
fn a_drain_of_an_idle_stream_closes_it() {
    let (mut c, s) = ClientScript::native(config());
    c.receives(s, [drain(id(1, 0))]);
    c.expect_finish(s);
    c.expect_rest();
}

#[test]
fn a_drain_between_send_and_write_moves_the_request() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.receives(s, [drain(id(1, 0))]);
    c.expect_finish(s);
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "a")]);
    c.receives(fresh, [response(id(1, 0), "A")]);
    c.expect_response(a, "A");
}

#[test]
fn an_answer_beyond_a_drain_breaks_the_stream() {
    let (mut c, s) = ClientScript::native(config());
    let (a, _) = (c.send("a"), c.send("b"));
    c.expect_sent(s, [request(id(2, 0), "a"), request(id(3, 1), "b")]);
    c.receives(s, [drain(id(2, 0))]);
    c.expect_open(NATIVE);
    c.receives(s, [response(id(3, 1), "B")]);
    c.expect_reset(s);
    let error = c.expect_error(a);
    assert!(matches!(error.cause, Cause::Violation(_)), "{error}");
}

#[test]
fn a_request_answered_as_draining_is_moved() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.receives(s, [drain(id(2, 0)), failure(id(2, 0), 8).unprocessed()]);
    c.expect_finish(s);
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "a")]);
    c.receives(fresh, [response(id(1, 0), "A")]);
    c.expect_response(a, "A");
}

#[test]
fn a_cancelled_request_is_not_moved() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.cancel(a);
    c.expect_sent(s, [support::cancel(id(2, 0))]);
    c.receives(s, [drain(0)]);
    c.expect_finish(s);
    c.expect_rest();
}

// Opens that fail.

#[test]
fn an_open_that_fails_fails_all_that_waits_for_it() {
    let mut c = ClientScript::new(config());
    let (a, b) = (c.send("a"), c.send("b"));
    let s = c.expect_open(Offer::Both);
    c.open_fails(s, unreachable());
    let cause = Cause::Unreachable("no route".into());
    c.expect_failed(a, cause.clone(), Phase::Connect, Delivery::NotProcessed);
    let error = c.expect_error(b);
    assert_eq!((error.cause, error.attempts), (cause, 0));
    c.expect_rest();
    assert_eq!(c.stats().streams, 0);
}

#[test]
fn a_peer_that_refuses_both_formats_does_not_support_the_protocol() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.open_fails(s, StreamError::Unsupported);
    c.expect_failed(a, Cause::Unsupported, Phase::Connect, Delivery::NotProcessed);
    c.expect_rest();
}

#[test]
fn a_remembered_format_that_is_refused_is_negotiated_again() {
    let (mut c, s) = ClientScript::native(config());
    c.finishes(s);
    c.expect_finish(s);
    let a = c.send("a");
    let guess = c.expect_open(NATIVE);
    c.open_fails(guess, StreamError::Unsupported);
    let fresh = c.expect_open(Offer::Both);
    c.opened(fresh, Format::Plain);
    c.expect_sent(fresh, [plain("a")]);
    c.receives(fresh, [plain("A")]);
    c.expect_response(a, "A");
}

#[test]
fn a_remembered_format_that_is_refused_late_is_negotiated_again() {
    // A negotiation of one proposal may be optimistic: the refusal comes when bytes were sent.
    let (mut c, s) = ClientScript::native(config());
    c.finishes(s);
    c.expect_finish(s);
    let a = c.send("a");
    let guess = open_native(&mut c);
    c.expect_sent(guess, [c.settings(), request(id(1, 0), "a")]);
    c.breaks_with(guess, StreamError::Unsupported);
    let fresh = c.expect_open(Offer::Both);
    c.opened(fresh, Format::Plain);
    c.expect_sent(fresh, [plain("a")]);
    c.receives(fresh, [plain("A")]);
    c.expect_response(a, "A");
}

#[test]
fn a_peer_that_refuses_the_second_negotiation_too_does_not_support_the_protocol() {
    let (mut c, s) = ClientScript::native(config());
    c.finishes(s);
    c.expect_finish(s);
    let a = c.send("a");
    let guess = c.expect_open(NATIVE);
    c.open_fails(guess, StreamError::Unsupported);
    let fresh = c.expect_open(Offer::Both);
    c.open_fails(fresh, StreamError::Unsupported);
    c.expect_failed(a, Cause::Unsupported, Phase::Connect, Delivery::NotProcessed);
    c.expect_rest();
}

#[test]
fn reopening_beside_a_living_stream_rests_for_100_ms() {
    let (mut c, s) = ClientScript::plain(config());
    c.send("a");
    let b = c.send("b");
    c.expect_sent(s, [plain("a")]);
    let failed = c.expect_open(PLAIN);
    c.at(20);
    c.open_fails(failed, unreachable());
    c.expires_at(120);
    let second = c.expect_open(PLAIN);
    c.opened(second, Format::Plain);
    c.expect_sent(second, [plain("b")]);
    c.receives(second, [plain("B")]);
    c.expect_response(b, "B");
}

#[test]
fn while_reopening_rests_the_living_stream_takes_what_waits() {
    let (mut c, s) = ClientScript::plain(config());
    let (a, _) = (c.send("a"), c.send("b"));
    c.expect_sent(s, [plain("a")]);
    let failed = c.expect_open(PLAIN);
    c.open_fails(failed, unreachable());
    c.at(50);
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    c.expect_sent(s, [plain("b")]);
    c.at(200);
    c.expect_wait(READ);
}

#[test]
fn opens_that_fail_at_once_are_not_repeated_in_a_loop() {
    let (mut c, s) = ClientScript::plain(config());
    c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.send("b");
    let before = c.stats().opens;
    for round in 0..5 {
        let failed = c.expect_open(PLAIN);
        c.open_fails(failed, unreachable());
        c.expect_quiet();
        c.send("more");
        c.expect_quiet();
        c.expires_at(100 * (round + 1));
        // One open for each request that waits; all but the first fail before they are looked at.
        for _ in 0..c.stats().waiting - 1 {
            let failed = c.expect_open(PLAIN);
            c.open_fails(failed, unreachable());
        }
    }
    let failed = c.expect_open(PLAIN);
    c.open_fails(failed, unreachable());
    c.expect_quiet();
    assert!(c.stats().opens - before <= 21);
}

#[test]
fn an_outcome_of_an_open_that_was_given_up_is_ignored() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.expires_at(CONNECT);
    c.expect_abandon(s);
    c.expect_error(a);
    c.open_fails(s, unreachable());
    c.expect_rest();
    c.opened(s, Format::Native);
    c.expect_reset(s);
    c.expect_rest();
}

#[test]
fn an_open_outcome_that_comes_twice_is_ignored() {
    let (mut c, s) = ClientScript::native(config());
    c.open_fails(s, unreachable());
    c.send("a");
    c.expect_write(s, [request(id(2, 0), "a")]);
}

#[test]
fn what_comes_from_streams_that_are_gone_is_ignored() {
    let (mut c, s) = ClientScript::native(config());
    c.finishes(s);
    c.expect_finish(s);
    c.receives(s, [settings(1, 1), response(id(1, 0), "again")]);
    c.finishes(s);
    c.breaks(s);
    c.expect_rest();
}
