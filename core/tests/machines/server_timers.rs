//! The server: its four timers, each at its own time.

use std::time::Duration;

use crate::support::{
    IDLE, KIB, MIB, READ, ServerScript, WRITE, body, cancel, drain, failure, frame, ms, plain,
    request, response, settings,
};
use pointsub_core::{Format, ServerConfig};

fn config() -> ServerConfig {
    ServerConfig::default()
}

// Until the first request.

/// S1: the first byte has a timer of its own, exact to the nanosecond.
#[test]
fn a_native_stream_without_a_first_request_is_drained_at_read_timeout() {
    let mut s = ServerScript::new(config());
    s.at(40);
    let stream = s.accept_native();
    s.expires_at(40 + READ);
    s.expect_sent(stream, [drain(0)]);
    s.expect_finish(stream);
    s.expect_rest();
}

#[test]
fn a_plain_stream_without_a_first_request_is_reset_at_read_timeout() {
    let mut s = ServerScript::new(config());
    s.at(40);
    let stream = s.accept(Format::Plain);
    s.expires_at(40 + READ);
    s.expect_reset(stream);
    s.expect_rest();
}

#[test]
fn settings_are_no_first_request() {
    let (mut s, stream) = ServerScript::native(config());
    s.at(20_000);
    s.receives(stream, [settings(1 << 20, 10)]);
    s.expires_at(READ);
    s.expect_sent(stream, [drain(0)]);
    s.expect_finish(stream);
}

/// Found by simulation (a life of seed 20947): the time was over while a message that is no request
/// arrived, and the deadline that was told lay in the past.
#[test]
fn a_message_that_is_no_request_does_not_postpone_the_first_one() {
    let (mut s, stream) = ServerScript::native(config());
    let message = settings(1 << 20, 10);
    s.at(READ - 1);
    s.receives_bytes(stream, message.first(10));
    s.at(READ + 5);
    s.receives_bytes(stream, message.bytes().slice(10..));
    s.expect_sent(stream, [drain(0)]);
    s.expect_finish(stream);
}

#[test]
fn a_request_that_is_refused_is_a_first_request_too() {
    let (mut s, stream) = ServerScript::native(config());
    s.at(READ - 1);
    s.receives(stream, [request(1, "a").field(0x0c, b"")]);
    s.expect_sent(stream, [failure(1, 9).unprocessed()]);
    s.expires_at(READ - 1 + IDLE);
    s.expect_sent(stream, [drain(1)]);
    s.expect_finish(stream);
}

#[test]
fn the_first_request_ends_the_timer_of_the_first_request() {
    let (mut s, stream) = ServerScript::native(config());
    s.at(READ - 1);
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.at(10 * IDLE);
    s.respond(a, "A");
    s.expect_sent(stream, [response(1, "A")]);
}

// While a message arrives.

/// S1: A message has one from its first byte on, and 4 KiB of it are worth another second.
#[test]
fn a_message_must_arrive_within_read_timeout_unless_bytes_move() {
    let (mut s, stream) = ServerScript::native(config());
    let bytes = request(1, "hello").bytes();
    s.at(10_000);
    s.receives_bytes(stream, bytes.slice(..1));
    s.at(25_000);
    s.receives_bytes(stream, bytes.slice(1..20));
    // 19 bytes are worth 4 ms.
    s.expires_at(10_004 + READ);
    s.expect_reset(stream);
    s.expect_rest();
    assert_eq!(s.server.buffered(), 0);
}

/// S1: 128 KiB every 20 s, longer than an idle stream lives.
#[test]
fn a_large_request_may_take_long_while_its_bytes_move() {
    for format in [Format::Native, Format::Plain] {
        let started =
            if format == Format::Native { ServerScript::native } else { ServerScript::plain };
        let (mut s, stream) = started(config());
        let asked = match format {
            Format::Native => request(1, body(3 * MIB)),
            Format::Plain => plain(body(3 * MIB)),
        };
        let bytes = asked.bytes();
        for (n, part) in bytes.chunks(128 * KIB).enumerate() {
            s.at(20_000 * n as u64);
            s.receives_bytes(stream, bytes.slice_ref(part));
        }
        s.expect_request(body(3 * MIB));
    }
}

