//! The server: how many bytes it holds for whom, and what it refuses for want of memory.

use crate::support::{
    KIB, MIB, PROTOCOL, ServerScript, body, cancel, drain, failure, plain, request, response,
};
use bytes::Bytes;
use pointsub_core::{Body, Format, ServerConfig, ServerEvent, Status, StatusCode, StreamId};

const LARGE: usize = 200 * KIB;

fn config() -> ServerConfig {
    ServerConfig::default()
}

/// Budgets of so many bytes for a stream, a peer and the server.
fn budgets(stream: usize, peer: usize, server: usize) -> ServerConfig {
    config()
        .with_max_block_size(LARGE)
        .with_max_memory_per_stream(stream)
        .with_max_memory_per_peer(peer)
        .with_max_memory(server)
}

fn memory(s: &mut ServerScript) -> usize {
    usize::try_from(s.stats().memory).expect("fits")
}

/// Noise, which does not compress.
fn noise(len: usize) -> Bytes {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

// What is counted.

/// S19: from the first byte of a request to the last of its answer, what is held is counted,
/// and in the end nothing is.
#[test]
fn what_is_held_is_counted_to_the_byte() {
    let mut s = ServerScript::new(config());
    let stream = s.accept(Format::Native);
    assert_eq!(memory(&mut s), 44, "settings that wait to be written");
    s.expect_sent(stream, [s.settings()]);
    assert_eq!(memory(&mut s), 0);
    let asked = request(1, body(500)).bytes();
    s.receives_bytes(stream, asked.slice(..100));
    assert_eq!(memory(&mut s), 100, "a part of a request");
    s.receives_bytes(stream, asked.slice(100..));
    let call = s.expect_request(body(500));
    assert_eq!(memory(&mut s), 500, "a body at work");
    s.respond(call, body(300));
    let answer = s.expect_some_write(stream);
    assert_eq!(memory(&mut s), answer.len(), "an answer that is being written");
    s.written(stream);
    assert_eq!(memory(&mut s), 0);
}

/// S19: slices of an answer that were written are not freed before the last.
#[test]
fn an_answer_that_is_written_in_slices_is_counted_until_the_last() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a")]);
    let call = s.expect_request("a");
    s.respond(call, body(MIB));
    let mut left = MIB;
    left -= s.expect_some_write(stream).len();
    s.written(stream);
    let rest = memory(&mut s);
    while left > 260_000 {
        left -= s.expect_some_write(stream).len();
        s.written(stream);
        assert_eq!(memory(&mut s), rest);
    }
    s.expect_some_write(stream);
    assert_eq!(memory(&mut s), rest);
    s.written(stream);
    assert_eq!(memory(&mut s), 0);
}

/// S19: of a large body, what its buffer has; of a compressed one at work, both lengths.
#[test]
fn buffers_and_inflated_bodies_are_counted() {
    let (mut s, stream) = ServerScript::native(config());
    let asked = request(1, body(MIB)).bytes();
    s.receives_bytes(stream, asked.slice(..16));
    assert_eq!(memory(&mut s), 64 * KIB, "announced, and not begun");
    s.receives_bytes(stream, asked.slice(16..));
    let call = s.expect_request(body(MIB));
    assert_eq!(memory(&mut s), MIB);
    s.respond(call, "");
    s.flush(stream);
    let deflated = miniz_oxide::deflate::compress_to_vec(&body(10 * KIB), 6);
    let len = deflated.len();
    s.receives(stream, [request(2, deflated).compressed(10 * KIB as u32)]);
    let call = s.expect_request(body(10 * KIB));
    assert_eq!(memory(&mut s), len + 10 * KIB);
    s.receives(stream, [cancel(2)]);
    s.expect_abandon(call);
    assert_eq!(memory(&mut s), len + 10 * KIB, "its handler has not stopped");
    s.abandoned(call);
    s.flush(stream);
    assert_eq!(memory(&mut s), 0);
}

