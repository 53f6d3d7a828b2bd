//! The server: how streams end in good order, half-closed streams, and back-pressure.

use crate::support::{
    KIB, PROTOCOL, READ, ServerScript, body, cancel, drain, failure, plain, request, response,
};
use pointsub_core::endpoint::RegisterError;
use pointsub_core::{Format, ProtocolName, ServerConfig};

const LATE: u64 = 10_000;

fn config() -> ServerConfig {
    ServerConfig::default()
}

// Drain.

#[test]
fn drain_without_streams_ends_at_once_and_only_once() {
    let mut s = ServerScript::new(config());
    s.drain(LATE);
    s.expect_drained();
    s.expect_rest();
}

/// S14: A server that has stopped can serve again, and stop again; while it stops it takes on
/// nothing.
#[test]
fn after_a_drain_the_server_can_serve_again() {
    let name = ProtocolName::new(PROTOCOL).expect("a name");
    let (mut s, stream) = ServerScript::native(config());
    for id in 1..4 {
        assert!(s.server.is_running());
        let stream = if id == 1 { stream } else { s.accept_native() };
        s.receives(stream, [request(id, "a")]);
        let a = s.expect_request("a");
        s.drain(LATE);
        assert!(!s.server.is_running());
        assert_eq!(s.server.register(&name), Err(RegisterError::Draining));
        s.expect_sent(stream, [drain(id)]);
        s.respond(a, "A");
        s.expect_sent(stream, [response(id, "A")]);
        s.expect_finish(stream);
        s.expect_drained();
        s.expect_rest();
        let late = s.accept(Format::Plain);
        s.expect_reset(late);
        s.register(PROTOCOL);
    }
    assert_eq!((s.stats().ok, s.stats().streams, s.stats().streams_total), (3, 0, 6));
}

/// S14: A drain has one end, however often it is asked for meanwhile; a later one has its own.
#[test]
fn every_drain_ends_once() {
    let (mut s, stream) = ServerScript::native(config());
    s.drain(LATE);
    s.drain(LATE);
    s.expect_sent(stream, [drain(0)]);
    s.expect_finish(stream);
    s.expect_drained();
    s.drain(LATE);
    s.expect_drained();
    s.expect_rest();
}

/// S14: what is idle does not hold up the end.
#[test]
fn drain_closes_idle_streams_at_once() {
    let (mut s, native) = ServerScript::native(config());
    let plain = s.accept(Format::Plain);
    s.drain(LATE);
    s.expect_reset(plain);
    s.expect_write(native, [drain(0)]);
    s.expect_wait(LATE);
    s.written(native);
    s.expect_finish(native);
    s.expect_drained();
    s.expect_rest();
}

/// S14: what is at work is finished.
#[test]
fn drain_lets_native_requests_end_and_says_which() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(3, "a"), request(5, "b")]);
    let [a, b] = ["a", "b"].map(|body| s.expect_request(body));
    s.drain(LATE);
    s.expect_sent(stream, [drain(5)]);
    s.at(5000);
    s.respond(b, "B");
    s.expect_sent(stream, [response(5, "B")]);
    s.expect_quiet();
    s.respond(a, "A");
    s.expect_sent(stream, [response(3, "A")]);
    s.expect_finish(stream);
    s.expect_drained();
    s.expect_rest();
}

#[test]
fn drain_lets_a_plain_request_end() {
    let (mut s, stream) = ServerScript::plain(config());
    s.receives(stream, [plain("a"), plain("not looked at")]);
    let a = s.expect_request("a");
    s.drain(LATE);
    s.expect_reading(stream, false);
    s.respond(a, "A");
    s.expect_sent(stream, [plain("A")]);
    s.expect_finish(stream);
    s.expect_drained();
}

