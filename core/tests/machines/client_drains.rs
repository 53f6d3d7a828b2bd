//! The client: streams that take no further requests, and the requests that are moved.

use crate::support;
use crate::support::{
    ClientScript, PROTOCOL, ServerScript, drain, failure, id, plain, request, response,
    without_retries,
};
use pointsub_core::endpoint::Offer;
use pointsub_core::{Cause, ClientConfig, Delivery, Format, ServerConfig, StatusCode, StreamError};

const PLAIN: Offer = Offer::Only(Format::Plain);

const NATIVE: Offer = Offer::Only(Format::Native);

// DRAIN.

#[test]
fn requests_beyond_a_drain_are_moved_and_those_before_are_answered() {
    let (mut c, s) = ClientScript::native(without_retries());
    let [a, b, moved] = ["a", "b", "moved"].map(|body| c.send(body));
    let sent = [request(id(2, 0), "a"), request(id(3, 1), "b"), request(id(4, 2), "moved")];
    c.expect_sent(s, sent);
    c.receives(s, [drain(id(3, 1))]);
    let fresh = c.opens_native();
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "moved")]);
    c.receives(s, [response(id(3, 1), "B")]);
    c.expect_response(b, "B");
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.expect_finish(s);
    c.receives(fresh, [response(id(1, 0), "M")]);
    c.expect_response(moved, "M");
}

#[test]
fn a_request_beyond_a_drain_waits_for_room_for_another_stream() {
    let (mut c, s) = ClientScript::native(without_retries().with_max_streams_per_peer(1));
    let (a, moved) = (c.send("a"), c.send("moved"));
    c.expect_sent(s, [request(id(2, 0), "a"), request(id(3, 1), "moved")]);
    c.receives(s, [drain(id(2, 0))]);
    c.expect_quiet();
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.expect_finish(s);
    let fresh = c.opens_native();
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "moved")]);
    c.receives(fresh, [response(id(1, 0), "M")]);
    c.expect_response(moved, "M");
}

#[test]
fn nothing_is_sent_on_a_stream_after_its_drain() {
    let (mut c, s) = ClientScript::native(without_retries());
    c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.receives(s, [drain(id(2, 0))]);
    c.send("b");
    let fresh = c.opens_native();
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "b")]);
}

#[test]
fn a_drain_of_an_idle_stream_closes_it() {
    let (mut c, s) = ClientScript::native(without_retries());
    c.receives(s, [drain(id(1, 0))]);
    c.expect_finish(s);
    c.expect_rest();
}

#[test]
fn a_drain_between_send_and_write_moves_the_request() {
    let (mut c, s) = ClientScript::native(without_retries());
    let a = c.send("a");
    c.receives(s, [drain(id(1, 0))]);
    c.expect_finish(s);
    let fresh = c.opens_native();
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "a")]);
    c.receives(fresh, [response(id(1, 0), "A")]);
    c.expect_response(a, "A");
}

#[test]
fn an_answer_beyond_a_drain_breaks_the_stream() {
    let (mut c, s) = ClientScript::native(without_retries());
    let (a, _) = (c.send("a"), c.send("b"));
    c.expect_sent(s, [request(id(2, 0), "a"), request(id(3, 1), "b")]);
    c.receives(s, [drain(id(2, 0))]);
    c.expect_open(NATIVE);
    c.receives(s, [response(id(3, 1), "B")]);
    c.expect_reset(s);
    let error = c.expect_error(a);
    assert!(matches!(error.cause, Cause::Violation(_)), "{error}");
}

#[test]
fn a_request_answered_as_draining_is_moved() {
    let (mut c, s) = ClientScript::native(without_retries());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.receives(s, [drain(id(2, 0)), failure(id(2, 0), 8).unprocessed()]);
    c.expect_finish(s);
    let fresh = c.opens_native();
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "a")]);
    c.receives(fresh, [response(id(1, 0), "A")]);
    c.expect_response(a, "A");
}

#[test]
fn a_cancelled_request_is_not_moved() {
    let (mut c, s) = ClientScript::native(without_retries());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.cancel(a);
    c.expect_sent(s, [support::cancel(id(2, 0))]);
    c.receives(s, [drain(0)]);
    c.expect_finish(s);
    c.expect_rest();
}

/// Found by simulation (a life of seed 491): the route was forgotten while a draining stream still
/// had a request, which had nowhere to go when it was to be tried again.
#[test]
fn a_request_of_a_draining_stream_is_tried_again_when_nothing_else_is_left() {
    let (mut c, old) = ClientScript::native(ClientConfig::default());
    let a = c.send("a");
    c.expect_sent(old, [request(id(2, 0), "a")]);
    c.receives(old, [drain(id(2, 0))]);
    let b = c.send_until(100, "b");
    let open = c.expect_open(NATIVE);
    c.open_fails(open, StreamError::Unreachable("no route".into()));
    c.expect_error(b);
    c.breaks(old);
    c.until(1000);
    let new = c.expect_open(NATIVE);
    c.opened(new, Format::Native);
    c.expect_sent(new, [c.settings(), request(id(1, 0), "a")]);
    c.receives(new, [response(id(1, 0), "A")]);
    c.expect_response(a, "A");
}

