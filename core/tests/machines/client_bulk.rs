//! The client: large bodies, and what travels beside them.

use crate::support::{ClientScript, KIB, body, id, plain, request, response, without_retries};
use pointsub_core::Format;
use pointsub_core::endpoint::Offer;

const PLAIN: Offer = Offer::Only(Format::Plain);

const NATIVE: Offer = Offer::Only(Format::Native);

// Large bodies.

#[test]
fn bodies_above_64_kib_travel_on_streams_of_their_own() {
    let (mut c, s) = ClientScript::native(without_retries());
    let large = body(64 * KIB + 1);
    c.send("small");
    c.send(large.clone());
    c.expect_sent(s, [request(id(2, 0), "small")]);
    let bulk = c.opens_native();
    c.expect_sent(bulk, [c.settings(), request(id(1, 0), large)]);
    c.send("small too");
    c.expect_sent(s, [request(id(3, 1), "small too")]);
}

#[test]
fn bodies_of_64_kib_travel_with_others() {
    let (mut c, s) = ClientScript::native(without_retries());
    c.send("small");
    c.send(body(64 * KIB));
    c.expect_sent(s, [request(id(2, 0), "small"), request(id(3, 1), body(64 * KIB))]);
}

#[test]
fn a_small_request_does_not_wait_behind_a_large_one() {
    let (mut c, s) = ClientScript::native(without_retries());
    let large = body(100 * KIB);
    c.send(large.clone());
    c.expect_sent(s, [request(id(2, 0), large)]);
    c.send("small");
    let other = c.opens_native();
    c.expect_sent(other, [c.settings(), request(id(1, 0), "small")]);
}

#[test]
fn a_stream_that_carried_a_large_body_takes_small_ones_again() {
    let (mut c, s) = ClientScript::native(without_retries());
    let a = c.send(body(100 * KIB));
    c.expect_sent(s, [request(id(2, 0), body(100 * KIB))]);
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.send("small");
    c.expect_sent(s, [request(id(3, 0), "small")]);
}

#[test]
fn at_most_max_bulk_streams_carry_large_bodies() {
    let (mut c, s) = ClientScript::native(without_retries().with_max_bulk_streams(2));
    let large = body(100 * KIB);
    let a = c.send(large.clone());
    c.send(large.clone());
    c.send(large.clone());
    c.expect_sent(s, [request(id(2, 0), large.clone())]);
    let second = c.opens_native();
    c.expect_sent(second, [c.settings(), request(id(1, 0), large.clone())]);
    c.expect_quiet();
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.expect_sent(s, [request(id(3, 0), large)]);
}

#[test]
fn small_requests_pass_large_ones_that_wait() {
    let (mut c, s) = ClientScript::native(without_retries().with_max_bulk_streams(1));
    let large = body(100 * KIB);
    c.send("small");
    c.expect_sent(s, [request(id(2, 0), "small")]);
    c.send(large.clone());
    c.send(large.clone());
    let bulk = c.opens_native();
    c.expect_sent(bulk, [c.settings(), request(id(1, 0), large)]);
    c.send("small too");
    c.expect_sent(s, [request(id(3, 1), "small too")]);
    assert_eq!(c.stats().waiting, 1);
}

/// Of either format.
#[test]
fn max_bulk_streams_holds_for_plain_streams_too() {
    let (mut c, s) = ClientScript::plain(without_retries().with_max_bulk_streams(1));
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
    let (mut c, s) = ClientScript::native(without_retries().with_max_bulk_streams(1));
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

/// The same for streams in the plain format, whatever their protocol.
#[test]
fn max_bulk_streams_holds_for_all_protocols_of_a_plain_peer_together() {
    let (mut c, s) = ClientScript::plain(without_retries().with_max_bulk_streams(1));
    let first = c.send_to(1, "/b", "first");
    let other = c.expect_open_to(1, "/b", Offer::Both);
    c.opened(other, Format::Plain);
    c.expect_sent(other, [plain("first")]);
    c.receives(other, [plain("")]);
    c.expect_response(first, "");
    let large = body(100 * KIB);
    let a = c.send(large.clone());
    c.expect_sent(s, [plain(large.clone())]);
    let b = c.send_to(1, "/b", large.clone());
    c.expect_quiet();
    // A small one does not wait for that.
    let small = c.send_to(1, "/b", "small");
    c.expect_sent(other, [plain("small")]);
    c.receives(other, [plain("")]);
    c.expect_response(small, "");
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    c.expect_sent(other, [plain(large)]);
    c.receives(other, [plain("B")]);
    c.expect_response(b, "B");
}

// In order.

/// Of a small and a large request that wait for the same stream, the one that came first goes first.
#[test]
fn small_and_large_requests_take_turns_as_they_came() {
    let large = body(100 * KIB);
    for large_first in [true, false] {
        let (mut c, s) = ClientScript::plain(without_retries().with_max_streams_per_peer(1));
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
    let (mut c, s) = ClientScript::native(without_retries().with_max_bulk_streams(1));
    let large = body(100 * KIB);
    let a = c.send(large.clone());
    c.expect_sent(s, [request(id(2, 0), large.clone())]);
    let b = c.send("b");
    let other = c.opens_native();
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