/// S14, S21: what takes too long is cut off, and the end comes when its handler has stopped.
#[test]
fn at_its_deadline_a_drain_cuts_off_what_is_at_work() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.drain(LATE);
    s.expect_sent(stream, [drain(1)]);
    s.expires_at(LATE);
    s.expect_abandon(a);
    s.expect_reset(stream);
    s.expect_quiet();
    // The end comes when the handler has stopped.
    s.abandoned(a);
    s.expect_drained();
    s.expect_rest();
}

#[test]
fn a_drain_whose_deadline_has_passed_cuts_off_at_once() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.at(LATE);
    s.drain(LATE);
    s.timeout();
    s.expect_abandon(a);
    s.expect_reset(stream);
    s.abandoned(a);
    s.expect_drained();
}

#[test]
fn requests_beyond_a_drain_are_neither_handled_nor_answered() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.drain(LATE);
    s.expect_sent(stream, [drain(1)]);
    s.receives(stream, [request(2, "b"), request(3, "c").timeout(0), request(4, "d").flag(0x10)]);
    s.expect_quiet();
    s.respond(a, "A");
    s.expect_sent(stream, [response(1, "A")]);
    s.expect_finish(stream);
    s.expect_drained();
    assert_eq!((s.stats().started, s.stats().violations), (1, 0));
}

#[test]
fn a_request_beyond_a_drain_that_is_too_large_is_not_answered_either() {
    let (mut s, stream) = ServerScript::native(config().with_max_block_size(10));
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.drain(LATE);
    s.expect_sent(stream, [drain(1)]);
    s.receives_bytes(stream, request(2, "0123456789+").first(16));
    s.expect_quiet();
    s.respond(a, "A");
    s.expect_sent(stream, [response(1, "A")]);
    s.expect_finish(stream);
    s.expect_drained();
}

#[test]
fn requests_at_work_can_be_cancelled_after_a_drain() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.drain(LATE);
    s.expect_sent(stream, [drain(1)]);
    s.receives(stream, [cancel(1)]);
    s.expect_abandon(a);
    s.abandoned(a);
    s.expect_sent(stream, [failure(1, 6)]);
    s.expect_finish(stream);
    s.expect_drained();
}

#[test]
fn a_drain_while_a_message_arrives_does_not_wait_for_it() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives_bytes(stream, request(1, "a").first(10));
    s.drain(LATE);
    s.expect_sent(stream, [drain(0)]);
    s.expect_finish(stream);
    s.expect_drained();
    s.expect_rest();
}

// Streams that are refused.

#[test]
fn a_native_stream_for_an_unknown_protocol_is_told_so_and_closed() {
    let mut s = ServerScript::new(config());
    let stream = s.accept_for("/unknown", Format::Native);
    s.expect_write(stream, [s.settings(), drain(0)]);
    s.expect_reading(stream, false);
    s.receives(stream, [request(1, "a")]);
    s.written(stream);
    s.expect_finish(stream);
    s.expect_rest();
    assert_eq!((s.stats().started, s.stats().refused), (0, 1));
}

#[test]
fn a_plain_stream_for_an_unknown_protocol_is_reset() {
    let mut s = ServerScript::new(config());
    let stream = s.accept_for("/unknown", Format::Plain);
    s.expect_reset(stream);
    s.expect_rest();
    assert_eq!(s.stats().refused, 1);
}

/// S14: nothing new is taken on.
#[test]
fn streams_that_come_during_a_drain_are_refused() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.drain(LATE);
    s.expect_sent(stream, [drain(1)]);
    let late = s.accept(Format::Native);
    s.expect_sent(late, [s.settings(), drain(0)]);
    s.expect_finish(late);
    s.respond(a, "A");
    s.expect_sent(stream, [response(1, "A")]);
    s.expect_finish(stream);
    s.expect_drained();
}

#[test]
fn streams_that_come_after_a_drain_are_refused() {
    let mut s = ServerScript::new(config());
    s.drain(LATE);
    s.expect_drained();
    let late = s.accept(Format::Plain);
    s.expect_reset(late);
    s.expect_rest();
}

