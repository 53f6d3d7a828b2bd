//! Which bodies are compressed, and in which steps.

use core::iter;
use core::ops::ControlFlow;

use bytes::Bytes;
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec;
use pointsub_core::connection::ClientStream;
use pointsub_core::wire::compress::{Deflate, Inflate, InflateError, ONE_STEP, is_futile};
use pointsub_core::wire::{Decoder, Kind};
use pointsub_core::{
    Body, ClientConfig, Format, Payload, RequestId, ServerConfig, ServerEvent, StreamEvent,
    StreamOp, Timestamp,
};

use crate::support::{ServerScript, request};

fn noise(len: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 56) as u8
    };
    (0..len).map(step).collect()
}

fn is_compressed(bytes: Vec<u8>) -> bool {
    let bytes = Bytes::from(bytes);
    Body::compressed(bytes.clone()) != Body::uncompressed(bytes)
}

/// C6, W7: whatever shrinks is compressed, whichever way it does.
#[test]
fn what_shrinks_is_compressed() {
    let base64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for len in [1024, 4000, 60_000] {
        let random = noise(len);
        let text = b"it was the best of times, it was the worst of times, ".iter().copied();
        let text: Vec<u8> = text.cycle().take(len).collect();
        assert!(!is_futile(&text) && is_compressed(text), "text of {len}");
        let digits = random.iter().map(|byte| b'0' + byte % 10).collect();
        assert!(is_compressed(digits), "digits, {len}");
        let encoded = random.iter().map(|byte| base64[usize::from(byte % 64)]).collect();
        assert!(is_compressed(encoded), "base64, {len}");
        // All bytes equally often, and nothing random about it.
        assert!(is_compressed((0..len).map(|i| i as u8).collect()), "a ramp of {len}");
    }
}

/// C6: whatever does not is sent as it is, and small bodies are not looked at.
#[test]
fn what_does_not_shrink_is_sent_as_it_is() {
    for len in [1024, 4000, 60_000] {
        assert!(is_futile(&noise(len)) && !is_compressed(noise(len)), "{len}");
    }
    assert!(is_futile(&[7; 1023]) && !is_compressed(vec![7; 1023]));
}

/// Digits, so that it shrinks, but not beyond what is allowed.
fn digits(len: usize) -> Bytes {
    noise(len).iter().map(|byte| b'0' + byte % 10).collect()
}

/// What it comes to, and after how many steps.
fn steps<W, T>(mut work: W, step: impl Fn(W) -> ControlFlow<T, W>) -> (usize, T) {
    let mut steps = 1;
    loop {
        match step(work) {
            ControlFlow::Break(done) => return (steps, done),
            ControlFlow::Continue(rest) => work = rest,
        }
        steps += 1;
    }
}

/// The body of the one request that a client writes.
fn on_the_wire(body: Body) -> Bytes {
    let mut client = ClientStream::new(Format::Native, &ClientConfig::default(), Timestamp::ZERO);
    client.start(RequestId::default(), body, None, Timestamp::ZERO);
    let mut decoder = Decoder::new(Format::Native, 1 << 20);
    while let Some(StreamOp::Write(bytes)) = client.poll_op() {
        decoder.push(bytes);
        client.handle(StreamEvent::Written, Timestamp::ZERO);
    }
    let mut frames = iter::from_fn(|| decoder.next_frame().expect("frames"));
    frames.find(|frame| frame.header.kind == Some(Kind::Request)).expect("a request").body
}

/// What reaches the handler of a server.
fn arrived(deflated: Vec<u8>, announced: usize) -> Payload {
    let (mut s, stream) = ServerScript::native(ServerConfig::default());
    s.receives(stream, [request(1, deflated).compressed(announced as u32)]);
    let ServerEvent::Request { payload, .. } = s.expect_event() else { panic!("no request") };
    payload
}

/// C6: steps are of 8 KiB, and lead to a body that inflates to the same.
#[test]
fn a_large_body_is_compressed_in_steps() {
    for (len, wanted) in [(1024, 1), (ONE_STEP, 1), (ONE_STEP + 1, 9), (300_000, 37)] {
        let raw = digits(len);
        let (steps, body) = steps(Deflate::new(raw.clone()), Deflate::step);
        assert_eq!((steps, &body), (wanted, &Body::compressed(raw.clone())), "{len}");
        let deflated = on_the_wire(body);
        assert!(deflated.len() < len / 2, "{len}: {}", deflated.len());
        assert!(decompress_to_vec(&deflated).is_ok_and(|back| back == raw), "{len}: another body");
    }
    let futile = Deflate::new(Bytes::from(noise(300_000)));
    assert!(matches!(futile.step(), ControlFlow::Break(body) if body.raw().len() == 300_000));
}

/// C6: and is inflated so.
#[test]
fn a_large_body_is_inflated_in_steps() {
    for (len, wanted) in [(1024, 1), (ONE_STEP, 1), (ONE_STEP + 1, 9), (300_000, 37)] {
        let raw = digits(len);
        let payload = arrived(compress_to_vec(&raw, 6), len);
        let (steps, inflated) = steps(Inflate::new(payload.clone()), Inflate::step);
        assert!(inflated == Ok(raw.clone()), "{len}: another body");
        assert_eq!(steps, wanted, "{len}");
        assert!(payload.into_bytes() == Ok(raw));
    }
}

/// W7: what is wrong with it is found in the last step too.
#[test]
fn a_large_body_that_is_broken_or_has_another_length_is_found_out() {
    let (raw, len) = (digits(300_000), 300_000);
    let deflated = compress_to_vec(&raw, 6);
    let outcome = |deflated, announced| {
        steps(Inflate::new(arrived(deflated, announced)), Inflate::step).1.expect_err("a lie")
    };
    let short = deflated[..deflated.len() - 9].to_vec();
    assert_eq!(outcome(short, len), InflateError::Broken { announced: 300_000 });
    assert_eq!(outcome(deflated.clone(), len - 1), InflateError::Broken { announced: 299_999 });
    let longer = InflateError::Length { announced: 300_001, actual: len };
    assert_eq!(outcome(deflated, len + 1), longer);
}
