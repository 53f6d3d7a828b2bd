//! Calls to the closest node: who is asked, who is asked next, and what the caller is told.

use std::time::Duration;

use crate::support::nodes::{any, asked, expect_answer, farm, order, trail, unreachable};
use crate::support::{
    ClientScript, PROTOCOL, READ, cancel, failure, id, ms, peer, plain, request, response,
};
use pointsub_core::endpoint::closest::{AddNodeError, Candidate, PeakEwma, Strategy, Weighted};
use pointsub_core::endpoint::{Offer, RetryPolicy};
use pointsub_core::{
    CallOptions, Cause, ClientConfig, Delivery, Format, PeerId, ProtocolName, RequestError,
    SendError, StatusCode, StreamError,
};

const APPLICATION: u8 = 1;
const NOT_FOUND: u8 = 2;
const BUSY: u8 = 3;

/// One round only, unless a test is about more.
fn config() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

/// N1: the nodes of a protocol are an ordered set, kept apart from those of others.
#[test]
fn nodes_are_added_listed_removed_and_cleared_by_protocol() {
    let mut c = ClientScript::new(config());
    let list = |c: &ClientScript, protocol| -> Vec<PeerId> {
        c.client.server_nodes(protocol).map(|node| *node.peer()).collect()
    };
    assert!(!c.client.has_available_nodes(PROTOCOL, c.now));
    assert_eq!(c.add_node(2), Ok(true));
    assert_eq!(c.add_node(1), Ok(true));
    assert_eq!(c.add_node(2), Ok(false));
    assert_eq!(c.add_node(0), Err(AddNodeError::Own));
    assert_eq!(list(&c, PROTOCOL), [peer(2), peer(1)]);
    assert_eq!(list(&c, "/other"), []);
    assert!(c.client.has_available_nodes(PROTOCOL, c.now));
    assert!(!c.client.has_available_nodes("/other", c.now));
    assert!(c.client.remove_server_node(PROTOCOL, &peer(2)));
    assert!(!c.client.remove_server_node(PROTOCOL, &peer(2)));
    assert!(!c.client.remove_server_node("/other", &peer(1)));
    assert_eq!(list(&c, PROTOCOL), [peer(1)]);
    c.client.clear_server_nodes(PROTOCOL);
    assert_eq!(list(&c, PROTOCOL), []);
    assert_eq!(c.try_send_closest("a", any()), Err(SendError::NoNodes));
}

/// N2, N9: the closest node is asked, and the answer says who gave it and how long it took.
#[test]
fn the_closest_node_answers() {
    for key in ["", "a", "hello", "please"] {
        let mut c = farm(config(), 5);
        let call = c.send_closest(key, any());
        let closest = order(key, 5)[0];
        let s = asked(&mut c, closest, key);
        c.at(40);
        c.receives(s, [response(id(1, 0), "yes")]);
        let answer = expect_answer(c.expect_closest(call), closest, "yes");
        assert_eq!(trail(&answer.attempts), [(peer(closest), "answered")]);
        assert_eq!(answer.attempts[0].after, Duration::ZERO);
        assert_eq!(answer.attempts[0].took, Duration::from_millis(40));
    }
}

/// W2: an empty body has a distance like any other.
#[test]
fn an_empty_request_goes_to_the_closest_node_too() {
    let mut c = farm(config(), 3);
    let call = c.send_closest("", any());
    let first = order("", 3)[0];
    let s = asked(&mut c, first, "");
    c.receives(s, [response(id(1, 0), "")]);
    expect_answer(c.expect_closest(call), first, "");
}

