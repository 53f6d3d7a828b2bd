//! Raw streams: the machines count and time them, and see none of their bytes.

use std::time::Duration;

use crate::support::{
    CONNECT, ClientScript, PROTOCOL, ServerScript, id, ms, peer, plain, request, response,
};
use pointsub_core::endpoint::Offer;
use pointsub_core::{
    Cause, ClientConfig, ClientEvent, ClientInput, ClientOutput, Delivery, DialId, Format, Phase,
    ProtocolName, SendError, ServerConfig, StatusCode, StreamError,
};

fn config() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

fn name(protocol: &str) -> ProtocolName {
    ProtocolName::new(protocol).expect("a protocol name")
}

/// Dials peer `n`, and sees the client want the stream.
#[track_caller]
fn dial(c: &mut ClientScript, n: u8) -> DialId {
    let dial = c.client.dial(&peer(n), "/raw", None, c.now).expect("accepted");
    c.expect_raw(ClientOutput::Dial { dial, peer: peer(n), protocol: name("/raw") });
    dial
}

#[track_caller]
fn dialed(c: &mut ClientScript, n: u8) -> DialId {
    let dial = dial(c, n);
    c.client.handle_input(ClientInput::Dialed(dial), c.now);
    assert_eq!(c.expect_event(), ClientEvent::Dialed { dial });
    dial
}

#[track_caller]
fn expect_failed(c: &mut ClientScript, dial: DialId, cause: Cause) {
    let ClientEvent::DialFailed { dial: got, error } = c.expect_event() else {
        panic!("not a failed dial");
    };
    assert_eq!(got, dial);
    assert_eq!((error.cause, error.phase), (cause, Phase::Connect));
    assert_eq!(error.delivery, Delivery::NotProcessed);
}

#[test]
fn a_raw_stream_is_dialled_counted_and_hung_up() {
    let mut c = ClientScript::new(config());
    let raw = dialed(&mut c, 1);
    assert_eq!((c.stats().raw_streams, c.stats().streams, c.stats().opens), (1, 0, 1));
    let info = c.client.streams(ms(5));
    assert_eq!((info[0].peer, info[0].protocol.as_str(), info[0].format), (peer(1), "/raw", None));
    c.client.hang_up(raw, c.now);
    assert_eq!(c.stats().raw_streams, 0);
    c.expect_rest();
}

#[test]
fn connect_timeout_covers_a_dial() {
    let mut c = ClientScript::new(config());
    let raw = dial(&mut c, 1);
    c.expires_at(CONNECT);
    c.expect_raw(ClientOutput::AbandonDial(raw));
    expect_failed(&mut c, raw, Cause::TimedOut(Duration::from_millis(CONNECT)));
    // It comes all the same.
    c.client.handle_input(ClientInput::Dialed(raw), c.now);
    c.expect_raw(ClientOutput::HangUp(raw));
    c.expect_rest();
}

#[test]
fn a_callers_deadline_ends_a_dial_earlier() {
    let mut c = ClientScript::new(config());
    let raw = c.client.dial(&peer(1), "/raw", Some(ms(100)), c.now).expect("accepted");
    c.expect_raw(ClientOutput::Dial { dial: raw, peer: peer(1), protocol: name("/raw") });
    c.expires_at(100);
    c.expect_raw(ClientOutput::AbandonDial(raw));
    expect_failed(&mut c, raw, Cause::Deadline);
}

#[test]
fn a_dial_that_fails_says_why() {
    let mut c = ClientScript::new(config());
    let raw = dial(&mut c, 1);
    c.client.handle_input(ClientInput::DialFailed(raw, StreamError::Unsupported), c.now);
    expect_failed(&mut c, raw, Cause::Unsupported);
    c.expect_rest();
}

#[test]
fn a_dial_that_is_given_up_is_abandoned() {
    let mut c = ClientScript::new(config());
    let raw = dial(&mut c, 1);
    c.client.hang_up(raw, c.now);
    c.expect_raw(ClientOutput::AbandonDial(raw));
    c.client.handle_input(ClientInput::DialFailed(raw, StreamError::Unsupported), c.now);
    c.expect_rest();
}

#[test]
fn nobody_dials_themselves_or_a_bad_name() {
    let mut c = ClientScript::new(config());
    assert_eq!(c.client.dial(&peer(0), "/raw", None, c.now), Err(SendError::SelfRequest));
    let bad = c.client.dial(&peer(1), "raw", None, c.now);
    assert!(matches!(bad, Err(SendError::Protocol(_))), "{bad:?}");
}

/// O1: raw streams count among the streams of their peer. Idle pooled ones make room; what is in
/// use does not.
#[test]
fn the_cap_of_a_peer_holds_for_raw_streams() {
    let (mut c, pooled) = ClientScript::plain(config().with_max_streams_per_peer(2));
    let raw = dialed(&mut c, 1);
    dialed(&mut c, 1);
    c.expect_finish(pooled);
    let refused = c.client.dial(&peer(1), "/raw", None, c.now);
    assert_eq!(refused, Err(SendError::TooManyStreams { limit: 2 }));
    // Nor is there room for a request, until one is hung up.
    let a = c.send("a");
    c.expect_quiet();
    c.client.hang_up(raw, c.now);
    let s = c.expect_open(Offer::Only(Format::Plain));
    c.opened(s, Format::Plain);
    c.expect_sent(s, [plain("a")]);
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
}

