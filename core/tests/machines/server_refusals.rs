//! The server: requests that it refuses, and peers that break the format.

use crate::support::{
    PROTOCOL, ServerScript, Wire, cancel, drain, failure, frame, peer, plain, request, response,
    server_settings,
};
use bytes::Bytes;
use pointsub_core::connection::ServerStream;
use pointsub_core::endpoint::Admission;
use pointsub_core::wire::compress::InflateError;
use pointsub_core::{
    Format, ProtocolName, ServerConfig, ServerEvent, Status, StatusCode, StreamEvent, StreamOp,
    Timestamp,
};

fn config() -> ServerConfig {
    ServerConfig::default()
}

/// The one answer to this one request, which no handler sees, on a stream that goes on.
#[track_caller]
fn refused(config: ServerConfig, asked: Wire, answer: Wire) {
    let (mut s, stream) = ServerScript::native(config);
    s.receives(stream, [asked]);
    s.expect_sent(stream, [answer]);
    assert_eq!((s.stats().started, s.stats().refused), (0, 1));
    s.receives(stream, [request(100, "next")]);
    s.expect_request("next");
}

/// These bytes break the stream while a request is at work.
#[track_caller]
fn breaks_it(bytes: impl Into<Bytes>) {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(7, "a")]);
    let a = s.expect_request("a");
    s.receives_bytes(stream, bytes);
    s.expect_abandon(a);
    s.expect_reset(stream);
    assert_eq!(s.stats().violations, 1);
    s.abandoned(a);
    s.expect_rest();
}

// Busy.

/// S8: above the limit, a request is answered busy, with the time to wait.
#[test]
fn beyond_max_concurrent_requests_requests_are_answered_busy() {
    let (mut s, one) = ServerScript::native(config().with_max_concurrent_requests(1));
    let two = s.accept_native();
    s.receives(one, [request(1, "a")]);
    let a = s.expect_request("a");
    s.receives(two, [request(1, "b")]);
    s.expect_sent(two, [failure(1, 3).retry_after(100).unprocessed()]);
    s.respond(a, "A");
    s.expect_sent(one, [response(1, "A")]);
    s.receives(two, [request(2, "c")]);
    s.expect_request("c");
    assert_eq!((s.stats().started, s.stats().refused), (2, 1));
}

#[test]
fn a_busy_plain_server_closes_the_stream_without_a_frame() {
    let (mut s, one) = ServerScript::plain(config().with_max_concurrent_requests(1));
    let two = s.accept(Format::Plain);
    s.receives(one, [plain("a")]);
    s.expect_request("a");
    s.receives(two, [plain("b")]);
    s.expect_finish(two);
}

#[test]
fn beyond_max_in_flight_of_a_stream_requests_are_answered_busy() {
    let (mut s, stream) = ServerScript::native(config().with_max_in_flight(2));
    s.receives(stream, [request(1, "a"), request(2, "b"), request(3, "c")]);
    let a = s.expect_request("a");
    s.expect_request("b");
    let message = "more requests on one stream than were agreed on";
    s.expect_sent(stream, [failure(3, 3).message(message).unprocessed()]);
    // The cap is one of each stream.
    let other = s.accept_native();
    s.receives(other, [request(1, "d")]);
    s.expect_request("d");
    s.respond(a, "A");
    s.expect_sent(stream, [response(1, "A")]);
    s.receives(stream, [request(4, "e")]);
    s.expect_request("e");
}

// What cannot be understood.

#[test]
fn flags_that_must_be_understood_are_unimplemented() {
    for bit in [0x02, 0x04, 0x08, 0x10, 0x20] {
        refused(config(), request(1, "a").flag(bit), failure(1, 9).unprocessed());
    }
}

#[test]
fn fields_that_must_be_understood_are_unimplemented() {
    for tag in [0x03, 0x0c, 0x08, 0x11, 0x7f] {
        refused(config(), request(1, "a").field(tag, b"x"), failure(1, 9).unprocessed());
    }
}

