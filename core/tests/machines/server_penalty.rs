//! The server: what a peer may cost for nothing, and what becomes of one that costs more.

use crate::support;
use crate::support::{Attached, PROTOCOL, ServerScript, cancel, frame, plain, request};
use bytes::Bytes;
use pointsub_core::endpoint::{Admission, LimitPolicy};
use pointsub_core::{
    Format, PeerId, ProtocolName, ServerConfig, StatusCode, StreamEvent, StreamId, Timestamp,
};

/// A server that lets in as much as the tests ask.
fn server() -> ServerScript {
    let config = ServerConfig::default().with_max_concurrent_requests(100_000);
    ServerScript::new(config)
}

/// Asks and takes it back, at once. Whether the handler saw it.
fn ask_and_cancel(s: &mut ServerScript, stream: StreamId, id: u64) -> bool {
    s.receives(stream, [request(id, "x")]);
    let seen = s.take_requests();
    s.receives(stream, [cancel(id)]);
    for call in &seen {
        s.expect_abandon(*call);
        s.abandoned(*call);
    }
    s.flush(stream);
    !seen.is_empty()
}

fn asks_and_is_answered(s: &mut ServerScript, stream: StreamId, id: u64) -> bool {
    s.receives(stream, [request(id, "x")]);
    let seen = s.take_requests();
    for call in &seen {
        s.respond(*call, "y");
    }
    s.flush(stream);
    !seen.is_empty()
}

/// Another peer is served, whatever the first one did.
#[track_caller]
fn expect_others_are_served(s: &mut ServerScript) {
    let other = s.native_from(2, PROTOCOL);
    assert!(asks_and_is_answered(s, other, 1), "another peer is served");
}

/// S13: rapid resets (CVE-2023-44487): the handlers of a thousand requests are started for
/// nothing, then the peer is cut off on all its streams, until half of its
/// points are there again.
#[test]
fn who_only_cancels_is_cut_off_for_a_while() {
    let mut s = server();
    let (abuses, idles) = (s.native_from(1, PROTOCOL), s.native_from(1, PROTOCOL));
    let seen = (1..5000).take_while(|id| ask_and_cancel(&mut s, abuses, *id)).count();
    assert_eq!(seen, 1000);
    s.expect_reset(abuses);
    assert_eq!(s.stats().cut_off, 1);
    expect_others_are_served(&mut s);
    s.receives(idles, [request(1, "x")]);
    s.expect_reset(idles);
    let again = s.accept_from(1, PROTOCOL, Format::Native);
    s.expect_reset(again);
    s.at(4_999);
    let again = s.accept_from(1, PROTOCOL, Format::Native);
    s.expect_reset(again);
    // Trying at that time has cost it another 20 ms.
    s.at(5_020);
    let forgiven = s.native_from(1, PROTOCOL);
    assert!(asks_and_is_answered(&mut s, forgiven, 1));
    assert_eq!(s.stats().cut_off, 1);
}

/// A plain request that finds no place ends its stream, which is the only way to say so. Whoever
/// comes again on another stream, as Go peers do, has done nothing wrong.
#[test]
fn plain_requests_that_find_no_place_cost_nothing() {
    let config = ServerConfig::default().with_max_concurrent_requests(1);
    let mut s = ServerScript::new(config.with_limit_policy(LimitPolicy::Fixed));
    let first = s.accept_from(1, PROTOCOL, Format::Plain);
    s.receives(first, [plain("long")]);
    let long = s.expect_request("long");
    for _ in 0..500 {
        let stream = s.accept_from(1, PROTOCOL, Format::Plain);
        s.receives(stream, [plain("x")]);
        assert_eq!(s.take_requests(), [], "there is no place");
        s.expect_finish(stream);
    }
    assert_eq!((s.stats().cut_off, s.stats().busy), (0, 500));
    s.respond(long, "y");
    s.expect_sent(first, [plain("y")]);
}

