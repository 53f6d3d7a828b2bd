//! The client: its time limits, and the caller's deadline.

use std::time::Duration;

use crate::support;
use crate::support::{
    CONNECT, ClientScript, KIB, MIB, READ, WRITE, body, cancel, frame, id, ms, plain, request,
    response, settings,
};
use bytes::Bytes;
use pointsub_core::endpoint::Offer;
use pointsub_core::{
    Cause, ClientConfig, Delivery, Format, Phase, RequestId, StreamError, StreamId,
};

const NATIVE: Offer = Offer::Only(Format::Native);

/// Without retries: `client_retry.rs` is about those.
fn config() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

fn timed_out(millis: u64) -> Cause {
    Cause::TimedOut(Duration::from_millis(millis))
}

/// A native stream on which request `id(2, 0)`, "a", was written at `millis`.
#[track_caller]
fn asked_at(millis: u64, config: ClientConfig) -> (ClientScript, StreamId, RequestId) {
    let (mut c, s) = ClientScript::native(config);
    c.at(millis);
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    (c, s, a)
}

// Limits of the client.

/// C3: one budget for dial, open and negotiation.
#[test]
fn connect_timeout_covers_the_open_and_abandons_it() {
    let mut c = ClientScript::new(config());
    c.at(3);
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.expires_at(3 + CONNECT);
    c.expect_abandon(s);
    c.expect_failed(a, timed_out(CONNECT), Phase::Connect, Delivery::NotProcessed);
    c.expect_rest();
}

#[test]
fn connect_timeout_counts_from_the_open_also_for_requests_that_come_later() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.at(CONNECT - 1);
    let b = c.send("b");
    c.expires_at(CONNECT);
    c.expect_abandon(s);
    c.expect_error(a);
    c.expect_failed(b, timed_out(CONNECT), Phase::Connect, Delivery::NotProcessed);
}

#[test]
fn an_open_that_succeeds_ends_connect_timeout() {
    let mut c = ClientScript::new(config());
    c.send("a");
    let s = c.expect_open(Offer::Both);
    c.at(CONNECT - 1);
    c.opened(s, Format::Native);
    c.expect_sent(s, [c.settings(), request(id(1, 0), "a")]);
    c.at(CONNECT + 1);
}

/// C1: to the nanosecond.
#[test]
fn read_timeout_counts_from_the_last_byte_written() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send(body(60 * KIB));
    let bytes = request(id(2, 0), body(60 * KIB)).bytes();
    c.expect_write_bytes(s, &bytes[..16 * KIB]);
    c.at(10_000);
    c.written(s);
    c.expect_write_bytes(s, &bytes[16 * KIB..]);
    c.at(25_000);
    c.written(s);
    c.expires_at(25_000 + READ);
    c.expect_failed(a, timed_out(READ), Phase::Wait, Delivery::Unknown);
    c.expect_write(s, [cancel(id(2, 0))]);
}

/// C1: a request that takes the place of one that was answered before all of it had left is not
/// taken for that one.
#[test]
fn read_timeout_counts_from_the_requests_own_last_byte() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_write(s, [request(id(2, 0), "a")]);
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    let b = c.send("b");
    c.at(10);
    c.written(s);
    c.expect_write(s, [request(id(3, 0), "b")]);
    c.at(20);
    c.written(s);
    c.expires_at(20 + READ);
    c.expect_failed(b, timed_out(READ), Phase::Wait, Delivery::Unknown);
    c.expect_sent(s, [cancel(id(3, 0))]);
}

#[test]
fn read_timeout_of_a_plain_stream_resets_it() {
    let (mut c, s) = ClientScript::plain(config());
    c.at(50);
    let a = c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.expires_at(50 + READ);
    c.expect_failed(a, timed_out(READ), Phase::Wait, Delivery::Unknown);
    c.expect_reset(s);
    c.expect_rest();
}

#[test]
fn each_request_has_a_read_timeout_of_its_own() {
    let (mut c, s, a) = asked_at(0, config());
    c.at(100);
    let b = c.send("b");
    c.expect_sent(s, [request(id(3, 1), "b")]);
    c.expires_at(READ);
    c.expect_error(a);
    c.expect_sent(s, [cancel(id(2, 0))]);
    c.expires_at(READ + 100);
    c.expect_error(b);
    c.expect_sent(s, [cancel(id(3, 1))]);
}

