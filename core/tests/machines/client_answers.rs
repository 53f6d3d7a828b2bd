//! The client: failures that the server answers with, compressed answers, and peers that break
//! the format.

use std::time::Duration;

use crate::support::{
    ClientScript, Wire, drain, failure, frame, id, plain, request, response, settings,
};
use bytes::Bytes;
use pointsub_core::endpoint::Offer;
use pointsub_core::wire::CallViolation;
use pointsub_core::wire::compress::InflateError;
use pointsub_core::{
    Cause, ClientConfig, ClientEvent, Delivery, Format, FrameError, Phase, RequestId, Status,
    StatusCode, StreamId,
};

const ID: u64 = id(2, 0);

/// Without retries: `client_retry.rs` is about those.
fn config() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

/// A native stream on which request [`ID`] was written.
#[track_caller]
fn asked() -> (ClientScript, StreamId, RequestId) {
    asked_with(config())
}

#[track_caller]
fn asked_with(config: ClientConfig) -> (ClientScript, StreamId, RequestId) {
    let (mut c, s) = ClientScript::native(config);
    let a = c.send("a");
    c.expect_sent(s, [request(ID, "a")]);
    (c, s, a)
}

/// The failure that this answer makes.
#[track_caller]
fn answered(answer: Wire) -> (Status, Delivery) {
    let (mut c, s, a) = asked();
    c.receives(s, [answer]);
    let error = c.expect_error(a);
    assert_eq!((error.phase, error.attempts), (Phase::Answer, 1));
    assert_eq!(c.stats().idle_streams, 1, "the stream goes on");
    let Cause::Remote(status) = error.cause else { panic!("{error}") };
    (status, error.delivery)
}

/// Another request on the same stream is answered.
#[track_caller]
fn expect_alive(c: &mut ClientScript, s: StreamId) {
    let b = c.send("b");
    c.expect_sent(s, [request(id(3, 0), "b")]);
    c.receives(s, [response(id(3, 0), "B")]);
    c.expect_response(b, "B");
}

/// These bytes break the stream on which one request is in flight.
#[track_caller]
fn breaks_it(bytes: impl Into<Bytes>) -> FrameError {
    let (mut c, s, a) = asked();
    c.receives_bytes(s, bytes);
    let error = c.expect_error(a);
    c.expect_reset(s);
    c.expect_rest();
    assert_eq!(error.delivery, Delivery::Unknown);
    let Cause::Violation(violation) = error.cause else { panic!("{error}") };
    violation
}

// Statuses.

#[test]
fn every_status_has_its_code() {
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
        (15, StatusCode::Unknown(15)),
        (255, StatusCode::Unknown(255)),
    ];
    for (byte, code) in codes {
        assert_eq!(answered(failure(ID, byte)).0, Status::new(code, ""));
    }
}

/// C4: what a handler has said, it has said after it ran.
#[test]
fn delivery_is_told_by_the_flag_and_by_what_only_handlers_bring_about() {
    for byte in [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 200] {
        let ran = matches!(byte, 1 | 7 | 11..=14);
        let delivery = if ran { Delivery::Processed } else { Delivery::Unknown };
        assert_eq!(answered(failure(ID, byte)).1, delivery);
        assert_eq!(answered(failure(ID, byte).unprocessed()).1, Delivery::NotProcessed);
    }
}

#[test]
fn a_failure_carries_all_its_fields() {
    let answer = failure(ID, 1).app_code(42).message("größe").retry_after(250).body("\x01\x02");
    let (status, _) = answered(answer);
    assert_eq!(status.code, StatusCode::Application(42));
    assert_eq!(status.message, "größe");
    assert_eq!(status.retry_after, Some(Duration::from_millis(250)));
    assert_eq!(status.detail, "\x01\x02");
}

#[test]
fn an_application_code_counts_only_with_its_status() {
    let (status, _) = answered(failure(ID, 3).app_code(42));
    assert_eq!(status.code, StatusCode::Busy);
}