/// S14: a client that writes its whole request before it reads would not notice a close.
#[test]
fn drain_closes_a_plain_stream_between_requests_and_resets_it_in_one() {
    for (bytes, ends_idle) in [(0, true), (5, false)] {
        let (mut s, stream) = ServerScript::plain(config());
        s.receives(stream, [plain("a")]);
        let a = s.expect_request("a");
        s.respond(a, "A");
        s.expect_sent(stream, [plain("A")]);
        s.receives_bytes(stream, plain("second").first(bytes));
        s.drain(LATE);
        if ends_idle {
            s.expect_finish(stream);
        } else {
            s.expect_reset(stream);
        }
        s.expect_drained();
        s.expect_rest();
    }
}

// Protocols that go.

/// S15: later requests are not found, those at work are finished.
#[test]
fn after_unregister_requests_are_not_found_and_their_stream_is_drained() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    assert!(s.server.unregister(PROTOCOL));
    s.receives(stream, [request(2, "b"), request(3, "c")]);
    s.expect_sent(stream, [failure(2, 2).unprocessed(), drain(2)]);
    s.expect_quiet();
    s.respond(a, "A");
    s.expect_sent(stream, [response(1, "A")]);
    s.expect_finish(stream);
    s.expect_rest();
}

#[test]
fn after_unregister_a_plain_stream_is_closed_at_its_next_request() {
    let (mut s, stream) = ServerScript::plain(config());
    s.receives(stream, [plain("a")]);
    let a = s.expect_request("a");
    s.server.unregister(PROTOCOL);
    s.respond(a, "A");
    s.expect_sent(stream, [plain("A")]);
    s.receives(stream, [plain("b")]);
    s.expect_finish(stream);
    s.expect_rest();
}

/// S15: A name can be used again.
#[test]
fn a_protocol_that_comes_back_does_so_on_new_streams() {
    let (mut s, stream) = ServerScript::native(config());
    s.server.unregister(PROTOCOL);
    s.server.register(&ProtocolName::new(PROTOCOL).expect("a name")).expect("registered");
    s.receives(stream, [request(1, "a")]);
    s.expect_sent(stream, [failure(1, 2).unprocessed(), drain(1)]);
    s.expect_finish(stream);
    let fresh = s.accept_native();
    s.receives(fresh, [request(1, "a")]);
    s.expect_request("a");
}

// Half-closed streams.

#[test]
fn a_native_stream_that_is_half_closed_gets_its_answers_and_is_closed() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a"), request(2, "b")]);
    s.finishes(stream);
    let [a, b] = ["a", "b"].map(|body| s.expect_request(body));
    s.expect_reading(stream, false);
    s.respond(b, "B");
    s.expect_sent(stream, [response(2, "B")]);
    s.respond(a, "A");
    s.expect_sent(stream, [response(1, "A")]);
    s.expect_finish(stream);
    s.expect_rest();
}

#[test]
fn a_plain_stream_that_is_half_closed_gets_its_answers_and_is_closed() {
    let (mut s, stream) = ServerScript::plain(config());
    s.receives(stream, [plain("a"), plain("b")]);
    s.finishes(stream);
    let a = s.expect_request("a");
    s.respond(a, "A");
    s.expect_sent(stream, [plain("A")]);
    let b = s.expect_request("b");
    s.respond(b, "B");
    s.expect_sent(stream, [plain("B")]);
    s.expect_finish(stream);
    s.expect_rest();
}

#[test]
fn an_idle_stream_that_is_half_closed_is_closed_without_a_word() {
    for format in [Format::Plain, Format::Native] {
        let mut s = ServerScript::new(config());
        let stream = s.accept(format);
        if format == Format::Native {
            s.expect_sent(stream, [s.settings()]);
        }
        s.finishes(stream);
        s.expect_finish(stream);
        s.expect_rest();
        assert_eq!(s.stats().violations, 0);
    }
}

