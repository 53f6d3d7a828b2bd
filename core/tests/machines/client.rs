//! The client: first contact, bytes on the wire, requests in flight, what is refused at once.

use std::time::Duration;

use crate::support;
use crate::support::{
    CONNECT, ClientScript, KIB, MIB, PROTOCOL, READ, body, id, ms, plain, request, response,
    settings,
};
use bytes::Bytes;
use pointsub_core::endpoint::Offer;
use pointsub_core::{
    Body, Cause, ClientConfig, ClientStats, Delivery, Format, Phase, SendError, StreamError,
    Timestamp,
};

/// Without retries: `client_retry.rs` is about those.
fn config() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

// First contact.

#[test]
fn first_contact_offers_both_formats() {
    let mut c = ClientScript::new(config());
    c.at(7);
    c.send("hello");
    c.expect_open(Offer::Both);
    c.expect_wait(7 + CONNECT);
}

#[test]
fn many_requests_at_first_contact_wait_for_one_stream() {
    let mut c = ClientScript::new(config());
    for _ in 0..50 {
        c.send("hello");
    }
    c.expect_open(Offer::Both);
    c.expect_quiet();
    assert_eq!((c.stats().waiting, c.stats().opens), (50, 1));
}

#[test]
fn later_streams_offer_only_what_worked_plain() {
    let (mut c, s) = ClientScript::plain(config());
    c.send("a");
    c.expect_sent(s, [plain("a")]);
    c.send("b");
    c.expect_open(Offer::Only(Format::Plain));
}

/// A raw listener agrees to the plain format too, and says nothing about what else a peer serves.
#[test]
fn a_plain_protocol_says_nothing_about_another() {
    let (mut c, s) = ClientScript::plain(config());
    let a = c.send_to(1, "/other", "a");
    let other = c.expect_open_to(1, "/other", Offer::Both);
    c.opened(other, Format::Native);
    c.expect_sent(other, [c.settings(), request(id(1, 0), "a")]);
    c.receives(other, [response(id(1, 0), "A")]);
    c.expect_response(a, "A");
    // The peer speaks native: it may have learned that since.
    c.finishes(s);
    c.expect_finish(s);
    c.send("b");
    let guess = c.expect_open(Offer::Only(Format::Native));
    c.open_fails(guess, StreamError::Unsupported);
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Plain);
    c.expect_sent(s, [plain("b")]);
    // It has not, and that is known now.
    c.send("c");
    c.expect_open(Offer::Only(Format::Plain));
    c.send_to(1, "/third", "d");
    c.expect_open_to(1, "/third", Offer::Only(Format::Native));
}

#[test]
fn later_streams_offer_only_what_worked_native() {
    let (mut c, _) = ClientScript::native(config());
    c.send_to(1, "/other", "hello");
    c.expect_open_to(1, "/other", Offer::Only(Format::Native));
}

#[test]
fn the_format_of_one_peer_says_nothing_about_another() {
    let (mut c, _) = ClientScript::native(config());
    c.send_to(2, PROTOCOL, "hello");
    c.expect_open_to(2, PROTOCOL, Offer::Both);
}

// Bytes.

#[test]
fn a_plain_request_is_length_and_body() {
    let mut c = ClientScript::new(config());
    let a = c.send("hello");
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Plain);
    c.expect_write_bytes(s, b"\0\0\0\x05hello");
    c.written(s);
    c.receives_bytes(s, Bytes::from_static(b"\0\0\0\x06worlds"));
    c.expect_response(a, "worlds");
}

#[test]
fn a_native_stream_begins_with_settings_and_the_request_behind_them() {
    let mut c = ClientScript::new(config());
    let a = c.send("hello");
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Native);
    c.expect_write_bytes(
        s,
        b"\0\0\0\x1a\x01\0\0\x0e\0\0\0\0\0\0\0\0\x11\0\x04\x02\0\0\0\x12\0\x04\0\0\x04\0\
          \0\0\0\x11\x02\0\0\0\0\0\0\0\0\x10\0\0hello",
    );
    c.written(s);
    c.receives_bytes(s, Bytes::from_static(b"\0\0\0\x0d\x03\0\0\0\0\0\0\0\0\x10\0\0!"));
    c.expect_response(a, "!");
}

#[test]
fn settings_announce_the_configured_limits() {
    let mut c = ClientScript::new(config().with_max_block_size(77).with_max_in_flight(3));
    c.send("");
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Native);
    c.expect_write(s, [settings(77, 3), request(id(1, 0), "")]);
}

