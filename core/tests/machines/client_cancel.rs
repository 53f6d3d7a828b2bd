//! The client: cancellation, and what a lost stream says about how far a request had come.

use std::time::Duration;

use crate::support;
use crate::support::{ClientScript, KIB, READ, body, cancel, drain, id, plain, request, response};
use bytes::Bytes;
use pointsub_core::endpoint::Offer;
use pointsub_core::{Cause, ClientConfig, Delivery, Format, Phase, StreamId};

/// Without retries: `client_retry.rs` is about those.
fn config() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

fn timed_out(millis: u64) -> Cause {
    Cause::TimedOut(Duration::from_millis(millis))
}

fn lost() -> Cause {
    Cause::Lost("broken".into())
}

/// A native stream on which request `id(2, 0)`, "a", was written at `millis`.
#[track_caller]
fn asked_at(
    millis: u64,
    config: ClientConfig,
) -> (ClientScript, StreamId, pointsub_core::RequestId) {
    let (mut c, s) = ClientScript::native(config);
    c.at(millis);
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    (c, s, a)
}

// Cancellation.

#[test]
fn cancel_while_waiting_for_a_stream_needs_no_word_to_anyone() {
    let mut c = ClientScript::new(config());
    let a = c.send_until(500, "a");
    let s = c.expect_open(Offer::Both);
    c.cancel(a);
    c.opened(s, Format::Native);
    c.expect_sent(s, [c.settings()]);
    c.at(1000);
    assert_eq!((c.stats().cancelled, c.stats().waiting), (1, 0));
}

/// C15: at once.
#[test]
fn cancel_tells_the_server_and_keeps_the_place_until_the_answer() {
    let config = config().with_max_in_flight(1).with_max_streams_per_peer(1);
    let (mut c, s, a) = asked_at(0, config);
    let b = c.send("b");
    c.cancel(a);
    c.expect_sent(s, [cancel(id(2, 0))]);
    c.expect_quiet();
    c.receives(s, [support::failure(id(2, 0), 6)]);
    c.expect_sent(s, [request(id(3, 0), "b")]);
    c.receives(s, [response(id(3, 0), "B")]);
    c.expect_response(b, "B");
}

#[test]
fn an_answer_that_crosses_with_cancel_is_discarded() {
    let (mut c, s, a) = asked_at(0, config());
    c.cancel(a);
    c.expect_sent(s, [cancel(id(2, 0))]);
    c.receives(s, [response(id(2, 0), "too late")]);
    c.expect_quiet();
    let stats = c.stats();
    assert_eq!((stats.ok, stats.cancelled, stats.in_flight, stats.idle_streams), (1, 1, 0, 1));
}

#[test]
fn an_outcome_that_was_decided_before_cancel_still_comes() {
    let (mut c, s, a) = asked_at(0, config());
    c.receives(s, [response(id(2, 0), "A")]);
    c.cancel(a);
    c.expect_response(a, "A");
    c.expect_quiet();
    assert_eq!(c.stats().cancelled, 0);
}

#[test]
fn cancel_twice_or_after_the_outcome_is_ignored() {
    let (mut c, s, a) = asked_at(0, config());
    c.cancel(a);
    c.cancel(a);
    c.expect_sent(s, [cancel(id(2, 0))]);
    c.receives(s, [response(id(2, 0), "")]);
    c.cancel(a);
    c.expect_quiet();
    assert_eq!(c.stats().cancelled, 1);
}

/// C15: the plain format has no other way.
#[test]
fn cancel_resets_a_plain_stream() {
    let (mut c, s) = ClientScript::plain(config());
    let a = c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.cancel(a);
    c.expect_reset(s);
    c.expect_rest();
    assert_eq!((c.stats().cancelled, c.stats().streams), (1, 0));
}

#[test]
fn cancel_of_a_plain_request_makes_room_for_the_next() {
    let (mut c, s) = ClientScript::plain(config().with_max_streams_per_peer(1));
    let a = c.send("a");
    c.send("b");
    c.expect_sent(s, [plain("a")]);
    c.cancel(a);
    c.expect_reset(s);
    let fresh = c.expect_open(Offer::Only(Format::Plain));
    c.opened(fresh, Format::Plain);
    c.expect_sent(fresh, [plain("b")]);
}

#[test]
fn a_cancel_that_is_never_confirmed_ends_the_stream_at_read_timeout() {
    let (mut c, s, a) = asked_at(0, config());
    c.at(100);
    c.cancel(a);
    c.expect_sent(s, [cancel(id(2, 0))]);
    c.at(29_000);
    let b = c.send("b");
    c.expect_sent(s, [request(id(3, 1), "b")]);
    c.expires_at(100 + READ);
    let cause = Cause::Lost("the peer does not confirm cancellation".into());
    c.expect_failed(b, cause, Phase::Wait, Delivery::Unknown);
    c.expect_reset(s);
    c.expect_rest();
}