/// S21: what is at work for a peer that is cut off is stopped.
#[test]
fn requests_at_work_for_a_peer_that_is_cut_off_are_abandoned() {
    let mut s = server();
    let stream = s.native_from(1, PROTOCOL);
    s.receives(stream, [request(1, "long")]);
    let long = s.expect_request("long");
    let seen = (2..5000).take_while(|id| ask_and_cancel(&mut s, stream, *id)).count();
    assert!(seen >= 999);
    s.expect_abandon(long);
    s.abandoned(long);
    s.expect_reset(stream);
    assert_eq!((s.stats().in_flight, s.stats().memory, s.stats().streams), (0, 0, 0));
}

/// S13: streams that are broken with handlers at work cost what cancelling those would, but a single
/// one never all that a peer has.
#[test]
fn breaking_streams_is_no_cheaper_than_cancelling() {
    let mut s = server();
    for (broken, at_work, cut_off) in [(1, 100, 0), (2, 100, 0), (3, 1000, 0), (4, 300, 1)] {
        let stream = s.native_from(1, PROTOCOL);
        for id in 1..=at_work {
            s.receives(stream, [request(id, "x")]);
        }
        let calls = s.take_requests();
        assert_eq!(calls.len() as u64, at_work);
        s.breaks(stream);
        for call in calls {
            s.expect_abandon(call);
            s.abandoned(call);
        }
        assert_eq!(s.stats().cut_off, cut_off, "stream {broken}");
    }
    let next = s.accept_from(1, PROTOCOL, Format::Native);
    s.expect_reset(next);
    expect_others_are_served(&mut s);
}

/// S13: hedging clients cancel as much as they are answered, at any speed.
#[test]
fn answers_make_up_for_cancellations() {
    let mut s = server();
    let stream = s.native_from(1, PROTOCOL);
    for id in 1..20_000 {
        assert!(ask_and_cancel(&mut s, stream, 2 * id), "cancelled: {id}");
        assert!(asks_and_is_answered(&mut s, stream, 2 * id + 1), "answered: {id}");
    }
    assert_eq!(s.stats().cut_off, 0);
}

/// S13: a hundred cancellations a second are nobody's fault.
#[test]
fn cancelling_slowly_is_no_trouble() {
    let mut s = server();
    let stream = s.native_from(1, PROTOCOL);
    for id in 1..5_000 {
        s.at(id * 10);
        assert!(ask_and_cancel(&mut s, stream, id));
    }
    assert_eq!(s.stats().cut_off, 0);
}

/// S13: floods of frames that ask for nothing (CVE-2019-9518).
#[test]
fn frames_without_an_effect_are_counted() {
    let settings = support::settings(1 << 20, 100);
    let unknown = frame(0x90, 0, Bytes::new());
    for nothing in [settings, unknown, cancel(7)] {
        let mut s = server();
        let stream = s.native_from(1, PROTOCOL);
        s.receives_bytes(stream, nothing.bytes().repeat(9_999));
        s.expect_quiet();
        s.receives(stream, [nothing]);
        s.expect_reset(stream);
        expect_others_are_served(&mut s);
    }
}

/// S13: streams that are opened and left, and the peer is remembered without one.
#[test]
fn streams_for_nothing_are_counted() {
    for format in [Format::Native, Format::Plain] {
        let mut s = server();
        for _ in 0..500 {
            let stream = s.accept_from(1, PROTOCOL, format);
            s.flush(stream);
            s.breaks(stream);
            assert_eq!(s.stats().streams, 0, "it is gone before the next one comes");
        }
        let next = s.accept_from(1, PROTOCOL, format);
        s.expect_reset(next);
        expect_others_are_served(&mut s);
    }
}

/// S13: so is garbage.
#[test]
fn breaches_of_the_format_are_counted() {
    let mut s = server();
    for _ in 0..20 {
        let stream = s.native_from(1, PROTOCOL);
        s.receives_bytes(stream, vec![0xff; 64]);
        s.expect_reset(stream);
    }
    assert_eq!((s.stats().violations, s.stats().cut_off), (20, 1));
    let next = s.accept_from(1, PROTOCOL, Format::Native);
    s.expect_reset(next);
    expect_others_are_served(&mut s);
}