/// S1: but not for ever.
#[test]
fn a_large_request_that_trickles_or_stops_is_cut_off() {
    let (mut s, stream) = ServerScript::native(config());
    let bytes = request(1, body(3 * MIB)).bytes();
    s.receives_bytes(stream, bytes.slice(..64 * KIB));
    s.at(READ - 1);
    s.receives_bytes(stream, bytes.slice(64 * KIB..64 * KIB + 8192));
    s.expires_at(READ + 2000);
    s.expect_reset(stream);
    assert_eq!(s.server.buffered(), 0);

    let (mut s, stream) = ServerScript::native(config());
    s.receives_bytes(stream, bytes.slice(..64 * KIB));
    s.at(READ - 1);
    s.receives_bytes(stream, bytes.slice(64 * KIB..MIB));
    s.expires_at(2 * READ - 1);
    s.expect_reset(stream);
}

/// S2: each slice of a large answer has the whole time.
#[test]
fn a_large_answer_is_written_while_its_bytes_move() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.respond(a, body(MIB));
    let (mut at, mut sent) = (0, 0);
    while sent < MIB {
        let write = s.expect_some_write(stream);
        assert!(write.len() <= 260_000);
        sent += write.len();
        at += WRITE - 1;
        s.at(at);
        s.written(stream);
    }
    s.receives(stream, [request(2, "b")]);
    let b = s.expect_request("b");
    s.respond(b, body(MIB));
    s.expect_some_write(stream);
    s.expires_at(at + WRITE);
    s.expect_reset(stream);
}

#[test]
fn a_message_that_is_late_takes_those_at_work_with_it() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives_bytes(stream, [&request(1, "a").bytes()[..], &request(2, "b").first(5)].concat());
    let a = s.expect_request("a");
    s.expires_at(READ);
    s.expect_reset(stream);
    s.expect_abandon(a);
    s.abandoned(a);
    s.expect_rest();
}

#[test]
fn each_message_has_the_whole_time() {
    let (mut s, stream) = ServerScript::plain(config());
    s.receives_bytes(stream, plain("a").first(4));
    s.at(29_000);
    s.receives_bytes(stream, "a");
    let a = s.expect_request("a");
    s.respond(a, "A");
    s.expect_sent(stream, [plain("A")]);
    s.receives_bytes(stream, plain("b").first(4));
    s.expires_at(29_000 + READ);
    s.expect_reset(stream);
}

/// S1: idle and mid-message are not the same.
#[test]
fn the_idle_timer_does_not_cut_off_a_message_that_is_arriving() {
    let (mut s, stream) = ServerScript::plain(config());
    s.at(29_990);
    s.receives_bytes(stream, plain("hello").first(6));
    s.at(30_010);
    s.receives_bytes(stream, plain("hello").bytes().slice(6..));
    let a = s.expect_request("hello");
    s.respond(a, "A");
    s.expect_sent(stream, [plain("A")]);

    // The same on a stream that was in use.
    s.at(30_010 + IDLE - 1);
    s.receives_bytes(stream, plain("hello").first(6));
    s.at(30_010 + IDLE + 100);
    s.receives_bytes(stream, plain("hello").bytes().slice(6..));
    s.expect_request("hello");
}

#[test]
fn a_message_that_waits_behind_a_plain_request_is_not_timed() {
    let (mut s, stream) = ServerScript::plain(config());
    s.receives_bytes(stream, [&plain("a").bytes()[..], &plain("b").first(3)].concat());
    let a = s.expect_request("a");
    s.at(2 * READ);
    s.respond(a, "A");
    s.expect_sent(stream, [plain("A")]);
    s.expires_at(3 * READ);
    s.expect_reset(stream);
}

#[test]
fn a_message_that_waits_behind_unread_answers_is_not_timed() {
    let config = config().with_write_timeout(Duration::from_millis(10 * READ));
    let (mut s, stream) = ServerScript::native(config);
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.respond(a, body(300 * KIB));
    s.receives_bytes(stream, request(2, "b").first(7));
    s.expect_some_write(stream);
    s.at(2 * READ);
    s.written(stream);
    s.expect_some_write(stream);
    s.written(stream);
    s.flush(stream);
    s.expires_at(3 * READ);
    s.expect_reset(stream);
}

// While nothing happens.

/// S1, S10: an idle stream is closed exactly when it has been so for long enough.
#[test]
fn an_idle_native_stream_is_drained_exactly_at_the_cleanup_interval() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(7, "a")]);
    let a = s.expect_request("a");
    s.at(12_000);
    s.respond(a, "A");
    s.expect_sent(stream, [response(7, "A")]);
    s.expires_at(12_000 + IDLE);
    s.expect_sent(stream, [drain(7)]);
    s.expect_finish(stream);
    s.expect_rest();
}