#[test]
fn a_timeout_that_is_never_confirmed_ends_the_stream_at_read_timeout() {
    let (mut c, s, a) = asked_at(0, config());
    c.expires_at(READ);
    c.expect_failed(a, timed_out(READ), Phase::Wait, Delivery::Unknown);
    c.expect_sent(s, [cancel(id(2, 0))]);
    c.expires_at(2 * READ);
    c.expect_reset(s);
    c.expect_rest();
}

#[test]
fn a_cancelled_request_is_confirmed_by_a_drain_before_it() {
    let (mut c, s, a) = asked_at(0, config());
    c.cancel(a);
    c.expect_sent(s, [cancel(id(2, 0))]);
    c.receives(s, [drain(id(1, 0))]);
    c.expect_finish(s);
    c.expect_rest();
}

// Delivery.

#[test]
fn delivery_when_the_stream_is_lost_before_any_byte_left() {
    // On a fresh stream, where nothing is moved.
    let mut c = ClientScript::new(config());
    let (stuck, a) = (c.send(body(60 * KIB)), c.send("a"));
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Native);
    let first: Bytes = support::join([c.settings(), request(id(1, 0), body(60 * KIB))]);
    c.expect_write_bytes(s, &first[..16 * KIB]);
    c.breaks(s);
    c.expect_failed(stuck, lost(), Phase::Write, Delivery::NotProcessed);
    c.expect_failed(a, lost(), Phase::Write, Delivery::NotProcessed);
}

#[test]
fn delivery_when_the_stream_is_lost_after_a_part_left() {
    let mut c = ClientScript::new(config());
    let a = c.send(body(60 * KIB));
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Plain);
    c.expect_write_bytes(s, &plain(body(60 * KIB)).first(16 * KIB));
    c.breaks(s);
    c.expect_failed(a, lost(), Phase::Write, Delivery::NotProcessed);
}

#[test]
fn delivery_when_the_stream_is_lost_while_the_last_part_leaves() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Plain);
    c.expect_write(s, [plain("a")]);
    c.breaks(s);
    c.expect_failed(a, lost(), Phase::Write, Delivery::Unknown);
}

#[test]
fn delivery_when_the_stream_is_lost_after_all_left() {
    let (mut c, s, a) = asked_at(0, config());
    c.breaks(s);
    c.expect_failed(a, lost(), Phase::Wait, Delivery::Unknown);
    c.expect_rest();
}

#[test]
fn delivery_when_the_peer_closes_instead_of_answering() {
    let (mut c, s) = ClientScript::plain(config());
    let a = c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.finishes(s);
    c.expect_failed(a, Cause::RemoteClosed, Phase::Wait, Delivery::Unknown);
    c.expect_finish(s);
    c.expect_rest();
}

#[test]
fn delivery_when_the_peer_closes_before_all_left() {
    let mut c = ClientScript::new(config());
    let a = c.send(body(60 * KIB));
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Plain);
    let bytes = plain(body(60 * KIB)).bytes();
    c.expect_write_bytes(s, &bytes[..16 * KIB]);
    c.finishes(s);
    c.expect_failed(a, Cause::RemoteClosed, Phase::Write, Delivery::NotProcessed);
    // A peer that has closed its half alone would process it, were the rest to follow.
    c.expect_reset(s);
}

#[test]
fn a_request_that_has_not_left_never_does_once_the_peer_has_closed() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_write(s, [request(id(2, 0), "a")]);
    let b = c.send("b");
    c.expect_quiet();
    c.finishes(s);
    c.expect_failed(a, Cause::RemoteClosed, Phase::Write, Delivery::Unknown);
    // It is moved, and must not be processed twice.
    c.expect_reset(s);
    let s = c.expect_open(Offer::Only(Format::Native));
    c.opened(s, Format::Native);
    c.expect_write_bytes(s, &support::join([c.settings(), request(id(1, 0), "b")]));
    c.receives(s, [response(id(1, 0), "B")]);
    c.expect_response(b, "B");
}

/// Many that wait are given up; those that are left go in their order.
#[test]
fn the_rest_of_a_queue_is_served_in_order() {
    let config = ClientConfig::default().with_max_streams_per_peer(1);
    let (mut c, s) = ClientScript::plain(config);
    let a = c.send("a");
    c.expect_sent(s, [plain("a")]);
    let waiting: Vec<_> = (0..200).map(|n| (n, c.send(body(n)))).collect();
    let (stay, go): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(n, _)| n % 10 == 0);
    for (_, request) in go {
        c.cancel(request);
    }
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    for (n, request) in stay {
        c.expect_sent(s, [plain(body(n))]);
        c.receives(s, [plain("done")]);
        c.expect_response(request, "done");
    }
}