/// O2: a better connection makes a stream retire: what is on it ends there, the rest goes elsewhere.
#[test]
fn a_retired_stream_ends_with_its_last_request() {
    for native in [true, false] {
        let (mut c, old) = if native {
            ClientScript::native(without_retries())
        } else {
            ClientScript::plain(without_retries())
        };
        let (format, offer) =
            if native { (Format::Native, NATIVE) } else { (Format::Plain, PLAIN) };
        let a = c.send("a");
        if native {
            c.expect_sent(old, [request(id(2, 0), "a")]);
        } else {
            c.expect_sent(old, [plain("a")]);
        }
        c.client.retire(old, c.now);
        let b = c.send("b");
        let new = c.expect_open(offer);
        c.opened(new, format);
        let (asked, answered) = if native {
            c.expect_sent(new, [c.settings(), request(id(1, 0), "b")]);
            (response(id(2, 0), "A"), response(id(1, 0), "B"))
        } else {
            c.expect_sent(new, [plain("b")]);
            (plain("A"), plain("B"))
        };
        c.receives(old, [asked]);
        c.expect_response(a, "A");
        c.expect_finish(old);
        c.receives(new, [answered]);
        c.expect_response(b, "B");
        // An idle one ends at once.
        c.client.retire(new, c.now);
        c.expect_finish(new);
        c.expect_rest();
    }
}

/// A client's request, sent with the opening of a stream that a server refuses as it drains, or because
/// the protocol was unregistered meanwhile: it was not processed, and is tried again after a pause.
#[test]
fn a_request_on_a_refused_stream_is_tried_again_after_a_pause() {
    for drains in [true, false] {
        let (mut s, busy) = ServerScript::native(ServerConfig::default());
        s.receives(busy, [request(1, "long")]);
        let long = s.expect_request("long");
        if drains {
            s.drain(10_000);
            s.expect_sent(busy, [drain(1)]);
        } else {
            s.server.unregister(PROTOCOL);
        }
        let mut c = ClientScript::new(ClientConfig::default());
        let a = c.send("a");
        for opened in 0..4 {
            let both = [Offer::Both, NATIVE];
            let stream = c.expect_open(both[usize::from(opened > 0)]);
            c.opened(stream, Format::Native);
            c.expect_sent(stream, [c.settings(), request(id(1, 0), "a")]);
            assert_eq!(c.stats().retries, 0, "it is moved three times");
            let late = s.accept(Format::Native);
            let refusal = s.expect_some_write(late);
            s.written(late);
            s.expect_finish(late);
            c.receives_bytes(stream, refusal);
            c.expect_finish(stream);
        }
        assert_eq!(c.stats().retries, 1, "and then it rests");
        c.expect_quiet();
        s.respond(long, "");
        s.flush(busy);
        if drains {
            s.expect_finish(busy);
            s.expect_drained();
        }
        s.register(PROTOCOL);
        c.until(1000);
        let stream = c.expect_open(NATIVE);
        c.opened(stream, Format::Native);
        c.expect_sent(stream, [c.settings(), request(id(1, 0), "a")]);
        let served = s.accept_native();
        s.receives(served, [request(id(1, 0), "a")]);
        let asked = s.expect_request("a");
        s.respond(asked, "A");
        c.receives_bytes(stream, s.expect_some_write(served));
        s.written(served);
        c.expect_response(a, "A");
    }
}

/// Without another try, the caller is told that the server drains and has not looked at it.
#[test]
fn a_refusal_of_a_draining_server_says_so() {
    let (mut s, busy) = ServerScript::native(ServerConfig::default());
    s.receives(busy, [request(1, "long")]);
    let long = s.expect_request("long");
    s.drain(10_000);
    s.expect_sent(busy, [drain(1)]);
    let mut c = ClientScript::new(without_retries());
    let a = c.send("a");
    for opened in 0..4 {
        let both = [Offer::Both, NATIVE];
        let stream = c.expect_open(both[usize::from(opened > 0)]);
        c.opened(stream, Format::Native);
        c.expect_sent(stream, [c.settings(), request(id(1, 0), "a")]);
        // Whatever the protocol: none is served any more.
        let late = s.accept_for(["/unknown", PROTOCOL][opened % 2], Format::Native);
        c.receives_bytes(stream, s.expect_some_write(late));
        s.written(late);
        s.expect_finish(late);
        c.expect_finish(stream);
    }
    let error = c.expect_error(a);
    assert_eq!(error.delivery, Delivery::NotProcessed);
    assert_eq!(error.status().map(|status| status.code), Some(StatusCode::Draining));
    s.respond(long, "");
    s.flush(busy);
    s.expect_finish(busy);
    s.expect_drained();
}
