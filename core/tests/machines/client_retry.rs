//! The client: requests that are tried again.

use std::time::Duration;

use bytes::Bytes;

use crate::support::{
    ClientScript, PROTOCOL, drain, failure, id, peer, request, response, settings,
};
use pointsub_core::endpoint::{Backoff, Offer};
use pointsub_core::{
    CallOptions, Cause, ClientConfig, Delivery, Format, Phase, ProtocolName, StatusCode,
    StreamError,
};

const BUSY: u8 = 3;
const APPLICATION: u8 = 1;
/// The longest pauses before the three retries, in milliseconds.
const PAUSES: [u64; 3] = [1000, 2000, 4000];

fn config() -> ClientConfig {
    ClientConfig::default()
}

fn unreachable() -> StreamError {
    StreamError::Unreachable("no route".into())
}

/// C4, C5: busy is an answer that passes.
#[test]
fn an_answer_that_passes_is_asked_for_again_after_a_pause() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.receives(s, [failure(id(2, 0), BUSY).unprocessed()]);
    c.expect_quiet();
    c.at(PAUSES[0] / 2 - 1);
    c.until(PAUSES[0]);
    c.expect_sent(s, [request(id(3, 0), "a")]);
    c.receives(s, [response(id(3, 0), "A")]);
    c.expect_response(a, "A");
    assert_eq!(c.stats().retries, 1);
}

/// C4: half an answer is as good as none, whatever ended it.
#[test]
fn a_stream_that_ends_inside_an_answer_is_lost_and_another_tried() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.receives_bytes(s, response(id(2, 0), "A").first(3));
    c.finishes(s);
    c.expect_reset(s);
    c.expect_quiet();
    c.until(PAUSES[0]);
    let fresh = c.expect_open(Offer::Only(Format::Native));
    c.opened(fresh, Format::Native);
    c.expect_sent(fresh, [c.settings(), request(id(1, 0), "a")]);
    c.receives(fresh, [settings(1, 1), response(id(1, 0), "A")]);
    c.expect_response(a, "A");
}

/// C4, C5: exponential, with jitter; the attempts are counted.
#[test]
fn the_pause_doubles_and_the_last_failure_is_told() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    let mut at = 0;
    for (n, pause) in PAUSES.into_iter().enumerate() {
        let number = id(n as u64 + 2, 0);
        c.expect_sent(s, [request(number, "a")]);
        c.receives(s, [failure(number, BUSY).unprocessed()]);
        c.at(at + pause / 2 - 1);
        at = c.until(at + pause);
    }
    c.expect_sent(s, [request(id(5, 0), "a")]);
    c.receives(s, [failure(id(5, 0), BUSY).unprocessed()]);
    let error = c.expect_error(a);
    assert_eq!(error.status().map(|status| status.code), Some(StatusCode::Busy));
    assert_eq!((error.attempts, error.delivery), (4, Delivery::NotProcessed));
}

/// C4: also one that was under way on a stream which took nothing new, when no other is left.
#[test]
fn a_request_on_the_last_stream_is_tried_again_when_that_is_lost() {
    let (mut c, one) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(one, [request(id(2, 0), "a")]);
    c.receives(one, [drain(id(2, 0))]);
    let b = c.send("b");
    let two = c.expect_open(Offer::Only(Format::Native));
    c.opened(two, Format::Native);
    c.expect_sent(two, [c.settings(), request(id(1, 0), "b")]);
    c.receives(two, [response(id(1, 0), "B")]);
    c.expect_response(b, "B");
    c.breaks(two);
    c.expect_quiet();
    c.breaks(one);
    c.until(PAUSES[0]);
    let three = c.expect_open(Offer::Only(Format::Native));
    c.opened(three, Format::Native);
    c.expect_sent(three, [c.settings(), request(id(1, 0), "a")]);
    c.receives(three, [response(id(1, 0), "A")]);
    c.expect_response(a, "A");
}

/// C4: no pause makes an address known.
#[test]
fn a_peer_without_a_known_address_fails_at_once() {
    let mut c = ClientScript::new(config());
    let (a, b) = (c.send("a"), c.send("b"));
    let s = c.expect_open(Offer::Both);
    c.open_fails(s, StreamError::NoAddress);
    for request in [a, b] {
        c.expect_failed(request, Cause::NoAddress, Phase::Connect, Delivery::NotProcessed);
    }
    assert_eq!(c.stats().retries, 0);
    c.expect_rest();
}