/// W2: in both directions.
#[test]
fn empty_messages_are_messages() {
    let (mut c, s) = ClientScript::plain(config());
    let a = c.send("");
    c.expect_write_bytes(s, b"\0\0\0\0");
    c.written(s);
    c.receives_bytes(s, Bytes::from_static(b"\0\0\0\0"));
    c.expect_response(a, "");
}

#[test]
fn an_answer_may_arrive_byte_by_byte() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    for byte in response(id(2, 0), "done").field(0x81, &[1, 2]).bytes() {
        c.expect_quiet();
        c.receives_bytes(s, vec![byte]);
    }
    c.expect_response(a, "done");
}

#[test]
fn a_large_answer_can_be_read_straight_to_its_place() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    let answer = response(id(2, 0), body(MIB)).bytes();
    assert!(c.client.space(s).is_none());
    c.receives_bytes(s, answer.slice(..100));
    c.fills(s, &answer[100..]);
    c.expect_response(a, body(MIB));
    assert!(c.client.space(s).is_none());
    assert_eq!(c.client.buffered(), 0);
}

#[test]
fn a_compressed_body_goes_compressed_on_a_native_stream() {
    let (mut c, s) = ClientScript::native(config());
    let text = Bytes::from("all work and no play makes jack a dull boy. ".repeat(100));
    let compressed = Body::compressed(text.clone());
    c.try_send(1, PROTOCOL, compressed, None).expect("accepted");
    let deflated = miniz_oxide::deflate::compress_to_vec(&text, 1);
    c.expect_write(s, [request(id(2, 0), deflated).compressed(text.len() as u32)]);
}

#[test]
fn a_compressed_body_goes_as_it_is_on_a_plain_stream() {
    let (mut c, s) = ClientScript::plain(config());
    let text = Bytes::from("all work and no play makes jack a dull boy. ".repeat(100));
    let compressed = Body::compressed(text.clone());
    c.try_send(1, PROTOCOL, compressed, None).expect("accepted");
    c.expect_write(s, [plain(text)]);
}

#[test]
fn the_remaining_time_is_sent_rounded_up() {
    let (mut c, s) = ClientScript::native(config());
    c.at(1000);
    c.send_until(1250, "exact");
    c.expect_sent(s, [request(id(2, 0), "exact").timeout(250)]);
    c.now = Timestamp::from_nanos(ms(1000).as_nanos() + 1);
    c.send_until(1250, "more than 249");
    c.expect_sent(s, [request(id(3, 1), "more than 249").timeout(250)]);
}

#[test]
fn time_spent_waiting_for_a_stream_is_not_sent() {
    let mut c = ClientScript::new(config());
    c.send_until(1000, "a");
    let s = c.expect_open(Offer::Both);
    c.at(300);
    c.opened(s, Format::Native);
    c.expect_write(s, [c.settings(), request(id(1, 0), "a").timeout(700)]);
}

#[test]
fn a_far_deadline_is_sent_as_the_longest_time_there_is() {
    let (mut c, s) = ClientScript::native(config());
    c.send_until(u64::from(u32::MAX) * 3, "a");
    c.expect_write(s, [request(id(2, 0), "a").timeout(u32::MAX)]);
}

#[test]
fn a_plain_request_carries_no_deadline() {
    let (mut c, s) = ClientScript::plain(config());
    c.send_until(100, "a");
    c.expect_write(s, [plain("a")]);
}

// Requests in flight.

#[test]
fn requests_that_come_together_are_written_together() {
    let (mut c, s) = ClientScript::native(config());
    c.send("a");
    c.send("b");
    c.send("c");
    c.expect_write(s, [request(id(2, 0), "a"), request(id(3, 1), "b"), request(id(4, 2), "c")]);
}

#[test]
fn requests_that_come_during_a_write_follow_it() {
    let (mut c, s) = ClientScript::native(config());
    c.send("a");
    c.expect_write(s, [request(id(2, 0), "a")]);
    c.send("b");
    c.send("c");
    c.expect_quiet();
    c.written(s);
    c.expect_write(s, [request(id(3, 1), "b"), request(id(4, 2), "c")]);
}

#[test]
fn native_answers_come_in_any_order() {
    let (mut c, s) = ClientScript::native(config());
    let [first, second, third] = ["a", "b", "c"].map(|body| c.send(body));
    let ids = [id(2, 0), id(3, 1), id(4, 2)];
    c.expect_sent(s, [request(ids[0], "a"), request(ids[1], "b"), request(ids[2], "c")]);
    c.receives(s, [response(ids[2], "C"), response(ids[0], "A")]);
    c.expect_response(third, "C");
    c.expect_response(first, "A");
    c.receives(s, [response(ids[1], "B")]);
    c.expect_response(second, "B");
}