/// N5, N9: when a node fails the next one is asked at once, in order, each once.
#[test]
fn failing_nodes_are_passed_over_in_order() {
    let mut c = farm(config(), 4);
    let call = c.send_closest("a", any());
    let nodes = order("a", 4);
    let open = c.expect_open_to(nodes[0], PROTOCOL, Offer::Both);
    c.at(7);
    c.open_fails(open, unreachable());
    let s = asked(&mut c, nodes[1], "a");
    c.receives(s, [failure(id(1, 0), BUSY).unprocessed()]);
    let open = c.expect_open_to(nodes[2], PROTOCOL, Offer::Both);
    c.open_fails(open, StreamError::Unsupported);
    let s = asked(&mut c, nodes[3], "a");
    c.at(9);
    c.receives(s, [response(id(1, 0), "A")]);
    let answer = expect_answer(c.expect_closest(call), nodes[3], "A");
    let expected = [(0, "failed"), (1, "failed"), (2, "failed"), (3, "answered")];
    assert_eq!(trail(&answer.attempts), expected.map(|(n, what)| (peer(nodes[n]), what)));
    let after: Vec<u128> = answer.attempts.iter().map(|a| a.after.as_millis()).collect();
    assert_eq!(after, [0, 7, 7, 7]);
    assert_eq!(c.stats().failovers, 3);
}

/// N5: an address may be known of another node.
#[test]
fn a_node_without_a_known_address_is_passed_over() {
    let mut c = farm(config(), 2);
    let call = c.send_closest("a", any());
    let nodes = order("a", 2);
    let open = c.expect_open_to(nodes[0], PROTOCOL, Offer::Both);
    c.open_fails(open, StreamError::NoAddress);
    let s = asked(&mut c, nodes[1], "a");
    c.receives(s, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), nodes[1], "A");
}

/// N5: when the last node has failed, its error is told, with all that was tried.
#[test]
fn when_all_nodes_fail_the_call_fails() {
    let mut c = farm(config(), 2);
    let call = c.send_closest("a", any());
    for n in order("a", 2) {
        let open = c.expect_open_to(n, PROTOCOL, Offer::Both);
        c.open_fails(open, unreachable());
    }
    let error = c.expect_closest(call).expect_err("nobody answers");
    assert_eq!(error.error.cause, Cause::Unreachable("no route".into()));
    assert_eq!(error.error.delivery, Delivery::NotProcessed);
    assert_eq!(error.attempts.len(), 2);
    assert!(error.to_string().contains("2 tried"), "{error}");
}

/// N5: what the handler said is the answer, good or bad: no other node is asked.
#[test]
fn what_a_handler_said_is_final() {
    let mut c = farm(config(), 3);
    let call = c.send_closest("a", any());
    let first = order("a", 3)[0];
    let s = asked(&mut c, first, "a");
    c.receives(s, [failure(id(1, 0), APPLICATION)]);
    let error = c.expect_closest(call).expect_err("the handler failed").error;
    assert_eq!(error.status().map(|status| status.code), Some(StatusCode::Application(0)));
    let node = c.client.server_nodes(PROTOCOL).find(|node| *node.peer() == peer(first));
    assert_eq!(node.map(|node| node.failures()), Some(0));
}

/// N5: A call that must not be executed twice goes on only after what surely left it
/// unprocessed.
#[test]
fn a_call_that_is_not_idempotent_reaches_one_handler_at_most() {
    let once = || any().with_call(CallOptions::default().with_idempotent(false));
    let mut c = farm(config(), 3);
    let call = c.send_closest("a", once());
    let nodes = order("a", 3);
    let s = asked(&mut c, nodes[0], "a");
    c.receives(s, [failure(id(1, 0), NOT_FOUND).unprocessed()]);
    let s = asked(&mut c, nodes[1], "a");
    c.breaks(s);
    let error = c.expect_closest(call).expect_err("it may have been executed");
    assert_eq!(error.error.delivery, Delivery::Unknown);
    assert_eq!((error.attempts.len(), error.error.attempts), (2, 2));
}