/// S19: A stream that breaks gives everything back but what its handlers still hold.
#[test]
fn a_stream_that_breaks_holds_what_its_handlers_hold() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, body(100)), request(2, body(10))]);
    let calls = s.take_requests();
    s.respond(calls[0], body(70));
    s.receives_bytes(stream, request(3, body(MIB)).first(500));
    s.expect_some_write(stream);
    assert!(memory(&mut s) > 64 * KIB);
    s.breaks(stream);
    s.expect_abandon(calls[1]);
    assert_eq!(memory(&mut s), 10);
    s.abandoned(calls[1]);
    assert_eq!(memory(&mut s), 0);
}

// A large body that does not fit.

/// S19: A large request whose announced length does not fit is answered before anything is
/// allocated for it, and the stream ends behind it.
#[test]
fn a_large_request_that_does_not_fit_is_refused_on_sight() {
    let (mut s, stream) = ServerScript::native(budgets(LARGE, 2 * LARGE, 4 * LARGE));
    s.receives(stream, [request(1, "at work")]);
    let call = s.expect_request("at work");
    s.receives_bytes(stream, request(2, body(LARGE)).first(16));
    let message = format!("no memory for {LARGE} bytes");
    let busy = failure(2, 3).message(&message).retry_after(100).unprocessed();
    s.expect_sent(stream, [busy, drain(2)]);
    assert_eq!(memory(&mut s), 7, "only what is at work");
    s.expect_reading(stream, false);
    s.receives(stream, [request(3, "not looked at")]);
    s.respond(call, "A");
    s.expect_sent(stream, [response(1, "A")]);
    s.expect_finish(stream);
    let stats = s.stats();
    assert_eq!((stats.busy, stats.refused, stats.violations, stats.memory), (1, 1, 0, 0));
    // Elsewhere there is room.
    let other = s.accept_native();
    s.receives(other, [request(1, body(LARGE))]);
    s.expect_request(body(LARGE));
}

/// S19: A budget of one block has room for a block of exactly that size, with any fields.
#[test]
fn a_request_of_exactly_the_budget_is_taken() {
    for whole in [true, false] {
        let (mut s, stream) = ServerScript::native(budgets(LARGE, LARGE, LARGE));
        let asked = request(1, body(LARGE)).timeout(1000).bytes();
        if whole {
            s.receives_bytes(stream, asked);
        } else {
            s.receives_bytes(stream, asked.slice(..20));
            s.expect_quiet();
            s.receives_bytes(stream, asked.slice(20..));
        }
        s.expect_request_until(Some(1000), body(LARGE));
        assert_eq!(memory(&mut s), LARGE);
    }
}

/// S19: a plain stream has no way to be told, and is reset.
#[test]
fn a_large_plain_request_that_does_not_fit_resets_the_stream() {
    let mut s = ServerScript::new(budgets(LARGE, LARGE, 4 * LARGE));
    let (one, two) = (s.accept(Format::Plain), s.accept(Format::Plain));
    s.receives(one, [plain("at work")]);
    s.expect_request("at work");
    s.receives_bytes(two, plain(body(LARGE)).first(4));
    s.expect_reset(two);
    assert_eq!((s.stats().busy, memory(&mut s)), (1, 7));
}

/// Opens a stream of a peer and sends the first half of a large request; whether it was refused.
fn half(s: &mut ServerScript, n: u8) -> (StreamId, bool) {
    let stream = s.native_from(n, PROTOCOL);
    let busy = s.stats().busy;
    s.receives_bytes(stream, request(1, body(LARGE)).first(16 + LARGE / 2));
    (stream, s.stats().busy > busy)
}

