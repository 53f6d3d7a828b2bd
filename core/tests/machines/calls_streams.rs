//! Calls on streams that have requests too.

use bytes::Bytes;
use pointsub_core::connection::{
    CallAcceptance, CallEvent, CallKey, CallMessage, CallOpening, CallPlaces, CallStop,
    ClientStream, Report, ServerStreamEvent, Slot,
};
use pointsub_core::endpoint::Admission;
use pointsub_core::wire::Credit;
use pointsub_core::{
    Body, Cause, ClientConfig, Delivery, Format, Metadata, PeerId, ProtocolName, RequestId,
    ServerConfig, Status, StatusCode, StreamEvent, StreamOp, Timestamp,
};

use crate::calls::SMALL;
use crate::support::wire::parse;
use crate::support::{Attached, Wire, cancel, request};

const NOW: Timestamp = Timestamp::ZERO;

fn server(config: &ServerConfig) -> (Attached, Admission) {
    let mut admission = Admission::new(config);
    let protocol = ProtocolName::new("/t").expect("a name");
    admission.register(&protocol).expect("not registered yet");
    let peer = PeerId::from_bytes(b"client").expect("a peer id");
    let stream = Attached::new(peer, &protocol, Format::Native, config, &mut admission, NOW);
    (stream, admission)
}

fn written(stream: &mut Attached) -> Vec<Wire> {
    let mut bytes = Vec::new();
    while let Some(StreamOp::Write(more)) = stream.poll_op() {
        bytes.extend_from_slice(&more);
        pointsub_core::connection::ServerStream::handle(stream, StreamEvent::Written, NOW);
    }
    parse(&bytes.into())
}

fn receives(stream: &mut Attached, admission: &mut Admission, frame: &Wire) {
    stream.handle(StreamEvent::Received(frame.bytes()), admission, NOW);
}

fn opening(id: u64) -> Wire {
    let credit = |wire: Wire, tag| wire.field(tag, &8_u32.to_be_bytes());
    credit(credit(request(id, "argument").flag(2), 8), 9)
}

#[test]
fn a_stream_takes_as_many_calls_as_it_may() {
    for (max_calls, status) in [(0, 9), (1, 3)] {
        let config = ServerConfig::default().with_max_calls(max_calls);
        let (mut stream, mut admission) = server(&config);
        assert_eq!(written(&mut stream).len(), 1, "settings");
        if max_calls > 0 {
            receives(&mut stream, &mut admission, &opening(1));
            let event = stream.poll_event(&mut admission, NOW);
            let Some(ServerStreamEvent::Request { call, .. }) = event else { panic!("{event:?}") };
            let terms = stream.terms(call).expect("it opens a call").clone();
            let key = stream.accept_call(call, &terms, CallAcceptance::default(), NOW);
            assert_eq!(key, Some(CallKey(1)));
            assert_eq!(written(&mut stream).len(), 1, "acceptance");
        }
        receives(&mut stream, &mut admission, &opening(2));
        assert_eq!(stream.poll_event(&mut admission, NOW), None);
        let found = written(&mut stream);
        let [found] = &found[..] else { panic!("{found:?}") };
        let refused = format!("fields [03, 00, 01, {status:02x}");
        assert!(format!("{found:?}").contains(&refused), "{found:?}");
    }
}

#[test]
fn a_call_holds_a_place_until_it_is_accepted_and_ends_by_itself() {
    let (mut stream, mut admission) = server(&ServerConfig::default());
    receives(&mut stream, &mut admission, &opening(1));
    let event = stream.poll_event(&mut admission, NOW);
    let Some(ServerStreamEvent::Request { call, payload, .. }) = event else { panic!("{event:?}") };
    assert_eq!(payload.into_bytes(), Ok("argument".into()));
    assert_eq!(admission.stats().in_flight, 1);
    let terms = stream.terms(call).expect("it opens a call").clone();
    assert_eq!(terms.credit, Credit::new(8, 8));
    let acceptance = CallAcceptance { window: SMALL, ..CallAcceptance::default() };
    let key = stream.accept_call(call, &terms, acceptance, NOW).expect("it is waited for");
    assert_eq!(stream.poll_event(&mut admission, NOW), None);
    assert_eq!(admission.stats().in_flight, 0, "its place is free");
    assert!(admission.stats().memory >= 8192, "its window is counted");
    stream.send_message(key, CallMessage::from(Bytes::from("one")), NOW).expect("there is credit");
    receives(&mut stream, &mut admission, &cancel(1));
    assert_eq!(stream.poll_event(&mut admission, NOW), None);
    assert_eq!(stream.poll_call_event(), Some((key, CallEvent::Stopped(CallStop::Cancelled))));
    let status = Err(Status::new(StatusCode::Internal, ""));
    stream.end_call(key, status, Metadata::new(), NOW);
    // What was not written before the cancellation is not written at all.
    assert_eq!(written(&mut stream).len(), 2, "settings and the answer");
    assert_eq!(stream.poll_event(&mut admission, NOW), None);
    assert_eq!(admission.stats().memory, 0);
}