/// N6: excluded nodes are not asked, and calls without any node left are refused.
#[test]
fn excluded_nodes_are_not_asked() {
    let mut c = farm(config(), 3);
    let nodes = order("a", 3);
    let exclude = vec![peer(nodes[0]), peer(nodes[1])];
    let call = c.send_closest("a", any().with_exclude(exclude));
    let s = asked(&mut c, nodes[2], "a");
    c.receives(s, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), nodes[2], "A");
    let all = (1..=3).map(peer).collect();
    assert_eq!(c.try_send_closest("a", any().with_exclude(all)), Err(SendError::NoNodes));
}

/// N6: A faulty node rests, is passed over meanwhile, and comes back through a probe.
#[test]
fn a_faulty_node_rests_and_is_probed() {
    let mut c = farm(config(), 2);
    let nodes = order("a", 2);
    let call = c.send_closest("a", any());
    let open = c.expect_open_to(nodes[0], PROTOCOL, Offer::Both);
    c.open_fails(open, unreachable());
    let second = asked(&mut c, nodes[1], "a");
    c.receives(second, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), nodes[1], "A");

    c.at(999);
    let call = c.send_closest("a", any());
    c.expect_sent(second, [request(id(2, 0), "a")]);
    c.receives(second, [response(id(2, 0), "A")]);
    expect_answer(c.expect_closest(call), nodes[1], "A");

    c.at(1000);
    let probe = c.send_closest("a", any());
    let other = c.send_closest("a", any());
    let first = asked(&mut c, nodes[0], "a");
    c.expect_sent(second, [request(id(3, 0), "a")]);
    c.receives(first, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(probe), nodes[0], "A");
    c.receives(second, [response(id(3, 0), "A")]);
    expect_answer(c.expect_closest(other), nodes[1], "A");
}

/// N6: A node that is busy is no faulty node.
#[test]
fn a_busy_node_does_not_rest() {
    let mut c = farm(config(), 2);
    let nodes = order("a", 2);
    let call = c.send_closest("a", any());
    let first = asked(&mut c, nodes[0], "a");
    c.receives(first, [failure(id(1, 0), BUSY).unprocessed()]);
    let second = asked(&mut c, nodes[1], "a");
    c.receives(second, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), nodes[1], "A");
    let node = c.client.server_nodes(PROTOCOL).find(|node| *node.peer() == peer(nodes[0]));
    let node = node.expect("it is a node");
    assert_eq!((node.backoff_until(), node.load(c.now)), (None, Some(1000)));
}

/// N5: A call of which nobody but the node knows how it ended is not left to one node.
#[test]
fn a_node_that_does_not_answer_is_given_up_at_read_timeout() {
    let mut c = farm(config(), 2);
    let nodes = order("a", 2);
    let call = c.send_closest("a", any());
    let first = asked(&mut c, nodes[0], "a");
    c.expires_at(READ);
    c.expect_sent(first, [cancel(id(1, 0))]);
    let second = asked(&mut c, nodes[1], "a");
    c.receives(second, [response(id(1, 0), "A")]);
    let answer = expect_answer(c.expect_closest(call), nodes[1], "A");
    assert_eq!(answer.attempts[0].took, Duration::from_millis(READ));
    c.receives(first, [failure(id(1, 0), 6)]);
}

// Rounds.

/// N7: when all nodes have failed, they are asked again after a pause, as the policy says.
#[test]
fn after_a_round_the_retry_policy_decides() {
    #[derive(Debug)]
    struct Twice;
    impl RetryPolicy for Twice {
        fn pause(&self, _: &RequestError, retries: u32, _: u64) -> Option<Duration> {
            (retries < 2).then(|| Duration::from_millis(100 * u64::from(retries + 1)))
        }
    }
    let mut c = farm(ClientConfig::default(), 1);
    c.client.set_retry_policy(Twice);
    let call = c.send_closest("a", any());
    for at in [100, 300] {
        let open = c.expect_open_to(1, PROTOCOL, Offer::Both);
        c.open_fails(open, unreachable());
        c.expires_at(at);
    }
    let open = c.expect_open_to(1, PROTOCOL, Offer::Both);
    c.open_fails(open, unreachable());
    let error = c.expect_closest(call).expect_err("three rounds");
    let after: Vec<u128> = error.attempts.iter().map(|a| a.after.as_millis()).collect();
    assert_eq!(after, [0, 100, 300]);
    assert_eq!(c.stats().retries, 2);
}

