//! A table of calls on its own: what it sends, and when.

use std::time::Duration;

use bytes::Bytes;
use pointsub_core::connection::{
    CallError, CallEvent, CallKey, CallLimits, CallMessage, CallOpening, CallStart, CallStop,
    Calls, SEND_WINDOW,
};
use pointsub_core::wire::{CallRequest, Credit, Decoder, Outbox};
use pointsub_core::{Cause, Delivery, Format, Metadata, Payload, Status, StatusCode, Timestamp};

use crate::support::{KIB, Wire, cancel, failure, frame, request, response};

pub(crate) const LIMITS: CallLimits = CallLimits {
    max_calls: 3,
    max_message: 100 * KIB,
    max_memory: 1024 * KIB,
    answer_within: Duration::from_secs(30),
};
/// The call of most tests.
pub(crate) const CALL: CallKey = CallKey(7);
pub(crate) const NOW: Timestamp = Timestamp::ZERO;

pub(crate) fn at(millis: u64) -> Timestamp {
    NOW + Duration::from_millis(millis)
}

fn four(tag: u8, value: u32) -> impl Fn(Wire) -> Wire {
    move |wire| wire.field(tag, &value.to_be_bytes())
}

pub(crate) fn bytes(wire: Wire, bytes: u32) -> Wire {
    four(8, bytes)(wire)
}

pub(crate) fn messages(wire: Wire, messages: u32) -> Wire {
    four(9, messages)(wire)
}

/// Credit in any frame that has it.
pub(crate) fn with(wire: Wire, credit: Credit) -> Wire {
    messages(bytes(wire, credit.bytes), credit.messages)
}

pub(crate) fn data(body: impl Into<Bytes>) -> Wire {
    frame(6, CALL.0, body)
}

pub(crate) fn first_part(body: impl Into<Bytes>, length: u32) -> Wire {
    four(0x0a, length)(data(body).flag(4))
}

pub(crate) fn accept(credit: Credit) -> Wire {
    with(frame(7, CALL.0, ""), credit)
}

pub(crate) fn credit(credit: Credit) -> Wire {
    with(frame(8, CALL.0, ""), credit)
}

pub(crate) fn finish() -> Wire {
    frame(9, CALL.0, "")
}

/// Takes in frames; the error that they lead to.
pub(crate) fn receives<const N: usize>(
    calls: &mut Calls,
    frames: [Wire; N],
) -> Result<(), pointsub_core::FrameError> {
    for wire in frames {
        let mut decoder = Decoder::new(Format::Native, 1 << 25);
        decoder.push(wire.bytes());
        let frame = decoder.next_frame().expect("well-formed").expect("whole");
        calls.handle(frame, NOW)?;
    }
    Ok(())
}

/// What is written next.
pub(crate) fn written(calls: &mut Calls, budget: usize) -> Vec<Wire> {
    let mut outbox = Outbox::new(0);
    calls.fill(&mut outbox, budget);
    let writes: Vec<Bytes> = std::iter::from_fn(|| outbox.next_write()).collect();
    assert!(writes.len() <= 1, "what one fill adds is one write");
    crate::support::wire::parse(&writes.concat().into())
}

#[track_caller]
pub(crate) fn expect<const N: usize>(calls: &mut Calls, frames: [Wire; N]) {
    assert_eq!(written(calls, 64 * KIB), frames);
}

pub(crate) fn events(calls: &mut Calls) -> Vec<CallEvent> {
    std::iter::from_fn(|| calls.poll_event()).map(|(_, event)| event).collect()
}

pub(crate) fn send(calls: &mut Calls, body: impl Into<Bytes>) -> Result<(), CallError> {
    calls.send(CALL, CallMessage::from(body.into()), NOW)
}

pub(crate) const SMALL: Credit = Credit { bytes: 8192, messages: 4 };

/// A client whose call is opened with that window, and written.
pub(crate) fn client(window: Credit, opening: CallOpening) -> Calls {
    let mut calls = Calls::client(LIMITS, NOW);
    let request = CallRequest { credit: window, ..opening.request.clone() };
    calls.open(CALL, CallOpening { request, ..opening }, NOW).expect("the first");
    assert_eq!(written(&mut calls, 0).len(), 1);
    calls
}