/// C2: each write has the whole time.
#[test]
fn write_timeout_counts_from_each_write_and_resets_the_stream() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send(body(60 * KIB));
    let bytes = request(id(2, 0), body(60 * KIB)).bytes();
    c.expect_write_bytes(s, &bytes[..16 * KIB]);
    c.at(20_000);
    c.written(s);
    c.expect_write_bytes(s, &bytes[16 * KIB..]);
    c.expires_at(20_000 + WRITE);
    c.expect_failed(a, timed_out(WRITE), Phase::Write, Delivery::Unknown);
    c.expect_reset(s);
    c.expect_rest();
}

/// C2: nobody loses a request that never left.
#[test]
fn at_write_timeout_requests_that_had_not_left_are_moved() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_write(s, [request(id(2, 0), "a")]);
    let b = c.send("b");
    c.expires_at(WRITE);
    c.expect_failed(a, timed_out(WRITE), Phase::Write, Delivery::Unknown);
    c.expect_reset(s);
    let fresh = c.expect_open(NATIVE);
    c.opened(fresh, Format::Native);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "b")]);
    c.receives(fresh, [response(id(1, 0), "B")]);
    c.expect_response(b, "B");
}

/// C1: the longest silence in the middle of a message, and 4 KiB a second after that much of it.
#[test]
fn a_message_must_arrive_within_read_timeout_unless_bytes_move() {
    let (mut c, s) = ClientScript::native(config().with_write_timeout(Duration::from_secs(3600)));
    let a = c.send("a");
    c.expect_write(s, [request(id(2, 0), "a")]);
    c.at(10_000);
    c.receives_bytes(s, response(id(2, 0), "answer").first(1));
    c.at(20_000);
    c.receives_bytes(s, response(id(2, 0), "answer").bytes().slice(1..20));
    // 19 bytes are worth 4 ms.
    c.expires_at(10_004 + READ);
    c.expect_failed(a, timed_out(READ), Phase::Write, Delivery::Unknown);
    c.expect_reset(s);
    c.expect_rest();
}

/// A native or plain stream on which "a" was asked at 0, and the bytes of an answer.
#[track_caller]
fn asked(native: bool, answer: Bytes) -> (ClientScript, StreamId, RequestId, Bytes) {
    if native {
        let (c, s, a) = asked_at(0, config());
        return (c, s, a, response(id(2, 0), answer).bytes());
    }
    let (mut c, s) = ClientScript::plain(config());
    let a = c.send("a");
    c.expect_sent(s, [plain("a")]);
    (c, s, a, plain(answer).bytes())
}

/// C1: 64 KiB every 10 s, 320 s in all.
#[test]
fn a_large_answer_is_waited_for_while_its_bytes_move() {
    for native in [false, true] {
        let answer = body(2 * MIB);
        let (mut c, s, a, bytes) = asked(native, answer.clone());
        for (n, part) in bytes.chunks(64 * KIB).enumerate() {
            c.at(10_000 * (n as u64 + 1));
            c.receives_bytes(s, bytes.slice_ref(part));
        }
        c.expect_response(a, answer);
    }
}

/// C1: the wait for an answer that has begun is that for its bytes, however small it is.
#[test]
fn an_answer_that_has_begun_is_waited_for() {
    for native in [false, true] {
        let (mut c, s, a, bytes) = asked(native, body(KIB));
        c.at(READ - 1);
        c.receives_bytes(s, bytes.slice(..20));
        c.at(2 * READ - 2);
        c.receives_bytes(s, bytes.slice(20..));
        c.expect_response(a, body(KIB));
    }
}

#[test]
fn a_large_answer_is_given_up_after_read_timeout_of_silence() {
    for native in [false, true] {
        let (mut c, s, a, bytes) = asked(native, body(2 * MIB));
        for n in 0..10 {
            c.at(20_000 * (n as u64 + 1));
            c.receives_bytes(s, bytes.slice(n * 128 * KIB..(n + 1) * 128 * KIB));
        }
        c.expires_at(200_000 + READ);
        c.expect_failed(a, timed_out(READ), Phase::Wait, Delivery::Unknown);
        c.expect_reset(s);
        c.expect_rest();
    }
}

/// C1: whoever sends a byte now and then does not hold the caller, or memory, for ever.
#[test]
fn an_answer_that_trickles_is_given_up() {
    for native in [false, true] {
        let (mut c, s, a, bytes) = asked(native, body(2 * MIB));
        c.receives_bytes(s, bytes.slice(..64 * KIB));
        c.at(READ - 1);
        c.receives_bytes(s, bytes.slice(64 * KIB..64 * KIB + 4096));
        // Another second for 4 KiB.
        c.expires_at(READ + 1000);
        c.expect_failed(a, timed_out(READ), Phase::Wait, Delivery::Unknown);
        c.expect_reset(s);
    }
}