#[test]
fn ids_increase_also_when_places_are_used_again() {
    let (mut c, s) = ClientScript::native(config());
    for seq in 2..6 {
        let a = c.send("a");
        c.expect_sent(s, [request(id(seq, 0), "a")]);
        c.receives(s, [response(id(seq, 0), "A")]);
        c.expect_response(a, "A");
    }
    assert_eq!((c.stats().opens, c.stats().reused), (1, 4));
}

#[test]
fn an_answer_may_overtake_the_end_of_its_write() {
    let (mut c, s) = ClientScript::native(config());
    let a = c.send("a");
    c.expect_write(s, [request(id(2, 0), "a")]);
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    c.written(s);
    c.expect_quiet();
}

#[test]
fn a_plain_stream_carries_one_request_at_a_time() {
    let (mut c, s) = ClientScript::plain(config().with_max_streams_per_peer(1));
    let first = c.send("a");
    let second = c.send("b");
    c.expect_sent(s, [plain("a")]);
    c.expect_quiet();
    c.receives(s, [plain("A")]);
    c.expect_response(first, "A");
    c.expect_sent(s, [plain("b")]);
    c.receives(s, [plain("B")]);
    c.expect_response(second, "B");
}

#[test]
fn more_than_128_requests_wait_until_the_peer_says_what_it_takes() {
    let mut c = ClientScript::new(config());
    for _ in 0..130 {
        c.send("");
    }
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Native);
    assert_eq!(c.stats().waiting, 2);
    let mut first: Vec<u8> = c.settings().bytes().into();
    (0..128).for_each(|i| first.extend(request(id(i + 1, i), "").bytes()));
    c.expect_write_bytes(s, &first);
    c.written(s);
    c.expect_quiet();
    c.receives(s, [settings(MIB, 129)]);
    c.expect_write(s, [request(id(129, 128), "")]);
    // The one beyond has a stream opened for it: now it is known that this one is full.
    c.expect_open(Offer::Only(Format::Native));
}

#[test]
fn the_own_limit_in_flight_is_respected() {
    let config = config().with_max_in_flight(2).with_max_streams_per_peer(1);
    let (mut c, s) = ClientScript::native(config);
    let first = c.send("a");
    c.send("b");
    c.send("c");
    c.expect_sent(s, [request(id(2, 0), "a"), request(id(3, 1), "b")]);
    c.expect_quiet();
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(first, "A");
    c.expect_write(s, [request(id(4, 0), "c")]);
}

#[test]
fn the_peers_limit_in_flight_is_respected() {
    let (mut c, s) = ClientScript::native(config().with_max_streams_per_peer(1));
    c.receives(s, [settings(MIB, 2)]);
    let first = c.send("a");
    c.send("b");
    c.send("c");
    c.expect_sent(s, [request(id(2, 0), "a"), request(id(3, 1), "b")]);
    c.expect_quiet();
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(first, "A");
    c.expect_write(s, [request(id(4, 0), "c")]);
}

#[test]
fn beyond_the_peers_limit_another_stream_is_opened() {
    let (mut c, s) = ClientScript::native(config());
    c.receives(s, [settings(MIB, 1)]);
    c.send("a");
    c.send("b");
    c.expect_write(s, [request(id(2, 0), "a")]);
    let other = c.expect_open(Offer::Only(Format::Native));
    c.opened(other, Format::Native);
    c.expect_write(other, [c.settings(), request(id(1, 0), "b")]);
}

#[test]
fn a_peer_that_takes_none_takes_one() {
    let (mut c, s) = ClientScript::native(config().with_max_streams_per_peer(1));
    c.receives(s, [settings(MIB, 0)]);
    c.send("a");
    c.send("b");
    c.expect_write(s, [request(id(2, 0), "a")]);
}

#[test]
fn settings_may_come_again_and_change_just_what_they_name() {
    let (mut c, s) = ClientScript::native(config().with_max_streams_per_peer(1));
    c.receives(s, [settings(5, 1)]);
    c.receives(s, [support::frame(1, 0, "").field(0x12, &[0, 0, 0, 2])]);
    let refused = c.send("123456");
    c.expect_error(refused);
    c.send("a");
    c.send("b");
    c.expect_write(s, [request(id(2, 0), "a"), request(id(3, 1), "b")]);
}