/// The same, accepted with that credit.
pub(crate) fn open_client(window: Credit, granted: Credit) -> Calls {
    let mut calls = client(window, CallOpening::default());
    receives(&mut calls, [accept(granted)]).expect("it was asked for");
    let accepted = CallEvent::Accepted { metadata: Metadata::new(), load: None };
    assert_eq!(events(&mut calls), [accepted, CallEvent::Credit(granted)]);
    calls
}

/// A server with a call that its handler has accepted.
pub(crate) fn open_server(window: Credit, granted: Credit) -> Calls {
    let mut calls = Calls::server(LIMITS, NOW);
    calls.saw(CALL.0);
    let start = CallStart { window, credit: granted, ..CallStart::default() };
    calls.begin(CALL, start, NOW).expect("the first");
    calls.accept(CALL, Metadata::new(), None, NOW).expect("it waits");
    expect(&mut calls, [accept(calls_window(window))]);
    calls
}

fn calls_window(window: Credit) -> Credit {
    Credit { bytes: window.bytes.max(8192), ..window }
}

#[test]
fn a_client_opens_with_its_window_and_sends_when_it_is_accepted() {
    let mut calls = Calls::client(LIMITS, NOW);
    let request_of = CallRequest {
        argument: Payload::from(pointsub_core::Body::uncompressed("from".into())),
        credit: SMALL,
        ..CallRequest::default()
    };
    let opening =
        CallOpening { request: request_of, deadline: Some(at(700)), ..CallOpening::default() };
    calls.open(CALL, opening, NOW).expect("the first");
    assert_eq!(send(&mut calls, "early"), Err(CallError::NoCredit));
    expect(&mut calls, [with(request(CALL.0, "from").flag(2).timeout(700), SMALL)]);
    receives(&mut calls, [accept(Credit::new(1000, 1))]).expect("it was asked for");
    send(&mut calls, "one").expect("there is credit");
    assert_eq!(send(&mut calls, "two"), Err(CallError::NoCredit));
    calls.finish(CALL, NOW).expect("once");
    assert_eq!(calls.finish(CALL, NOW), Err(CallError::Finished));
    expect(&mut calls, [data("one"), finish()]);
    receives(&mut calls, [response(CALL.0, "done")]).expect("an answer");
    assert!(calls.is_empty() && calls.reserved() == 0);
}

#[test]
fn credit_is_given_for_half_a_window_that_was_taken() {
    let mut calls = open_client(SMALL, Credit::NONE);
    receives(&mut calls, [data("one"), data("two"), data("three")]).expect("within the window");
    expect(&mut calls, []);
    for (taken, granted) in [(1, None), (2, Some(Credit::new(6, 2))), (3, None)] {
        calls.taken(CALL, Credit::new([0, 3, 3, 5][taken], 1), NOW);
        match granted {
            Some(granted) => expect(&mut calls, [credit(granted)]),
            None => expect(&mut calls, []),
        }
    }
}

#[test]
fn a_long_message_goes_in_parts_and_small_ones_of_others_between_them() {
    let mut calls = Calls::client(CallLimits { max_message: 1 << 20, ..LIMITS }, NOW);
    let other = CallKey(8);
    for key in [CALL, other] {
        calls.open(key, CallOpening::default(), NOW).expect("there is room");
    }
    assert_eq!(written(&mut calls, 0).len(), 2);
    let plenty = Credit::new(1 << 20, 10);
    receives(&mut calls, [accept(plenty), with(frame(7, other.0, ""), plenty)]).expect("asked for");
    send(&mut calls, vec![1; 100 * KIB]).expect("there is credit");
    calls.send(other, CallMessage::from(Bytes::from("small")), NOW).expect("there is credit");
    let frames = written(&mut calls, 34 * KIB);
    assert_eq!(
        frames,
        [
            first_part(vec![1; 32 * KIB], 100 * 1024),
            frame(6, other.0, "small"),
            data(vec![1; 32 * KIB]).flag(4)
        ]
    );
    // What ends another call goes before the rest.
    calls.cancel(other, NOW);
    let frames = written(&mut calls, 64 * KIB);
    assert_eq!(frames, [cancel(other.0), data(vec![1; 32 * KIB]).flag(4), data(vec![1; 4 * KIB])]);
}

