//! Calls to the closest node: how they end before a node has answered.

use crate::support::nodes::{any, asked, expect_answer, farm, hedged, order, unreachable};
use crate::support::{CONNECT, PROTOCOL, cancel, failure, id, ms, peer, request, response};
use pointsub_core::endpoint::Offer;
use pointsub_core::endpoint::closest::Node;
use pointsub_core::{CallOptions, Cause, ClientConfig, Delivery, Format, SendError};

/// One round only, unless a test is about more.
fn config() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

#[test]
fn the_deadline_covers_all_tries() {
    let mut c = farm(ClientConfig::default(), 3);
    let nodes = order("a", 3);
    let call = CallOptions::default().with_deadline(ms(CONNECT + 10));
    let call = c.send_closest("a", any().with_call(call));
    c.expect_open_to(nodes[0], PROTOCOL, Offer::Both);
    c.run_to_abandon(CONNECT);
    let second = c.expect_open_to(nodes[1], PROTOCOL, Offer::Both);
    c.expires_at(CONNECT + 10);
    let error = c.expect_closest(call).expect_err("too late").error;
    assert_eq!((error.cause, error.delivery), (Cause::Deadline, Delivery::NotProcessed));
    c.open_fails(second, unreachable());
}

#[test]
fn a_cancelled_call_says_nothing_and_leaves_nothing() {
    let mut c = farm(config(), 2);
    let nodes = order("a", 2);
    let call = c.send_closest("a", hedged(20));
    let first = asked(&mut c, nodes[0], "a");
    c.expires_at(20);
    let second = asked(&mut c, nodes[1], "a");
    c.client.cancel_closest(call, c.now);
    for loser in [first, second] {
        c.expect_sent(loser, [cancel(id(1, 0))]);
        c.receives(loser, [failure(id(1, 0), 6)]);
    }
    assert!(c.client.server_nodes(PROTOCOL).all(|node| node.in_flight() == 0));
    assert_eq!((c.stats().cancelled, c.stats().in_flight), (2, 0));
}

#[test]
fn a_call_that_rests_can_be_cancelled() {
    let mut c = farm(ClientConfig::default(), 1);
    let call = c.send_closest("a", any());
    let open = c.expect_open_to(1, PROTOCOL, Offer::Both);
    c.open_fails(open, unreachable());
    c.expect_quiet();
    c.client.cancel_closest(call, c.now);
    c.expect_rest();
}

/// C16: calls under way fail when the client is closed, and later ones are refused.
#[test]
fn close_fails_calls_under_way_and_those_that_rest() {
    let mut c = farm(ClientConfig::default(), 2);
    let nodes = order("a", 2);
    let resting = c.send_closest("a", any());
    for n in &nodes {
        let open = c.expect_open_to(*n, PROTOCOL, Offer::Both);
        c.open_fails(open, unreachable());
    }
    let asking = c.send_closest("a", any());
    let s = asked(&mut c, nodes[1], "a");
    c.close();
    for (call, delivery) in [(resting, Delivery::NotProcessed), (asking, Delivery::Unknown)] {
        let error = c.expect_closest(call).expect_err("closed").error;
        assert_eq!((error.cause, error.delivery), (Cause::Closed, delivery));
    }
    assert_eq!(c.try_send_closest("a", any()), Err(SendError::Closed));
    c.expect_sent(s, [cancel(id(1, 0))]);
    c.expect_finish(s);
    c.expect_drained();
}