#[test]
fn flags_and_fields_that_may_be_ignored_are_ignored() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a").flag(0xc0).field(0x82, b"\x01kv").field(0xff, b"")]);
    s.expect_request("a");
}

#[test]
fn kinds_that_may_be_ignored_are_skipped() {
    let (mut s, stream) = ServerScript::native(config());
    let skipped = [frame(0x80, 7, "body"), frame(0xff, 0, "").flag(0xff).field(1, b"x")];
    s.receives(stream, skipped);
    s.receives(stream, [request(1, "a")]);
    s.expect_request("a");
}

#[test]
fn kinds_that_must_be_understood_break_the_stream() {
    for kind in [0, 7, 0x7f] {
        breaks_it(frame(kind, 0, "").bytes());
    }
}

#[test]
fn frames_of_servers_break_the_stream() {
    for kind in [3, 5, 7] {
        breaks_it(frame(kind, 7, "").bytes());
    }
}

#[test]
fn frames_of_calls_that_were_never_opened_break_the_stream() {
    for kind in [6, 8, 9] {
        breaks_it(frame(kind, 8, "").bytes());
    }
}

#[test]
fn ids_that_do_not_increase_break_the_stream() {
    for id in [7, 6, 1, 0] {
        breaks_it(request(id, "b").bytes());
    }
}

/// S9: what is malformed ends its stream and nothing else.
#[test]
fn malformed_fields_break_the_stream() {
    breaks_it(request(8, "").field(1, &[0; 3]).bytes());
    breaks_it(request(8, "").flag(1).bytes());
    breaks_it(request(8, "").field(2, &[0; 4]).bytes());
    breaks_it(frame(1, 0, "").field(0x12, &[0; 3]).bytes());
    // Also beside something that is unknown.
    breaks_it(request(8, "").flag(0x10).field(1, &[0; 3]).bytes());
}

#[test]
fn what_settings_and_cancel_do_not_use_is_not_looked_at() {
    let (mut s, stream) = ServerScript::native(config());
    let odd = frame(1, 9, "body").flag(0xff).field(0x05, b"x").field(0x91, &[0; 4]);
    s.receives(stream, [odd, cancel(9).flag(0xff).body("body").field(1, b"x")]);
    s.receives(stream, [request(1, "a")]);
    s.expect_request("a");
}

#[test]
fn settings_beyond_the_limit_break_the_stream() {
    let (mut s, stream) = ServerScript::native(config().with_max_block_size(10));
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.receives_bytes(stream, frame(1, 2, "0123456789+").first(16));
    s.expect_abandon(a);
    s.expect_reset(stream);
    assert_eq!(s.stats().violations, 1);
}

// Requests that are too large, or lie.

/// S4: one byte more than the limit is refused on sight of its header.
#[test]
fn a_request_that_is_too_large_is_answered_and_the_rest_of_the_stream_finished() {
    let (mut s, stream) = ServerScript::native(config().with_max_block_size(10));
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.receives_bytes(stream, request(2, "0123456789+").first(16));
    let refusal = failure(2, 4).message("11 bytes, the limit is 10").unprocessed();
    s.expect_sent(stream, [refusal, drain(2)]);
    s.expect_reading(stream, false);
    s.receives(stream, [request(3, "ignored"), cancel(1)]);
    s.expect_quiet();
    s.respond(a, "A");
    s.expect_sent(stream, [response(1, "A")]);
    s.expect_finish(stream);
    assert_eq!((s.stats().refused, s.stats().violations), (1, 0));
    s.expect_rest();
}

/// S4: exactly the limit is not too large.
#[test]
fn a_request_of_exactly_the_limit_is_taken() {
    let (mut s, stream) = ServerScript::native(config().with_max_block_size(10));
    s.receives(stream, [request(1, "0123456789")]);
    s.expect_request("0123456789");
}