#[test]
fn a_stream_that_is_half_closed_inside_a_frame_is_broken() {
    for format in [Format::Plain, Format::Native] {
        let mut s = ServerScript::new(config());
        let stream = s.accept(format);
        let bytes = if format == Format::Native {
            s.expect_sent(stream, [s.settings()]);
            request(1, "hello").first(3)
        } else {
            plain("hello").first(3)
        };
        s.receives_bytes(stream, bytes);
        s.finishes(stream);
        s.expect_reset(stream);
        assert_eq!(s.stats().violations, 1);
    }
}

#[test]
fn a_half_closed_plain_stream_with_half_a_request_behind_one_is_broken_after_the_answer() {
    let (mut s, stream) = ServerScript::plain(config());
    s.receives_bytes(stream, [&plain("a").bytes()[..], &plain("b").first(2)].concat());
    s.finishes(stream);
    let a = s.expect_request("a");
    s.respond(a, "A");
    s.expect_reset(stream);
    assert_eq!(s.stats().violations, 1);
}

// Plain streams take one request at a time.

#[test]
fn a_second_plain_request_waits_for_the_first_answer() {
    let (mut s, stream) = ServerScript::plain(config());
    s.receives(stream, [plain("a"), plain("b"), plain("c")]);
    for text in ["a", "b", "c"] {
        let request = s.expect_request(text);
        s.expect_reading(stream, false);
        s.expect_quiet();
        s.respond(request, text);
        s.expect_sent(stream, [plain(text)]);
    }
    s.expect_reading(stream, true);
}

// Back-pressure.

/// S2: A peer that does not read is not read from, so that memory stays bounded.
#[test]
fn nothing_is_read_while_more_than_256_kib_of_answers_wait() {
    let mut s = ServerScript::new(config());
    let stream = s.accept(Format::Native);
    s.expect_write(stream, [s.settings()]);
    s.receives(stream, [request(1, "a"), request(2, "b")]);
    let [a, b] = ["a", "b"].map(|body| s.expect_request(body));
    // With its header and the server's load exactly 256 KiB.
    let large = body(256 * KIB - 16 - 5);
    s.respond(a, large.clone());
    s.expect_reading(stream, true);
    s.respond(b, "");
    s.expect_reading(stream, false);
    s.receives(stream, [request(3, "c")]);
    s.expect_quiet();
    s.written(stream);
    s.expect_sent(stream, [response(1, large), response(2, "")]);
    s.expect_request("c");
    s.expect_reading(stream, true);
}

#[test]
fn requests_that_were_not_looked_at_are_so_when_there_is_room_again() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.respond(a, body(300 * KIB));
    s.receives(stream, [request(2, "b"), request(3, "c")]);
    s.expect_reading(stream, false);
    s.expect_sent(stream, [response(1, body(300 * KIB))]);
    let [b, c] = ["b", "c"].map(|body| s.expect_request(body));
    s.respond(b, "B");
    s.respond(c, "C");
    s.expect_sent(stream, [response(2, "B"), response(3, "C")]);
}

#[test]
fn a_half_close_behind_unread_answers_keeps_the_requests_already_sent() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.respond(a, body(300 * KIB));
    s.receives(stream, [request(2, "b")]);
    s.finishes(stream);
    s.expect_sent(stream, [response(1, body(300 * KIB))]);
    let b = s.expect_request("b");
    s.respond(b, "B");
    s.expect_sent(stream, [response(2, "B")]);
    s.expect_finish(stream);
    s.expect_rest();
}

#[test]
fn a_drain_behind_unread_answers_ends_the_stream_after_them() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.respond(a, body(300 * KIB));
    s.receives(stream, [request(2, "not looked at")]);
    s.drain(2 * READ);
    s.expect_sent(stream, [response(1, body(300 * KIB)), drain(1)]);
    s.expect_finish(stream);
    s.expect_drained();
}
