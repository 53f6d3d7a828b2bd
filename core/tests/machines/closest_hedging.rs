//! Calls to the closest node: asking one more while one takes its time.

use std::time::Duration;

use crate::support::nodes::{any, asked, expect_answer, farm, hedged, order, trail, unreachable};
use crate::support::{ClientScript, PROTOCOL, READ, cancel, failure, id, peer, request, response};
use pointsub_core::endpoint::Offer;
use pointsub_core::{CallOptions, ClientConfig, Hedge};

const APPLICATION: u8 = 1;
const HEDGE: Duration = Duration::from_millis(20);

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

/// The delay is what most calls of late took: nobody has to know it.
#[test]
fn a_hedge_beyond_a_quantile_waits_for_as_long_as_most_calls_take() {
    let mut c = farm(config(), 2);
    let hedge = any().with_hedge(Hedge::beyond(900));
    let nodes = order("a", 2);
    let mut first = None;
    for n in 0..100 {
        let call = c.send_closest("a", hedge.clone());
        let stream = match first {
            None => *first.insert(asked(&mut c, nodes[0], "a")),
            Some(stream) => {
                c.expect_sent(stream, [request(id(n + 1, 0), "a")]);
                stream
            }
        };
        c.at(n * 20 + 10);
        c.receives(stream, [response(id(n + 1, 0), "A")]);
        expect_answer(c.expect_closest(call), nodes[0], "A");
        c.at(n * 20 + 20);
    }
    assert_eq!(c.stats().hedges, 0, "nothing was known");
    let call = c.send_closest("a", hedge);
    let first = first.expect("a stream");
    c.expect_sent(first, [request(id(101, 0), "a")]);
    assert_eq!(c.until(2011), 2010, "10 ms and a little later");
    let second = asked(&mut c, nodes[1], "a");
    c.receives(second, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), nodes[1], "A");
    c.expect_sent(first, [cancel(id(101, 0))]);
    c.receives(first, [failure(id(101, 0), 6)]);
    assert_eq!(c.stats().hedges, 1);
}

/// A hedge for which there is no node costs nothing.
#[test]
fn a_hedge_that_asks_nobody_is_not_paid_for() {
    let mut c = farm(config(), 1);
    let mut stream = None;
    for n in 0..10 {
        let call = c.send_closest("a", hedged(20));
        let stream = match stream {
            None => *stream.insert(asked(&mut c, 1, "a")),
            Some(stream) => {
                c.expect_sent(stream, [request(id(n + 1, 0), "a")]);
                stream
            }
        };
        c.at(n * 50 + 40);
        c.receives(stream, [response(id(n + 1, 0), "A")]);
        expect_answer(c.expect_closest(call), 1, "A");
        c.at(n * 50 + 50);
    }
    assert_eq!(c.add_node(2), Ok(true));
    c.send_closest("a", hedged(20));
    // There is as much for hedges as at first.
    if order("a", 2)[0] == 1 {
        c.expect_sent(stream.expect("a stream"), [request(id(11, 0), "a")]);
        c.expires_at(520);
        asked(&mut c, 2, "a");
    } else {
        asked(&mut c, 2, "a");
        c.expires_at(520);
        c.expect_sent(stream.expect("a stream"), [request(id(11, 0), "a")]);
    }
    assert_eq!(c.stats().hedges, 1);
}

/// Where more calls are slow than hedges are there for, all are: hedges would slow down the rest.
#[test]
fn there_are_no_hedges_for_a_while_after_more_were_wanted_than_there_may_be() {
    // Five are there from the beginning, and each call pays for half of one.
    let mut c = farm(config().with_hedge_budget(500), 2);
    let nodes = order("a", 2);
    let mut streams = [None; 2];
    let mut sent = [0; 2];
    let mut asks = |c: &mut ClientScript, which: usize| {
        sent[which] += 1;
        match streams[which] {
            None => *streams[which].insert(asked(c, nodes[which], "a")),
            Some(stream) => {
                c.expect_sent(stream, [request(id(sent[which], 0), "a")]);
                stream
            }
        }
    };
    let hedged_after = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 28];
    let mut seconds = 0;
    for n in 1..=28 {
        let began = n * 60;
        c.at(began);
        let call = c.send_closest("a", hedged(20).with_hedge(Hedge::after(HEDGE).with_max(1)));
        let first = asks(&mut c, 0);
        let hedged = hedged_after.contains(&n);
        let second = if hedged {
            c.expires_at(began + 20);
            seconds += 1;
            Some(asks(&mut c, 1))
        } else {
            c.at(began + 20);
            None
        };
        c.receives(first, [response(id(n, 0), "A")]);
        expect_answer(c.expect_closest(call), nodes[0], "A");
        if let Some(second) = second {
            c.expect_sent(second, [cancel(id(seconds, 0))]);
            c.receives(second, [failure(id(seconds, 0), 6)]);
        }
    }
    assert_eq!(c.stats().hedges, 11);
}
