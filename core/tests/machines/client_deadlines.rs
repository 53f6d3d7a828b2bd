//! The client: the caller's deadline.

use std::time::Duration;

use crate::support;
use crate::support::{
    CONNECT, ClientScript, KIB, READ, body, cancel, id, ms, plain, request, response, timed_out,
    without_retries,
};
use pointsub_core::endpoint::Offer;
use pointsub_core::{Cause, ClientConfig, Delivery, Format, Phase};

const NATIVE: Offer = Offer::Only(Format::Native);

// The caller's deadline.

#[test]
fn the_deadline_passes_while_connecting() {
    let mut c = ClientScript::new(without_retries());
    let a = c.send_until(100, "a");
    let b = c.send("b");
    let s = c.expect_open(Offer::Both);
    c.expires_at(100);
    c.expect_failed(a, Cause::Deadline, Phase::Connect, Delivery::NotProcessed);
    // The open goes on, for others.
    c.opened(s, Format::Plain);
    c.expect_sent(s, [plain("b")]);
    c.receives(s, [plain("B")]);
    c.expect_response(b, "B");
}

#[test]
fn the_deadline_passes_before_the_first_byte_leaves() {
    let (mut c, s) = ClientScript::native(without_retries());
    c.send("stuck");
    c.expect_write(s, [request(id(2, 0), "stuck")]);
    let a = c.send_until(100, "a");
    c.expires_at(100);
    // It goes out all the same, and a handler may see it before the cancellation comes.
    c.expect_failed(a, Cause::Deadline, Phase::Write, Delivery::Unknown);
    c.written(s);
    c.expect_write(s, [request(id(3, 1), "a").timeout(100), cancel(id(3, 1))]);
}

#[test]
fn the_deadline_passes_when_a_part_has_left() {
    let (mut c, s) = ClientScript::native(without_retries());
    let a = c.send_until(100, body(60 * KIB));
    let bytes = request(id(2, 0), body(60 * KIB)).timeout(100).bytes();
    c.expect_write_bytes(s, &bytes[..16 * KIB]);
    c.expires_at(100);
    c.expect_failed(a, Cause::Deadline, Phase::Write, Delivery::Unknown);
    c.written(s);
    c.expect_write_bytes(s, &bytes[16 * KIB..]);
    c.written(s);
    c.expect_write(s, [cancel(id(2, 0))]);
}

#[test]
fn the_deadline_passes_when_all_may_have_left() {
    let (mut c, s) = ClientScript::native(without_retries());
    let a = c.send_until(100, "a");
    c.expect_write(s, [request(id(2, 0), "a").timeout(100)]);
    c.expires_at(100);
    c.expect_failed(a, Cause::Deadline, Phase::Write, Delivery::Unknown);
    c.written(s);
    c.expect_write(s, [cancel(id(2, 0))]);
}

#[test]
fn the_deadline_passes_while_waiting_for_the_answer() {
    let (mut c, s) = ClientScript::native(without_retries());
    let a = c.send_until(100, "a");
    c.expect_sent(s, [request(id(2, 0), "a").timeout(100)]);
    c.expires_at(100);
    c.expect_failed(a, Cause::Deadline, Phase::Wait, Delivery::Unknown);
    c.expect_sent(s, [cancel(id(2, 0))]);
    c.receives(s, [support::failure(id(2, 0), 5)]);
    c.expect_quiet();
    assert_eq!(c.stats().idle_streams, 1);
}

#[test]
fn the_deadline_of_a_plain_request_resets_its_stream() {
    let (mut c, s) = ClientScript::plain(without_retries());
    let a = c.send_until(100, "a");
    c.expect_sent(s, [plain("a")]);
    c.expires_at(100);
    c.expect_failed(a, Cause::Deadline, Phase::Wait, Delivery::Unknown);
    c.expect_reset(s);
    c.expect_rest();
}

/// C1: it is the limit of the whole call, however early.
#[test]
fn a_deadline_before_the_limits_of_the_client_wins() {
    let mut c = ClientScript::new(without_retries());
    let a = c.send_until(CONNECT - 1, "a");
    c.expect_open(Offer::Both);
    c.expires_at(CONNECT - 1);
    c.expect_failed(a, Cause::Deadline, Phase::Connect, Delivery::NotProcessed);

    let (mut c, s) = ClientScript::native(without_retries());
    let a = c.send_until(READ - 1, "a");
    c.expect_sent(s, [request(id(2, 0), "a").timeout(29_999)]);
    c.expires_at(READ - 1);
    c.expect_failed(a, Cause::Deadline, Phase::Wait, Delivery::Unknown);
    c.expect_sent(s, [cancel(id(2, 0))]);
}

#[test]
fn at_the_same_instant_the_deadline_wins_over_read_timeout() {
    for native in [false, true] {
        let started = if native { ClientScript::native } else { ClientScript::plain };
        let (mut c, s) = started(without_retries());
        let a = c.send_until(READ, "a");
        if native {
            c.expect_sent(s, [request(id(2, 0), "a").timeout(30_000)]);
        } else {
            c.expect_sent(s, [plain("a")]);
        }
        c.expires_at(READ);
        c.expect_failed(a, Cause::Deadline, Phase::Wait, Delivery::Unknown);
        if native {
            c.expect_sent(s, [cancel(id(2, 0))]);
        } else {
            c.expect_reset(s);
        }
    }
}

