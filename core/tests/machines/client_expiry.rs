//! Deadlines that callers keep themselves, while the driver is held up and no time passes for the
//! dispatcher.

use bytes::Bytes;
use pointsub_core::connection::StreamCommand;
use pointsub_core::endpoint::closest::Point;
use pointsub_core::endpoint::{Directive, Dispatcher};
use pointsub_core::{
    CallOptions, Cause, ClientConfig, ClientEvent, ClosestOptions, Delivery, Format, Phase,
    ProtocolName, RequestError, RequestId, StreamId, Timestamp,
};

use crate::support::{PROTOCOL, ms, peer};

/// The deadline of every call here.
fn due() -> Timestamp {
    ms(100)
}

fn options() -> CallOptions {
    let mut options = CallOptions::default();
    options.deadline = Some(due());
    options
}

/// A dispatcher with a request that has a deadline and waits for its stream.
fn with_a_request() -> (Dispatcher, RequestId, StreamId) {
    let mut d = Dispatcher::new(ClientConfig::default(), None, 0);
    let body = Bytes::from_static(b"a").into();
    let request = d.send(&peer(1), PROTOCOL, body, options(), ms(0)).expect("accepted");
    match d.poll_directive() {
        Some(Directive::Open { stream, .. }) => (d, request, stream),
        other => panic!("it was to open a stream, not {other:?}"),
    }
}

/// The only thing that the dispatcher still wants is to tell of a failure.
#[track_caller]
fn expect_failure(d: &mut Dispatcher, failed: RequestId) -> RequestError {
    match d.poll_directive() {
        Some(Directive::Event(ClientEvent::Failed { request, error })) if request == failed => {
            assert_eq!(d.poll_directive(), None);
            error
        }
        other => panic!("it was to tell of a failure, not {other:?}"),
    }
}

/// C1: a request that waits for its stream was surely not processed.
#[test]
fn a_waiting_request_expires_unprocessed_and_once() {
    let (mut d, request, _) = with_a_request();
    d.expire(request, |_| panic!("no stream has it"), ms(99));
    assert_eq!(d.poll_directive(), None, "the deadline is still to come");
    d.expire(request, |_| panic!("no stream has it"), due());
    let error = expect_failure(&mut d, request);
    assert_eq!((error.cause, error.phase), (Cause::Deadline, Phase::Connect));
    assert_eq!((error.delivery, error.attempts), (Delivery::NotProcessed, 0));
    d.expire(request, |_| panic!("it is over"), due());
    assert_eq!(d.poll_directive(), None);
    assert_eq!((d.stats().in_flight, d.stats().failed), (0, 1));
}

/// C1: what a stream has may be processed, unless the stream has sent nothing of it.
#[test]
fn a_request_on_a_stream_expires_and_is_cancelled_there() {
    for (begun, delivery) in [(true, Delivery::Unknown), (false, Delivery::NotProcessed)] {
        let (mut d, request, stream) = with_a_request();
        assert!(d.opened(stream, Format::Native, ms(0)));
        assert!(matches!(
            d.poll_directive(),
            Some(Directive::Command { command: StreamCommand::Start { .. }, .. })
        ));
        let asked = |of| {
            assert_eq!(of, stream);
            begun
        };
        d.expire(request, asked, due());
        let command = StreamCommand::Cancel { request };
        assert_eq!(d.poll_directive(), Some(Directive::Command { stream, command }));
        let error = expect_failure(&mut d, request);
        assert_eq!((error.cause, error.delivery), (Cause::Deadline, delivery));
    }
}

/// N5: a call to the closest node expires with all its tries.
#[test]
fn a_call_to_the_closest_node_expires() {
    let mut d = Dispatcher::new(ClientConfig::default(), None, 0);
    let protocol = ProtocolName::new(PROTOCOL).expect("a name");
    assert_eq!(d.add_server_node(&protocol, peer(1), ms(0)), Ok(true));
    let (key, body) = (Point::of_key(b"a"), Bytes::from_static(b"a").into());
    let closest = ClosestOptions::default().with_call(options());
    let call = d.send_closest(PROTOCOL, key, body, closest, ms(0)).expect("accepted");
    assert!(matches!(d.poll_directive(), Some(Directive::Open { .. })));
    d.expire_closest(call, ms(99));
    assert_eq!(d.poll_directive(), None, "the deadline is still to come");
    d.expire_closest(call, due());
    let Some(Directive::Event(ClientEvent::Closest { outcome: Err(failure), .. })) =
        d.poll_directive()
    else {
        panic!("it was to tell of a failure");
    };
    let error = failure.error;
    assert_eq!((error.cause, error.delivery), (Cause::Deadline, Delivery::NotProcessed));
    assert_eq!((failure.attempts.len(), d.stats().in_flight), (1, 0));
}

/// O1: a raw stream that is not there by its deadline is given up.
#[test]
fn a_dial_expires() {
    let mut d = Dispatcher::new(ClientConfig::default(), None, 0);
    let dial = d.dial(&peer(1), PROTOCOL, Some(due()), ms(0)).expect("accepted");
    assert!(matches!(d.poll_directive(), Some(Directive::Dial { .. })));
    d.expire_dial(dial, ms(99));
    assert_eq!(d.poll_directive(), None, "the deadline is still to come");
    d.expire_dial(dial, due());
    assert_eq!(d.poll_directive(), Some(Directive::AbandonDial { dial }));
    let Some(Directive::Event(ClientEvent::DialFailed { error, .. })) = d.poll_directive() else {
        panic!("it was to tell of a failure");
    };
    assert_eq!((error.cause, error.delivery), (Cause::Deadline, Delivery::NotProcessed));
}