#[test]
fn a_message_that_is_no_utf8_is_replaced() {
    let (status, _) = answered(failure(ID, 7).field(5, b"a\xffb"));
    assert_eq!(status.message, "a\u{fffd}b");
}

#[test]
fn a_long_message_is_taken_as_it_comes() {
    let (status, _) = answered(failure(ID, 7).message(&"x".repeat(16_000)));
    assert_eq!(status.message.len(), 16_000);
}

#[test]
fn status_zero_is_a_success_and_ignores_what_belongs_to_failures() {
    let (mut c, s, a) = asked();
    let answer = failure(ID, 0).app_code(1).message("m").retry_after(1).unprocessed().body("A");
    c.receives(s, [answer]);
    c.expect_response(a, "A");
}

#[test]
fn a_detail_is_handed_on_as_it_came_compressed_or_not() {
    let (status, _) = answered(failure(ID, 1).compressed(99_999_999).body("\x03\0"));
    assert_eq!(status.detail, "\x03\0");
}

#[test]
fn of_a_field_that_comes_twice_the_last_counts() {
    let (status, _) = answered(failure(ID, 3).field(3, &[7]));
    assert_eq!(status.code, StatusCode::Internal);
}

// Compressed answers.

#[test]
fn a_compressed_answer_is_inflated() {
    let (mut c, s, a) = asked();
    let text = "round and round the garden ".repeat(20);
    let deflated = miniz_oxide::deflate::compress_to_vec(text.as_bytes(), 6);
    c.receives(s, [response(ID, deflated).compressed(text.len() as u32)]);
    c.expect_response(a, text);
}

#[test]
fn an_answer_that_claims_more_than_the_limit_fails_alone() {
    let (mut c, s, a) = asked_with(config().with_max_block_size(100));
    c.receives(s, [response(ID, "01234567890").compressed(101)]);
    let cause = Cause::Body(InflateError::Bomb { announced: 101, limit: 100 });
    c.expect_failed(a, cause, Phase::Answer, Delivery::Processed);
    expect_alive(&mut c, s);
}

#[test]
fn an_answer_that_claims_more_than_128_times_its_size_fails_alone() {
    let (mut c, s, a) = asked();
    c.receives(s, [response(ID, "0123456789").compressed(1281)]);
    let cause = Cause::Body(InflateError::Bomb { announced: 1281, limit: 1280 });
    c.expect_failed(a, cause, Phase::Answer, Delivery::Processed);
    expect_alive(&mut c, s);
}

#[test]
fn an_answer_that_claims_exactly_the_limit_is_taken() {
    let zeros = vec![0; 1280];
    let deflated = miniz_oxide::deflate::compress_to_vec(&zeros, 9);
    let (mut c, s, a) = asked_with(config().with_max_block_size(1280));
    assert!(deflated.len() >= 10);
    c.receives(s, [response(ID, deflated).compressed(1280)]);
    c.expect_response(a, zeros);
}

#[test]
fn an_answer_that_lies_about_its_length_is_found_out_when_it_is_inflated() {
    let deflated = miniz_oxide::deflate::compress_to_vec(&[7; 50], 6);
    for (claimed, longer) in [(49_u32, false), (51, true)] {
        let (mut c, s, a) = asked();
        c.receives(s, [response(ID, deflated.clone()).compressed(claimed)]);
        let ClientEvent::Response { request, payload } = c.expect_event() else {
            panic!("no response")
        };
        assert_eq!((request, payload.len()), (a, claimed as usize));
        let error = payload.into_bytes().expect_err("a lie");
        let wanted = if longer {
            InflateError::Length { announced: claimed, actual: 50 }
        } else {
            InflateError::Broken { announced: claimed }
        };
        assert_eq!(error, wanted);
        expect_alive(&mut c, s);
    }
}

// Peers that break the format.

#[test]
fn an_answer_to_a_request_never_made_breaks_the_stream() {
    for wrong in [0, 1, id(2, 1), id(3, 0), id(1, 0), u64::MAX] {
        let violation = breaks_it(response(wrong, "?").bytes());
        assert_eq!(violation, FrameError::Unexpected("an answer to a request never made"));
    }
}