/// S13: and messages that never end.
#[test]
fn messages_that_never_end_are_counted() {
    let mut s = server();
    let streams: Vec<StreamId> = (0..50).map(|_| s.native_from(1, PROTOCOL)).collect();
    for stream in &streams {
        s.receives_bytes(*stream, request(1, "slow").first(15));
    }
    s.expect_quiet();
    s.expires_at(30_000);
    for stream in streams {
        s.expect_reset(stream);
    }
    assert_eq!((s.stats().message_timeouts, s.stats().cut_off), (50, 1));
    expect_others_are_served(&mut s);
}

/// O1, S13: a peer that is cut off gets no raw stream either.
#[test]
fn raw_streams_are_refused_to_who_is_cut_off() {
    let mut s = server();
    for _ in 0..20 {
        let stream = s.native_from(1, PROTOCOL);
        s.receives_bytes(stream, vec![0xff; 64]);
        s.expect_reset(stream);
    }
    let (name, now) = (ProtocolName::new(PROTOCOL).expect("a usable name"), s.now);
    let refused = s.server.accept_raw(support::peer(1), &name, now);
    assert_eq!(refused.expect_err("cut off").code, StatusCode::Busy);
    let other = s.server.accept_raw(support::peer(2), &name, now);
    s.server.close_raw(other.expect("another peer"), now);
}

/// S13: what a frame without an effect costs grows with its size.
#[test]
fn large_frames_without_effect_cost_more() {
    let mut s = server();
    let stream = s.native_from(1, PROTOCOL);
    // 11 points each, of 10 000.
    let nothing = frame(0x90, 0, vec![0; 10 * 1024]);
    s.receives_bytes(stream, nothing.bytes().repeat(909));
    s.expect_quiet();
    s.receives(stream, [nothing]);
    s.expect_reset(stream);
}

/// Opens so many streams, one after the other, and leaves each without a request.
fn opens_for_nothing(admission: &mut Admission, n: u16, streams: usize, now: Timestamp) {
    let [high, low] = n.to_be_bytes();
    let peer = PeerId::from_bytes(&[0, 36, 9, high, low]).expect("a peer id");
    let name = ProtocolName::new(PROTOCOL).expect("a usable name");
    for _ in 0..streams {
        let config = ServerConfig::default();
        let mut stream = Attached::new(peer, &name, Format::Native, &config, admission, now);
        stream.handle(StreamEvent::Finished, admission, now);
        stream.close(admission, now);
    }
}

/// S13: 1024 peers without streams are remembered; those that are forgiven make room, looked for
/// once a second at most.
#[test]
fn offenders_without_streams_are_remembered_up_to_a_number() {
    let mut admission = Admission::new(&ServerConfig::default());
    admission.register(&ProtocolName::new(PROTOCOL).expect("a usable name")).expect("the first");
    for n in 1..=1024 {
        opens_for_nothing(&mut admission, n, 1, support::ms(0));
    }
    // So many streams cut off whoever is remembered.
    for (at, cut_off) in [(0, 0), (500, 0), (999, 0), (1000, 1)] {
        opens_for_nothing(&mut admission, 0, 500, support::ms(at));
        assert_eq!(admission.stats().cut_off, cut_off, "after {at} ms");
    }
}

/// S13: of many requests at work, and of others that have ended meanwhile, the one is stopped that is
/// named, whatever the order.
#[test]
fn a_cancellation_finds_its_request_among_many() {
    let mut s = server();
    let stream = s.native_from(1, PROTOCOL);
    for id in 1..=200 {
        s.receives(stream, [request(id, "x")]);
    }
    let mut calls: Vec<_> = (1..=200).zip(s.take_requests()).collect();
    for round in 0..5 {
        for nth in [100, 0, 50, 7] {
            let (id, call) = calls.remove(nth);
            s.receives(stream, [cancel(id), cancel(id + 10_000)]);
            s.expect_abandon(call);
            s.abandoned(call);
        }
        for _ in 0..20 {
            let (_, call) = calls.remove(3);
            s.respond(call, "y");
        }
        s.flush(stream);
        let id = 201 + round;
        s.receives(stream, [request(id, "x")]);
        calls.extend(s.take_requests().into_iter().map(|call| (id, call)));
    }
    for (id, call) in calls.into_iter().rev() {
        s.receives(stream, [cancel(id)]);
        s.expect_abandon(call);
        s.abandoned(call);
        s.flush(stream);
    }
    assert_eq!(s.stats().in_flight, 0);
}
