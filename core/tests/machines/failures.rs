//! What an I/O error means: whether the peer takes the stream, and what was on its way.

use crate::support::peer;
use pointsub_core::connection::{ClientStream, IoFailure, Report, Stage};
use pointsub_core::endpoint::{Directive, Dispatcher};
use pointsub_core::{
    Body, CallOptions, Cause, ClientConfig, Delivery, Format, StreamError, StreamEvent, StreamOp,
    Timestamp,
};

const WHY: &str = "a reason";

fn meaning(failure: IoFailure, stage: Stage) -> StreamError {
    failure.into_error(stage, WHY.into())
}

#[test]
fn a_reset_means_something_only_on_an_open_stream() {
    assert_eq!(meaning(IoFailure::Reset, Stage::Open), StreamError::Reset);
    assert_eq!(meaning(IoFailure::Reset, Stage::Negotiating), StreamError::Lost(WHY.into()));
}

#[test]
fn a_refusal_and_a_stream_that_was_never_taken_mean_the_same_whenever_they_show() {
    for stage in [Stage::Negotiating, Stage::Open] {
        assert_eq!(meaning(IoFailure::Refused, stage), StreamError::Unsupported);
        let untaken = StreamError::NotAccepted(WHY.into());
        assert_eq!(meaning(IoFailure::NotAccepted, stage), untaken);
        assert_eq!(meaning(IoFailure::Broken, stage), StreamError::Lost(WHY.into()));
    }
}

/// A native stream with one request that was written, and what becomes of that.
fn failed(relayed: bool, heard: Option<&'static [u8]>, event: StreamEvent) -> (Cause, Delivery) {
    let now = Timestamp::ZERO;
    let mut dispatcher = Dispatcher::new(ClientConfig::default(), None, 0);
    let to = peer(1);
    let body = Body::uncompressed("body".into());
    let request = dispatcher.send(&to, "/p", body.clone(), CallOptions::default(), now);
    let request = request.expect("it is accepted");
    let stream = ClientStream::new(Format::Native, dispatcher.config(), now);
    let mut stream = stream.with_relay(relayed);
    stream.start(request, body, None, now);
    while let Some(StreamOp::Write(_)) = stream.poll_op() {
        stream.handle(StreamEvent::Written, now);
    }
    if let Some(bytes) = heard {
        stream.handle(StreamEvent::Received(bytes.into()), now);
    }
    stream.handle(event, now);
    while let Some(report) = stream.poll_report() {
        if let Report::Failed { error, .. } = report {
            return (error.cause, error.delivery);
        }
    }
    panic!("the request has not failed");
}

/// What breaks on a connection through a relay says so; what a peer says there is the peer's word.
#[test]
fn what_breaks_over_a_relay_is_told_apart() {
    let lost = || StreamEvent::Failed(StreamError::Lost(WHY.into()));
    let unknown = Delivery::Unknown;
    assert_eq!(failed(false, None, lost()), (Cause::Lost(WHY.into()), unknown));
    assert_eq!(failed(true, None, lost()), (Cause::RelayLost(WHY.into()), unknown));
    let reset = StreamEvent::Failed(StreamError::Reset);
    assert_eq!(failed(true, None, reset), (Cause::RemoteClosed, unknown));
    // The beginning of a frame.
    let (cause, delivery) = failed(true, Some(&[0]), StreamEvent::Finished);
    assert!(matches!(cause, Cause::RelayLost(_)), "{cause:?}");
    assert_eq!(delivery, unknown);
    let (cause, _) = failed(false, Some(&[0]), StreamEvent::Finished);
    assert!(matches!(cause, Cause::Lost(_)), "{cause:?}");
}

/// A stream that is not taken has delivered nothing, unless the peer has spoken on it.
#[test]
fn what_was_written_on_a_stream_that_was_not_taken_was_not_processed() {
    let untaken = || StreamEvent::Failed(meaning(IoFailure::NotAccepted, Stage::Open));
    assert_eq!(failed(false, None, untaken()).1, Delivery::NotProcessed);
    assert_eq!(failed(false, Some(&[0]), untaken()).1, Delivery::Unknown);
    let refused = StreamEvent::Failed(meaning(IoFailure::Refused, Stage::Open));
    assert_eq!(failed(false, None, refused), (Cause::Unsupported, Delivery::NotProcessed));
}

#[test]
fn bodies_are_compressed_for_peers_that_may_read_them() {
    let d = Dispatcher::new(ClientConfig::default(), None, 0);
    let (to, limit) = (peer(1), ClientConfig::default().max_block_size());
    assert!(d.compresses(None, 1024) && d.compresses(Some((&to, "/p")), limit));
    assert!(!d.compresses(None, 1023), "too small");
    assert!(!d.compresses(None, limit + 1), "it will be refused");
    let off = Dispatcher::new(ClientConfig::default().with_compression(false), None, 0);
    assert!(!off.compresses(None, 1024));
}

#[test]
fn nothing_is_compressed_for_a_peer_that_speaks_plain() {
    let now = Timestamp::ZERO;
    let mut d = Dispatcher::new(ClientConfig::default(), None, 0);
    let to = peer(1);
    let body = Body::uncompressed("body".into());
    d.send(&to, "/p", body, CallOptions::default(), now).expect("it is accepted");
    let Some(Directive::Open { stream, .. }) = d.poll_directive() else {
        panic!("no open");
    };
    assert!(d.compresses(Some((&to, "/p")), 2000), "nothing is known yet");
    assert!(d.opened(stream, Format::Plain, now));
    assert!(!d.compresses(Some((&to, "/p")), 2000));
    assert!(d.compresses(Some((&to, "/other")), 2000), "another protocol of the peer");
    assert!(d.compresses(None, 2000), "whoever will get it");
}