/// C5: retry-after is honoured.
#[test]
fn a_server_that_names_a_longer_pause_gets_it() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.receives(s, [failure(id(2, 0), BUSY).retry_after(9000).unprocessed()]);
    // Up to as much again is added, so that not all come back at once.
    let at = c.until(18_000);
    assert!((9000..=18_000).contains(&at), "{at}");
    c.expect_sent(s, [request(id(3, 0), "a")]);
    c.receives(s, [response(id(3, 0), "A")]);
    c.expect_response(a, "A");
}

#[test]
fn a_server_cannot_make_a_caller_wait_for_days() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.receives(s, [failure(id(2, 0), BUSY).retry_after(30_001).unprocessed()]);
    let after = c.expect_error(a).status().and_then(|status| status.retry_after);
    assert_eq!(after, Some(Duration::from_millis(30_001)));
}

#[test]
fn a_pause_beyond_the_deadline_is_not_waited_for() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send_until(499, "a");
    c.expect_sent(s, [request(id(2, 0), "a").timeout(499)]);
    c.receives(s, [failure(id(2, 0), BUSY).unprocessed()]);
    let error = c.expect_error(a);
    assert_eq!(error.status().map(|status| status.code), Some(StatusCode::Busy));
}

#[test]
fn what_the_handler_said_is_final() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.receives(s, [failure(id(2, 0), APPLICATION)]);
    assert_eq!(c.expect_error(a).attempts, 1);
    assert_eq!(c.stats().retries, 0);
}

#[test]
fn a_connection_is_tried_as_often() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let mut at = 0;
    for pause in PAUSES {
        let s = c.expect_open(Offer::Both);
        c.open_fails(s, unreachable());
        c.at(at + pause / 2 - 1);
        at = c.until(at + pause);
    }
    let s = c.expect_open(Offer::Both);
    c.open_fails(s, unreachable());
    let cause = Cause::Unreachable("no route".into());
    c.expect_failed(a, cause, Phase::Connect, Delivery::NotProcessed);
    c.expect_rest();
}

#[test]
fn a_request_that_rests_can_be_cancelled() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.open_fails(s, unreachable());
    c.cancel(a);
    c.expect_rest();
    assert_eq!(c.stats().cancelled, 1);
}

#[test]
fn a_request_that_rests_fails_when_the_client_is_closed() {
    let mut c = ClientScript::new(config());
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.open_fails(s, unreachable());
    c.close();
    c.expect_failed(a, Cause::Closed, Phase::Connect, Delivery::NotProcessed);
    c.expect_drained();
    c.expect_rest();
}

/// C4: the outcome speaks for all tries.
#[test]
fn a_failure_after_a_try_that_may_have_arrived_says_so() {
    let (mut c, s) = ClientScript::native(config().with_max_retries(1));
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.breaks(s);
    c.until(PAUSES[0]);
    let s = c.expect_open(Offer::Only(Format::Native));
    c.open_fails(s, unreachable());
    let cause = Cause::Unreachable("no route".into());
    c.expect_failed(a, cause, Phase::Connect, Delivery::Unknown);
}

/// C11: 10 000 calls to a healthy peer wait for nothing.
#[test]
fn a_healthy_peer_is_never_waited_for() {
    let (mut c, s) = ClientScript::native(config());
    for n in 2..10_002 {
        let a = c.send("a");
        c.expect_sent(s, [request(id(n, 0), "a")]);
        c.receives(s, [response(id(n, 0), "A")]);
        c.expect_response(a, "A");
    }
    assert_eq!((c.stats().ok, c.stats().retries), (10_001, 0));
}

/// C5: the budget.
#[test]
fn when_nothing_works_retries_stop() {
    let config = config().with_max_retries(100).with_retry_interval(Duration::from_millis(1));
    let (mut c, s) = ClientScript::native(config);
    let a = c.send("a");
    let mut at = 0;
    // Half of a hundred tokens for this peer, one for each failure.
    for n in 2..51 {
        c.expect_sent(s, [request(id(n, 0), "a")]);
        c.receives(s, [failure(id(n, 0), BUSY).unprocessed()]);
        at = c.until(at + 30_000);
    }
    c.expect_sent(s, [request(id(51, 0), "a")]);
    c.receives(s, [failure(id(51, 0), BUSY).unprocessed()]);
    assert_eq!(c.expect_error(a).attempts, 50);
}

