//! The client: when it opens streams, which one it uses, when it closes them.

use std::time::Duration;

use crate::support::{
    ClientScript, IDLE, KIB, PROTOCOL, body, id, ms, peer, plain, request, response,
};
use pointsub_core::endpoint::Offer;
use pointsub_core::{Cause, ClientConfig, Delivery, Format, Phase, StreamId};

const PLAIN: Offer = Offer::Only(Format::Plain);
const NATIVE: Offer = Offer::Only(Format::Native);

/// Without retries: `client_retry.rs` is about those.
fn config() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

/// Opens a native stream and settles on 1024 requests in flight.
#[track_caller]
fn open_native(c: &mut ClientScript) -> StreamId {
    let s = c.expect_open(NATIVE);
    c.opened(s, Format::Native);
    s
}

// How many.

#[test]
fn plain_streams_open_up_to_max_streams_per_peer() {
    let (mut c, first) = ClientScript::plain(config().with_max_streams_per_peer(3));
    let requests = ["a", "b", "c", "d", "e"].map(|body| c.send(body));
    c.expect_sent(first, [plain("a")]);
    let (second, third) = (c.expect_open(PLAIN), c.expect_open(PLAIN));
    c.opened(second, Format::Plain);
    c.opened(third, Format::Plain);
    c.expect_sent(second, [plain("b")]);
    c.expect_sent(third, [plain("c")]);
    c.expect_quiet();
    c.receives(second, [plain("B")]);
    c.expect_response(requests[1], "B");
    c.expect_sent(second, [plain("d")]);
    assert_eq!((c.stats().streams, c.stats().waiting), (3, 1));
}

#[test]
fn the_cap_holds_over_all_protocols_of_a_peer() {
    let (mut c, s) = ClientScript::plain(config().with_max_streams_per_peer(1));
    c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.send_to(1, "/other", "b");
    c.expect_quiet();
    // Another peer has a cap of its own.
    c.send_to(2, "/other", "b");
    c.expect_open_to(2, "/other", Offer::Both);
}

#[test]
fn an_idle_stream_of_another_protocol_makes_room() {
    let (mut c, s) = ClientScript::plain(config().with_max_streams_per_peer(1));
    c.send_to(1, "/other", "b");
    c.expect_finish(s);
    let other = c.expect_open_to(1, "/other", Offer::Both);
    c.opened(other, Format::Plain);
    c.expect_sent(other, [plain("b")]);
}

#[test]
fn the_stream_that_is_idle_for_the_longest_time_makes_room() {
    let (mut c, old) = ClientScript::plain(config().with_max_streams_per_peer(2));
    let (a, b) = (c.send("a"), c.send("b"));
    let new = c.expect_open(PLAIN);
    c.opened(new, Format::Plain);
    c.expect_sent(old, [plain("a")]);
    c.expect_sent(new, [plain("b")]);
    c.at(10);
    c.receives(new, [plain("B")]);
    c.expect_response(b, "B");
    c.at(20);
    c.receives(old, [plain("A")]);
    c.expect_response(a, "A");
    c.send_to(1, "/other", "c");
    c.expect_finish(new);
    c.expect_open_to(1, "/other", Offer::Both);
}

#[test]
fn a_stream_of_another_protocol_that_falls_idle_makes_room() {
    let (mut c, s) = ClientScript::plain(config().with_max_streams_per_peer(1));
    let a = c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.send_to(1, "/other", "b");
    c.expect_quiet();
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    c.expect_finish(s);
    c.expect_open_to(1, "/other", Offer::Both);
}

#[test]
fn a_stream_of_another_protocol_that_ends_makes_room() {
    let (mut c, s) = ClientScript::plain(config().with_max_streams_per_peer(1));
    let a = c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.send_to(1, "/other", "b");
    c.breaks(s);
    c.expect_failed(a, Cause::Lost("broken".into()), Phase::Wait, Delivery::Unknown);
    c.expect_open_to(1, "/other", Offer::Both);
}

/// C9: the share of requests that found a pooled stream is told.
#[test]
fn the_hit_ratio_counts_requests_on_used_streams() {
    let (mut c, s) = ClientScript::native(config());
    assert_eq!((c.stats().placed, c.stats().reused, c.stats().hit_ratio()), (1, 0, 0.0));
    for n in 2..5 {
        let a = c.send("a");
        c.expect_sent(s, [request(id(n, 0), "a")]);
        c.receives(s, [response(id(n, 0), "A")]);
        c.expect_response(a, "A");
    }
    assert_eq!((c.stats().placed, c.stats().reused, c.stats().hit_ratio()), (4, 3, 0.75));
    assert_eq!(c.stats().opens, 1);
}