#[test]
fn a_client_hears_at_once_that_a_stream_has_no_calls() {
    for format in [Format::Plain, Format::Native] {
        let mut stream = ClientStream::new(format, &ClientConfig::default(), NOW);
        let settings = crate::support::settings(1000, 10);
        if format == Format::Native {
            stream.handle(StreamEvent::Received(settings.bytes()), NOW);
            assert_eq!(stream.poll_report(), Some(Report::Limit(10)));
        }
        let request = RequestId::default();
        assert_eq!(stream.open(request, CallOpening::default(), NOW), None);
        let Some(Report::Failed { error, slot: Slot::Free, .. }) = stream.poll_report() else {
            panic!("no failure")
        };
        assert_eq!(error.delivery, Delivery::NotProcessed);
        let Cause::Remote(status) = error.cause else { panic!("{error}") };
        assert_eq!(status.code, StatusCode::Unimplemented);
    }
}

#[test]
fn a_call_takes_a_slot_of_its_clients_stream_until_it_has_ended() {
    let mut stream = ClientStream::new(Format::Native, &ClientConfig::default(), NOW);
    let asked = RequestId::default();
    let key = stream.open(asked, CallOpening::default(), NOW).expect("nothing is known yet");
    stream.start(asked, Body::default(), None, NOW);
    assert!(matches!(stream.poll_op(), Some(StreamOp::Write(_))));
    stream.handle(StreamEvent::Written, NOW);
    let accept = crate::support::frame(7, key.0, "");
    stream.handle(StreamEvent::Received(accept.bytes()), NOW);
    assert_eq!(stream.poll_report(), Some(Report::Accepted { request: asked, load: None }));
    assert_eq!(stream.poll_report(), None);
    let answer = crate::support::response(key.0, "done");
    stream.handle(StreamEvent::Received(answer.bytes()), NOW);
    assert_eq!(stream.poll_report(), Some(Report::Vacated));
    let events: Vec<CallEvent> =
        std::iter::from_fn(|| stream.poll_call_event()).map(|(_, event)| event).collect();
    let [CallEvent::Accepted { .. }, CallEvent::Credit(_), CallEvent::Ended(end)] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert!(end.outcome.is_ok());
    assert_eq!(stream.in_flight(), 1, "the request goes on");
}

/// Opens a call and accepts it, with this window. `None` if it was refused as busy.
fn accepted(
    stream: &mut Attached,
    admission: &mut Admission,
    id: u64,
    window: Credit,
) -> Option<CallKey> {
    receives(stream, admission, &opening(id));
    let Some(ServerStreamEvent::Request { call, .. }) = stream.poll_event(admission, NOW) else {
        let refused = written(stream);
        assert!(format!("{refused:?}").contains("fields [03, 00, 01, 03"), "{refused:?}");
        return None;
    };
    let terms = stream.terms(call).expect("it opens a call").clone();
    let acceptance = CallAcceptance { window, ..CallAcceptance::default() };
    let key = stream.accept_call(call, &terms, acceptance, NOW).expect("it is waited for");
    assert_eq!(stream.poll_event(admission, NOW), None);
    Some(key)
}

fn ends(stream: &mut Attached, admission: &mut Admission, key: CallKey) {
    stream.end_call(key, Ok(Body::default()), Metadata::new(), NOW);
    assert_eq!(written(stream).len(), 1, "the result");
    assert_eq!(stream.poll_event(admission, NOW), None);
}