#[test]
fn a_message_longer_than_the_window_is_granted_what_it_lacks() {
    let mut calls = open_server(SMALL, Credit::NONE);
    receives(&mut calls, [first_part(vec![3; 8192], 20_000)]).expect("within the window");
    expect(&mut calls, [bytes(frame(8, CALL.0, ""), 20_000 - 8192)]);
    receives(&mut calls, [data(vec![3; 20_000 - 8192])]).expect("it was granted");
    let [CallEvent::Message(message)] = &events(&mut calls)[..] else { panic!("one message") };
    assert_eq!(message.payload.clone().into_bytes(), Ok(vec![3; 20_000].into()));
    assert_eq!(calls.reserved(), 20_000, "until it is taken");
    calls.taken(CALL, message.cost(), NOW);
    assert_eq!(calls.reserved(), 8192);
}

#[test]
fn a_result_comes_behind_messages_and_a_failure_does_not_wait_for_credit() {
    for (outcome, frames) in [
        (Ok(Payload::default()), vec![data("a"), data(vec![5; 4000]).flag(4)]),
        (
            Err(Status::new(StatusCode::Application(7), "")),
            vec![data("a"), failure(CALL.0, 1).app_code(7)],
        ),
    ] {
        let mut calls = open_server(SMALL, Credit::new(4001, 4));
        send(&mut calls, "a").expect("there is credit");
        send(&mut calls, vec![5; 6000]).expect("there is credit to begin with");
        calls.respond(CALL, outcome.clone(), Metadata::new(), NOW);
        let found = written(&mut calls, 64 * KIB);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], frames[0]);
        if outcome.is_ok() {
            assert!(!calls.is_empty(), "its message waits for credit");
            receives(&mut calls, [credit(Credit::new(2000, 0))]).expect("credit");
            expect(&mut calls, [data(vec![5; 2000]), response(CALL.0, "")]);
        } else {
            assert_eq!(found[1], frames[1]);
        }
        assert!(calls.is_empty() && calls.reserved() == 0);
    }
}

#[test]
fn a_cancelled_handler_is_told_once_and_its_client_when_it_has_stopped() {
    let mut calls = open_server(SMALL, SMALL);
    send(&mut calls, "not wanted").expect("there is credit");
    receives(&mut calls, [cancel(CALL.0), cancel(CALL.0)]).expect("it may come twice");
    assert_eq!(events(&mut calls), [CallEvent::Stopped(CallStop::Cancelled)]);
    expect(&mut calls, []);
    assert_eq!(send(&mut calls, "late"), Err(CallError::Over));
    calls.respond(CALL, Err(Status::new(StatusCode::Internal, "")), Metadata::new(), NOW);
    expect(&mut calls, [failure(CALL.0, 6)]);
    assert!(calls.is_empty());
}

#[test]
fn a_deadline_is_answered_at_once_though_messages_wait_for_credit() {
    let mut calls = Calls::server(LIMITS, NOW);
    let start =
        CallStart { deadline: Some(at(50)), credit: Credit::new(1024, 1), ..CallStart::default() };
    calls.begin(CALL, start, NOW).expect("the first");
    send(&mut calls, vec![1; 2000]).expect("there is credit to begin with");
    assert_eq!(written(&mut calls, 64 * KIB).len(), 2, "acceptance and the first part");
    assert_eq!(calls.next_deadline(), Some(at(50)));
    calls.handle_timeout(at(50)).expect("servers wait for nothing");
    assert_eq!(events(&mut calls), [CallEvent::Stopped(CallStop::Deadline)]);
    expect(&mut calls, [failure(CALL.0, 5)]);
    calls.respond(CALL, Ok(Payload::default()), Metadata::new(), at(60));
    expect(&mut calls, []);
    assert!(calls.is_empty());
}

#[test]
fn a_call_is_idle_when_it_waits_for_its_peer_alone() {
    let idle = Some(Duration::from_millis(100));
    let mut calls = client(SMALL, CallOpening { idle, ..CallOpening::default() });
    receives(&mut calls, [accept(SMALL), data("one")]).expect("asked for");
    assert_eq!(events(&mut calls).len(), 3);
    // The application has not taken the message.
    calls.handle_timeout(at(1000)).expect("nothing is cancelled");
    assert_eq!(events(&mut calls), []);
    calls.taken(CALL, Credit::new(3, 1), at(1000));
    calls.handle_timeout(at(1099)).expect("nothing is cancelled");
    assert_eq!(events(&mut calls), []);
    calls.handle_timeout(at(1100)).expect("nothing was cancelled before");
    let [CallEvent::Ended(end)] = &events(&mut calls)[..] else { panic!("the end") };
    let timed_out = Cause::TimedOut(Duration::from_millis(100));
    assert_eq!(end.outcome, Err((timed_out, Delivery::Processed)));
    expect(&mut calls, [cancel(CALL.0)]);
}

