//! Peers that break the rules of calls.

use bytes::Bytes;
use pointsub_core::connection::{CallEvent, CallKey, CallStop, Calls};
use pointsub_core::wire::{CallViolation, Credit, Decoder, Frame};
use pointsub_core::{Format, FrameError, Metadata, Payload, Status, StatusCode};

use crate::calls::{
    CALL, LIMITS, NOW, SMALL, accept, bytes, credit, data, events, expect, finish, first_part,
    messages, open_client, open_server, receives, written,
};
use crate::support::{KIB, Wire, cancel, failure, frame, request, response};

const fn broken(violation: CallViolation) -> Result<(), FrameError> {
    Err(FrameError::Call(violation))
}

#[test]
fn what_breaks_a_servers_stream_is_typed() {
    use CallViolation as V;
    let mib = 1024 * 1024;
    let cases: [(&str, Vec<Wire>, V); 13] = [
        ("a message too many", (0..5).map(|_| data("x")).collect(), V::NoCredit),
        ("a byte too many", vec![data(vec![0; 8193])], V::NoCredit),
        ("a message after the end", vec![finish(), data("")], V::AfterFinish),
        ("the end twice", vec![finish(), finish()], V::AfterFinish),
        ("the end inside a message", vec![first_part(vec![0; 1024], 2000), finish()], V::Parts),
        ("a part of one byte", vec![first_part(vec![0; 1], 2)], V::Parts),
        ("parts without a length", vec![data(vec![0; 1024]).flag(4)], V::Parts),
        ("a length of one part", vec![data("one").field(0x0a, &3_u32.to_be_bytes())], V::Parts),
        ("too much in parts", vec![first_part(vec![0; 1024], 1030), data(vec![0; 7])], V::Parts),
        ("too little", vec![first_part(vec![0; 1024], 1030), data(vec![0; 5])], V::Parts),
        (
            "another message between",
            vec![first_part(vec![0; 1024], mib / 16), first_part(vec![0; 1024], mib / 16)],
            V::Parts,
        ),
        ("an id from the future", vec![frame(6, 8, "")], V::NotOpen),
        ("endless credit", vec![bytes(frame(8, CALL.0, ""), i32::MAX as u32)], V::TooMuchCredit),
    ];
    for (name, frames, violation) in cases {
        let mut calls = open_server(SMALL, SMALL);
        let results = frames.into_iter().map(|frame| receives(&mut calls, [frame]));
        let first = results.into_iter().find(Result::is_err).unwrap_or(Ok(()));
        assert_eq!(first, broken(violation), "{name}");
    }
}

#[test]
fn what_breaks_a_clients_stream_is_typed() {
    use CallViolation as V;
    let cases: [(&str, Vec<Wire>, V); 6] = [
        ("accepted twice", vec![accept(SMALL)], V::Acceptance),
        ("a message beyond the window", (0..5).map(|_| data("x")).collect(), V::NoCredit),
        ("a call never opened", vec![frame(6, 8, "")], V::NotOpen),
        (
            "a result inside a message",
            vec![first_part(vec![0; 1024], 2000), response(CALL.0, "")],
            V::Parts,
        ),
        ("a message after the end", vec![response(CALL.0, ""), data("")], V::NotOpen),
        ("a long result", vec![response(CALL.0, vec![0; 64 * KIB + 1])], V::Result),
    ];
    for (name, frames, violation) in cases {
        let mut calls = open_client(SMALL, SMALL);
        let results = frames.into_iter().map(|frame| receives(&mut calls, [frame]));
        let first = results.into_iter().find(Result::is_err).unwrap_or(Ok(()));
        assert_eq!(first, broken(violation), "{name}");
    }
}

#[test]
fn a_call_that_is_not_accepted_has_no_messages() {
    let mut calls = Calls::server(LIMITS, NOW);
    calls.begin(CALL, Default::default(), NOW).expect("the first");
    for early in [data(""), credit(SMALL), finish()] {
        assert_eq!(receives(&mut calls, [early]), broken(CallViolation::Acceptance));
    }
}

#[test]
fn what_crosses_the_end_of_a_call_is_ignored_and_counted() {
    let mut calls = open_server(SMALL, SMALL);
    calls.respond(CALL, Ok(Payload::default()), Metadata::new(), NOW);
    expect(&mut calls, [response(CALL.0, "")]);
    receives(&mut calls, [data("x"), credit(SMALL), finish(), cancel(CALL.0)]).expect("crossing");
    assert_eq!(calls.take_offences(), 4);
    assert_eq!(events(&mut calls), []);
}