/// C1: answers leave a server in turn; one behind a large one on a slow link is not late.
#[test]
fn an_answer_behind_a_slow_one_has_so_much_longer() {
    let (mut c, s, a) = asked_at(0, config());
    let b = c.send("b");
    c.expect_sent(s, [request(id(3, 1), "b")]);
    let bytes = response(id(3, 1), body(MIB)).bytes();
    let parts: Vec<&[u8]> = bytes.chunks(128 * KIB).collect();
    for (n, part) in parts.iter().enumerate() {
        c.at(10_000 * (n as u64 + 1));
        c.receives_bytes(s, bytes.slice_ref(part));
    }
    let took = 10_000 * (parts.len() as u64 - 1);
    c.expect_response(b, body(MIB));
    c.expires_at(READ + took);
    c.expect_failed(a, timed_out(READ), Phase::Wait, Delivery::Unknown);
    c.expect_sent(s, [cancel(id(2, 0))]);
}

/// C1: a stream that is busy is not one that is slow.
#[test]
fn answers_that_keep_a_stream_busy_do_not_hide_one_that_is_missing() {
    let (mut c, s, a) = asked_at(0, config());
    let mut rest = Bytes::new();
    for n in 1..300 {
        c.at(100 * n - 1);
        let b = c.send("b");
        c.expect_sent(s, [request(id(n + 2, 1), "b")]);
        // Each read ends in the middle of an answer.
        let answer = response(id(n + 2, 1), "B").bytes();
        c.at(100 * n);
        c.receives_bytes(s, [&rest[..], &answer[..5]].concat());
        rest = answer.slice(5..);
        c.at(100 * n + 50);
        c.receives_bytes(s, rest);
        rest = Bytes::new();
        c.expect_response(b, "B");
    }
    c.at(READ - 1);
    let b = c.send("b");
    c.expect_sent(s, [request(id(302, 1), "b")]);
    c.receives_bytes(s, response(id(302, 1), "B").first(5));
    c.expires_at(READ);
    c.expect_failed(a, timed_out(READ), Phase::Wait, Delivery::Unknown);
    c.expect_sent(s, [cancel(id(2, 0))]);
    c.receives_bytes(s, response(id(302, 1), "B").bytes().slice(5..));
    c.expect_response(b, "B");
}

/// C2: a large request is written in slices, and each has the whole time. What may lie in queues of
/// the transport then has its time too.
#[test]
fn a_large_request_is_written_and_answered_while_bytes_move() {
    for native in [false, true] {
        let started = if native { ClientScript::native } else { ClientScript::plain };
        let (mut c, s) = started(config());
        let a = c.send(body(MIB));
        let frame = match native {
            true => request(id(2, 0), body(MIB)),
            false => plain(body(MIB)),
        };
        let bytes = frame.bytes();
        let (mut at, mut sent) = (0, 0);
        while sent < bytes.len() {
            let len = if sent == 0 { 16 * KIB } else { 260_000.min(bytes.len() - sent) };
            c.expect_write_bytes(s, &bytes[sent..sent + len]);
            at += WRITE - 1;
            c.at(at);
            c.written(s);
            sent += len;
        }
        let queued = (bytes.len() as u64 - 64 * 1024) * 1000 / (32 * 1024);
        c.expires_at(at + READ + queued);
        c.expect_failed(a, timed_out(READ), Phase::Wait, Delivery::Unknown);
        match native {
            true => c.expect_sent(s, [cancel(id(2, 0))]),
            false => c.expect_reset(s),
        }
    }
}

/// C2: a request that did not leave whole was surely not processed.
#[test]
fn a_large_request_of_which_a_slice_is_not_taken_in_time_was_not_processed() {
    for native in [false, true] {
        let started = if native { ClientScript::native } else { ClientScript::plain };
        let (mut c, s) = started(config());
        let a = c.send(body(600 * KIB));
        for _ in 0..3 {
            c.expect_some_write(s);
            c.written(s);
        }
        c.expect_some_write(s);
        c.expires_at(WRITE);
        let cause = timed_out(WRITE);
        // The last slice was on its way.
        c.expect_failed(a, cause.clone(), Phase::Write, Delivery::Unknown);
        c.expect_reset(s);

        let (mut c, s) = started(config());
        let a = c.send(body(600 * KIB));
        c.expect_some_write(s);
        c.written(s);
        c.expect_some_write(s);
        c.expires_at(WRITE);
        c.expect_reset(s);
        // So it is moved.
        let format = if native { Format::Native } else { Format::Plain };
        let fresh = c.expect_open(Offer::Only(format));
        c.open_fails(fresh, StreamError::Lost("gone".into()));
        let error = c.expect_error(a);
        assert_eq!((error.phase, error.delivery), (Phase::Connect, Delivery::NotProcessed));
    }
}