/// C1: a caller that says how long it waits is answered until then, by one execution.
#[test]
fn a_deadline_after_read_timeout_is_waited_for() {
    for native in [false, true] {
        let started = if native { ClientScript::native } else { ClientScript::plain };
        let (mut c, s) = started(ClientConfig::default());
        let a = c.send_until(10 * READ, "a");
        if native {
            c.expect_sent(s, [request(id(2, 0), "a").timeout(10 * READ as u32)]);
        } else {
            c.expect_sent(s, [plain("a")]);
        }
        c.at(10 * READ - 1);
        if native {
            c.receives(s, [response(id(2, 0), "A")]);
        } else {
            c.receives(s, [plain("A")]);
        }
        c.expect_response(a, "A");
        assert_eq!(c.stats().placed, 2);
    }
}

/// C1: beside a call that has one, those without are timed.
#[test]
fn read_timeout_holds_for_each_call_without_a_deadline() {
    let (mut c, s) = ClientScript::native(without_retries());
    let patient = c.send_until(2 * READ, "patient");
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "patient").timeout(60_000), request(id(3, 1), "a")]);
    c.expires_at(READ);
    c.expect_failed(a, timed_out(READ), Phase::Wait, Delivery::Unknown);
    c.expect_sent(s, [cancel(id(3, 1))]);
    c.receives(s, [support::failure(id(3, 1), 6), response(id(2, 0), "P")]);
    c.expect_response(patient, "P");
}

#[test]
fn a_deadline_that_has_passed_at_send_fails_without_a_byte() {
    let (mut c, _) = ClientScript::native(without_retries());
    c.at(100);
    let a = c.send_until(100, "a");
    let error = c.expect_error(a);
    assert_eq!((error.cause, error.delivery), (Cause::Deadline, Delivery::NotProcessed));
    c.expect_quiet();
}

#[test]
fn a_deadline_that_has_passed_at_send_does_no_harm_to_the_stream() {
    let (mut c, s) = ClientScript::native(without_retries());
    c.at(100);
    let a = c.send_until(100, "a");
    let b = c.send("b");
    let error = c.expect_error(a);
    assert_eq!(error.cause, Cause::Deadline);
    c.expect_sent(s, [request(id(2, 0), "b")]);
    c.receives(s, [response(id(2, 0), "B")]);
    c.expect_response(b, "B");
    let stats = c.stats();
    assert_eq!((stats.opens, stats.streams, stats.idle_streams), (1, 1, 1));
}

#[test]
fn a_deadline_that_has_passed_at_send_does_not_hold_up_a_drain() {
    let (mut c, s) = ClientScript::native(without_retries());
    c.at(100);
    let a = c.send_until(100, "a");
    c.expect_error(a);
    c.drain();
    c.expect_finish(s);
    c.expect_drained();
}

#[test]
fn an_answer_that_came_before_the_deadline_is_kept_though_both_are_seen_together() {
    let (mut c, s) = ClientScript::native(without_retries());
    let a = c.send_until(100, "a");
    c.expect_sent(s, [request(id(2, 0), "a").timeout(100)]);
    c.now = ms(100);
    c.receives(s, [response(id(2, 0), "A")]);
    c.timeout();
    c.expect_response(a, "A");
}

#[test]
fn a_deadline_due_at_the_tick_just_passed_fails_at_once() {
    let (mut c, _) = ClientScript::native(without_retries());
    c.now = ms(5);
    c.timeout();
    let a = c.send_until(5, "a");
    let error = c.expect_error(a);
    assert_eq!(error.cause, Cause::Deadline);

    // The same in the other order of the batch. The script checks that no deadline is returned
    // that is not after the tick.
    let b = c.send_until(5, "b");
    c.timeout();
    assert_eq!(c.expect_error(b).cause, Cause::Deadline);
}

#[test]
fn a_request_moved_at_its_deadline_fails() {
    let config = without_retries().with_write_timeout(Duration::from_millis(10));
    let (mut c, s) = ClientScript::native(config);
    let stuck = c.send("stuck");
    c.expect_write(s, [request(id(2, 0), "stuck")]);
    let a = c.send_until(10, "a");
    c.expires_at(10);
    c.expect_failed(stuck, timed_out(10), Phase::Write, Delivery::Unknown);
    c.expect_reset(s);
    // It is moved, and a stream opened for it, before its own time is looked at.
    let error = c.expect_error(a);
    assert_eq!((error.cause, error.delivery), (Cause::Deadline, Delivery::NotProcessed));
    c.expect_open(NATIVE);
}

/// C9: a stream that has said nothing since is not trusted with the next request.
#[test]
fn a_deadline_on_a_silent_stream_makes_it_suspect() {
    let (mut c, s) = ClientScript::native(without_retries());
    let a = c.send_until(100, "a");
    c.expect_sent(s, [request(id(2, 0), "a").timeout(100)]);
    c.expires_at(100);
    c.expect_failed(a, Cause::Deadline, Phase::Wait, Delivery::Unknown);
    c.expect_sent(s, [cancel(id(2, 0))]);
    let b = c.send("b");
    let fresh = c.expect_open(NATIVE);
    c.opened(fresh, Format::Native);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "b")]);
    c.receives(fresh, [response(id(1, 0), "B")]);
    c.expect_response(b, "B");
    // It was alive after all.
    c.receives(s, [support::failure(id(2, 0), 6)]);
    c.send("c");
    c.expect_sent(s, [request(id(3, 0), "c")]);
}

/// C9: a slow handler is not a dead stream.
#[test]
fn a_deadline_on_a_stream_that_answers_others_is_no_suspicion() {
    let (mut c, s) = ClientScript::native(without_retries());
    let slow = c.send_until(100, "slow");
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "slow").timeout(100), request(id(3, 1), "a")]);
    c.receives(s, [response(id(3, 1), "A")]);
    c.expect_response(a, "A");
    c.expires_at(100);
    c.expect_failed(slow, Cause::Deadline, Phase::Wait, Delivery::Unknown);
    c.expect_sent(s, [cancel(id(2, 0))]);
    c.send("b");
    c.expect_sent(s, [request(id(4, 1), "b")]);
}
