//! The server: requests and answers, cancellation, what comes late, counters.

use std::time::Duration;

use crate::support::{
    KIB, PROTOCOL, ServerScript, body, cancel, failure, ms, plain, request, response,
    server_settings, settings,
};
use bytes::Bytes;
use pointsub_core::endpoint::RegisterError;
use pointsub_core::{Body, Format, ProtocolName, ServerConfig, ServerStats, Status, StatusCode};

fn config() -> ServerConfig {
    ServerConfig::default()
}

// Requests and answers.

#[test]
fn a_native_stream_begins_with_settings_before_anything_comes() {
    let mut s = ServerScript::new(config().with_max_block_size(77).with_max_in_flight(3));
    let stream = s.accept(Format::Native);
    s.expect_write(stream, [server_settings(77, 3, 1024)]);
}

#[test]
fn a_native_request_is_answered() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [settings(1 << 20, 9), request(5, "hello")]);
    let a = s.expect_request("hello");
    assert_eq!(a.stream(), stream);
    s.respond(a, "world");
    s.expect_sent(stream, [response(5, "world")]);
}

#[test]
fn a_plain_request_is_answered() {
    let (mut s, stream) = ServerScript::plain(config());
    s.receives(stream, [plain("hello")]);
    let a = s.expect_request("hello");
    s.respond(a, "world");
    s.expect_sent(stream, [plain("world")]);
    s.receives(stream, [plain("")]);
    let b = s.expect_request("");
    s.respond(b, "");
    s.expect_sent(stream, [plain("")]);
}

#[test]
fn native_requests_are_answered_in_the_order_of_their_handlers() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a"), request(2, "b"), request(3, "c")]);
    let [a, b, c] = ["a", "b", "c"].map(|body| s.expect_request(body));
    s.respond(c, "C");
    s.expect_sent(stream, [response(3, "C")]);
    s.respond(a, "A");
    s.respond(b, "B");
    s.expect_sent(stream, [response(1, "A"), response(2, "B")]);
}

#[test]
fn answers_that_come_together_are_written_together() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a"), request(2, "b")]);
    let [a, b] = ["a", "b"].map(|body| s.expect_request(body));
    s.respond(b, "B");
    s.respond(a, "A");
    s.expect_write(stream, [response(2, "B"), response(1, "A")]);
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let (mut s, stream) = ServerScript::native(config());
    for byte in request(1, "hello").timeout(50).bytes() {
        s.expect_quiet();
        s.receives_bytes(stream, vec![byte]);
    }
    s.expect_request_until(Some(50), "hello");
}

/// S11: answers are compressed where that was asked for.
#[test]
fn compressed_requests_are_inflated_and_answers_compressed() {
    let (mut s, stream) = ServerScript::native(config());
    let text = Bytes::from("round and round the garden ".repeat(100));
    let deflated = miniz_oxide::deflate::compress_to_vec(&text, 1);
    let size = text.len() as u32;
    s.receives(stream, [request(1, deflated.clone()).compressed(size)]);
    let a = s.expect_request(text.clone());
    s.respond_body(a, Body::compressed(text));
    s.expect_sent(stream, [response(1, deflated).compressed(size)]);
}

/// S11: the plain format has no compression.
#[test]
fn plain_answers_are_never_compressed() {
    let (mut s, stream) = ServerScript::plain(config());
    let text = Bytes::from("round and round the garden ".repeat(100));
    s.receives(stream, [plain("a")]);
    let a = s.expect_request("a");
    s.respond_body(a, Body::compressed(text.clone()));
    s.expect_sent(stream, [plain(text)]);
}

#[test]
fn ids_may_have_gaps_and_be_large() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(9, "a"), request(u64::MAX, "b")]);
    let a = s.expect_request("a");
    let b = s.expect_request("b");
    s.respond(b, "B");
    s.respond(a, "A");
    s.expect_sent(stream, [response(u64::MAX, "B"), response(9, "A")]);
}

// Failures.

/// S16: A failed handler, panicked or not, is answered with its status, and the stream goes on.
#[test]
fn every_failure_of_a_handler_is_answered_with_its_status() {
    let codes = [
        (1, StatusCode::Application(0)),
        (2, StatusCode::NotFound),
        (3, StatusCode::Busy),
        (4, StatusCode::TooLarge),
        (5, StatusCode::DeadlineExceeded),
        (6, StatusCode::Cancelled),
        (7, StatusCode::Internal),
        (8, StatusCode::Draining),
        (9, StatusCode::Unimplemented),
        (10, StatusCode::BadRequest),
        (11, StatusCode::ResponseTooLarge),
        (12, StatusCode::Unauthenticated),
        (13, StatusCode::PermissionDenied),
        (14, StatusCode::NoSuchResource),
        (200, StatusCode::Unknown(200)),
    ];
    let (mut s, stream) = ServerScript::native(config());
    for (id, (byte, code)) in (1..).zip(codes) {
        s.receives(stream, [request(id, "a")]);
        let a = s.expect_request("a");
        s.fail(a, code);
        let answer = failure(id, byte);
        // Whoever does not have what is asked for has done nothing.
        let nothing = matches!(code, StatusCode::Unimplemented);
        let answer = if nothing { answer.unprocessed() } else { answer };
        let app = matches!(code, StatusCode::Application(_));
        s.expect_sent(stream, [if app { answer.app_code(0) } else { answer }]);
    }
    assert_eq!(s.stats().failed, 15);
}