/// S1, S10: so is a plain one.
#[test]
fn an_idle_plain_stream_is_closed_exactly_at_the_cleanup_interval() {
    let (mut s, stream) = ServerScript::plain(config());
    s.receives(stream, [plain("a")]);
    let a = s.expect_request("a");
    s.at(12_000);
    s.respond(a, "A");
    s.expect_sent(stream, [plain("A")]);
    s.expires_at(12_000 + IDLE);
    s.expect_finish(stream);
    s.expect_rest();
}

#[test]
fn frames_that_are_no_requests_do_not_keep_a_stream_from_being_idle() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a")]);
    let a = s.expect_request("a");
    s.respond(a, "A");
    s.expect_sent(stream, [response(1, "A")]);
    s.at(IDLE - 1);
    s.receives(stream, [settings(1 << 20, 1), cancel(1), frame(0x80, 0, "")]);
    s.expires_at(IDLE);
    s.expect_sent(stream, [drain(1)]);
    s.expect_finish(stream);
}

// While writing.

/// S2: A slow reader is cut at the write deadline.
#[test]
fn write_timeout_counts_from_each_write_and_resets_the_stream() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a"), request(2, "b")]);
    let [a, b] = ["a", "b"].map(|body| s.expect_request(body));
    s.at(10);
    s.respond(a, body(60 * KIB));
    s.expect_some_write(stream);
    s.at(20_000);
    s.written(stream);
    s.expect_some_write(stream);
    s.expires_at(20_000 + WRITE);
    s.expect_reset(stream);
    s.expect_abandon(b);
    s.abandoned(b);
    s.expect_rest();
}

#[test]
fn a_peer_that_does_not_take_the_settings_is_cut_off() {
    let mut s = ServerScript::new(config().with_write_timeout(Duration::from_millis(100)));
    let stream = s.accept(Format::Native);
    s.expect_write(stream, [s.settings()]);
    s.expires_at(100);
    s.expect_reset(stream);
    s.expect_rest();
}

/// S2: also one that has nothing more to ask.
#[test]
fn a_peer_that_does_not_take_the_last_answer_is_cut_off() {
    let (mut s, stream) = ServerScript::plain(config());
    s.receives(stream, [plain("a")]);
    let a = s.expect_request("a");
    s.finishes(stream);
    s.at(50);
    s.respond(a, "A");
    s.expect_write(stream, [plain("A")]);
    s.expires_at(50 + WRITE);
    s.expect_reset(stream);
    s.expect_rest();
}

/// S1: each timer is counted for itself, and for the stream that it ended.
#[test]
fn each_timer_is_counted_for_itself() {
    let (mut s, message) =
        ServerScript::native(config().with_write_timeout(Duration::from_millis(40_000)));
    let mut counts = Vec::new();
    let mut count = |s: &mut ServerScript| {
        let stats = s.stats();
        let [first, message] = [stats.first_byte_timeouts, stats.message_timeouts];
        counts.push([first, message, stats.write_timeouts, stats.idle_timeouts]);
    };
    let first = s.accept_native();
    s.at(1);
    s.receives_bytes(message, request(1, "a").first(3));
    s.expires_at(READ);
    s.expect_sent(first, [drain(0)]);
    s.expect_finish(first);
    count(&mut s);
    s.expires_at(READ + 1);
    s.expect_reset(message);
    count(&mut s);
    let write = s.accept_native();
    let idle = s.accept_native();
    for stream in [write, idle] {
        s.receives(stream, [request(1, "a")]);
        let call = s.expect_request("a");
        s.respond(call, "A");
        s.expect_write(stream, [response(1, "A")]);
    }
    s.written(idle);
    s.expires_at(READ + 1 + 40_000);
    s.expect_reset(write);
    count(&mut s);
    s.expires_at(READ + 1 + IDLE);
    s.expect_sent(idle, [drain(1)]);
    s.expect_finish(idle);
    count(&mut s);
    assert_eq!(counts, [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]);
    assert_eq!(s.stats().streams, 0);
}

#[test]
fn time_that_runs_backwards_stands_still() {
    let (mut s, stream) = ServerScript::native(config());
    s.at(1000);
    s.now = ms(10);
    s.receives(stream, [request(1, "a").timeout(50)]);
    s.expect_request_until(Some(1050), "a");
    s.timeout();
    s.expect_wait(1050);
}