#[test]
fn a_server_that_does_not_confirm_a_cancellation_loses_its_stream() {
    let mut calls = open_client(SMALL, SMALL);
    calls.cancel(CALL, at(5));
    expect(&mut calls, [cancel(CALL.0)]);
    assert!(calls.handle_timeout(at(30_004)).is_ok());
    assert!(calls.handle_timeout(at(30_005)).is_err());
}

#[test]
fn a_drain_tells_old_calls_and_fails_new_ones() {
    let mut calls = open_client(SMALL, SMALL);
    calls.open(CallKey(9), CallOpening::default(), NOW).expect("there is room");
    assert_eq!(written(&mut calls, 0).len(), 1);
    calls.drain(CALL.0, NOW);
    let all: Vec<_> = std::iter::from_fn(|| calls.poll_event()).collect();
    let [(CallKey(9), CallEvent::Ended(end)), (CALL, CallEvent::Draining)] = &all[..] else {
        panic!("{all:?}")
    };
    assert!(matches!(end.outcome, Err((Cause::Remote(_), Delivery::NotProcessed))));
    assert_eq!(calls.open(CallKey(11), CallOpening::default(), NOW), Err(CallError::Over));
    send(&mut calls, "goes on").expect("there is credit");
}

#[test]
fn limits_are_said_before_anything_is_sent() {
    let mut calls = Calls::client(LIMITS, NOW);
    let argument = Payload::from(pointsub_core::Body::uncompressed(vec![0; 64 * KIB + 1].into()));
    let request = CallRequest { argument, ..CallRequest::default() };
    let opening = CallOpening { request, ..CallOpening::default() };
    let too_large = CallError::TooLarge { len: 64 * KIB + 1, limit: 64 * KIB };
    assert_eq!(calls.open(CallKey(1), opening, NOW), Err(too_large));
    for key in 1..=3 {
        calls.open(CallKey(key), CallOpening::default(), NOW).expect("there is room");
    }
    let full = calls.open(CallKey(4), CallOpening::default(), NOW);
    assert_eq!(full, Err(CallError::TooManyCalls { limit: 3 }));
}

#[test]
fn no_more_waits_to_be_written_than_a_sender_may_hold_whatever_is_granted() {
    let mut calls = Calls::server(LIMITS, NOW);
    let granted = Credit::new(4096 * KIB as u32, 100_000);
    let start = CallStart { credit: granted, silent: true, ..CallStart::default() };
    calls.begin(CALL, start, NOW).expect("the first");
    assert_eq!(calls.credit(CALL), SEND_WINDOW);
    for _ in 0..8 {
        send(&mut calls, vec![7; 32 * KIB]).expect("there is room");
    }
    assert_eq!(send(&mut calls, vec![7; 32 * KIB]), Err(CallError::NoCredit));
    assert_eq!((calls.unwritten(), calls.stalled()), (256 * KIB, 256 * KIB));
    // What is written makes room for as much.
    assert_eq!(written(&mut calls, 1).len(), 2, "acceptance and a message");
    let freed = Credit::new(32 * KIB as u32, 1);
    assert_eq!(events(&mut calls), [CallEvent::Credit(freed)]);
    // A message that is longer than all of it leaves as it is paid for, to the last byte.
    send(&mut calls, vec![8; 1024 * KIB]).expect("there is room to begin with");
    assert_eq!(calls.unwritten(), (7 * 32 + 1024) * KIB);
    let frames: usize = (0..100).map(|_| written(&mut calls, 64 * KIB).len()).sum();
    assert!(frames >= 7 + 32, "{frames} frames");
    assert_eq!((calls.unwritten(), calls.wants_write()), (0, false));
    assert_eq!(calls.credit(CALL), SEND_WINDOW);
}