#[test]
fn a_failure_carries_all_its_fields() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    let mut status = Status::new(StatusCode::Application(42), "größe");
    status.detail = Bytes::from_static(b"\x01\x02");
    status.retry_after = Some(Duration::from_micros(249_001));
    s.fail_with(a, status);
    let answer = failure(1, 1).app_code(42).message("größe").retry_after(250);
    s.expect_sent(stream, [answer.body("\x01\x02")]);
}

#[test]
fn a_message_is_cut_to_1024_bytes_at_a_characters_end() {
    let exact = "x".repeat(1024);
    let longer = "x".repeat(1025);
    let split = format!("{}ö", "x".repeat(1023));
    let wide = "𝄞".repeat(300);
    let cut = [(&exact, 1024), (&longer, 1024), (&split, 1023), (&wide, 1024)];
    let (mut s, stream) = ServerScript::native(config());
    for (id, (message, len)) in (1..).zip(cut) {
        s.receives(stream, [request(id, "a")]);
        let a = s.expect_request("a");
        s.fail_with(a, Status::new(StatusCode::Internal, message.as_str()));
        s.expect_sent(stream, [failure(id, 7).message(&message[..len])]);
    }
}

#[test]
fn a_plain_handler_that_fails_closes_the_stream_without_a_frame() {
    let (mut s, stream) = ServerScript::plain(config());
    s.receives(stream, [plain("a")]);
    let a = s.expect_request("a");
    s.fail(a, StatusCode::Application(1));
    s.expect_finish(stream);
    s.expect_rest();
}

/// S4: the limit holds for answers too.
#[test]
fn a_response_beyond_the_servers_limit_is_too_large() {
    let (mut s, stream) = ServerScript::native(config().with_max_block_size(10));
    s.receives(stream, [request(1, "a"), request(2, "b")]);
    let [a, b] = ["a", "b"].map(|body| s.expect_request(body));
    s.respond(a, "0123456789+");
    s.respond(b, "0123456789");
    let message = "the response has 11 bytes, the limit is 10";
    s.expect_sent(stream, [failure(1, 11).message(message), response(2, "0123456789")]);
    assert_eq!((s.stats().ok, s.stats().failed), (1, 1));
}

#[test]
fn a_response_beyond_the_clients_limit_is_too_large() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [settings(10, 1), request(1, "a")]);
    let a = s.expect_request("a");
    s.respond(a, "0123456789+");
    let message = "the response has 11 bytes, the limit is 10";
    s.expect_sent(stream, [failure(1, 11).message(message)]);
}

#[test]
fn the_limit_of_a_response_is_that_before_compression() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [settings(2000, 1), request(1, "a")]);
    let a = s.expect_request("a");
    s.respond_body(a, Body::compressed(Bytes::from("round and round ".repeat(126))));
    let message = "the response has 2016 bytes, the limit is 2000";
    s.expect_sent(stream, [failure(1, 11).message(message)]);
}

#[test]
fn a_plain_response_that_is_too_large_closes_the_stream() {
    let (mut s, stream) = ServerScript::plain(config().with_max_block_size(10));
    s.receives(stream, [plain("a")]);
    let a = s.expect_request("a");
    s.respond(a, "0123456789+");
    s.expect_finish(stream);
}

#[test]
fn a_detail_beyond_the_limit_is_left_out() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [settings(3, 1), request(1, "a")]);
    let a = s.expect_request("a");
    let mut status = Status::new(StatusCode::Internal, "message");
    status.detail = Bytes::from_static(b"long");
    s.fail_with(a, status);
    s.expect_sent(stream, [failure(1, 7).message("message")]);
}

// Cancellation.

#[test]
fn cancel_is_answered_when_the_handler_has_stopped() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a"), cancel(1)]);
    let a = s.expect_request("a");
    s.expect_abandon(a);
    s.at(1000);
    s.expect_quiet();
    s.abandoned(a);
    s.expect_sent(stream, [failure(1, 6)]);
    assert_eq!((s.stats().abandoned, s.stats().in_flight), (1, 0));
}

#[test]
fn a_response_after_cancel_is_answered_as_cancelled() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a"), cancel(1)]);
    let a = s.expect_request("a");
    s.expect_abandon(a);
    s.respond(a, "A");
    s.expect_sent(stream, [failure(1, 6)]);
    s.abandoned(a);
    s.expect_quiet();
}