#[test]
fn an_answer_on_an_idle_plain_stream_breaks_it() {
    let (mut c, s) = ClientScript::plain(config());
    c.receives(s, [plain("?")]);
    c.expect_reset(s);
    c.expect_rest();
}

#[test]
fn a_second_answer_breaks_the_stream() {
    let (mut c, s, a) = asked();
    let b = c.send("b");
    c.expect_sent(s, [request(id(3, 1), "b")]);
    c.receives(s, [response(ID, "A"), response(ID, "A")]);
    c.expect_response(a, "A");
    let error = c.expect_error(b);
    assert!(matches!(error.cause, Cause::Violation(FrameError::Unexpected(_))), "{error}");
    c.expect_reset(s);
}

#[test]
fn a_second_plain_answer_breaks_the_stream() {
    let (mut c, s) = ClientScript::plain(config());
    let a = c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.receives(s, [plain("A"), plain("A")]);
    c.expect_response(a, "A");
    c.expect_reset(s);
    c.expect_rest();
}

#[test]
fn frames_of_clients_break_the_stream() {
    for kind in [2, 4] {
        let violation = breaks_it(frame(kind, ID, "").bytes());
        assert!(matches!(violation, FrameError::Unexpected(_)), "{violation}");
    }
}

#[test]
fn frames_of_calls_that_were_never_opened_break_the_stream() {
    for kind in [6, 7, 8, 9] {
        let violation = breaks_it(frame(kind, ID, "").bytes());
        assert_eq!(violation, FrameError::Call(CallViolation::NotOpen));
    }
}

#[test]
fn kinds_that_must_be_understood_break_the_stream() {
    for kind in [0, 0x0a, 0x7f] {
        assert_eq!(breaks_it(frame(kind, 0, "").bytes()), FrameError::UnknownKind { kind });
    }
}

#[test]
fn kinds_that_may_be_ignored_are_skipped() {
    let (mut c, s, a) = asked();
    c.receives(s, [frame(0x80, 7, "body"), frame(0xff, 0, "").field(1, b"x").flag(0xff)]);
    c.receives(s, [response(ID, "A")]);
    c.expect_response(a, "A");
}

#[test]
fn flags_that_must_be_understood_break_the_stream() {
    for bit in [0x02, 0x04, 0x08, 0x10, 0x20] {
        let violation = breaks_it(response(ID, "A").flag(bit).bytes());
        assert!(matches!(violation, FrameError::Unexpected(_)), "{violation}");
    }
}

#[test]
fn fields_that_must_be_understood_break_the_stream() {
    for tag in [0x01, 0x07, 0x11, 0x7f] {
        let violation = breaks_it(response(ID, "A").field(tag, &[0; 4]).bytes());
        assert_eq!(violation, FrameError::Field { tag });
    }
}

#[test]
fn flags_and_fields_that_may_be_ignored_are_ignored() {
    let (mut c, s, a) = asked();
    let answer = response(ID, "A").flag(0x80).field(0x81, &[2, 3]).field(0x82, b"\x01kv");
    c.receives(s, [answer.field(0xff, &[])]);
    c.expect_response(a, "A");
}

#[test]
fn what_settings_and_drain_do_not_use_is_not_looked_at() {
    let (mut c, s, a) = asked();
    let odd = frame(1, 9, "body").flag(0xff).field(0x05, b"x").field(0x91, &[0; 4]);
    c.receives(s, [odd, response(ID, "A")]);
    c.expect_response(a, "A");
    c.receives(s, [drain(ID).flag(0xff).body("body").field(1, &[])]);
    c.expect_finish(s);
}

#[test]
fn malformed_fields_break_the_stream() {
    let mut half = response(ID, "").field(3, &[0]).bytes().to_vec();
    half[18] = 2; // The value is said to have two bytes.
    assert_eq!(breaks_it(half), FrameError::Field { tag: 3 });
    assert_eq!(breaks_it(response(ID, "").field(3, &[0, 0]).bytes()), FrameError::Field { tag: 3 });
    let short = frame(1, 0, "").field(0x11, &[0; 2]).bytes();
    assert_eq!(breaks_it(short), FrameError::Field { tag: 0x11 });
}

