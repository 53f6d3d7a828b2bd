//! The client: streams that die or are drained, and the requests that are moved.

use crate::support;
use crate::support::{
    ClientScript, KIB, MIB, PROTOCOL, ServerScript, body, drain, failure, id, plain, request,
    response, settings,
};
use pointsub_core::endpoint::Offer;
use pointsub_core::{
    Cause, ClientConfig, Delivery, Format, Phase, ServerConfig, StatusCode, StreamError, StreamId,
};

const PLAIN: Offer = Offer::Only(Format::Plain);
const NATIVE: Offer = Offer::Only(Format::Native);

/// Without retries: `client_retry.rs` is about those.
fn config() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

fn not_accepted() -> StreamError {
    StreamError::NotAccepted("closed".into())
}

/// Opens a native stream and settles on 1024 requests in flight.
#[track_caller]
fn open_native(c: &mut ClientScript) -> StreamId {
    let s = c.expect_open(NATIVE);
    c.opened(s, Format::Native);
    s
}

// Streams that die.

/// C9: a reused stream that turns out dead is not the caller's problem.
#[test]
fn a_request_that_had_not_left_a_reused_stream_is_moved_and_answered() {
    let (mut c, s) = ClientScript::native(config());
    let stuck = c.send("stuck");
    c.expect_write(s, [request(id(2, 0), "stuck")]);
    let moved = c.send("moved");
    c.expect_quiet();
    c.breaks(s);
    c.expect_failed(stuck, Cause::Lost("broken".into()), Phase::Write, Delivery::Unknown);
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "moved")]);
    c.receives(fresh, [response(id(1, 0), "A")]);
    c.expect_response(moved, "A");
}

#[test]
fn moved_requests_keep_their_order() {
    let (mut c, s) = ClientScript::native(config());
    let stuck = c.send("stuck");
    c.expect_write(s, [request(id(2, 0), "stuck")]);
    c.send("a");
    c.send("b");
    c.send("c");
    c.expect_quiet();
    c.breaks(s);
    c.expect_error(stuck);
    let fresh = open_native(&mut c);
    let [a, b, d] = [("a", 0), ("b", 1), ("c", 2)].map(|(body, n)| request(id(n + 1, n), body));
    c.expect_write(fresh, [c.settings(), a, b, d]);
}

#[test]
fn a_request_on_a_fresh_stream_that_dies_fails() {
    let mut c = ClientScript::new(config());
    let (a, b) = (c.send("a"), c.send(body(40 * KIB)));
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Native);
    let head = [c.settings().bytes(), request(id(1, 0), "a").bytes()].concat();
    let second = request(id(2, 1), body(40 * KIB)).bytes();
    c.expect_write_bytes(s, &[&head[..], &second[..16 * KIB - head.len()]].concat());
    c.breaks(s);
    c.expect_failed(a, Cause::Lost("broken".into()), Phase::Write, Delivery::Unknown);
    let error = c.expect_error(b);
    assert_eq!((error.phase, error.delivery), (Phase::Write, Delivery::NotProcessed));
    assert_eq!(error.attempts, 1);
    c.expect_rest();
}

/// C6, C9: the connection was closed as idle just when the stream was put on it.
#[test]
fn what_was_written_on_a_stream_that_the_peer_never_took_is_moved() {
    let mut c = ClientScript::new(config());
    let (a, b) = (c.send("a"), c.send("b"));
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Native);
    c.expect_sent(s, [c.settings(), request(id(1, 0), "a"), request(id(2, 1), "b")]);
    c.breaks_with(s, not_accepted());
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "a"), request(id(2, 1), "b")]);
    c.receives(fresh, [response(id(1, 0), "A"), response(id(2, 1), "B")]);
    c.expect_response(a, "A");
    c.expect_response(b, "B");
}

#[test]
fn streams_that_the_peer_never_takes_end_as_lost_and_not_processed() {
    for format in [Format::Native, Format::Plain] {
        let mut c = ClientScript::new(config());
        let a = c.send("a");
        for n in 0..4 {
            let known = if n == 0 { Offer::Both } else { Offer::Only(format) };
            let s = c.expect_open(known);
            c.opened(s, format);
            match format {
                Format::Native => c.expect_sent(s, [c.settings(), request(id(1, 0), "a")]),
                Format::Plain => c.expect_sent(s, [plain("a")]),
            }
            c.breaks_with(s, not_accepted());
        }
        let lost = Cause::Lost("closed".into());
        c.expect_failed(a, lost, Phase::Connect, Delivery::NotProcessed);
        c.expect_rest();
    }
}

