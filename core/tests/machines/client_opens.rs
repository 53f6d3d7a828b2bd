//! The client: opens that fail, formats that are refused.

use crate::support::{CONNECT, ClientScript, id, plain, request, response, settings};
use pointsub_core::endpoint::Offer;
use pointsub_core::{Cause, ClientConfig, Delivery, Format, Phase, StreamError, StreamId};

const PLAIN: Offer = Offer::Only(Format::Plain);
const NATIVE: Offer = Offer::Only(Format::Native);

/// Without retries: `client_retry.rs` is about those.
fn config() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

fn unreachable() -> StreamError {
    StreamError::Unreachable("no route".into())
}

/// Opens a native stream and settles on 1024 requests in flight.
#[track_caller]
fn open_native(c: &mut ClientScript) -> StreamId {
    let s = c.expect_open(NATIVE);
    c.opened(s, Format::Native);
    s
}

#[test]
fn an_open_that_fails_fails_all_that_waits_for_it() {
    let mut c = ClientScript::new(config());
    let (a, b) = (c.send("a"), c.send("b"));
    let s = c.expect_open(Offer::Both);
    c.open_fails(s, unreachable());
    let cause = Cause::Unreachable("no route".into());
    c.expect_failed(a, cause.clone(), Phase::Connect, Delivery::NotProcessed);
    let error = c.expect_error(b);
    assert_eq!((error.cause, error.attempts), (cause, 0));
    c.expect_rest();
    assert_eq!(c.stats().streams, 0);
}

#[test]
fn a_peer_that_refuses_both_formats_does_not_support_the_protocol() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.open_fails(s, StreamError::Unsupported);
    c.expect_failed(a, Cause::Unsupported, Phase::Connect, Delivery::NotProcessed);
    c.expect_rest();
}

#[test]
fn a_remembered_format_that_is_refused_is_negotiated_again() {
    let (mut c, s) = ClientScript::native(config());
    c.finishes(s);
    c.expect_finish(s);
    let a = c.send("a");
    let guess = c.expect_open(NATIVE);
    c.open_fails(guess, StreamError::Unsupported);
    let fresh = c.expect_open(Offer::Both);
    c.opened(fresh, Format::Plain);
    c.expect_sent(fresh, [plain("a")]);
    c.receives(fresh, [plain("A")]);
    c.expect_response(a, "A");
}

#[test]
fn a_remembered_format_that_is_refused_late_is_negotiated_again() {
    // A negotiation of one proposal may be optimistic: the refusal comes when bytes were sent.
    let (mut c, s) = ClientScript::native(config());
    c.finishes(s);
    c.expect_finish(s);
    let a = c.send("a");
    let guess = open_native(&mut c);
    c.expect_sent(guess, [c.settings(), request(id(1, 0), "a")]);
    c.breaks_with(guess, StreamError::Unsupported);
    let fresh = c.expect_open(Offer::Both);
    c.opened(fresh, Format::Plain);
    c.expect_sent(fresh, [plain("a")]);
    c.receives(fresh, [plain("A")]);
    c.expect_response(a, "A");
}

#[test]
fn a_peer_that_refuses_the_second_negotiation_too_does_not_support_the_protocol() {
    let (mut c, s) = ClientScript::native(config());
    c.finishes(s);
    c.expect_finish(s);
    let a = c.send("a");
    let guess = c.expect_open(NATIVE);
    c.open_fails(guess, StreamError::Unsupported);
    let fresh = c.expect_open(Offer::Both);
    c.open_fails(fresh, StreamError::Unsupported);
    c.expect_failed(a, Cause::Unsupported, Phase::Connect, Delivery::NotProcessed);
    c.expect_rest();
}

#[test]
fn reopening_beside_a_living_stream_rests_for_100_ms() {
    let (mut c, s) = ClientScript::plain(config());
    c.send("a");
    let b = c.send("b");
    c.expect_sent(s, [plain("a")]);
    let failed = c.expect_open(PLAIN);
    c.at(20);
    c.open_fails(failed, unreachable());
    c.expires_at(120);
    let second = c.expect_open(PLAIN);
    c.opened(second, Format::Plain);
    c.expect_sent(second, [plain("b")]);
    c.receives(second, [plain("B")]);
    c.expect_response(b, "B");
}

#[test]
fn while_reopening_rests_the_living_stream_takes_what_waits() {
    let (mut c, s) = ClientScript::plain(config());
    let (a, _) = (c.send("a"), c.send("b"));
    c.expect_sent(s, [plain("a")]);
    let failed = c.expect_open(PLAIN);
    c.open_fails(failed, unreachable());
    c.at(50);
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    c.expect_sent(s, [plain("b")]);
    c.at(1000);
}

#[test]
fn when_the_living_stream_ends_what_waits_is_opened_for_after_the_rest() {
    let (mut c, s) = ClientScript::plain(config());
    let (a, _) = (c.send("a"), c.send("b"));
    c.expect_sent(s, [plain("a")]);
    let failed = c.expect_open(PLAIN);
    c.open_fails(failed, unreachable());
    c.at(50);
    c.breaks(s);
    c.expect_error(a);
    c.expires_at(100);
    c.expect_open(PLAIN);
}

#[test]
fn opens_that_fail_at_once_are_not_repeated_in_a_loop() {
    let (mut c, s) = ClientScript::plain(config());
    c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.send("b");
    let before = c.stats().opens;
    for round in 0..5 {
        let failed = c.expect_open(PLAIN);
        c.open_fails(failed, unreachable());
        c.expect_quiet();
        c.send("more");
        c.expect_quiet();
        c.expires_at(100 * (round + 1));
        // One open for each request that waits; all but the first fail before they are looked at.
        for _ in 0..c.stats().waiting - 1 {
            let failed = c.expect_open(PLAIN);
            c.open_fails(failed, unreachable());
        }
    }
    let failed = c.expect_open(PLAIN);
    c.open_fails(failed, unreachable());
    c.expect_quiet();
    assert!(c.stats().opens - before <= 21);
}

#[test]
fn an_outcome_of_an_open_that_was_given_up_is_ignored() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.expires_at(CONNECT);
    c.expect_abandon(s);
    c.expect_error(a);
    c.open_fails(s, unreachable());
    c.expect_rest();
    c.opened(s, Format::Native);
    c.expect_reset(s);
    c.expect_rest();
}

#[test]
fn an_open_outcome_that_comes_twice_is_ignored() {
    let (mut c, s) = ClientScript::native(config());
    c.open_fails(s, unreachable());
    c.send("a");
    c.expect_write(s, [request(id(2, 0), "a")]);
}

#[test]
fn what_comes_from_streams_that_are_gone_is_ignored() {
    let (mut c, s) = ClientScript::native(config());
    c.finishes(s);
    c.expect_finish(s);
    c.receives(s, [settings(1, 1), response(id(1, 0), "again")]);
    c.finishes(s);
    c.breaks(s);
    c.expect_rest();
}
