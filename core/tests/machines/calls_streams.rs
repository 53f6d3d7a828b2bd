//! Calls on streams that have requests too.

use bytes::Bytes;
use pointsub_core::connection::{
    CallAcceptance, CallEvent, CallKey, CallMessage, CallOpening, CallStop, ClientStream, Report,
    ServerStreamEvent, Slot,
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
            let terms = stream.take_terms(call).expect("it opens a call");
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
    let terms = stream.take_terms(call).expect("it opens a call");
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
