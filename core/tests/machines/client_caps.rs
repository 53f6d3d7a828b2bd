//! The client: how many streams there may be, how many idle ones, and who gets the next.

use crate::support;
use crate::support::{ClientScript, IDLE, PROTOCOL, id, plain, request, response};
use pointsub_core::endpoint::Offer;
use pointsub_core::{ClientConfig, Format, StreamError, StreamId};

const PLAIN: Offer = Offer::Only(Format::Plain);

fn config() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

/// Opens a plain stream to a peer that is known to keep its streams, and lets it fall idle.
fn idle_stream(c: &mut ClientScript, to: u8, protocol: &str, offer: Offer) -> StreamId {
    let a = c.send_to(to, protocol, "a");
    let stream = c.expect_open_to(to, protocol, offer);
    c.opened(stream, Format::Plain);
    c.expect_sent(stream, [plain("a")]);
    c.receives(stream, [plain("A")]);
    c.expect_response(a, "A");
    stream
}

/// C7: the cap on idle streams to one peer, over all its protocols.
#[test]
fn beyond_max_idle_streams_per_peer_the_oldest_idle_stream_of_the_peer_is_closed() {
    let (mut c, first) = ClientScript::plain(config().with_max_idle_streams_per_peer(2));
    c.at(1);
    idle_stream(&mut c, 2, PROTOCOL, Offer::Both);
    c.at(60);
    idle_stream(&mut c, 1, "/second", Offer::Both);
    c.at(70);
    c.expect_quiet();
    idle_stream(&mut c, 1, "/third", Offer::Both);
    c.expect_finish(first);
    assert_eq!(c.stats().idle_streams, 3);
}

/// C8: A stream that is idle for too long is not used, even if no timer has said so: the
/// machine may have slept.
#[test]
fn a_stream_that_should_have_expired_is_not_used() {
    let (mut c, stale) = ClientScript::plain(config());
    c.now = support::ms(10 * IDLE);
    let a = c.send("a");
    let fresh = c.expect_open(PLAIN);
    c.opened(fresh, Format::Plain);
    c.expect_sent(fresh, [plain("a")]);
    c.timeout();
    c.expect_finish(stale);
    c.receives(fresh, [plain("A")]);
    c.expect_response(a, "A");
}

/// C10: beyond the cap on all streams, requests wait until one ends; the peers get their turns
/// in the order in which they asked.
#[test]
fn max_total_streams_holds_over_all_peers() {
    let mut c = ClientScript::new(config().with_max_total_streams(2));
    let a = c.send_to(1, PROTOCOL, "a");
    let b = c.send_to(2, PROTOCOL, "b");
    let c3 = c.send_to(3, PROTOCOL, "c");
    let d = c.send_to(4, PROTOCOL, "d");
    let one = c.expect_open_to(1, PROTOCOL, Offer::Both);
    let two = c.expect_open_to(2, PROTOCOL, Offer::Both);
    c.opened(one, Format::Native);
    c.opened(two, Format::Native);
    c.expect_sent(one, [c.settings(), request(id(1, 0), "a")]);
    c.expect_sent(two, [c.settings(), request(id(1, 0), "b")]);
    c.expect_quiet();
    assert_eq!((c.stats().streams, c.stats().waiting), (2, 2));

    // It falls idle, and so it makes room.
    c.receives(two, [response(id(1, 0), "B")]);
    c.expect_response(b, "B");
    c.expect_finish(two);
    let three = c.expect_open_to(3, PROTOCOL, Offer::Both);
    c.opened(three, Format::Native);
    c.expect_sent(three, [c.settings(), request(id(1, 0), "c")]);
    c.expect_quiet();

    c.receives(one, [response(id(1, 0), "A")]);
    c.expect_response(a, "A");
    c.expect_finish(one);
    let four = c.expect_open_to(4, PROTOCOL, Offer::Both);
    c.receives(three, [response(id(1, 0), "C")]);
    c.expect_response(c3, "C");
    c.opened(four, Format::Native);
    c.expect_sent(four, [c.settings(), request(id(1, 0), "d")]);
    c.receives(four, [response(id(1, 0), "D")]);
    c.expect_response(d, "D");
    assert_eq!((c.stats().streams, c.stats().idle_streams), (2, 2));
}

/// C10: when there is room at the cap of a peer, the protocol whose request waits for the
/// longest time gets it, whatever the load of the others.
#[test]
fn at_the_cap_of_a_peer_no_protocol_starves_another() {
    let (mut c, only) = ClientScript::plain(config().with_max_streams_per_peer(1));
    let a = c.send("a");
    c.expect_sent(only, [plain("a")]);
    let b = c.send_to(1, "/other", "b");
    let later = c.send("later");
    // The stream's own protocol is served first while it lives, but when it ends …
    c.finishes(only);
    let error = c.expect_error(a);
    assert_eq!(error.attempts, 1);
    c.expect_finish(only);
    let other = c.expect_open_to(1, "/other", Offer::Both);
    c.opened(other, Format::Plain);
    c.expect_sent(other, [plain("b")]);
    c.receives(other, [plain("B")]);
    c.expect_response(b, "B");
    c.expect_finish(other);
    let own = c.expect_open(PLAIN);
    c.opened(own, Format::Plain);
    c.expect_sent(own, [plain("later")]);
    c.receives(own, [plain("LATER")]);
    c.expect_response(later, "LATER");
}

/// A protocol whose peer has no room does not stand in the way of one for which there will be.
#[test]
fn who_waits_for_a_stream_of_its_own_peer_keeps_nobody_waiting() {
    let config = config().with_max_streams_per_peer(1).with_max_total_streams(2);
    let (mut c, first) = ClientScript::plain(config);
    c.send("a");
    c.expect_sent(first, [plain("a")]);
    c.send_to(3, PROTOCOL, "c");
    let third = c.expect_open_to(3, PROTOCOL, Offer::Both);
    c.send("b");
    c.send_to(2, PROTOCOL, "d");
    c.expect_quiet();
    c.open_fails(third, StreamError::Unreachable("no route".into()));
    c.expect_event();
    c.expect_open_to(2, PROTOCOL, Offer::Both);
}
