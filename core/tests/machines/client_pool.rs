//! The client: when it opens streams, which one it uses, when it closes them.

use std::time::Duration;

use crate::support::{
    ClientScript, IDLE, PROTOCOL, body, id, ms, peer, plain, request, response, without_retries,
};
use pointsub_core::endpoint::Offer;
use pointsub_core::{Cause, Delivery, Format, Phase};

const PLAIN: Offer = Offer::Only(Format::Plain);

const NATIVE: Offer = Offer::Only(Format::Native);

// How many.

#[test]
fn plain_streams_open_up_to_max_streams_per_peer() {
    let (mut c, first) = ClientScript::plain(without_retries().with_max_streams_per_peer(3));
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
    let (mut c, s) = ClientScript::plain(without_retries().with_max_streams_per_peer(1));
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
    let (mut c, s) = ClientScript::plain(without_retries().with_max_streams_per_peer(1));
    c.send_to(1, "/other", "b");
    c.expect_finish(s);
    let other = c.expect_open_to(1, "/other", Offer::Both);
    c.opened(other, Format::Plain);
    c.expect_sent(other, [plain("b")]);
}

#[test]
fn the_stream_that_is_idle_for_the_longest_time_makes_room() {
    let (mut c, old) = ClientScript::plain(without_retries().with_max_streams_per_peer(2));
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
    let (mut c, s) = ClientScript::plain(without_retries().with_max_streams_per_peer(1));
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
    let (mut c, s) = ClientScript::plain(without_retries().with_max_streams_per_peer(1));
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
    let (mut c, s) = ClientScript::native(without_retries());
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
    let (mut c, s) = ClientScript::native(without_retries());
    c.at(70);
    let a = c.send(body(10));
    c.send_to(2, "/other", "b");
    let opening = c.expect_open_to(2, "/other", Offer::Both);
    c.expect_sent(s, [request(id(2, 0), body(10))]);
    let info = c.client.streams(ms(80));
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
    let info = c.client.streams(ms(100));
    assert_eq!(info.len(), 2);
    assert_eq!((info[0].last_active, info[0].in_flight, info[0].memory), (ms(90), 0, 0));
    assert_eq!((info[1].peer, info[1].format, info[1].memory), (peer(2), Some(Format::Plain), 1));
    assert_eq!(info[1].created, ms(90));
}

/// C7: plain streams are used again last in, first out.
#[test]
fn the_stream_that_was_used_last_is_used_again() {
    let (mut c, old) = ClientScript::plain(without_retries());
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
    let (mut c, old) = ClientScript::native(without_retries().with_max_in_flight(1));
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
    let mut c = ClientScript::new(without_retries());
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
    let mut c = ClientScript::new(without_retries());
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
    let mut c = ClientScript::new(without_retries());
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
    let mut c = ClientScript::new(without_retries().with_max_streams_per_peer(1));
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

/// C9: a Go server closes a stream after 10 000 requests, and the next one may cross with that.
#[test]
fn a_plain_stream_carries_9000_requests() {
    let (mut c, s) = ClientScript::plain(without_retries());
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
fn an_idle_stream_is_closed_exactly_at_idle_stream_timeout() {
    let (mut c, s) = ClientScript::native(without_retries());
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
    let config = without_retries().with_read_timeout(Duration::from_millis(3 * IDLE));
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
    let mut c = ClientScript::new(without_retries());
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
fn beyond_max_idle_streams_the_oldest_idle_stream_is_closed() {
    let (mut c, old) = ClientScript::plain(without_retries().with_max_idle_streams(1));
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
fn with_max_idle_streams_zero_every_stream_is_closed_after_its_request() {
    let mut c = ClientScript::new(without_retries().with_max_idle_streams(0));
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
        let (mut c, s) = started(without_retries());
        c.finishes(s);
        c.expect_finish(s);
        c.expect_rest();
        c.send("a");
        c.expect_open(Offer::Only(if native { Format::Native } else { Format::Plain }));
    }
}