/// N6, N7: in a second round the nodes that rest are left alone while another is usable.
#[test]
fn a_second_round_asks_whoever_is_usable() {
    let mut c = farm(ClientConfig::default().with_retry_interval(Duration::from_millis(10)), 2);
    let nodes = order("a", 2);
    let call = c.send_closest("a", any());
    for n in [nodes[0], nodes[1]] {
        let open = c.expect_open_to(n, PROTOCOL, Offer::Both);
        c.open_fails(open, unreachable());
    }
    c.until(10);
    let s = asked(&mut c, nodes[1], "a");
    c.receives(s, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), nodes[1], "A");
}

/// N7: nobody is asked again when no failure may pass.
#[test]
fn there_is_no_second_round_for_what_cannot_pass() {
    let mut c = farm(ClientConfig::default(), 1);
    let call = c.send_closest("a", any());
    let open = c.expect_open_to(1, PROTOCOL, Offer::Both);
    c.open_fails(open, StreamError::Unsupported);
    let error = c.expect_closest(call).expect_err("not served");
    assert_eq!(error.error.cause, Cause::Unsupported);
    c.expect_rest();
}

// What is learned of nodes.

/// N6: a node that no longer serves the protocol is faulty, as far as this protocol goes.
#[test]
fn a_node_that_does_not_know_the_protocol_rests() {
    let mut c = farm(config(), 2);
    let nodes = order("a", 2);
    let call = c.send_closest("a", any());
    let first = asked(&mut c, nodes[0], "a");
    c.receives(first, [failure(id(1, 0), NOT_FOUND).unprocessed()]);
    let second = asked(&mut c, nodes[1], "a");
    c.receives(second, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), nodes[1], "A");
    let node = c.client.server_nodes(PROTOCOL).find(|node| *node.peer() == peer(nodes[0]));
    assert_eq!(node.and_then(|node| node.backoff_until()), Some(ms(1000)));
}

/// N3: latency comes from answers, load from what servers say, online from connections; an
/// offline node is never asked on the network about itself.
#[test]
fn nodes_are_judged_by_what_was_seen_of_them() {
    let mut c = ClientScript::new(config());
    (1..=2).for_each(|n| assert_eq!(c.add_node(n), Ok(true)));
    c.client.set_online(peer(2), true);
    let known = |c: &ClientScript, n: u8| {
        let node = c.client.server_nodes(PROTOCOL).find(|node| *node.peer() == peer(n));
        let node = node.expect("it is a node");
        (node.online(), node.latency(c.now), node.load(c.now))
    };
    assert_eq!(known(&c, 1), (Some(false), None, None));
    assert_eq!(known(&c, 2), (Some(true), None, None));
    assert_eq!(c.add_node(3), Ok(true));
    assert_eq!(known(&c, 3).0, Some(false));
    c.expect_rest();

    let call = c.send_closest("a", any().with_exclude(vec![peer(1), peer(3)]));
    let s = asked(&mut c, 2, "a");
    c.at(30);
    c.receives(s, [response(id(1, 0), "A").load(250)]);
    expect_answer(c.expect_closest(call), 2, "A");
    assert_eq!(known(&c, 2), (Some(true), Some(Duration::from_millis(30)), Some(250)));
    // A call to that peer by name tells its load as well.
    let b = c.send_to(2, PROTOCOL, "b");
    c.expect_sent(s, [request(id(2, 0), "b")]);
    c.receives(s, [failure(id(2, 0), APPLICATION).load(700)]);
    c.expect_error(b);
    assert_eq!(known(&c, 2).2, Some(700));
    c.client.set_online(peer(2), false);
    assert_eq!(known(&c, 2).0, Some(false));
}