/// C16: a call that is closed says how often nodes were asked, and whether one may have worked.
#[test]
fn close_tells_of_the_tries_under_way() {
    for connected in [false, true] {
        let mut c = farm(config(), 1);
        let call = c.send_closest("a", any());
        let open = c.expect_open_to(1, PROTOCOL, Offer::Both);
        if connected {
            c.opened(open, Format::Native);
            c.expect_sent(open, [c.settings(), request(id(1, 0), "a")]);
        }
        c.close();
        let error = c.expect_closest(call).expect_err("closed").error;
        let expected = match connected {
            true => (1, Delivery::Unknown),
            false => (0, Delivery::NotProcessed),
        };
        assert_eq!((error.attempts, error.delivery), expected);
        if connected {
            c.expect_sent(open, [cancel(id(1, 0))]);
            c.expect_finish(open);
        } else {
            c.expect_abandon(open);
        }
        c.expect_drained();
    }
}

#[test]
fn drain_waits_for_calls_that_rest() {
    let mut c = farm(ClientConfig::default(), 1);
    let call = c.send_closest("a", any());
    let open = c.expect_open_to(1, PROTOCOL, Offer::Both);
    c.open_fails(open, unreachable());
    c.drain();
    c.expect_quiet();
    c.until(1000);
    let s = asked(&mut c, 1, "a");
    c.receives(s, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), 1, "A");
    c.expect_finish(s);
    c.expect_drained();
}

#[test]
fn drain_waits_for_calls_under_way() {
    let mut c = farm(config(), 1);
    let call = c.send_closest("a", any());
    let s = asked(&mut c, 1, "a");
    c.drain();
    c.expect_quiet();
    c.receives(s, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), 1, "A");
    c.expect_finish(s);
    c.expect_drained();
}

/// A call that ends while a node is asked says how often nodes were, and whether one may have
/// worked on it.
#[test]
fn a_deadline_tells_of_the_tries_under_way() {
    for connected in [false, true] {
        let mut c = farm(config(), 1);
        let call = CallOptions::default().with_deadline(ms(100));
        let call = c.send_closest("a", any().with_call(call));
        let open = c.expect_open_to(1, PROTOCOL, Offer::Both);
        if connected {
            c.opened(open, Format::Native);
            c.expect_sent(open, [c.settings(), request(id(1, 0), "a").timeout(100)]);
        }
        c.expires_at(100);
        let error = c.expect_closest(call).expect_err("too late").error;
        let expected = match connected {
            true => (1, Delivery::Unknown),
            false => (0, Delivery::NotProcessed),
        };
        assert_eq!((error.attempts, error.delivery), expected);
        if connected {
            c.expect_sent(open, [cancel(id(1, 0))]);
        } else {
            c.open_fails(open, unreachable());
        }
    }
}

/// A server that gave up, whoever's time was over, tells nothing about how fast it is.
#[test]
fn who_gives_up_has_not_answered() {
    for status in [5, 6] {
        let mut c = farm(config(), 1);
        let call = c.send_closest("a", any());
        let s = asked(&mut c, 1, "a");
        c.at(10);
        c.receives(s, [failure(id(1, 0), status)]);
        c.expect_closest(call).expect_err("it gave up");
        let latencies: Vec<_> = c.client.server_nodes(PROTOCOL).map(|n| n.latency(c.now)).collect();
        assert_eq!(latencies, [None]);
    }
}

/// What comes of a node that was removed says nothing about those that were added anew.
#[test]
fn an_attempt_at_a_removed_node_is_not_one_at_its_successor() {
    for key in ["a", "b", "c", "d"] {
        let mut c = farm(config(), 2);
        let nodes = order(key, 2);
        let first = c.send_closest(key, any());
        let s = asked(&mut c, nodes[0], key);
        for n in &nodes {
            assert!(c.client.remove_server_node(PROTOCOL, &peer(*n)));
        }
        for n in &nodes {
            assert_eq!(c.add_node(*n), Ok(true));
        }
        c.at(10);
        c.receives(s, [response(id(1, 0), "A")]);
        expect_answer(c.expect_closest(first), nodes[0], "A");
        let latency = |node: &Node| node.latency(c.now);
        let latencies: Vec<_> = c.client.server_nodes(PROTOCOL).map(latency).collect();
        assert_eq!(latencies, [None, None]);
    }
}
