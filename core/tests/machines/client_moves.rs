//! The client: streams that die, and the requests that are moved.

use crate::support::{
    ClientScript, KIB, MIB, body, drain, id, plain, request, response, settings, without_retries,
};
use pointsub_core::endpoint::Offer;
use pointsub_core::{Cause, ClientConfig, Delivery, Format, Phase, StreamError, StreamId};

const PLAIN: Offer = Offer::Only(Format::Plain);

const NATIVE: Offer = Offer::Only(Format::Native);

fn not_accepted() -> StreamError {
    StreamError::NotAccepted("closed".into())
}

// Streams that die.

/// C9: a reused stream that turns out dead is not the caller's problem.
#[test]
fn a_request_that_had_not_left_a_reused_stream_is_moved_and_answered() {
    let (mut c, s) = ClientScript::native(without_retries());
    let stuck = c.send("stuck");
    c.expect_write(s, [request(id(2, 0), "stuck")]);
    let moved = c.send("moved");
    c.expect_quiet();
    c.breaks(s);
    c.expect_failed(stuck, Cause::Lost("broken".into()), Phase::Write, Delivery::Unknown);
    let fresh = c.opens_native();
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "moved")]);
    c.receives(fresh, [response(id(1, 0), "A")]);
    c.expect_response(moved, "A");
}

#[test]
fn moved_requests_keep_their_order() {
    let (mut c, s) = ClientScript::native(without_retries());
    let stuck = c.send("stuck");
    c.expect_write(s, [request(id(2, 0), "stuck")]);
    c.send("a");
    c.send("b");
    c.send("c");
    c.expect_quiet();
    c.breaks(s);
    c.expect_error(stuck);
    let fresh = c.opens_native();
    let [a, b, d] = [("a", 0), ("b", 1), ("c", 2)].map(|(body, n)| request(id(n + 1, n), body));
    c.expect_write(fresh, [c.settings(), a, b, d]);
}

#[test]
fn a_request_on_a_fresh_stream_that_dies_fails() {
    let mut c = ClientScript::new(without_retries());
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
    let mut c = ClientScript::new(without_retries());
    let (a, b) = (c.send("a"), c.send("b"));
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Native);
    c.expect_sent(s, [c.settings(), request(id(1, 0), "a"), request(id(2, 1), "b")]);
    c.breaks_with(s, not_accepted());
    let fresh = c.opens_native();
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "a"), request(id(2, 1), "b")]);
    c.receives(fresh, [response(id(1, 0), "A"), response(id(2, 1), "B")]);
    c.expect_response(a, "A");
    c.expect_response(b, "B");
}

#[test]
fn streams_that_the_peer_never_takes_end_as_lost_and_not_processed() {
    for format in [Format::Native, Format::Plain] {
        let mut c = ClientScript::new(without_retries());
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
    let mut c = ClientScript::new(without_retries());
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
    let (mut c, s) = ClientScript::native(without_retries());
    let a = c.send("a");
    c.breaks(s);
    let fresh = c.opens_native();
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "a")]);
    c.receives(fresh, [response(id(1, 0), "A")]);
    c.expect_response(a, "A");
}

#[test]
fn a_request_that_gets_room_from_an_answer_before_a_violation_is_moved() {
    let config = without_retries().with_max_in_flight(1).with_max_streams_per_peer(1);
    let (mut c, s) = ClientScript::native(config);
    let (a, b) = (c.send("a"), c.send("b"));
    c.expect_sent(s, [request(id(2, 0), "a")]);
    // The answer frees the place for the second request, which is not on the stream yet when
    // the next frame ends it.
    c.receives(s, [response(id(2, 0), "A"), response(id(9, 9), "never asked")]);
    c.expect_response(a, "A");
    c.expect_reset(s);
    let fresh = c.opens_native();
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "b")]);
    c.receives(fresh, [response(id(1, 0), "B")]);
    c.expect_response(b, "B");
}

#[test]
fn a_request_that_gets_room_from_an_answer_before_the_end_is_moved() {
    let (mut c, s) = ClientScript::plain(without_retries().with_max_streams_per_peer(1));
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
    let config = without_retries().with_max_in_flight(1).with_max_streams_per_peer(1);
    let (mut c, s) = ClientScript::native(config);
    let (a, b) = (c.send("a"), c.send("b"));
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.receives(s, [response(id(2, 0), "A"), drain(id(2, 0))]);
    c.expect_response(a, "A");
    c.expect_finish(s);
    let fresh = c.opens_native();
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "b")]);
    c.receives(fresh, [response(id(1, 0), "B")]);
    c.expect_response(b, "B");
}

#[test]
fn a_request_is_moved_three_times_at_most() {
    let (mut c, mut s) = ClientScript::native(without_retries());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    for _ in 0..3 {
        c.receives(s, [drain(0)]);
        c.expect_finish(s);
        s = c.opens_native();
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
    let mut c = ClientScript::new(without_retries());
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