#[test]
fn the_cap_of_all_streams_holds_for_raw_streams() {
    let mut c = ClientScript::new(config().with_max_total_streams(1));
    let raw = dialed(&mut c, 1);
    let refused = c.client.dial(&peer(2), "/raw", None, c.now);
    assert_eq!(refused, Err(SendError::TooManyStreams { limit: 1 }));
    let a = c.send_to(2, PROTOCOL, "a");
    c.expect_quiet();
    c.client.hang_up(raw, c.now);
    let s = c.expect_open_to(2, PROTOCOL, Offer::Both);
    c.opened(s, Format::Native);
    c.expect_sent(s, [c.settings(), request(id(1, 0), "a")]);
    c.receives(s, [response(id(1, 0), "A")]);
    c.expect_response(a, "A");
}

#[test]
fn close_ends_raw_streams_and_drain_waits_for_them() {
    let mut c = ClientScript::new(config());
    let (opening, open) = (dial(&mut c, 1), dialed(&mut c, 2));
    c.close();
    c.expect_raw(ClientOutput::AbandonDial(opening));
    c.expect_raw(ClientOutput::HangUp(open));
    expect_failed(&mut c, opening, Cause::Closed);
    c.expect_drained();
    assert_eq!(c.client.dial(&peer(1), "/raw", None, c.now), Err(SendError::Closed));

    let mut c = ClientScript::new(config());
    let raw = dialed(&mut c, 1);
    c.drain();
    c.expect_quiet();
    c.client.hang_up(raw, c.now);
    c.expect_drained();
}

// The server.

/// S21: a raw stream takes a place, and gives it back when it is closed. It is no request.
#[test]
fn a_raw_stream_takes_a_place_and_gives_it_back() {
    let config = ServerConfig::default().with_max_raw_streams(1).with_max_concurrent_requests(1);
    let mut s = ServerScript::new(config);
    s.server.register(&name("/raw")).expect("first");
    let raw = s.server.accept_raw(peer(1), &name("/raw"), s.now).expect("a place");
    let stats = s.stats();
    assert_eq!((stats.raw_streams, stats.streams), (1, 1));
    assert_eq!((stats.in_flight, stats.load), (0, 0));
    assert_eq!(s.server.streams(s.now)[0].format, None);
    let refused = s.server.accept_raw(peer(1), &name("/raw"), s.now).expect_err("no place");
    assert_eq!(refused.code, StatusCode::Busy);
    assert_eq!((s.stats().busy, s.stats().streams), (1, 1));
    s.server.close_raw(raw, s.now);
    s.server.close_raw(raw, s.now);
    assert_eq!((s.stats().raw_streams, s.stats().streams), (0, 0));
    let raw = s.server.accept_raw(peer(1), &name("/raw"), s.now).expect("a place");
    // Its protocol's place is not counted for the protocol's next life.
    s.server.unregister("/raw");
    s.server.close_raw(raw, s.now);
    let unknown = s.server.accept_raw(peer(1), &name("/raw"), s.now).expect_err("not served");
    assert_eq!(unknown.code, StatusCode::NotFound);
    assert_eq!((s.stats().raw_streams, s.stats().streams), (0, 0));
}

/// S14: a stop waits for raw streams, but not for ever.
#[test]
fn a_drain_hangs_up_raw_streams_at_its_deadline() {
    let mut s = ServerScript::new(ServerConfig::default());
    s.server.register(&name("/raw")).expect("first");
    let quick = s.server.accept_raw(peer(1), &name("/raw"), s.now).expect("a place");
    let slow = s.server.accept_raw(peer(2), &name("/raw"), s.now).expect("a place");
    s.drain(100);
    assert!(s.server.accept_raw(peer(1), &name("/raw"), s.now).is_err());
    s.server.close_raw(quick, s.now);
    s.expires_at(100);
    s.expect_hang_up(slow);
    s.expect_drained();
    assert_eq!((s.stats().raw_streams, s.stats().streams), (0, 0));
}

/// C3: a deadline beyond the connect timeout changes nothing, nor does one with it.
#[test]
fn a_later_deadline_leaves_a_dial_its_connect_timeout() {
    for deadline in [CONNECT, CONNECT + 1, 10 * CONNECT] {
        let mut c = ClientScript::new(config());
        let raw = c.client.dial(&peer(1), "/raw", Some(ms(deadline)), c.now).expect("accepted");
        c.expect_raw(ClientOutput::Dial { dial: raw, peer: peer(1), protocol: name("/raw") });
        c.expires_at(CONNECT);
        c.expect_raw(ClientOutput::AbandonDial(raw));
        expect_failed(&mut c, raw, Cause::TimedOut(Duration::from_millis(CONNECT)));
    }
}