/// C17: every open stream is reported, with what it carries and since when it is idle.
#[test]
fn open_streams_are_reported() {
    let (mut c, s) = ClientScript::native(config());
    c.at(70);
    let a = c.send(body(10));
    c.send_to(2, "/other", "b");
    let opening = c.expect_open_to(2, "/other", Offer::Both);
    c.expect_sent(s, [request(id(2, 0), body(10))]);
    let info = c.client.connections_info(ms(80));
    assert_eq!(info.len(), 1, "a stream being opened is none yet");
    assert_eq!((info[0].peer, info[0].protocol.as_str()), (peer(1), PROTOCOL));
    assert_eq!((info[0].format, info[0].created), (Some(Format::Native), ms(0)));
    assert_eq!((info[0].last_active, info[0].idle), (ms(70), Duration::from_millis(10)));
    assert_eq!((info[0].requests, info[0].in_flight, info[0].memory), (2, 1, 10));

    c.at(90);
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.opened(opening, Format::Plain);
    c.expect_sent(opening, [plain("b")]);
    let info = c.client.connections_info(ms(100));
    assert_eq!(info.len(), 2);
    assert_eq!((info[0].last_active, info[0].in_flight, info[0].memory), (ms(90), 0, 0));
    assert_eq!((info[1].peer, info[1].format, info[1].memory), (peer(2), Some(Format::Plain), 1));
    assert_eq!(info[1].created, ms(90));
}

/// C7: plain streams are used again last in, first out.
#[test]
fn the_stream_that_was_used_last_is_used_again() {
    let (mut c, old) = ClientScript::plain(config());
    let (a, b) = (c.send("a"), c.send("b"));
    let new = c.expect_open(PLAIN);
    c.opened(new, Format::Plain);
    c.expect_sent(old, [plain("a")]);
    c.expect_sent(new, [plain("b")]);
    c.receives(new, [plain("B")]);
    c.expect_response(b, "B");
    c.at(1);
    c.receives(old, [plain("A")]);
    c.expect_response(a, "A");
    let c3 = c.send("c");
    c.expect_sent(old, [plain("c")]);
    c.at(70);
    c.receives(old, [plain("C")]);
    c.expect_response(c3, "C");
    c.at(80);
    let (d, e) = (c.send("d"), c.send("e"));
    c.expect_sent(old, [plain("d")]);
    c.expect_sent(new, [plain("e")]);
    c.receives(old, [plain("D")]);
    c.expect_response(d, "D");
    c.at(90);
    c.receives(new, [plain("E")]);
    c.expect_response(e, "E");
    c.send("f");
    c.expect_sent(new, [plain("f")]);
}

/// C7: the oldest native stream with room is used, so that surplus streams fall idle.
#[test]
fn the_oldest_native_stream_with_room_is_used() {
    let (mut c, old) = ClientScript::native(config().with_max_in_flight(1));
    let (a, b) = (c.send("a"), c.send("b"));
    let new = c.expect_open(NATIVE);
    c.opened(new, Format::Native);
    c.expect_sent(old, [request(id(2, 0), "a")]);
    c.expect_sent(new, [c.settings(), request(id(1, 0), "b")]);
    c.receives(old, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.receives(new, [response(id(1, 0), "B")]);
    c.expect_response(b, "B");
    c.send("c");
    c.expect_sent(old, [request(id(3, 0), "c")]);
}

// Whether a plain peer keeps its streams.

#[test]
fn a_plain_stream_takes_its_second_request_when_the_peer_has_kept_it_for_50_ms() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Plain);
    c.expect_sent(s, [plain("a")]);
    c.at(10);
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    c.expect_wait(60);
    c.at(60);
    c.send("b");
    c.expect_sent(s, [plain("b")]);
}

#[test]
fn while_a_plain_stream_is_watched_other_requests_have_streams_of_their_own() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Plain);
    c.expect_sent(s, [plain("a")]);
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    let b = c.send("b");
    let second = c.expect_open(PLAIN);
    c.opened(second, Format::Plain);
    c.expect_sent(second, [plain("b")]);
    c.receives(second, [plain("B")]);
    c.expect_response(b, "B");
    // One stream is enough to learn from.
    c.expect_finish(second);
    c.at(50);
    c.send("c");
    c.expect_sent(s, [plain("c")]);
}

#[test]
fn to_a_plain_peer_that_closes_after_its_answer_every_request_has_a_stream_of_its_own() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Plain);
    c.expect_sent(s, [plain("a")]);
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    c.at(49);
    c.finishes(s);
    c.expect_finish(s);
    for _ in 0..3 {
        let b = c.send("b");
        let s = c.expect_open(PLAIN);
        c.opened(s, Format::Plain);
        c.expect_sent(s, [plain("b")]);
        c.receives(s, [plain("B")]);
        c.expect_response(b, "B");
        // It does not wait for the peer to close it.
        c.expect_finish(s);
        c.expect_rest();
    }
}