/// S19: peers and the server have budgets of their own: what one peer holds, on however many
/// streams, does not count for another until all is used up.
#[test]
fn each_peer_has_a_budget_and_all_have_one() {
    let mut s = ServerScript::new(budgets(LARGE, 2 * LARGE, 3 * LARGE));
    assert_eq!([half(&mut s, 1).1, half(&mut s, 1).1], [false, false]);
    let (refused, is_refused) = half(&mut s, 1);
    assert!(is_refused, "the peer's budget");
    s.flush(refused);
    s.expect_finish(refused);
    let (held, is_refused) = half(&mut s, 2);
    assert!(!is_refused);
    let (refused, is_refused) = half(&mut s, 3);
    assert!(is_refused, "the server's budget");
    s.flush(refused);
    s.expect_finish(refused);
    assert_eq!(memory(&mut s), 3 * LARGE);
    s.breaks(held);
    let (_, is_refused) = half(&mut s, 3);
    assert!(!is_refused, "there is room again");
}

/// S19: announcements cost nothing, so that more can be announced than fits; then whoever
/// comes too late is refused before its buffer grows.
#[test]
fn a_buffer_that_may_not_grow_is_given_up() {
    let budget = LARGE + 64 * KIB;
    let mut s = ServerScript::new(budgets(LARGE, budget, budget));
    let streams = [1, 1].map(|n| s.native_from(n, PROTOCOL));
    let asked = request(1, body(LARGE)).bytes();
    for stream in streams {
        s.receives_bytes(stream, asked.slice(..16));
        s.expect_quiet();
    }
    assert_eq!(memory(&mut s), 128 * KIB, "both may begin");
    for stream in streams {
        s.receives_bytes(stream, asked.slice(16..16 + 64 * KIB));
    }
    let message = format!("no memory for {LARGE} bytes");
    let busy = failure(1, 3).message(&message).retry_after(100).unprocessed();
    s.expect_sent(streams[1], [busy, drain(1)]);
    s.expect_finish(streams[1]);
    assert_eq!(memory(&mut s), LARGE);
    s.receives_bytes(streams[0], asked.slice(16 + 64 * KIB..));
    s.expect_request(body(LARGE));
}

// A small request that does not fit.

/// S19: it is answered busy alone, and its stream goes on.
#[test]
fn a_small_request_that_does_not_fit_is_answered_busy() {
    let (mut s, stream) = ServerScript::native(budgets(LARGE, LARGE, LARGE));
    let ids = 1..=LARGE as u64 / 50_000;
    for id in ids.clone() {
        s.receives(stream, [request(id, body(50_000))]);
    }
    let calls = s.take_requests();
    assert_eq!(calls.len(), 4);
    s.receives(stream, [request(10, body(4_801))]);
    let busy = failure(10, 3).message("no memory for the request").retry_after(100);
    s.expect_sent(stream, [busy.unprocessed()]);
    s.receives(stream, [request(11, body(4_800))]);
    let last = s.expect_request(body(4_800));
    assert_eq!((s.stats().busy, memory(&mut s)), (1, LARGE));
    for call in calls.into_iter().chain([last]) {
        s.respond(call, "");
    }
    s.flush(stream);
    s.receives(stream, [request(12, body(4_801))]);
    s.expect_request(body(4_801));
}

/// S19: what a compressed request inflates to has to fit beside it.
#[test]
fn a_compressed_request_counts_as_what_it_inflates_to() {
    let (mut s, stream) = ServerScript::native(budgets(LARGE, LARGE, LARGE));
    // A bit of noise in each byte, so that it shrinks, but not beyond what is allowed.
    let bits = |len| noise(len).iter().map(|byte| byte & 1).collect::<Bytes>();
    let deflated = |len| miniz_oxide::deflate::compress_to_vec(&bits(len), 6);
    s.receives(stream, [request(1, deflated(LARGE)).compressed(LARGE as u32)]);
    let busy = failure(1, 3).message("no memory for the request").retry_after(100);
    s.expect_sent(stream, [busy.unprocessed()]);
    let len = LARGE / 2;
    s.receives(stream, [request(2, deflated(len)).compressed(len as u32)]);
    let ServerEvent::Request { payload, .. } = s.expect_event() else { panic!("no request") };
    assert_eq!(payload.into_bytes(), Ok(bits(len)));
}