/// N4: the weighted strategy looks at more than the distance: a slow and loaded node loses to a
/// farther one.
#[test]
fn the_weighted_strategy_weighs_latency_load_and_connection() {
    let mut c = ClientScript::new(config());
    c.client.set_strategy(Weighted::default());
    (1..=2).for_each(|n| assert_eq!(c.add_node(n), Ok(true)));
    let nodes = order("a", 2);
    // Nothing is known, so distance decides.
    let call = c.send_closest("a", any());
    let s = asked(&mut c, nodes[0], "a");
    c.at(20_000);
    c.receives(s, [response(id(1, 0), "A").load(1000)]);
    expect_answer(c.expect_closest(call), nodes[0], "A");
    c.client.set_online(peer(nodes[1]), true);
    let call = c.send_closest("a", any());
    let s = asked(&mut c, nodes[1], "a");
    c.receives(s, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), nodes[1], "A");
}

/// N4: another strategy is a call away.
#[test]
fn with_two_choices_the_busy_node_is_avoided() {
    let mut c = ClientScript::new(config());
    c.client.set_strategy(PeakEwma);
    (1..=2).for_each(|n| assert_eq!(c.add_node(n), Ok(true)));
    let a = c.send_closest("a", any());
    let b = c.send_closest("a", any());
    // Both are as good, until one has something to do.
    let one = c.expect_open_either(&[1, 2]);
    let two = c.expect_open_either(&[1, 2]);
    assert_ne!(one.1, two.1);
    for (stream, call, n) in [(one.0, a, one.1), (two.0, b, two.1)] {
        c.opened(stream, Format::Plain);
        c.expect_sent(stream, [plain("a")]);
        c.receives(stream, [plain("A")]);
        expect_answer(c.expect_closest(call), n, "A");
    }
}

/// A strategy of the user's own.
#[derive(Debug)]
struct Only(PeerId);

impl Strategy for Only {
    fn cost(&self, candidate: &Candidate<'_>) -> u64 {
        u64::from(*candidate.node.peer() != self.0)
    }
}

/// N4: a rule of the user's own decides, through the client.
#[test]
fn a_strategy_of_the_users_own_decides() {
    for n in 1..=3 {
        let mut c = farm(config(), 3);
        c.client.set_strategy(Only(peer(n)));
        let call = c.send_closest("a", any());
        let s = asked(&mut c, n, "a");
        c.receives(s, [response(id(1, 0), "A")]);
        expect_answer(c.expect_closest(call), n, "A");
    }
}

/// N4: a protocol may have a strategy of its own.
#[test]
fn the_strategy_of_a_protocol_comes_before_the_clients() {
    let mut c = farm(config(), 2);
    let only = |n| Only(peer(n));
    c.client.set_strategy(only(1));
    c.client.set_protocol_strategy(ProtocolName::new(PROTOCOL).expect("a name"), only(2));
    let call = c.send_closest("a", any());
    let s = asked(&mut c, 2, "a");
    c.receives(s, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), 2, "A");
}

/// Nodes that were removed while they were asked leave nothing behind in those added later.
#[test]
fn late_news_of_removed_nodes_are_no_news_of_new_ones() {
    let mut c = farm(config(), 1);
    let call = c.send_closest("a", any());
    let open = c.expect_open_to(1, PROTOCOL, Offer::Both);
    c.client.clear_server_nodes(PROTOCOL);
    assert_eq!(c.add_node(1), Ok(true));
    assert_eq!(c.add_node(2), Ok(true));
    c.open_fails(open, unreachable());
    let next = order("a", 2).into_iter().find(|n| *n != 1).expect("node 2");
    let s = asked(&mut c, next, "a");
    c.receives(s, [response(id(1, 0), "A")]);
    expect_answer(c.expect_closest(call), next, "A");
    let states: Vec<(u32, u32)> =
        c.client.server_nodes(PROTOCOL).map(|node| (node.failures(), node.in_flight())).collect();
    assert_eq!(states, [(0, 0), (0, 0)]);
}
