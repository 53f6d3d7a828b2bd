//! The client: a peer that is too busy for more than it has.

use crate::support::{
    ClientScript, Wire, cancel, failure, id, request, response, settings, without_retries,
};
use pointsub_core::endpoint::Offer;
use pointsub_core::{Cause, ClientConfig, Delivery, Format, RequestId, StatusCode, StreamId};

const BUSY: u8 = 3;

/// `busy`, and nothing was done.
fn busy(request: u64) -> Wire {
    failure(request, BUSY).retry_after(100).unprocessed()
}

/// A client of which as many requests are at work as are named.
fn asks<const N: usize>(
    config: ClientConfig,
    names: [&'static str; N],
) -> (ClientScript, StreamId, [RequestId; N]) {
    let (mut c, s) = ClientScript::native(config);
    let requests = names.map(|name| c.send(name));
    let mut slot = 0;
    c.expect_sent(
        s,
        names.map(|name| {
            slot += 1;
            request(id(slot + 1, slot - 1), name)
        }),
    );
    (c, s, requests)
}

/// C5: what is refused waits until something has ended, in the order in which it was accepted, and so does
/// what comes meanwhile.
#[test]
fn what_a_busy_peer_refuses_waits_for_its_turn() {
    let (mut c, s, [a, b, x, y]) = asks(ClientConfig::default(), ["a", "b", "x", "y"]);
    c.receives(s, [busy(id(4, 2)), busy(id(5, 3))]);
    let z = c.send("z");
    c.at(200);
    c.expect_quiet();
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.expect_sent(s, [request(id(6, 0), "x")]);
    c.receives(s, [response(id(3, 1), "B")]);
    c.expect_response(b, "B");
    // Two have found a place since: the peer may have room for one more.
    c.expect_sent(s, [request(id(7, 1), "y"), request(id(8, 3), "z")]);
    let late = c.send("late");
    c.expect_quiet();
    c.receives(s, [response(id(6, 0), "X")]);
    c.expect_response(x, "X");
    c.expect_sent(s, [request(id(9, 0), "late")]);
    c.receives(s, [id(7, 1), id(8, 3), id(9, 0)].map(|request| response(request, "")));
    [y, z, late].into_iter().for_each(|request| c.expect_response(request, ""));
    let stats = c.stats();
    assert_eq!((stats.retries, stats.ok, stats.failed), (0, 7, 0));
}

/// C5: with nothing at work there is nothing to wait for: it is tried again after a pause, from the budget.
#[test]
fn what_is_refused_alone_is_tried_again_after_a_pause() {
    let (mut c, s, [a, b]) = asks(ClientConfig::default(), ["a", "b"]);
    c.receives(s, [busy(id(2, 0)), busy(id(3, 1))]);
    // The other one was at work when the first was refused.
    c.expect_sent(s, [request(id(4, 1), "a")]);
    c.receives(s, [response(id(4, 1), "A")]);
    c.expect_response(a, "A");
    assert_eq!(c.stats().retries, 1);
    c.until(1000);
    c.expect_sent(s, [request(id(5, 1), "b")]);
    c.receives(s, [response(id(5, 1), "B")]);
    c.expect_response(b, "B");
}

/// C5: who has waited for long is placed last, and the newest first among those: where more come than the peer
/// can do, each would be answered when its caller has almost given up.
#[test]
fn who_has_waited_for_long_comes_last() {
    let (mut c, s, [a, x, y]) = asks(ClientConfig::default(), ["a", "x", "y"]);
    c.receives(s, [busy(id(3, 1)), busy(id(4, 2))]);
    c.at(201);
    let z = c.send("z");
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.expect_sent(s, [request(id(5, 0), "z"), request(id(6, 2), "y")]);
    c.receives(s, [response(id(5, 0), "Z"), response(id(6, 2), "Y")]);
    c.expect_response(z, "Z");
    c.expect_response(y, "Y");
    c.expect_sent(s, [request(id(7, 2), "x")]);
    c.receives(s, [response(id(7, 2), "X")]);
    c.expect_response(x, "X");
}

/// C5: a request waits for half of its time at most: its answer would come too late, and so would those of
/// all behind it. Its caller hears what the peer said.
#[test]
fn who_waited_for_half_of_the_time_hears_what_the_peer_said() {
    let (mut c, s) = ClientScript::native(ClientConfig::default());
    let a = c.send("a");
    let x = c.send_until(1000, "x");
    c.expect_sent(s, [request(id(2, 0), "a"), request(id(3, 1), "x").timeout(1000)]);
    c.receives(s, [busy(id(3, 1))]);
    c.at(400);
    let y = c.send_until(1400, "y");
    c.expires_at(500);
    let error = c.expect_error(x);
    assert_eq!(error.status().map(|status| status.code), Some(StatusCode::Busy));
    assert_eq!((error.attempts, error.delivery), (1, Delivery::NotProcessed));
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.expect_sent(s, [request(id(4, 0), "y").timeout(900)]);
    c.receives(s, [response(id(4, 0), "Y")]);
    c.expect_response(y, "Y");
}

/// C4, C5: who wants no retries hears of everything at once, and waits for nobody.
#[test]
fn without_retries_nothing_waits() {
    let (mut c, s, [a, b]) = asks(without_retries(), ["a", "b"]);
    c.receives(s, [busy(id(3, 1))]);
    assert_eq!(c.expect_error(b).delivery, Delivery::NotProcessed);
    let d = c.send("d");
    c.expect_sent(s, [request(id(4, 1), "d")]);
    c.receives(s, [response(id(2, 0), "A"), response(id(4, 1), "D")]);
    c.expect_response(a, "A");
    c.expect_response(d, "D");
}

/// C5: the peer asks for a longer pause than until something ends, since that is not what it lacks.
#[test]
fn a_peer_that_asks_for_a_pause_gets_it() {
    let (mut c, s, [a, b]) = asks(ClientConfig::default(), ["a", "b"]);
    c.receives(s, [failure(id(3, 1), BUSY).retry_after(3000).unprocessed()]);
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.at(2999);
    c.expect_quiet();
    c.until(6000);
    c.expect_sent(s, [request(id(4, 0), "b")]);
    c.receives(s, [response(id(4, 0), "B")]);
    c.expect_response(b, "B");
}

/// C5: requests on a stream on which the peer is silent are waited for by nobody.
#[test]
fn a_silent_stream_keeps_nobody_waiting() {
    let (mut c, s) = ClientScript::native(ClientConfig::default());
    let a = c.send("a");
    let b = c.send_until(1000, "b");
    c.expect_sent(s, [request(id(2, 0), "a"), request(id(3, 1), "b").timeout(1000)]);
    c.receives(s, [busy(id(3, 1)), response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.expect_sent(s, [request(id(4, 0), "b").timeout(1000)]);
    c.send("c");
    c.expect_sent(s, [request(id(5, 1), "c")]);
    let d = c.send("d");
    c.expires_at(1000);
    assert_eq!(c.expect_error(b).cause, Cause::Deadline);
    c.expect_sent(s, [cancel(id(4, 0))]);
    let fresh = c.expect_open(Offer::Only(Format::Native));
    c.opened(fresh, Format::Native);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "d")]);
    c.receives(fresh, [settings(1, 1), response(id(1, 0), "D")]);
    c.expect_response(d, "D");
}