#[test]
fn a_cancelled_request_counts_until_its_handler_has_stopped() {
    let (mut s, stream) = ServerScript::native(config().with_max_in_flight(1));
    s.receives(stream, [request(1, "a"), cancel(1), request(2, "b")]);
    let a = s.expect_request("a");
    s.expect_abandon(a);
    let message = "more requests on one stream than were agreed on";
    s.expect_sent(stream, [failure(2, 3).message(message).unprocessed()]);
    s.abandoned(a);
    s.expect_sent(stream, [failure(1, 6)]);
    s.receives(stream, [request(3, "c")]);
    s.expect_request("c");
}

#[test]
fn cancel_of_what_is_not_at_work_is_ignored() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [cancel(1), request(2, "a"), cancel(1), cancel(3)]);
    let a = s.expect_request("a");
    s.respond(a, "A");
    s.expect_sent(stream, [response(2, "A")]);
    s.receives(stream, [cancel(2)]);
    s.expect_quiet();
}

#[test]
fn cancel_twice_abandons_once() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a"), cancel(1), cancel(1)]);
    let a = s.expect_request("a");
    s.expect_abandon(a);
    s.abandoned(a);
    s.expect_sent(stream, [failure(1, 6)]);
}

// What comes late.

/// S21: handlers of a stream that broke give their places back when they have stopped.
#[test]
fn answers_for_a_stream_that_broke_are_dropped() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a"), request(2, "b")]);
    let [a, b] = ["a", "b"].map(|body| s.expect_request(body));
    s.breaks(stream);
    s.expect_abandon(a);
    s.expect_abandon(b);
    s.respond(a, "A");
    s.abandoned(b);
    s.expect_rest();
    s.respond(a, "A");
    s.respond(b, "B");
    s.expect_rest();
    assert_eq!((s.stats().abandoned, s.stats().in_flight), (2, 0));
}

#[test]
fn a_second_answer_is_dropped_also_when_the_place_is_used_again() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.respond(a, "A");
    s.expect_sent(stream, [response(1, "A")]);
    s.receives(stream, [request(2, "b")]);
    let b = s.expect_request("b");
    s.respond(a, "again");
    s.expect_quiet();
    s.respond(b, "B");
    s.expect_sent(stream, [response(2, "B")]);
}

#[test]
fn what_comes_from_streams_that_are_gone_is_ignored() {
    let (mut s, stream) = ServerScript::native(config());
    s.breaks(stream);
    s.expect_rest();
    s.receives(stream, [request(1, "a")]);
    s.finishes(stream);
    s.expect_rest();
    assert!(!s.server.wants_read(stream));
    assert!(s.server.space(stream).is_none());
    // Its successor in the same place is another.
    let next = s.accept_native();
    s.receives(stream, [request(1, "a")]);
    s.expect_quiet();
    s.receives(next, [request(1, "b")]);
    s.expect_request("b");
}

// Protocols and counters.

/// S12, S15: A second registration is an error of its own; after unregistering, the name is
/// free.
#[test]
fn a_protocol_is_registered_once() {
    let mut s = ServerScript::new(config());
    let name = ProtocolName::new(PROTOCOL).expect("a name");
    assert_eq!(s.server.register(&name), Err(RegisterError::Exists(name.clone())));
    assert!(s.server.unregister(PROTOCOL));
    assert!(!s.server.unregister(PROTOCOL));
    assert_eq!(s.server.register(&name), Ok(()));
    assert!(s.server.unregister(PROTOCOL));
    assert!(!s.server.is_running());
}

/// S18: started = ok + failed + abandoned + in flight.
#[test]
fn counters_follow_requests() {
    let (mut s, stream) = ServerScript::native(config());
    let asked = [request(1, "a"), request(2, "b"), request(3, "c"), request(4, "d"), cancel(3)];
    s.receives(stream, asked);
    let [a, b, c, _] = ["a", "b", "c", "d"].map(|body| s.expect_request(body));
    s.expect_abandon(c);
    s.respond(a, "A");
    s.fail(b, StatusCode::Internal);
    s.abandoned(c);
    s.receives(stream, [request(5, "e").flag(0x10)]);
    s.expect_sent(
        stream,
        [response(1, "A"), failure(2, 7), failure(3, 6), failure(5, 9).unprocessed()],
    );
    let stats = s.stats();
    assert_eq!((stats.started, stats.ok, stats.failed, stats.abandoned), (4, 1, 1, 1));
    assert_eq!((stats.in_flight, stats.refused, stats.violations), (1, 1, 0));
    assert_ne!(stats, ServerStats::default());
}

#[test]
fn bytes_held_are_counted() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives_bytes(stream, request(1, body(100 * KIB)).first(30));
    s.expect_quiet();
    assert!(s.server.buffered() < 64 * KIB + 1, "{}", s.server.buffered());
    s.now = ms(1);
    s.breaks(stream);
    s.expect_rest();
    assert_eq!(s.server.buffered(), 0);
}

#[test]
fn a_detail_of_the_limit_is_sent() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [settings(4, 1), request(1, "a")]);
    let a = s.expect_request("a");
    let mut status = Status::new(StatusCode::Internal, "message");
    status.detail = Bytes::from_static(b"long");
    s.fail_with(a, status);
    s.expect_sent(stream, [failure(1, 7).message("message").body("long")]);
}