#[test]
fn a_stream_that_is_watched_is_not_closed_for_a_request_that_could_use_it() {
    let mut c = ClientScript::new(config().with_max_streams_per_peer(1));
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Plain);
    c.expect_sent(s, [plain("a")]);
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    c.send("b");
    c.expires_at(50);
    c.expect_sent(s, [plain("b")]);
}

// Large bodies.

#[test]
fn bodies_above_64_kib_travel_on_streams_of_their_own() {
    let (mut c, s) = ClientScript::native(config());
    let large = body(64 * KIB + 1);
    c.send("small");
    c.send(large.clone());
    c.expect_sent(s, [request(id(2, 0), "small")]);
    let bulk = open_native(&mut c);
    c.expect_sent(bulk, [c.settings(), request(id(1, 0), large)]);
    c.send("small too");
    c.expect_sent(s, [request(id(3, 1), "small too")]);
}

#[test]
fn bodies_of_64_kib_travel_with_others() {
    let (mut c, s) = ClientScript::native(config());
    c.send("small");
    c.send(body(64 * KIB));
    c.expect_sent(s, [request(id(2, 0), "small"), request(id(3, 1), body(64 * KIB))]);
}

#[test]
fn a_small_request_does_not_wait_behind_a_large_one() {
    let (mut c, s) = ClientScript::native(config());
    let large = body(100 * KIB);
    c.send(large.clone());
    c.expect_sent(s, [request(id(2, 0), large)]);
    c.send("small");
    let other = open_native(&mut c);
    c.expect_sent(other, [c.settings(), request(id(1, 0), "small")]);
}

#[test]
fn a_stream_that_carried_a_large_body_takes_small_ones_again() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send(body(100 * KIB));
    c.expect_sent(s, [request(id(2, 0), body(100 * KIB))]);
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.send("small");
    c.expect_sent(s, [request(id(3, 0), "small")]);
}

#[test]
fn at_most_max_bulk_streams_carry_large_bodies() {
    let (mut c, s) = ClientScript::native(config().with_max_bulk_streams(2));
    let large = body(100 * KIB);
    let a = c.send(large.clone());
    c.send(large.clone());
    c.send(large.clone());
    c.expect_sent(s, [request(id(2, 0), large.clone())]);
    let second = open_native(&mut c);
    c.expect_sent(second, [c.settings(), request(id(1, 0), large.clone())]);
    c.expect_quiet();
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.expect_sent(s, [request(id(3, 0), large)]);
}

#[test]
fn small_requests_pass_large_ones_that_wait() {
    let (mut c, s) = ClientScript::native(config().with_max_bulk_streams(1));
    let large = body(100 * KIB);
    c.send("small");
    c.expect_sent(s, [request(id(2, 0), "small")]);
    c.send(large.clone());
    c.send(large.clone());
    let bulk = open_native(&mut c);
    c.expect_sent(bulk, [c.settings(), request(id(1, 0), large)]);
    c.send("small too");
    c.expect_sent(s, [request(id(3, 1), "small too")]);
    assert_eq!(c.stats().waiting, 1);
}

/// Of either format.
#[test]
fn max_bulk_streams_holds_for_plain_streams_too() {
    let (mut c, s) = ClientScript::plain(config().with_max_bulk_streams(1));
    let large = body(100 * KIB);
    let a = c.send(large.clone());
    c.send(large.clone());
    c.expect_sent(s, [plain(large.clone())]);
    c.send("small");
    let second = c.expect_open(PLAIN);
    c.opened(second, Format::Plain);
    c.expect_sent(second, [plain("small")]);
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    c.expect_sent(s, [plain(large)]);
}

/// And over all protocols of a peer; whoever waits for the longest time is next.
#[test]
fn max_bulk_streams_holds_for_all_protocols_of_a_peer_together() {
    let (mut c, s) = ClientScript::native(config().with_max_bulk_streams(1));
    let large = body(100 * KIB);
    let a = c.send(large.clone());
    c.expect_sent(s, [request(id(2, 0), large.clone())]);
    let b = c.send_to(1, "/b", large.clone());
    c.send(large.clone());
    c.send_to(1, "/c", large.clone());
    c.expect_quiet();
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    let other = c.expect_open_to(1, "/b", NATIVE);
    // While that is opened, another has its place.
    c.expect_sent(s, [request(id(3, 0), large.clone())]);
    c.opened(other, Format::Native);
    c.expect_sent(other, [c.settings()]);
    c.expect_quiet();
    c.receives(s, [response(id(3, 0), "")]);
    c.expect_event();
    c.expect_sent(other, [request(id(1, 0), large)]);
    c.receives(other, [response(id(1, 0), "B")]);
    c.expect_response(b, "B");
    c.expect_open_to(1, "/c", NATIVE);
}