/// A number that no call has leads to none, whichever call was looked at last.
#[test]
fn a_frame_of_no_call_does_not_reach_another() {
    let mut calls = open_server(SMALL, SMALL);
    let ended = CallKey(9);
    calls.saw(ended.0);
    calls.begin(ended, Default::default(), NOW).expect("the second");
    calls.respond(ended, Ok(Payload::default()), Metadata::new(), NOW);
    expect(&mut calls, [response(ended.0, "")]);
    // It is late, or breaks the format: which of both is not the point here.
    for stray in [frame(6, 0, "x"), cancel(0)] {
        let outcome = receives(&mut calls, [stray]);
        assert!(outcome == Ok(()) || outcome == broken(CallViolation::NotOpen), "{outcome:?}");
    }
    assert_eq!(events(&mut calls), []);
    assert_eq!(receives(&mut calls, [data("x")]), Ok(()));
    assert_eq!(events(&mut calls).len(), 1);
}

#[test]
fn credit_in_crumbs_costs_a_point_each() {
    let mut calls = open_server(SMALL, Credit::NONE);
    for _ in 0..10 {
        receives(&mut calls, [bytes(frame(8, CALL.0, ""), 1)]).expect("it is legal");
    }
    assert_eq!(calls.take_offences(), 10);
    receives(&mut calls, [messages(frame(8, CALL.0, ""), 1)]).expect("it is legal");
    assert_eq!(calls.take_offences(), 0);
}

#[test]
fn a_message_that_is_too_long_or_has_no_memory_ends_its_call_alone() {
    for (length, status, code) in [
        (100 * 1024 + 1, 4, StatusCode::TooLarge),
        // The limit on memory is that of all calls: this one is at it.
        (90 * 1024, 3, StatusCode::Busy),
    ] {
        let limits = pointsub_core::connection::CallLimits { max_memory: 64 * KIB, ..LIMITS };
        let mut calls = Calls::server(limits, NOW);
        calls.saw(CALL.0);
        let start = pointsub_core::connection::CallStart { window: SMALL, ..Default::default() };
        calls.begin(CALL, start, NOW).expect("the first");
        calls.accept(CALL, Metadata::new(), None, NOW).expect("it waits");
        assert_eq!(written(&mut calls, 0).len(), 1);
        receives(&mut calls, [first_part(vec![0; 1024], length)]).expect("the stream goes on");
        assert_eq!(events(&mut calls), [CallEvent::Stopped(CallStop::Refused(code))]);
        expect(&mut calls, [failure(CALL.0, status)]);
        // The rest was on its way.
        receives(&mut calls, [data(vec![0; 2048]).flag(4), cancel(CALL.0)]).expect("crossing");
        calls.respond(CALL, Err(Status::new(StatusCode::Internal, "")), Metadata::new(), NOW);
        assert!(calls.is_empty() && calls.reserved() == 0);
    }
}

#[test]
fn requests_that_open_no_call_are_refused_as_the_document_says() {
    let calls = Calls::server(LIMITS, NOW);
    let read = |wire: Wire| calls.read(whole(&wire));
    let opening = request(CallKey(1).0, "argument").flag(2);
    assert!(matches!(read(opening.clone()), Ok(Ok(_))));
    let refused = |wire: Wire| read(wire).expect("well-formed").expect_err("it is refused").code;
    assert_eq!(refused(opening.clone().flag(0x10)), StatusCode::Unimplemented);
    assert_eq!(refused(opening.clone().field(0x7f, b"")), StatusCode::Unimplemented);
    assert_eq!(refused(opening.clone().field(7, b"")), StatusCode::BadRequest);
    assert_eq!(refused(opening.clone().field(7, b"\x07")), StatusCode::BadRequest);
    assert_eq!(refused(opening.clone().field(0x0b, &[0; 1025])), StatusCode::BadRequest);
    assert_eq!(refused(opening.clone().body(vec![0; 64 * KIB + 1])), StatusCode::TooLarge);
    let endless = bytes(opening, u32::MAX);
    assert_eq!(read(endless).map(|_| ()), broken(CallViolation::TooMuchCredit));
}

fn whole(wire: &Wire) -> Frame {
    let mut decoder = pointsub_core::wire::Decoder::new(pointsub_core::Format::Native, 1 << 20);
    decoder.push(wire.bytes());
    decoder.next_frame().expect("well-formed").expect("whole")
}

#[test]
fn a_message_that_waits_keeps_no_block_and_no_cursor_of_a_client() {
    for server in [true, false] {
        let mut calls = match server {
            true => open_server(SMALL, Credit::NONE),
            false => open_client(SMALL, Credit::NONE),
        };
        let mut read = data("x").field(0x83, b"cursor").bytes().to_vec();
        read.resize(64 * KIB, 0);
        let block = Bytes::from(read);
        let mut decoder = Decoder::new(Format::Native, 1 << 25);
        decoder.push(block.clone());
        let frame = decoder.next_frame().expect("well-formed").expect("whole");
        calls.handle(frame, NOW).expect("there is credit");
        drop(decoder);
        let [CallEvent::Message(message)] = &events(&mut calls)[..] else { panic!("no message") };
        assert_eq!(message.cursor.is_some(), !server);
        assert!(block.is_unique(), "the message keeps what it was read with");
    }
}