/// Whoever has spoken on a stream had taken it.
#[test]
fn a_stream_that_was_heard_on_is_lost_whatever_is_said_of_its_end() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Native);
    c.expect_sent(s, [c.settings(), request(id(1, 0), "a")]);
    c.receives(s, [settings(32 << 20, 1024)]);
    c.breaks_with(s, not_accepted());
    c.expect_failed(a, Cause::Lost("closed".into()), Phase::Wait, Delivery::Unknown);
    c.expect_rest();
}

#[test]
fn a_request_put_on_a_stream_that_breaks_in_the_same_batch_is_moved() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.breaks(s);
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "a")]);
    c.receives(fresh, [response(id(1, 0), "A")]);
    c.expect_response(a, "A");
}

#[test]
fn a_request_that_gets_room_from_an_answer_before_a_violation_is_moved() {
    let config = config().with_max_in_flight(1).with_max_streams_per_peer(1);
    let (mut c, s) = ClientScript::native(config);
    let (a, b) = (c.send("a"), c.send("b"));
    c.expect_sent(s, [request(id(2, 0), "a")]);
    // The answer frees the place for the second request, which is not on the stream yet when
    // the next frame ends it.
    c.receives(s, [response(id(2, 0), "A"), response(id(9, 9), "never asked")]);
    c.expect_response(a, "A");
    c.expect_reset(s);
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "b")]);
    c.receives(fresh, [response(id(1, 0), "B")]);
    c.expect_response(b, "B");
}

#[test]
fn a_request_that_gets_room_from_an_answer_before_the_end_is_moved() {
    let (mut c, s) = ClientScript::plain(config().with_max_streams_per_peer(1));
    let (a, b) = (c.send("a"), c.send("b"));
    c.expect_sent(s, [plain("a")]);
    c.receives(s, [plain("A")]);
    c.finishes(s);
    c.expect_response(a, "A");
    c.expect_finish(s);
    let fresh = c.expect_open(PLAIN);
    c.opened(fresh, Format::Plain);
    c.expect_sent(fresh, [plain("b")]);
    c.receives(fresh, [plain("B")]);
    c.expect_response(b, "B");
}

#[test]
fn a_request_that_gets_room_from_an_answer_before_a_drain_is_moved() {
    let config = config().with_max_in_flight(1).with_max_streams_per_peer(1);
    let (mut c, s) = ClientScript::native(config);
    let (a, b) = (c.send("a"), c.send("b"));
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.receives(s, [response(id(2, 0), "A"), drain(id(2, 0))]);
    c.expect_response(a, "A");
    c.expect_finish(s);
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "b")]);
    c.receives(fresh, [response(id(1, 0), "B")]);
    c.expect_response(b, "B");
}

#[test]
fn a_request_is_moved_three_times_at_most() {
    let (mut c, mut s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    for _ in 0..3 {
        c.receives(s, [drain(0)]);
        c.expect_finish(s);
        s = open_native(&mut c);
        c.expect_sent(s, [c.settings(), request(id(1, 0), "a")]);
    }
    c.receives(s, [drain(0)]);
    c.expect_finish(s);
    let error = c.expect_error(a);
    assert_eq!((error.phase, error.delivery), (Phase::Answer, Delivery::NotProcessed));
    assert_eq!(error.attempts, 4);
    c.expect_rest();
}

#[test]
fn a_peer_that_ends_every_stream_at_once_is_not_asked_for_ever() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let mut offer = Offer::Both;
    for opens in 1.. {
        assert!(opens <= 4, "{opens} streams for one request");
        let s = c.expect_open(offer);
        offer = NATIVE;
        // Both are seen before the request is put on the stream.
        c.opened(s, Format::Native);
        c.breaks(s);
        if c.stats().failed == 1 {
            break;
        }
    }
    let error = c.expect_error(a);
    assert_eq!(error.delivery, Delivery::NotProcessed);
    c.expect_rest();
}

// DRAIN.