/// A client that writes the whole request before it reads would wait for ever if just our half of
/// the stream were closed.
#[test]
fn a_plain_request_that_is_too_large_resets_the_stream() {
    let (mut s, stream) = ServerScript::plain(config().with_max_block_size(10));
    s.receives_bytes(stream, plain("0123456789+").first(4));
    s.expect_reset(stream);
    assert_eq!((s.stats().refused, s.stats().violations), (1, 0));
    s.expect_rest();
}

#[test]
fn a_request_that_is_too_large_and_whose_id_does_not_increase_breaks_the_stream() {
    let (mut s, stream) = ServerScript::native(config().with_max_block_size(10));
    s.receives(stream, [request(2, "a")]);
    let a = s.expect_request("a");
    s.receives_bytes(stream, request(2, "0123456789+").first(16));
    s.expect_abandon(a);
    s.expect_reset(stream);
}

#[test]
fn a_request_that_claims_more_than_the_limit_is_too_large_alone() {
    let error = InflateError::Bomb { announced: 101, limit: 100 }.to_string();
    let answer = failure(1, 4).message(&error).unprocessed();
    let config = config().with_max_block_size(100);
    refused(config, request(1, "01234567890").compressed(101), answer);
}

#[test]
fn a_request_that_claims_more_than_128_times_its_size_is_a_bad_request() {
    let error = InflateError::Bomb { announced: 1281, limit: 1280 }.to_string();
    let answer = failure(1, 10).message(&error).unprocessed();
    refused(config(), request(1, "0123456789").compressed(1281), answer);
}

#[test]
fn a_request_that_lies_about_its_length_is_found_out_when_it_is_inflated() {
    let (mut s, stream) = ServerScript::native(config());
    let deflated = miniz_oxide::deflate::compress_to_vec(&[7; 50], 6);
    s.receives(stream, [request(1, deflated).compressed(51)]);
    let ServerEvent::Request { payload, .. } = s.expect_event() else { panic!("no request") };
    assert_eq!(payload.into_bytes(), Err(InflateError::Length { announced: 51, actual: 50 }));
}

/// O1: a stream that is denied answers its first request with what the rule says, small or large, and
/// then ends: nothing is looked at behind the DRAIN.
#[test]
fn a_denied_stream_answers_once_and_ends() {
    let status = Status::new(StatusCode::PermissionDenied, "members only");
    for len in [1, 200 * 1024] {
        let (config, now) = (ServerConfig::default(), Timestamp::ZERO);
        let mut admission = Admission::new(&config);
        let name = ProtocolName::new(PROTOCOL).expect("a usable name");
        admission.register(&name).expect("the first");
        let mut stream =
            ServerStream::new(Format::Native, &config, now).with_denial(status.clone());
        let (key, verdict) = admission.open(peer(1), &name, Format::Native, true, now);
        stream.handle_verdict(verdict, now);
        let asks = [request(1, vec![7; len]), request(2, vec![7; len])].map(|wire| wire.bytes());
        stream.handle(StreamEvent::Received(asks.concat().into()), now);
        let mut written = Vec::new();
        for _ in 0..20 {
            assert_eq!(stream.poll_event(now), None);
            while let Some(op) = stream.poll_op() {
                if let StreamOp::Write(bytes) = op {
                    written.extend_from_slice(&bytes);
                    stream.handle(StreamEvent::Written, now);
                }
            }
            if let Some(report) = stream.take_report() {
                stream.handle_verdict(admission.handle(key, report, now), now);
            }
        }
        let (told, _) = crate::support::wire::without_load(&written);
        let denied = failure(1, 13).message("members only").unprocessed().bytes();
        let (max_body, max_in_flight) = (config.max_block_size(), config.max_in_flight() as u32);
        let settings = server_settings(max_body, max_in_flight, config.max_calls() as u32).bytes();
        assert_eq!(told, [settings, denied, drain(1).bytes()].concat(), "{len} bytes");
        assert!(stream.is_ended());
        admission.close(key, stream.close(now), now);
        let stats = admission.stats();
        assert_eq!((stats.denied, stats.refused, stats.started, stats.memory), (1, 1, 0, 0));
    }
}