#[test]
fn calls_have_a_limit_of_their_own_and_are_no_requests() {
    let config = ServerConfig::default().with_max_open_calls(2).with_max_concurrent_requests(1);
    let (mut stream, mut admission) = server(&config);
    written(&mut stream);
    let keys: Vec<CallKey> = (1..=2)
        .map(|id| accepted(&mut stream, &mut admission, id, SMALL).expect("there is a place"))
        .collect();
    written(&mut stream);
    assert_eq!((admission.stats().calls, admission.stats().in_flight), (2, 0));
    assert_eq!(accepted(&mut stream, &mut admission, 3, SMALL), None);
    assert_eq!((admission.stats().calls, admission.stats().no_place), (2, 1));
    // A request needs no place of a call's.
    receives(&mut stream, &mut admission, &request(4, "a"));
    let event = stream.poll_event(&mut admission, NOW);
    let Some(ServerStreamEvent::Request { call, .. }) = event else { panic!("{event:?}") };
    // A call whose handler ends before it accepts gives its place back, too.
    stream.respond(call, Ok(Body::default()), &mut admission, NOW);
    written(&mut stream);
    ends(&mut stream, &mut admission, keys[0]);
    assert_eq!(admission.stats().calls, 1);
    receives(&mut stream, &mut admission, &opening(5));
    let event = stream.poll_event(&mut admission, NOW);
    let Some(ServerStreamEvent::Request { call, .. }) = event else { panic!("{event:?}") };
    assert_eq!(admission.stats().calls, 2, "from the request on");
    stream.respond(call, Err(Status::new(StatusCode::NotFound, "")), &mut admission, NOW);
    assert_eq!(admission.stats().calls, 1);
    assert!(accepted(&mut stream, &mut admission, 6, SMALL).is_some());
    stream.close(&mut admission, NOW);
    assert_eq!((admission.stats().calls, admission.stats().memory), (0, 0));
}

#[test]
fn a_connection_has_so_many_calls_over_all_its_streams() {
    let config = ServerConfig::default().with_max_calls_per_connection(2);
    let places = CallPlaces::new(config.max_calls_per_connection());
    let (first, mut admission) = server(&config);
    let (second, mut others) = server(&config);
    let mut first = first.with_call_places(places.clone());
    let mut second = second.with_call_places(places);
    for stream in [&mut first, &mut second] {
        written(stream);
    }
    let key = accepted(&mut first, &mut admission, 1, SMALL).expect("there is a place");
    written(&mut first);
    accepted(&mut second, &mut others, 1, SMALL).expect("there is a place");
    written(&mut second);
    assert_eq!(accepted(&mut first, &mut admission, 2, SMALL), None);
    assert_eq!(accepted(&mut second, &mut others, 2, SMALL), None);
    ends(&mut first, &mut admission, key);
    accepted(&mut second, &mut others, 3, SMALL).expect("one has ended");
    written(&mut second);
    assert_eq!(accepted(&mut first, &mut admission, 3, SMALL), None);
    // With a stream its calls are gone.
    drop(second);
    accepted(&mut first, &mut admission, 4, SMALL).expect("there is a place");
}

#[test]
fn what_a_handler_may_keep_of_its_request_counts_until_the_call_ends() {
    let (mut stream, mut admission) = server(&ServerConfig::default());
    let key = accepted(&mut stream, &mut admission, 1, SMALL).expect("there is a place");
    written(&mut stream);
    // Another report says what the stream holds.
    receives(&mut stream, &mut admission, &cancel(99));
    assert_eq!(stream.poll_event(&mut admission, NOW), None);
    assert_eq!(admission.stats().memory, 8192 + "argument".len() as u64);
    ends(&mut stream, &mut admission, key);
    assert_eq!(admission.stats().memory, 0);
}

#[test]
fn a_window_is_as_large_as_there_is_memory_for() {
    let config = ServerConfig::default().with_max_block_size(100_000).with_max_memory(400_000);
    let (mut stream, mut admission) = server(&config);
    written(&mut stream);
    let window = Credit::new(1 << 20, 8);
    let mut memory = 0;
    for id in 1..=20 {
        accepted(&mut stream, &mut admission, id, window).expect("there is a place");
        let now = admission.stats().memory;
        assert!((8192..=1 << 18).contains(&(now - memory)), "call {id} holds {}", now - memory);
        memory = now;
    }
    assert!(memory < 400_000 + 20 * 8192, "{memory} bytes");
}

#[test]
fn calls_that_a_server_waits_for_no_longer_are_told_why() {
    let (mut stream, mut admission) = server(&ServerConfig::default());
    let key = accepted(&mut stream, &mut admission, 1, SMALL).expect("there is a place");
    receives(&mut stream, &mut admission, &request(2, "a"));
    assert!(stream.poll_event(&mut admission, NOW).is_some());
    stream.drain(NOW);
    assert_eq!(stream.poll_call_event(), Some((key, CallEvent::Draining)));
    written(&mut stream);
    stream.end_calls(NOW);
    let stopped = CallEvent::Stopped(CallStop::Refused(StatusCode::Draining));
    assert_eq!(stream.poll_call_event(), Some((key, stopped)));
    assert_eq!(written(&mut stream), [crate::support::failure(1, 8)]);
    // What its handler says then is not heard.
    stream.end_call(key, Ok(Body::default()), Metadata::new(), NOW);
    assert_eq!(written(&mut stream), []);
    assert_eq!(admission.stats().in_flight, 1, "the request goes on");
}