/// C15: the server has its time to confirm from when it was asked.
#[test]
fn a_cancellation_is_to_be_confirmed_once_it_was_written() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send(body(60 * KIB));
    c.expect_some_write(s);
    c.cancel(a);
    c.at(20_000);
    c.written(s);
    c.expect_some_write(s);
    c.at(40_000);
    c.written(s);
    c.expect_write(s, [cancel(id(2, 0))]);
    c.at(50_000);
    c.written(s);
    c.expires_at(50_000 + READ);
    c.expect_reset(s);
    c.expect_rest();
}

#[test]
fn a_message_nobody_asked_for_must_arrive_in_time_too() {
    let (mut c, s) = ClientScript::native(config());
    c.at(5);
    c.receives_bytes(s, settings(1, 1).first(15));
    c.expires_at(5 + READ);
    c.expect_reset(s);
    c.expect_rest();
}

#[test]
fn each_message_has_the_whole_time() {
    let (mut c, s, a) = asked_at(0, config());
    c.receives_bytes(s, frame(0x80, 0, "").first(3));
    c.at(20_000);
    let rest = [&frame(0x80, 0, "").bytes()[3..], &response(id(2, 0), "A").bytes()[..3]].concat();
    c.receives_bytes(s, rest);
    c.at(29_000);
    c.receives_bytes(s, response(id(2, 0), "A").bytes().slice(3..));
    c.expect_response(a, "A");
}

#[test]
fn a_stream_on_which_a_request_timed_out_takes_none_until_it_gives_a_sign_of_life() {
    let (mut c, s, a) = asked_at(0, config());
    c.expires_at(READ);
    c.expect_error(a);
    c.expect_sent(s, [cancel(id(2, 0))]);
    c.send("b");
    let other = c.expect_open(NATIVE);
    c.receives(s, [response(id(2, 0), "late")]);
    c.expect_sent(s, [request(id(3, 0), "b")]);
    c.opened(other, Format::Native);
    c.expect_sent(other, [c.settings()]);
}

// The caller's deadline.

#[test]
fn the_deadline_passes_while_connecting() {
    let mut c = ClientScript::new(config());
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
    let (mut c, s) = ClientScript::native(config());
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
    let (mut c, s) = ClientScript::native(config());
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
    let (mut c, s) = ClientScript::native(config());
    let a = c.send_until(100, "a");
    c.expect_write(s, [request(id(2, 0), "a").timeout(100)]);
    c.expires_at(100);
    c.expect_failed(a, Cause::Deadline, Phase::Write, Delivery::Unknown);
    c.written(s);
    c.expect_write(s, [cancel(id(2, 0))]);
}

#[test]
fn the_deadline_passes_while_waiting_for_the_answer() {
    let (mut c, s) = ClientScript::native(config());
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
    let (mut c, s) = ClientScript::plain(config());
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
    let mut c = ClientScript::new(config());
    let a = c.send_until(CONNECT - 1, "a");
    c.expect_open(Offer::Both);
    c.expires_at(CONNECT - 1);
    c.expect_failed(a, Cause::Deadline, Phase::Connect, Delivery::NotProcessed);

    let (mut c, s) = ClientScript::native(config());
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
        let (mut c, s) = started(config());
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
    let (mut c, s) = ClientScript::native(config());
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
    let (mut c, _) = ClientScript::native(config());
    c.at(100);
    let a = c.send_until(100, "a");
    let error = c.expect_error(a);
    assert_eq!((error.cause, error.delivery), (Cause::Deadline, Delivery::NotProcessed));
    c.expect_quiet();
}

#[test]
fn a_deadline_that_has_passed_at_send_does_no_harm_to_the_stream() {
    let (mut c, s) = ClientScript::native(config());
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
    let (mut c, s) = ClientScript::native(config());
    c.at(100);
    let a = c.send_until(100, "a");
    c.expect_error(a);
    c.drain();
    c.expect_finish(s);
    c.expect_drained();
}

#[test]
fn an_answer_that_came_before_the_deadline_is_kept_though_both_are_seen_together() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send_until(100, "a");
    c.expect_sent(s, [request(id(2, 0), "a").timeout(100)]);
    c.now = ms(100);
    c.receives(s, [response(id(2, 0), "A")]);
    c.timeout();
    c.expect_response(a, "A");
}

#[test]
fn a_deadline_due_at_the_tick_just_passed_fails_at_once() {
    let (mut c, _) = ClientScript::native(config());
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
    let config = config().with_write_timeout(Duration::from_millis(10));
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
    let (mut c, s) = ClientScript::native(config());
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
    let (mut c, s) = ClientScript::native(config());
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