/// S19: A plain stream that carries it is closed.
#[test]
fn a_plain_request_that_does_not_fit_closes_the_stream() {
    let mut s = ServerScript::new(budgets(LARGE, LARGE, LARGE));
    let (one, two) = (s.accept(Format::Plain), s.accept(Format::Plain));
    s.receives(one, [plain(body(LARGE - 10))]);
    s.expect_request(body(LARGE - 10));
    s.receives(two, [plain(body(11))]);
    s.expect_finish(two);
    assert_eq!(s.stats().busy, 1);
}

// An answer that does not fit.

/// S19: it is replaced by a failure that says why, and that does not claim that the handler
/// saw nothing.
#[test]
fn an_answer_that_does_not_fit_is_replaced_by_a_failure() {
    let (mut s, stream) = ServerScript::native(budgets(LARGE, LARGE, LARGE));
    s.receives(stream, [request(1, body(10)), request(2, "b"), request(3, "c")]);
    let calls = s.take_requests();
    s.respond(calls[0], noise(LARGE - 2));
    let first = s.expect_some_write(stream);
    // What the two others hold, the first answer's header, and this do not fit.
    s.respond(calls[1], "0123456789");
    s.fail_with(calls[2], {
        let mut status = Status::new(StatusCode::Application(7), "m");
        status.detail = Bytes::from_static(b"detail");
        status
    });
    s.written(stream);
    let sent = [
        response(1, noise(LARGE - 2)),
        failure(2, 3).message("no memory for the response of 10 bytes").retry_after(100),
        failure(3, 1).app_code(7).message("m"),
    ];
    s.expect_sent_after(first, stream, sent);
    let stats = s.stats();
    assert_eq!((stats.ok, stats.failed, stats.busy, stats.memory), (1, 2, 0, 0));
}

/// S19: what counts is what goes on the wire.
#[test]
fn a_compressed_answer_counts_as_what_is_written() {
    let (mut s, stream) = ServerScript::native(budgets(LARGE, LARGE, LARGE));
    s.receives(stream, [request(1, noise(LARGE - 20 * KIB)), request(2, "b")]);
    let calls = s.take_requests();
    s.respond_body(calls[1], Body::compressed(Bytes::from("round and round ".repeat(8 * KIB))));
    s.flush(stream);
    assert_eq!(s.stats().ok, 1);
    s.respond(calls[0], noise(LARGE - 100));
    s.flush(stream);
    assert_eq!((s.stats().ok, memory(&mut s)), (2, 0), "the request's bytes make room");
}

/// S19: on a plain stream, the failure is the end of the stream.
#[test]
fn a_plain_answer_that_does_not_fit_closes_the_stream() {
    let mut s = ServerScript::new(budgets(LARGE, LARGE, LARGE));
    let (one, two) = (s.accept(Format::Plain), s.accept(Format::Plain));
    s.receives(one, [plain("a")]);
    let call = s.expect_request("a");
    s.receives(two, [plain(body(LARGE - 10))]);
    s.expect_request(body(LARGE - 10));
    s.respond(call, "0123456789+");
    s.expect_finish(one);
    assert_eq!((s.stats().failed, memory(&mut s)), (1, LARGE - 10));
}

/// S2, S19: A peer that asks and never reads its answers costs a bounded amount.
#[test]
fn answers_that_nobody_reads_stay_within_bounds() {
    let mut s = ServerScript::new(config());
    let stream = s.accept(Format::Native);
    s.expect_write(stream, [s.settings()]);
    for id in 1..10_000 {
        s.receives(stream, [request(id, body(100))]);
        for call in s.take_requests() {
            s.respond(call, body(10 * KIB));
        }
    }
    assert!(memory(&mut s) < 270 * KIB, "{}", memory(&mut s));
    s.breaks(stream);
    assert_eq!(memory(&mut s), 0);
}