#[test]
fn the_peers_limit_of_bodies_is_respected() {
    let (mut c, s) = ClientScript::native(config());
    c.receives(s, [settings(10, 100)]);
    let (fits, too_large) = (c.send("0123456789"), c.send("0123456789+"));
    let cause = Cause::Refused(SendError::TooLarge { len: 11, limit: 10 });
    c.expect_failed(too_large, cause, Phase::Send, Delivery::NotProcessed);
    c.expect_sent(s, [request(id(2, 0), "0123456789")]);
    c.receives(s, [response(id(2, 0), "ok")]);
    c.expect_response(fits, "ok");
}

// Refused at once.

/// C14, W3: refused before sending.
#[test]
fn a_body_of_max_block_size_is_sent_and_one_byte_more_is_not() {
    let (mut c, s) = ClientScript::native(config().with_max_block_size(100));
    let refused = c.try_send(1, PROTOCOL, body(101).into(), None);
    assert_eq!(refused, Err(SendError::TooLarge { len: 101, limit: 100 }));
    c.send(body(100));
    c.expect_sent(s, [request(id(2, 0), body(100))]);
}

/// C13: typed, before anything is done.
#[test]
fn a_peer_does_not_send_to_itself() {
    let mut c = ClientScript::new(config());
    let refused = c.try_send(0, PROTOCOL, Body::default(), None);
    assert_eq!(refused, Err(SendError::SelfRequest));
    assert_eq!(c.stats(), ClientStats::default());
}

#[test]
fn a_bad_protocol_name_is_refused() {
    let mut c = ClientScript::new(config());
    for name in ["", "/", "t", "/with space", "/tab\t", "/pointsub/1/t"] {
        let refused = c.try_send(1, name, Body::default(), None);
        assert!(matches!(refused, Err(SendError::Protocol(_))), "{name:?}: {refused:?}");
    }
    assert_eq!(c.stats(), ClientStats::default());
    c.expect_rest();
}

#[test]
fn beyond_max_pending_requests_are_refused() {
    let mut c = ClientScript::new(config().with_max_pending(2));
    let first = c.send("a");
    c.send("b");
    let refused = c.try_send(1, PROTOCOL, Body::default(), None);
    assert_eq!(refused, Err(SendError::Overloaded { limit: 2 }));
    // The limit is one for all peers.
    let refused = c.try_send(2, "/other", Body::default(), None);
    assert_eq!(refused, Err(SendError::Overloaded { limit: 2 }));
    c.expect_open(Offer::Both);
    c.cancel(first);
    c.send("c");
    assert_eq!((c.stats().started, c.stats().waiting), (3, 2));
}

#[test]
fn max_pending_does_not_limit_what_need_not_wait() {
    let (mut c, s) = ClientScript::native(config().with_max_pending(1));
    c.send_to(2, PROTOCOL, "waits");
    c.expect_open_to(2, PROTOCOL, Offer::Both);
    c.send("a");
    c.send("b");
    c.expect_write(s, [request(id(2, 0), "a"), request(id(3, 1), "b")]);
}

#[test]
fn an_invalid_configuration_is_refused() {
    let config = config().with_read_timeout(Duration::ZERO);
    let error = pointsub_core::Client::new(config, None, 0).expect_err("refused");
    assert_eq!(error.field, "read_timeout");
}

// Counters.

/// C17: at every step.
#[test]
fn counters_follow_requests_and_streams() {
    let (mut c, s) = ClientScript::native(config());
    let stats = c.stats();
    assert_eq!((stats.started, stats.ok, stats.in_flight), (1, 1, 0));
    assert_eq!((stats.streams, stats.idle_streams, stats.opens, stats.reused), (1, 1, 1, 0));
    let (_, second, third) = (c.send("a"), c.send("b"), c.send("c"));
    c.expect_sent(s, [request(id(2, 0), "a"), request(id(3, 1), "b"), request(id(4, 2), "c")]);
    c.cancel(second);
    c.expect_sent(s, [support::cancel(id(3, 1))]);
    c.receives(s, [support::failure(id(4, 2), 7)]);
    c.expect_error(third);
    let stats = c.stats();
    assert_eq!((stats.started, stats.ok, stats.failed, stats.cancelled), (4, 1, 1, 1));
    assert_eq!((stats.in_flight, stats.waiting, stats.idle_streams, stats.reused), (1, 0, 0, 3));
}

#[test]
fn bytes_held_are_counted() {
    let (mut c, s) = ClientScript::native(config());
    let size = 40 * KIB;
    c.send(body(size));
    c.expect_write_bytes(s, &request(id(2, 0), body(size)).first(16 * KIB));
    assert_eq!(c.client.buffered(), size + 16 - 16 * KIB);
    c.receives_bytes(s, response(id(2, 0), body(100)).first(60));
    assert_eq!(c.client.buffered(), size + 16 - 16 * KIB + 60);
    c.expect_wait(READ);
}
