//! The client: its own time limits.

use std::time::Duration;

use crate::support::{
    CONNECT, ClientScript, KIB, MIB, READ, WRITE, asked_at, body, cancel, frame, id, plain,
    request, response, settings, timed_out, without_retries,
};
use bytes::Bytes;
use pointsub_core::endpoint::Offer;
use pointsub_core::{Delivery, Format, Phase, RequestId, StreamError, StreamId};

const NATIVE: Offer = Offer::Only(Format::Native);

// Limits of the client.

/// C3: one budget for dial, open and negotiation.
#[test]
fn connect_timeout_covers_the_open_and_abandons_it() {
    let mut c = ClientScript::new(without_retries());
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
    let mut c = ClientScript::new(without_retries());
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
    let mut c = ClientScript::new(without_retries());
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
    let (mut c, s) = ClientScript::native(without_retries());
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
    let (mut c, s) = ClientScript::native(without_retries());
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
    let (mut c, s) = ClientScript::plain(without_retries());
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
    let (mut c, s, a) = asked_at(0, without_retries());
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
    let (mut c, s) = ClientScript::native(without_retries());
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
    let (mut c, s) = ClientScript::native(without_retries());
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
    let (mut c, s) =
        ClientScript::native(without_retries().with_write_timeout(Duration::from_secs(3600)));
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
        let (c, s, a) = asked_at(0, without_retries());
        return (c, s, a, response(id(2, 0), answer).bytes());
    }
    let (mut c, s) = ClientScript::plain(without_retries());
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
    let (mut c, s, a) = asked_at(0, without_retries());
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
    let (mut c, s, a) = asked_at(0, without_retries());
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
        let (mut c, s) = started(without_retries());
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
        let (mut c, s) = started(without_retries());
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

        let (mut c, s) = started(without_retries());
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
    let (mut c, s) = ClientScript::native(without_retries());
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
    let (mut c, s) = ClientScript::native(without_retries());
    c.at(5);
    c.receives_bytes(s, settings(1, 1).first(15));
    c.expires_at(5 + READ);
    c.expect_reset(s);
    c.expect_rest();
}

#[test]
fn each_message_has_the_whole_time() {
    let (mut c, s, a) = asked_at(0, without_retries());
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
    let (mut c, s, a) = asked_at(0, without_retries());
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