#[test]
fn compressed_and_size_must_come_together() {
    let flag = response(ID, "\x03\0").flag(1).bytes();
    assert_eq!(breaks_it(flag), FrameError::Field { tag: 2 });
    let size = response(ID, "\x03\0").field(2, &[0; 4]).bytes();
    assert_eq!(breaks_it(size), FrameError::Field { tag: 2 });
}

#[test]
fn an_answer_that_is_too_large_fails_in_the_answer_and_breaks_the_stream() {
    let (mut c, s, a) = asked_with(config().with_max_block_size(10));
    let b = c.send("b");
    c.expect_sent(s, [request(id(3, 1), "b")]);
    c.receives_bytes(s, response(ID, "0123456789+").first(16));
    let violation = FrameError::TooLarge { id: ID, request: false, announced: 11, limit: 10 };
    c.expect_failed(a, Cause::Violation(violation.clone()), Phase::Answer, Delivery::Unknown);
    c.expect_failed(b, Cause::Violation(violation), Phase::Wait, Delivery::Unknown);
    c.expect_reset(s);
    assert_eq!(c.client.buffered(), 0);
}

#[test]
fn a_plain_answer_that_is_too_large_is_refused_on_sight_of_its_length() {
    let (mut c, s) = ClientScript::plain(config().with_max_block_size(10));
    let a = c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.receives_bytes(s, plain("0123456789+").first(4));
    let error = c.expect_error(a);
    assert!(matches!(error.cause, Cause::Violation(FrameError::TooLarge { .. })), "{error}");
    assert_eq!((error.phase, error.delivery), (Phase::Answer, Delivery::Unknown));
    c.expect_reset(s);
}

#[test]
fn an_answer_of_exactly_the_limit_is_taken() {
    let (mut c, s, a) = asked_with(config().with_max_block_size(10));
    c.receives(s, [response(ID, "0123456789")]);
    c.expect_response(a, "0123456789");
}

#[test]
fn settings_beyond_the_limit_break_the_stream_though_one_request_has_their_id() {
    let (mut c, s, a) = asked_with(config().with_max_block_size(10));
    c.receives_bytes(s, frame(0x80, ID, "0123456789+").first(16));
    let error = c.expect_error(a);
    assert!(matches!(error.cause, Cause::Violation(FrameError::TooLarge { .. })), "{error}");
    c.expect_reset(s);
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_lost() {
    let (mut c, s, a) = asked();
    c.receives_bytes(s, response(ID, "A").first(3));
    c.finishes(s);
    let cause = Cause::Lost("the stream ended inside a frame".into());
    c.expect_failed(a, cause, Phase::Wait, Delivery::Unknown);
    c.expect_reset(s);
}

#[test]
fn after_a_violation_a_new_stream_is_opened() {
    let (mut c, s, a) = asked();
    c.receives(s, [response(7, "?")]);
    c.expect_error(a);
    c.expect_reset(s);
    c.send("b");
    let fresh = c.expect_open(Offer::Only(Format::Native));
    c.opened(fresh, Format::Native);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "b")]);
    c.receives(fresh, [settings(1, 1)]);
}

/// A flood of frames that answer nothing (CVE-2019-9518) ends the stream; an answer among them
/// shows that the server means well.
#[test]
fn a_flood_of_frames_that_answer_nothing_breaks_the_stream() {
    let nothing = frame(0x90, 0, Bytes::new()).bytes();
    let (mut c, s, a) = asked();
    c.receives_bytes(s, nothing.repeat(10_000));
    c.receives(s, [response(ID, "A")]);
    c.expect_response(a, "A");
    c.receives_bytes(s, nothing.repeat(10_000));
    expect_alive(&mut c, s);
    let error = breaks_it(nothing.repeat(10_001));
    assert!(matches!(error, FrameError::Unexpected(_)), "{error:?}");
}