#[test]
fn requests_beyond_a_drain_are_moved_and_those_before_are_answered() {
    let (mut c, s) = ClientScript::native(config());
    let [a, b, moved] = ["a", "b", "moved"].map(|body| c.send(body));
    let sent = [request(id(2, 0), "a"), request(id(3, 1), "b"), request(id(4, 2), "moved")];
    c.expect_sent(s, sent);
    c.receives(s, [drain(id(3, 1))]);
    let fresh = open_native(&mut c);
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
    let (mut c, s) = ClientScript::native(config().with_max_streams_per_peer(1));
    let (a, moved) = (c.send("a"), c.send("moved"));
    c.expect_sent(s, [request(id(2, 0), "a"), request(id(3, 1), "moved")]);
    c.receives(s, [drain(id(2, 0))]);
    c.expect_quiet();
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.expect_finish(s);
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "moved")]);
    c.receives(fresh, [response(id(1, 0), "M")]);
    c.expect_response(moved, "M");
}

#[test]
fn nothing_is_sent_on_a_stream_after_its_drain() {
    let (mut c, s) = ClientScript::native(config());
    c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.receives(s, [drain(id(2, 0))]);
    c.send("b");
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "b")]);
}

#[test]
fn a_drain_of_an_idle_stream_closes_it() {
    let (mut c, s) = ClientScript::native(config());
    c.receives(s, [drain(id(1, 0))]);
    c.expect_finish(s);
    c.expect_rest();
}

#[test]
fn a_drain_between_send_and_write_moves_the_request() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.receives(s, [drain(id(1, 0))]);
    c.expect_finish(s);
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "a")]);
    c.receives(fresh, [response(id(1, 0), "A")]);
    c.expect_response(a, "A");
}

#[test]
fn an_answer_beyond_a_drain_breaks_the_stream() {
    let (mut c, s) = ClientScript::native(config());
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
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.receives(s, [drain(id(2, 0)), failure(id(2, 0), 8).unprocessed()]);
    c.expect_finish(s);
    let fresh = open_native(&mut c);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "a")]);
    c.receives(fresh, [response(id(1, 0), "A")]);
    c.expect_response(a, "A");
}

#[test]
fn a_cancelled_request_is_not_moved() {
    let (mut c, s) = ClientScript::native(config());
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
        let (mut c, old) =
            if native { ClientScript::native(config()) } else { ClientScript::plain(config()) };
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
    let mut c = ClientScript::new(config());
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

// Bodies that a plain peer refuses for their size.

/// Writes a part of a large request on a plain stream, on which the peer ends.
#[track_caller]
fn cut_short(c: &mut ClientScript, s: StreamId, resets: bool) {
    for _ in 0..2 {
        c.expect_some_write(s);
        c.written(s);
    }
    c.expect_some_write(s);
    if resets {
        return c.breaks_with(s, StreamError::Reset);
    }
    c.finishes(s);
    c.expect_reset(s);
}

/// C6: the format cannot say why; that it was not processed is known, and what to look at.
#[test]
fn a_large_plain_request_that_is_cut_short_is_not_sent_again() {
    for resets in [false, true] {
        let mut c = ClientScript::new(ClientConfig::default());
        let a = c.send(body(MIB));
        let s = c.expect_open(Offer::Both);
        c.opened(s, Format::Plain);
        cut_short(&mut c, s, resets);
        let cause = Cause::CutShort { len: MIB };
        c.expect_failed(a, cause, Phase::Write, Delivery::NotProcessed);
        assert_eq!(c.stats().retries, 0);
        c.expect_rest();
    }
}

/// C9: a peer may close a stream that was idle by chance; it is tried once more.
#[test]
fn on_a_stream_that_was_used_before_it_is_sent_once_more() {
    let (mut c, s) = ClientScript::plain(ClientConfig::default());
    let a = c.send(body(MIB));
    cut_short(&mut c, s, false);
    let fresh = c.expect_open(PLAIN);
    c.opened(fresh, Format::Plain);
    cut_short(&mut c, fresh, false);
    let error = c.expect_error(a);
    assert_eq!((error.delivery, error.attempts), (Delivery::NotProcessed, 2));
    let words = "request failed while writing (not processed): the peer closed the stream in the \
                 middle of the request: 1048576 bytes may be more than it accepts";
    assert_eq!(error.to_string(), words);
    c.expect_rest();
}