/// C9: a Go server closes a stream after 10 000 requests, and the next one may cross with that.
#[test]
fn a_plain_stream_carries_9000_requests() {
    let (mut c, s) = ClientScript::plain(config());
    for n in 1..9_000_u64 {
        c.at(n);
        let a = c.send("a");
        if n == 8_999 {
            // Who comes meanwhile waits for another.
            c.send("b");
        }
        c.expect_sent(s, [plain("a")]);
        if n == 8_999 {
            let fresh = c.expect_open(PLAIN);
            c.receives(s, [plain("A")]);
            c.expect_response(a, "A");
            c.expect_finish(s);
            c.opened(fresh, Format::Plain);
            c.expect_sent(fresh, [plain("b")]);
            return;
        }
        c.receives(s, [plain("A")]);
        c.expect_response(a, "A");
    }
}

// Idle streams.

/// C8: an idle stream is closed at its time, to the nanosecond.
#[test]
fn an_idle_stream_is_closed_exactly_at_idle_conn_timeout() {
    let (mut c, s) = ClientScript::native(config());
    c.at(10_000);
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.at(12_000);
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.expires_at(12_000 + IDLE);
    c.expect_finish(s);
    c.expect_rest();
}

#[test]
fn a_stream_with_a_request_is_not_idle() {
    let config = config().with_read_timeout(Duration::from_millis(3 * IDLE));
    let (mut c, s) = ClientScript::plain(config);
    c.at(IDLE - 1000);
    let a = c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.at(IDLE + 5);
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    c.expires_at(IDLE + 5 + IDLE);
    c.expect_finish(s);
    c.expect_rest();
}

#[test]
fn a_stream_that_was_never_used_expires_too() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.cancel(a);
    c.at(40);
    c.opened(s, Format::Native);
    c.expect_sent(s, [c.settings()]);
    c.expires_at(40 + IDLE);
    c.expect_finish(s);
    c.expect_rest();
}

/// C7: the cap on idle streams in all.
#[test]
fn beyond_max_idle_conns_the_oldest_idle_stream_is_closed() {
    let (mut c, old) = ClientScript::plain(config().with_max_idle_conns(1));
    let b = c.send_to(2, PROTOCOL, "b");
    let new = c.expect_open_to(2, PROTOCOL, Offer::Both);
    c.at(5);
    c.opened(new, Format::Plain);
    c.expect_sent(new, [plain("b")]);
    c.expect_quiet();
    c.receives(new, [plain("B")]);
    c.expect_response(b, "B");
    c.expect_finish(old);
    assert_eq!((c.stats().streams, c.stats().idle_streams), (1, 1));
}

#[test]
fn with_max_idle_conns_zero_every_stream_is_closed_after_its_request() {
    let mut c = ClientScript::new(config().with_max_idle_conns(0));
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Plain);
    c.expect_sent(s, [plain("a")]);
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    c.expect_finish(s);
    c.expect_rest();
}

#[test]
fn an_idle_stream_that_the_peer_closes_is_closed_without_a_word() {
    for native in [false, true] {
        let started = if native { ClientScript::native } else { ClientScript::plain };
        let (mut c, s) = started(config());
        c.finishes(s);
        c.expect_finish(s);
        c.expect_rest();
        c.send("a");
        c.expect_open(Offer::Only(if native { Format::Native } else { Format::Plain }));
    }
}

// In order.

/// Of a small and a large request that wait for the same stream, the one that came first goes first.
#[test]
fn small_and_large_requests_take_turns_as_they_came() {
    let large = body(100 * KIB);
    for large_first in [true, false] {
        let (mut c, s) = ClientScript::plain(config().with_max_streams_per_peer(1));
        let a = c.send("a");
        c.expect_sent(s, [plain("a")]);
        let mut bodies = [body(1), large.clone()];
        if large_first {
            bodies.reverse();
        }
        for body in &bodies {
            c.send(body.clone());
        }
        c.receives(s, [plain("A")]);
        c.expect_response(a, "A");
        c.expect_sent(s, [plain(bodies[0].clone())]);
    }
}

/// A free native stream beyond `max_bulk_streams` is for small requests.
#[test]
fn large_requests_leave_free_streams_to_small_ones() {
    let (mut c, s) = ClientScript::native(config().with_max_bulk_streams(1));
    let large = body(100 * KIB);
    let a = c.send(large.clone());
    c.expect_sent(s, [request(id(2, 0), large.clone())]);
    let b = c.send("b");
    let other = open_native(&mut c);
    c.expect_sent(other, [c.settings(), request(id(1, 0), "b")]);
    c.receives(other, [response(id(1, 0), "B")]);
    c.expect_response(b, "B");
    c.send(large.clone());
    c.expect_quiet();
    assert_eq!((c.stats().waiting, c.stats().idle_streams), (1, 1));
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.expect_sent(other, [request(id(2, 0), large)]);
}
