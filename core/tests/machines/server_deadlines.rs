//! The server: the deadlines of callers.

use crate::support::{IDLE, ServerScript, cancel, drain, failure, ms, plain, request, response};
use pointsub_core::ServerConfig;

fn config() -> ServerConfig {
    ServerConfig::default()
}

#[test]
fn the_deadline_on_the_wire_counts_from_the_arrival_of_the_request() {
    let (mut s, stream) = ServerScript::native(config());
    s.at(10);
    s.receives_bytes(stream, request(1, "a").timeout(50).first(20));
    s.at(20);
    s.receives_bytes(stream, request(1, "a").timeout(50).bytes().slice(20..));
    s.expect_request_until(Some(70), "a");
}

#[test]
fn at_the_deadline_the_caller_is_answered_and_the_handler_stopped() {
    let (mut s, stream) = ServerScript::native(config());
    s.at(10);
    s.receives(stream, [request(1, "a").timeout(50)]);
    let a = s.expect_request_until(Some(60), "a");
    s.expires_at(60);
    s.expect_abandon(a);
    s.expect_sent(stream, [failure(1, 5)]);
    assert_eq!((s.stats().in_flight, s.stats().abandoned), (1, 0));
    s.abandoned(a);
    s.expect_quiet();
    assert_eq!((s.stats().in_flight, s.stats().abandoned), (0, 1));
    s.expires_at(60 + IDLE);
    s.expect_sent(stream, [drain(1)]);
    s.expect_finish(stream);
}

#[test]
fn a_response_after_the_deadline_is_dropped() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a").timeout(50)]);
    let a = s.expect_request_until(Some(50), "a");
    s.expires_at(50);
    s.expect_abandon(a);
    s.expect_sent(stream, [failure(1, 5)]);
    s.respond(a, "too late");
    s.expect_quiet();
    assert_eq!((s.stats().ok, s.stats().abandoned), (0, 1));
}

#[test]
fn a_response_before_the_deadline_ends_it() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a").timeout(50)]);
    let a = s.expect_request_until(Some(50), "a");
    s.at(49);
    s.respond(a, "A");
    s.expect_sent(stream, [response(1, "A")]);
    s.at(100);
}

#[test]
fn each_request_has_a_deadline_of_its_own() {
    let (mut s, stream) = ServerScript::native(config());
    let asked = [request(1, "a").timeout(70), request(2, "b").timeout(50), request(3, "c")];
    s.receives(stream, asked);
    let a = s.expect_request_until(Some(70), "a");
    let b = s.expect_request_until(Some(50), "b");
    s.expect_request("c");
    s.expires_at(50);
    s.expect_abandon(b);
    s.expect_sent(stream, [failure(2, 5)]);
    s.expires_at(70);
    s.expect_abandon(a);
    s.expect_sent(stream, [failure(1, 5)]);
    s.at(2 * IDLE);
}

#[test]
fn a_request_without_time_left_is_answered_without_a_handler() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a").timeout(0)]);
    s.expect_sent(stream, [failure(1, 5).unprocessed()]);
    assert_eq!((s.stats().started, s.stats().refused), (0, 1));
}

#[test]
fn cancel_ends_the_deadline() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a").timeout(50), cancel(1)]);
    let a = s.expect_request_until(Some(50), "a");
    s.expect_abandon(a);
    s.at(100);
    s.abandoned(a);
    s.expect_sent(stream, [failure(1, 6)]);
}

#[test]
fn cancel_after_the_deadline_is_ignored() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a").timeout(50)]);
    let a = s.expect_request_until(Some(50), "a");
    s.expires_at(50);
    s.expect_abandon(a);
    s.expect_sent(stream, [failure(1, 5)]);
    s.receives(stream, [cancel(1)]);
    s.abandoned(a);
    s.expect_quiet();
}

#[test]
fn a_request_whose_deadline_was_answered_counts_until_its_handler_has_stopped() {
    let (mut s, stream) = ServerScript::native(config().with_max_concurrent_requests(1));
    s.receives(stream, [request(1, "a").timeout(50)]);
    let a = s.expect_request_until(Some(50), "a");
    s.expires_at(50);
    s.expect_abandon(a);
    s.receives(stream, [request(2, "b")]);
    s.expect_sent(stream, [failure(1, 5)]);
    s.expect_sent(stream, [failure(2, 3).retry_after(100).unprocessed()]);
    s.abandoned(a);
    s.receives(stream, [request(3, "c")]);
    s.expect_request("c");
}

/// The caller's time counts from when the bytes came, not from when somebody looked at them.
#[test]
fn a_request_that_waited_too_long_to_be_looked_at_is_answered_without_a_handler() {
    let (mut s, stream) = ServerScript::plain(config());
    s.receives(stream, [plain("a")]);
    s.expect_request("a");
    let stream = s.accept_native();
    s.now = ms(4);
    s.receives(stream, [request(1, "b").timeout(1), request(2, "c").timeout(2)]);
    s.now = ms(5);
    s.timeout();
    let c = s.expect_request_until(Some(6), "c");
    s.expect_sent(stream, [failure(1, 5).unprocessed()]);
    s.respond(c, "C");
    s.expect_sent(stream, [response(2, "C")]);
}
