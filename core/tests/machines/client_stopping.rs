//! The client: drain and close.

use crate::support;
use crate::support::{CONNECT, ClientScript, PROTOCOL, READ, id, plain, request, response};
use pointsub_core::endpoint::Offer;
use pointsub_core::{Body, Cause, ClientConfig, Delivery, Format, Phase, SendError};

/// Without retries: `client_retry.rs` is about those.
fn config() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

#[test]
fn drain_lets_requests_end_and_closes_streams_as_they_fall_idle() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.drain();
    c.expect_quiet();
    assert_eq!(c.try_send(1, PROTOCOL, Body::default(), None), Err(SendError::Closed));
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.expect_drained();
    c.expect_finish(s);
    c.expect_rest();
}

#[test]
fn drain_closes_idle_streams_at_once() {
    let (mut c, s) = ClientScript::plain(config());
    c.drain();
    c.expect_finish(s);
    c.expect_drained();
    c.expect_rest();
}

#[test]
fn drain_without_anything_ends_at_once_and_only_once() {
    let mut c = ClientScript::new(config());
    c.drain();
    c.expect_drained();
    c.drain();
    c.close();
    c.expect_rest();
}

#[test]
fn requests_that_wait_at_a_drain_are_still_sent() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.drain();
    c.opened(s, Format::Plain);
    c.expect_sent(s, [plain("a")]);
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    c.expect_finish(s);
    c.expect_drained();
}

/// C16: typed.
#[test]
fn close_fails_what_is_under_way_and_cancels_it() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.close();
    c.expect_failed(a, Cause::Closed, Phase::Wait, Delivery::Unknown);
    c.expect_sent(s, [support::cancel(id(2, 0))]);
    c.expect_finish(s);
    c.expect_drained();
    c.expect_rest();
}

#[test]
fn close_resets_plain_streams_that_wait_for_an_answer() {
    let (mut c, s) = ClientScript::plain(config());
    let a = c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.close();
    c.expect_failed(a, Cause::Closed, Phase::Wait, Delivery::Unknown);
    c.expect_reset(s);
    c.expect_drained();
    c.expect_rest();
}

#[test]
fn close_abandons_opens_and_fails_what_waits_for_them() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.close();
    c.expect_failed(a, Cause::Closed, Phase::Connect, Delivery::NotProcessed);
    c.expect_abandon(s);
    c.expect_drained();
    c.expect_rest();
    c.opened(s, Format::Native);
    c.expect_reset(s);
}

#[test]
fn close_closes_streams_that_were_leaving() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.receives(s, [support::drain(id(2, 0))]);
    c.expect_quiet();
    c.close();
    c.expect_failed(a, Cause::Closed, Phase::Wait, Delivery::Unknown);
    c.expect_sent(s, [support::cancel(id(2, 0))]);
    c.expect_finish(s);
    c.expect_drained();
    c.expect_rest();
}

#[test]
fn idle_timers_do_not_outlive_their_streams() {
    let (mut c, s) = ClientScript::native(config());
    c.at(READ);
    c.expect_wait(support::IDLE);
    c.close();
    c.expect_finish(s);
    c.expect_drained();
    c.expect_rest();
    assert_eq!(c.stats().streams, 0);
}

#[test]
fn an_open_for_which_nobody_waits_holds_up_a_drain_until_connect_timeout() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.cancel(a);
    c.drain();
    c.expires_at(CONNECT);
    c.expect_abandon(s);
    c.expect_drained();
    c.expect_rest();
}
