//! Calls to the closest node: asking one more while one takes its time.

use crate::support::nodes::{any, asked, expect_answer, farm, hedged, order, trail, unreachable};
use crate::support::{PROTOCOL, READ, cancel, failure, id, peer, response};
use pointsub_core::endpoint::Offer;
use pointsub_core::{CallOptions, ClientConfig};

const APPLICATION: u8 = 1;

/// One round only, unless a test is about more.
fn config() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

/// N5: with hedging a slow node gets company, the first answer counts, losers are cancelled.
#[test]
fn a_hedged_call_asks_one_more_node_after_each_delay() {
    let mut c = farm(config(), 5);
    let nodes = order("a", 5);
    let call = c.send_closest("a", hedged(20));
    let first = asked(&mut c, nodes[0], "a");
    c.expires_at(20);
    let second = asked(&mut c, nodes[1], "a");
    c.expires_at(40);
    let third = asked(&mut c, nodes[2], "a");
    c.at(500);
    c.receives(second, [response(id(1, 0), "A")]);
    let answer = expect_answer(c.expect_closest(call), nodes[1], "A");
    let expected = [(1, "answered"), (0, "cancelled"), (2, "cancelled")];
    assert_eq!(trail(&answer.attempts), expected.map(|(n, what)| (peer(nodes[n]), what)));
    for loser in [first, third] {
        c.expect_sent(loser, [cancel(id(1, 0))]);
        c.receives(loser, [failure(id(1, 0), 6)]);
    }
    assert_eq!((c.stats().hedges, c.stats().cancelled, c.stats().in_flight), (2, 2, 0));
    assert!(c.client.server_nodes(PROTOCOL).all(|node| node.in_flight() == 0));
}

/// N5: without hedging nobody else is asked while a node takes its time.
#[test]
fn without_hedging_one_node_is_asked_at_a_time() {
    let mut c = farm(config(), 3);
    let call = c.send_closest("a", any());
    let first = order("a", 3)[0];
    let s = asked(&mut c, first, "a");
    c.at(READ - 1);
    c.receives(s, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), first, "A");
}

#[test]
fn a_hedged_call_fails_over_at_once() {
    let mut c = farm(config(), 3);
    let nodes = order("a", 3);
    let call = c.send_closest("a", hedged(20));
    let open = c.expect_open_to(nodes[0], PROTOCOL, Offer::Both);
    c.at(5);
    c.open_fails(open, unreachable());
    let second = asked(&mut c, nodes[1], "a");
    c.expires_at(25);
    let third = asked(&mut c, nodes[2], "a");
    // The last but one failure is not the end.
    c.breaks(third);
    c.expect_quiet();
    c.receives(second, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), nodes[1], "A");
}

#[test]
fn a_call_that_is_not_idempotent_is_not_hedged() {
    let mut c = farm(config(), 3);
    let call = CallOptions::default().with_idempotent(false);
    let call = c.send_closest("a", hedged(20).with_call(call));
    let first = order("a", 3)[0];
    let s = asked(&mut c, first, "a");
    c.at(1000);
    c.receives(s, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), first, "A");
}

#[test]
fn a_failure_for_good_ends_a_hedged_call() {
    let mut c = farm(config(), 2);
    let nodes = order("a", 2);
    let call = c.send_closest("a", hedged(20));
    let first = asked(&mut c, nodes[0], "a");
    c.expires_at(20);
    let second = asked(&mut c, nodes[1], "a");
    c.receives(second, [failure(id(1, 0), APPLICATION)]);
    let error = c.expect_closest(call).expect_err("the handler failed");
    let expected = [(1, "failed"), (0, "cancelled")];
    assert_eq!(trail(&error.attempts), expected.map(|(n, what)| (peer(nodes[n]), what)));
    c.expect_sent(first, [cancel(id(1, 0))]);
    c.receives(first, [failure(id(1, 0), 6)]);
}

/// N5: hedges are no first tries, and so they need the budget for those, and one of their own.
#[test]
fn without_budget_there_are_no_hedges() {
    let none = [config().with_hedge_budget(0), config().with_retry_budget(0)];
    for (config, hedges) in none.into_iter().map(|none| (none, 0)).chain([(config(), 1)]) {
        let mut c = farm(config, 2);
        let call = c.send_closest("a", hedged(20));
        let nodes = order("a", 2);
        let s = asked(&mut c, nodes[0], "a");
        if hedges > 0 {
            c.expires_at(20);
        } else {
            c.at(21);
        }
        let second = (hedges > 0).then(|| asked(&mut c, nodes[1], "a"));
        c.receives(s, [response(id(1, 0), "A")]);
        expect_answer(c.expect_closest(call), nodes[0], "A");
        if let Some(second) = second {
            c.expect_sent(second, [cancel(id(1, 0))]);
        }
        assert_eq!(c.stats().hedges, hedges);
    }
}

#[test]
fn a_client_that_drains_does_not_hedge() {
    let mut c = farm(config(), 2);
    let call = c.send_closest("a", hedged(20));
    let first = order("a", 2)[0];
    let s = asked(&mut c, first, "a");
    c.drain();
    c.at(1000);
    c.receives(s, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), first, "A");
    c.expect_finish(s);
    c.expect_drained();
}