/// C5: a success gives back a tenth of what a failure takes.
#[test]
fn successes_bring_retries_back() {
    for (successes, retried) in [(10, false), (11, true)] {
        let config = config().with_max_retries(100).with_retry_interval(Duration::from_millis(1));
        let (mut c, s) = ClientScript::native(config);
        let a = c.send("a");
        let mut at = 0;
        let mut number = 2;
        for _ in 0..49 {
            c.expect_sent(s, [request(id(number, 0), "a")]);
            c.receives(s, [failure(id(number, 0), BUSY).unprocessed()]);
            at = c.until(at + 30_000);
            number += 1;
        }
        c.expect_sent(s, [request(id(number, 0), "a")]);
        c.receives(s, [failure(id(number, 0), BUSY).unprocessed()]);
        c.expect_error(a);
        for _ in 0..successes {
            number += 1;
            let b = c.send("b");
            c.expect_sent(s, [request(id(number, 0), "b")]);
            c.receives(s, [response(id(number, 0), "B")]);
            c.expect_response(b, "B");
        }
        number += 1;
        let d = c.send("d");
        c.expect_sent(s, [request(id(number, 0), "d")]);
        c.receives(s, [failure(id(number, 0), BUSY).unprocessed()]);
        if retried {
            c.until(at + 30_000);
            c.expect_sent(s, [request(id(number + 1, 0), "d")]);
        } else {
            assert_eq!(c.expect_error(d).attempts, 1);
        }
    }
}

/// C4: a server may ask for 30 s, and no pause lasts until the caller's time is up.
#[test]
fn a_pause_of_30_s_is_waited_for_if_the_deadline_comes_later() {
    for (deadline, retried) in [(30_000, false), (30_001, true)] {
        let (mut c, s) = ClientScript::native(config());
        let a = c.send_until(deadline, "a");
        c.expect_sent(s, [request(id(2, 0), "a").timeout(deadline as u32)]);
        c.receives(s, [failure(id(2, 0), BUSY).retry_after(30_000).unprocessed()]);
        if retried {
            assert_eq!(c.until(30_001), 30_000);
            c.expect_sent(s, [request(id(3, 0), "a").timeout(1)]);
        } else {
            assert!(matches!(c.expect_error(a).cause, Cause::Remote(_)));
        }
    }
}

/// C4: a call may say less than the policy does, and not more.
#[test]
fn a_call_says_how_often_it_is_tried_again_at_most() {
    let (mut c, s) = ClientScript::native(config());
    for (number, most) in [(2, 0), (3, 1)] {
        let options = CallOptions::default().with_max_retries(most);
        let sent =
            c.client.send(&peer(1), PROTOCOL, Bytes::from("a"), options, c.now).expect("accepted");
        c.expect_sent(s, [request(id(number, 0), "a")]);
        c.receives(s, [failure(id(number, 0), BUSY).unprocessed()]);
        if most == 1 {
            c.until(PAUSES[0]);
            c.expect_sent(s, [request(id(4, 0), "a")]);
            c.receives(s, [failure(id(4, 0), BUSY).unprocessed()]);
        }
        assert_eq!(c.expect_error(sent).attempts, most + 1);
    }
}

/// C4: the policy of a protocol holds for its requests, and the client's for all others.
#[test]
fn a_protocol_has_a_retry_policy_of_its_own() {
    let mut c = ClientScript::new(config());
    let never = Backoff::new(0, Duration::from_secs(1));
    c.client.set_protocol_retry_policy(ProtocolName::new("/other").expect("a name"), never);
    for (to, protocol, tried_again) in [(1, "/other", false), (2, PROTOCOL, true)] {
        let sent = c.send_to(to, protocol, "a");
        let s = c.expect_open_to(to, protocol, Offer::Both);
        c.opened(s, Format::Native);
        c.expect_sent(s, [c.settings(), request(id(1, 0), "a")]);
        c.receives(s, [settings(32 << 20, 1024), failure(id(1, 0), BUSY).unprocessed()]);
        match tried_again {
            false => assert_eq!(c.expect_error(sent).attempts, 1),
            true => c.expect_quiet(),
        }
    }
}
